//! Money as the gateway states it in a header: a decimal number of dollars, read and written without rounding.

use std::fmt;

/// Decimal places of a nano-dollar.
const PLACES: usize = 9;
const NANOS_A_DOLLAR: u128 = 1_000_000_000;

/// An amount in nano-dollars (10⁻⁹ USD).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Cost(u128);

impl Cost {
    /// An amount from digits with at most nine after the point; `None` for anything else.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (dollars, fraction) = text.split_once('.').unwrap_or((text, "0"));
        let digits =
            |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if !digits(dollars) || !digits(fraction) || fraction.len() > PLACES {
            return None;
        }
        let nanos: u128 = format!("{fraction:0<PLACES$}").parse().ok()?;
        let dollars: u128 = dollars.parse().ok()?;
        dollars
            .checked_mul(NANOS_A_DOLLAR)?
            .checked_add(nanos)
            .map(Self)
    }

    pub(super) fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }
}

impl fmt::Display for Cost {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            text,
            "{}.{:0PLACES$}",
            self.0 / NANOS_A_DOLLAR,
            self.0 % NANOS_A_DOLLAR
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_read_and_written_to_the_nano_dollar() {
        for (text, written) in [
            ("0", "0.000000000"),
            ("0.1", "0.100000000"),
            ("0.000000001", "0.000000001"),
            ("12.050000", "12.050000000"),
            ("90071992547409.93", "90071992547409.930000000"),
        ] {
            assert_eq!(Cost::parse(text).unwrap().to_string(), written);
        }
    }

    #[test]
    fn what_is_not_an_amount_is_not_guessed() {
        for text in [
            "",
            ".",
            "1.",
            ".5",
            "-1",
            "+1",
            "1e-6",
            "1,5",
            "0.0000000001",
            " 1",
            "1.2.3",
        ] {
            assert_eq!(Cost::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_sum_of_many_small_amounts_is_exact() {
        let tenth = Cost::parse("0.000000100").unwrap();
        let mut sum = Cost::default();
        for _ in 0..1_000_000 {
            sum = sum.checked_add(tenth).unwrap();
        }
        assert_eq!(sum.to_string(), "0.100000000");
    }
}
