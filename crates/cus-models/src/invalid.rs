//! Why a value is not accepted, and the checks that say so.

use thiserror::Error;

/// The greatest count or limit: 2⁵³ − 1, exact in JSON for every client.
pub(crate) const COUNT_MAX: i64 = (1 << 53) - 1;

/// A value that a record does not accept. Names the field and never repeats a text that was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Invalid {
    /// A text that must not be empty is.
    #[error("`{field}` is empty: give 1 to {max} characters")]
    Empty {
        /// The field's name in JSON.
        field: &'static str,
        /// The greatest number of characters.
        max: usize,
    },
    /// A text is longer than its field.
    #[error("`{field}` has {length} characters: give at most {max}")]
    TooLong {
        /// The field's name in JSON.
        field: &'static str,
        /// The number of characters given.
        length: usize,
        /// The greatest number of characters.
        max: usize,
    },
    /// A count or limit is negative or too great.
    #[error("`{field}` is {value}: give a whole number from 0 to {max}")]
    OutOfRange {
        /// The field's name in JSON.
        field: &'static str,
        /// The number given.
        value: i64,
        /// The greatest number, 2⁵³ − 1.
        max: i64,
    },
    /// A text is none of an enum's values.
    #[error("`{field}` has an unknown value: give one of {allowed}")]
    Unknown {
        /// The field's name in JSON.
        field: &'static str,
        /// The enum's values, separated by commas.
        allowed: &'static str,
    },
}

impl Invalid {
    /// The JSON name of the field that has the value.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Empty { field, .. }
            | Self::TooLong { field, .. }
            | Self::OutOfRange { field, .. }
            | Self::Unknown { field, .. } => field,
        }
    }
}

/// Checks that a text has 1 to `max` characters.
pub(crate) fn required_text(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.is_empty() {
        return Err(Invalid::Empty { field, max });
    }
    short_text(field, text, max)
}

/// Checks that a text has at most `max` characters.
pub(crate) fn short_text(field: &'static str, text: &str, max: usize) -> Result<(), Invalid> {
    if text.len() <= max {
        return Ok(()); // no more bytes than that, so no more characters
    }
    let length = text.chars().count();
    if length > max {
        return Err(Invalid::TooLong { field, length, max });
    }
    Ok(())
}

/// Checks that a number is a count: 0 to 2⁵³ − 1.
pub(crate) fn count(field: &'static str, value: i64) -> Result<(), Invalid> {
    if !(0..=COUNT_MAX).contains(&value) {
        return Err(Invalid::OutOfRange {
            field,
            value,
            max: COUNT_MAX,
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{COUNT_MAX, Invalid, count, required_text, short_text};

    #[test]
    fn lengths_count_characters_and_not_bytes() {
        let name = "é".repeat(255);
        assert_eq!(required_text("name", &name, 255), Ok(()));
        let longer = name + "é";
        let refused = Invalid::TooLong {
            field: "name",
            length: 256,
            max: 255,
        };
        assert_eq!(required_text("name", &longer, 255), Err(refused));
        assert_eq!(short_text("name", &longer, 255), Err(refused));
    }

    #[test]
    fn only_a_required_text_may_not_be_empty() {
        assert_eq!(short_text("provider", "", 50), Ok(()));
        let refused = Invalid::Empty {
            field: "model",
            max: 100,
        };
        assert_eq!(required_text("model", "", 100), Err(refused));
        assert_eq!(required_text("model", " ", 100), Ok(()));
    }

    #[test]
    fn a_count_is_zero_to_the_greatest_exact_number() {
        assert_eq!(COUNT_MAX, 9_007_199_254_740_991);
        assert_eq!(count("tokens_in", 0), Ok(()));
        assert_eq!(count("tokens_in", COUNT_MAX), Ok(()));
        assert!(count("tokens_in", -1).is_err());
        assert!(count("tokens_in", COUNT_MAX + 1).is_err());
        assert!(count("tokens_in", i64::MIN).is_err());
    }

    #[test]
    fn a_refusal_says_which_field_and_what_to_give() {
        let refused = count("budget_limit_cents", -5).unwrap_err();
        assert_eq!(refused.field(), "budget_limit_cents");
        assert_eq!(
            refused.to_string(),
            "`budget_limit_cents` is -5: give a whole number from 0 to 9007199254740991"
        );
    }
}
