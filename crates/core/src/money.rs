//! Money is an integer number of nano-dollars; nothing here rounds by accident or wraps.

use std::fmt;
use std::iter::Sum;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Nano-dollars in one cent.
pub const NANOS_PER_CENT: i64 = 10_000_000;

/// Nano-dollars in one dollar.
pub const NANOS_PER_DOLLAR: i64 = 1_000_000_000;

/// An amount of money in nano-dollars (10⁻⁹ USD).
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Nanos(i64);

/// A sum or product of money left the range of 64-bit nano-dollars (about 9.2 billion dollars).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an amount of money is beyond the 9.2 billion dollars that can be booked")]
pub struct MoneyOverflow;

/// A text that is not a decimal number of dollars with at most nine places.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a decimal number of dollars with at most nine places")]
pub struct InvalidMoney;

impl Nanos {
    /// No money.
    pub const ZERO: Self = Self(0);
    /// The most that can be booked.
    pub const MAX: Self = Self(i64::MAX);

    /// An amount of so many nano-dollars.
    #[must_use]
    pub const fn new(nanos: i64) -> Self {
        Self(nanos)
    }

    /// The amount of so many cents; an error beyond the bookable range.
    pub fn from_cents(cents: i64) -> Result<Self, MoneyOverflow> {
        cents
            .checked_mul(NANOS_PER_CENT)
            .map(Self)
            .ok_or(MoneyOverflow)
    }

    /// The number of nano-dollars.
    #[must_use]
    pub const fn get(self) -> i64 {
        self.0
    }

    /// Whole cents, rounded half up (towards the greater amount).
    #[must_use]
    pub fn cents(self) -> i64 {
        let whole = self.0.div_euclid(NANOS_PER_CENT);
        let rest = self.0.rem_euclid(NANOS_PER_CENT);
        if rest >= NANOS_PER_CENT / 2 {
            whole.saturating_add(1)
        } else {
            whole
        }
    }

    /// The sum; an error beyond the bookable range.
    pub fn plus(self, other: Self) -> Result<Self, MoneyOverflow> {
        self.0.checked_add(other.0).map(Self).ok_or(MoneyOverflow)
    }

    /// The difference; an error beyond the bookable range.
    pub fn minus(self, other: Self) -> Result<Self, MoneyOverflow> {
        self.0.checked_sub(other.0).map(Self).ok_or(MoneyOverflow)
    }

    /// The sum, or the greatest amount where it would leave the range; for figures that are only shown.
    #[must_use]
    pub const fn saturating_plus(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }

    /// The difference, never below nothing; for figures that are only shown.
    #[must_use]
    pub fn less_or_zero(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0).max(0))
    }
}

impl fmt::Display for Nanos {
    /// Dollars as a decimal with nine places, for example `0.000123450`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let nanos = self.0.unsigned_abs();
        let per_dollar = NANOS_PER_DOLLAR.unsigned_abs();
        let dollars = nanos.checked_div(per_dollar).unwrap_or(0);
        let rest = nanos.checked_rem(per_dollar).unwrap_or(0);
        write!(f, "{sign}{dollars}.{rest:09}")
    }
}

impl FromStr for Nanos {
    type Err = InvalidMoney;

    fn from_str(text: &str) -> Result<Self, InvalidMoney> {
        let (negative, digits) = text
            .strip_prefix('-')
            .map_or((false, text), |rest| (true, rest));
        let (whole, places) = digits.split_once('.').unwrap_or((digits, ""));
        let numeric = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || places.len() > 9 || !numeric(whole) || !numeric(places) {
            return Err(InvalidMoney);
        }
        let dollars: i64 = whole.parse().or(Err(InvalidMoney))?;
        let rest: i64 = format!("{places:0<9}").parse().or(Err(InvalidMoney))?;
        let nanos = dollars
            .checked_mul(NANOS_PER_DOLLAR)
            .and_then(|nanos| nanos.checked_add(rest))
            .ok_or(InvalidMoney)?;
        Ok(Self(if negative {
            nanos.checked_neg().ok_or(InvalidMoney)?
        } else {
            nanos
        }))
    }
}

impl Sum<Nanos> for Result<Nanos, MoneyOverflow> {
    fn sum<I: Iterator<Item = Nanos>>(mut amounts: I) -> Self {
        amounts.try_fold(Nanos::ZERO, Nanos::plus)
    }
}

/// The cents that the next row of a balance is posted with, so that rows always add up to the
/// exact total: `cents(total after) − cents already posted`.
///
/// ```
/// use tollgate_core::money::{Nanos, cents_to_post};
/// // Three calls of $0.004: nothing, one cent, nothing; together $0.012, which is one cent.
/// assert_eq!(cents_to_post(Nanos::new(4_000_000), 0), 0);
/// assert_eq!(cents_to_post(Nanos::new(8_000_000), 0), 1);
/// assert_eq!(cents_to_post(Nanos::new(12_000_000), 1), 0);
/// ```
#[must_use]
pub fn cents_to_post(total_after: Nanos, cents_posted: i64) -> i64 {
    total_after.cents().saturating_sub(cents_posted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn cents_round_half_up() {
        let cents = |nanos| Nanos::new(nanos).cents();
        assert_eq!(cents(4_999_999), 0);
        assert_eq!(cents(5_000_000), 1);
        assert_eq!(cents(15_000_000), 2);
        assert_eq!(cents(-5_000_000), 0);
        assert_eq!(cents(-5_000_001), -1);
    }

    #[test]
    fn an_amount_prints_with_nine_places_and_reads_back() {
        assert_eq!(Nanos::new(123_450).to_string(), "0.000123450");
        assert_eq!(Nanos::new(-1_500_000_000).to_string(), "-1.500000000");
        assert_eq!("1.5".parse(), Ok(Nanos::new(1_500_000_000)));
        assert!("1.0000000001".parse::<Nanos>().is_err());
        assert!("1e3".parse::<Nanos>().is_err());
        assert!(".5".parse::<Nanos>().is_err());
    }

    #[test]
    fn a_million_calls_of_two_thousandths_of_a_cent_are_twenty_dollars() {
        let mut total = Nanos::ZERO;
        let mut posted = 0_i64;
        for _ in 0..1_000_000 {
            total = total.plus(Nanos::new(20_000)).unwrap();
            posted = posted.checked_add(cents_to_post(total, posted)).unwrap();
        }
        assert_eq!(posted, 2_000);
    }

    proptest! {
        #[test]
        fn posted_cents_always_equal_the_rounded_total(amounts in prop::collection::vec(0_i64..1_000_000_000_000, 0..200)) {
            let mut total = Nanos::ZERO;
            let mut posted = 0_i64;
            for amount in amounts {
                total = total.plus(Nanos::new(amount)).unwrap();
                posted = posted.checked_add(cents_to_post(total, posted)).unwrap();
                prop_assert_eq!(posted, total.cents());
            }
        }

        #[test]
        fn text_and_amount_are_the_same_thing(nanos in (i64::MIN + 1)..=i64::MAX) {
            prop_assert_eq!(Nanos::new(nanos).to_string().parse(), Ok(Nanos::new(nanos)));
        }

        #[test]
        fn a_sum_beyond_the_range_is_an_error_and_never_wraps(a in any::<i64>(), b in any::<i64>()) {
            let exact = i128::from(a).checked_add(i128::from(b)).unwrap();
            match Nanos::new(a).plus(Nanos::new(b)) {
                Ok(sum) => prop_assert_eq!(i128::from(sum.get()), exact),
                Err(MoneyOverflow) => prop_assert!(i64::try_from(exact).is_err()),
            }
        }
    }
}
