//! The one place that reads the environment of the process.
#![expect(clippy::disallowed_methods, reason = "this is the one place")]

use std::env;

/// What the names of variables that are settings begin with.
const PREFIX: &str = "TOLLGATE__";

/// One variable; none when it is not set, is empty, or is no text.
#[must_use]
pub fn read(name: &str) -> Option<String> {
    env::var(name).ok().filter(|value| !value.is_empty())
}

/// The variables that are settings, in the order of their names. One that is no text is kept with
/// what of it can be read: it is refused as a value then, and not passed over.
#[must_use]
pub fn settings() -> Vec<(String, String)> {
    let mut found: Vec<(String, String)> = env::vars_os()
        .map(|(name, value)| {
            (
                name.to_string_lossy().into_owned(),
                value.to_string_lossy().into_owned(),
            )
        })
        .filter(|(name, _)| name.starts_with(PREFIX))
        .collect();
    found.sort();
    found
}

/// The section and the name of a setting that a variable means; the section is empty for settings
/// that belong to none.
pub(super) fn setting_of(variable: &str) -> (String, String) {
    let rest = variable
        .strip_prefix(PREFIX)
        .unwrap_or(variable)
        .to_ascii_lowercase();
    match rest.split_once("__") {
        Some((section, name)) => (section.to_owned(), name.to_owned()),
        None => (String::new(), rest),
    }
}
