//! What people may call things: tenants, keys and integrations follow one rule.

use crate::error::AppError;

/// The longest name, in characters.
const NAME_LENGTH_MAX: usize = 255;

/// Checks that a name has 1 to 255 characters, is not blank and is on one line.
pub(crate) fn check_name(name: &str) -> Result<(), AppError> {
    let length = name.chars().count();
    let blank = name.trim().is_empty();
    if blank || length > NAME_LENGTH_MAX || name.chars().any(char::is_control) {
        return Err(AppError::Invalid {
            field: "name",
            reason: format!(
                "give 1 to {NAME_LENGTH_MAX} characters, not only spaces, without line breaks"
            ),
        });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_one_line_of_one_to_255_characters() {
        for name in ["a", "Production EU", &"é".repeat(255)] {
            assert!(check_name(name).is_ok(), "{name:?}");
        }
        for name in ["", "  ", "a\nb", "a\u{0}", &"é".repeat(256)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
    }
}
