//! What may be said of JSON that does not fit: which field and what was expected, never its value.
//!
//! A value may be a secret that was put into the wrong field, so no error repeats one.

/// Openings of messages that name fields, or are our own.
const HARMLESS: [&str; 5] = [
    "unknown field",
    "missing field",
    "duplicate field",
    "give ",
    "a secret must be",
];

/// The message of a JSON error without the place and without any value that was given.
#[must_use]
pub fn without_values(message: &str) -> String {
    let message = match message
        .rfind(" at line ")
        .and_then(|at| message.split_at_checked(at))
    {
        Some((before, _)) => before,
        None => message,
    };
    if HARMLESS.iter().any(|opening| message.starts_with(opening)) || message.starts_with('`') {
        return message.to_owned();
    }
    match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("give {expected}"),
        None => "the value does not have the form that this field needs".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::without_values;

    #[test]
    fn a_value_is_never_repeated() {
        let said = without_values(
            "invalid type: string \"sk-canary expected\", expected i64 at line 1 column 9",
        );
        assert_eq!(said, "give i64");
        let said = without_values("unknown variant `sk-canary`, expected `drain` or `cancel`");
        assert_eq!(said, "give `drain` or `cancel`");
        assert!(!without_values("failed to parse \"sk-canary\"").contains("canary"));
    }

    #[test]
    fn a_field_is_named() {
        let said =
            without_values("unknown field `hard_cop`, expected `hard_cap` at line 3 column 1");
        assert_eq!(said, "unknown field `hard_cop`, expected `hard_cap`");
    }
}
