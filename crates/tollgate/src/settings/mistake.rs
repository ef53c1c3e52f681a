//! What is wrong with a setting, and where it was said.

use std::fmt;
use std::path::PathBuf;

/// Where a setting was said.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// In the file, on a line counted from 1.
    File {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
    },
    /// In an environment variable.
    Variable(String),
    /// In a flag.
    Flag(&'static str),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", path.display()),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(name) => f.write_str(name),
        }
    }
}

/// One setting that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// Where it was said.
    pub place: Place,
    /// What is wrong and what is right; never the value, which may be a secret in a wrong place.
    pub reason: String,
}

/// Every setting that cannot be used, in the order in which they were read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistakes(pub Vec<Mistake>);

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => write!(f, "a setting is wrong:")?,
            number => write!(f, "{number} settings are wrong:")?,
        }
        for Mistake { place, reason } in &self.0 {
            write!(f, "\n  {place}: {reason}")?;
        }
        Ok(())
    }
}

impl std::error::Error for Mistakes {}

/// What a reader of a setting says against it, without the value that it was given.
pub(super) fn reason(section: &str, others: &[&str], message: &str) -> String {
    if message.starts_with("unknown field") {
        let known = quoted(message).skip(1).chain(others.iter().copied());
        let known: Vec<&str> = known.collect();
        let place = match section {
            "" => "outside of the sections".to_owned(),
            section => format!("in [{section}]"),
        };
        return format!(
            "there is no such setting; {place} there are: {}",
            known.join(", ")
        );
    }
    match message.rsplit_once("expected ") {
        Some((_, expected)) => format!("give {}", said_plainly(expected.trim_end())),
        None => message.trim_end().to_owned(),
    }
}

/// The words between backticks.
fn quoted(message: &str) -> impl Iterator<Item = &str> {
    message.split('`').skip(1).step_by(2)
}

fn said_plainly(expected: &str) -> &str {
    match expected {
        "u16" | "u32" | "u64" | "usize" => "a whole number, not negative",
        "i32" | "i64" => "a whole number",
        "a boolean" => "true or false",
        "a string" | "path string" => "a text",
        "a sequence" => "a list",
        other => other,
    }
}
