//! Decimal numbers as they are written: read digit by digit, never through binary floating point.

/// A decimal number scaled to an integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Scaled {
    /// The number times ten to the power of the scale, rounded half up.
    pub(super) value: i64,
    /// Whether digits beyond the scale were rounded away.
    pub(super) rounded: bool,
}

/// Reads a JSON number that is not negative as an integer of so many decimal places.
///
/// # Errors
/// Says what is wrong with the text: it is no number, negative, or too large for 64 bits.
pub(super) fn scaled(text: &str, places: usize) -> Result<Scaled, String> {
    let refuse = |why: &str| Err(format!("`{text}` {why}"));
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let Ok(exponent) = exponent.trim_start_matches('+').parse::<i32>() else {
        return refuse("has an exponent that is not a number");
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits: String = whole.chars().chain(fraction.chars()).collect();
    if whole.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return refuse("is not a decimal number that can be a price");
    }
    let point = i64::try_from(whole.len() + places).map(|point| point + i64::from(exponent));
    let Some(kept) = point
        .ok()
        .and_then(|point| usize::try_from(point.max(0)).ok())
    else {
        return refuse("is too large for a price");
    };
    if kept > 60 {
        return refuse("is too large for a price");
    }
    // Digits in front of a very small number: what is kept then starts with these zeros.
    let zeros = point
        .ok()
        .and_then(|point| usize::try_from(-point).ok())
        .unwrap_or(0)
        .min(60);
    let padded = format!("{}{digits}", "0".repeat(zeros));
    let all = format!("{padded:0<kept$}");
    let (front, rest) = all.split_at(kept);
    let front = if front.is_empty() { "0" } else { front };
    let Ok(floor) = front.parse::<i64>() else {
        return refuse("is too large for a price");
    };
    let up = i64::from(rest.as_bytes().first().is_some_and(|digit| *digit >= b'5'));
    let rounded = rest.bytes().any(|digit| digit != b'0');
    floor
        .checked_add(up)
        .map(|value| Scaled { value, rounded })
        .ok_or_else(|| format!("`{text}` is too large for a price"))
}

#[cfg(test)]
mod tests {
    use super::{Scaled, scaled};

    #[test]
    fn a_number_is_read_as_it_is_written() {
        let cases = [
            ("0.15", 150_000_000, false),
            ("10", 10_000_000_000, false),
            ("0", 0, false),
            ("0.18000000000000002", 180_000_000, true),
            ("0.0833333333333", 83_333_333, true),
            ("0.0000000005", 1, true),
            ("0.00000000049", 0, true),
            ("7.5e-2", 75_000_000, false),
            ("1.5E+1", 15_000_000_000, false),
            ("5e-11", 0, true),
            ("5e-10", 1, true),
            ("1.000000000000", 1_000_000_000, false),
        ];
        for (text, value, rounded) in cases {
            assert_eq!(scaled(text, 9), Ok(Scaled { value, rounded }), "{text}");
        }
    }

    #[test]
    fn what_is_no_price_is_refused() {
        for text in [
            "",
            "-1",
            ".5",
            "1,5",
            "NaN",
            "1e",
            "1e99",
            "99999999999",
            "\"1\"",
            "1.2.3",
        ] {
            assert!(scaled(text, 9).is_err(), "{text} is accepted");
        }
    }
}
