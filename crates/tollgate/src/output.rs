//! How the program speaks and ends: data on standard output, messages on standard error, and one
//! exit code for each kind of ending.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

use comfy_table::{CellAlignment, Table, presets};
use serde_json::Value;

/// Members that stand before the others on a card.
const FIRST: [&str; 5] = ["id", "key", "name", "status", "exact"];

/// How a run of the program ended; the numbers are part of its interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It did what it was asked.
    Done = 0,
    /// It could not, and no other code says why.
    Failure = 1,
    /// It was asked in a way that it does not understand, or the settings are wrong.
    Usage = 2,
    /// There is no such thing, or none that the key may know of.
    NotFound = 3,
    /// There is no key, or it may not do this.
    Denied = 4,
    /// It clashes with what is there.
    Conflict = 5,
    /// A limit is reached.
    Limit = 6,
    /// A server or the store cannot be reached.
    Unreachable = 7,
    /// A check found something wrong.
    CheckFailed = 8,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why the program ends without having done what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The exit code.
    pub exit: Exit,
    /// What happened, why, and what to do; empty when all of it is said already.
    pub message: String,
}

impl Failure {
    /// A failure with its code and its message.
    pub fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }

    /// A failure that no other code describes.
    pub fn plain(message: impl fmt::Display) -> Self {
        Self::new(Exit::Failure, message.to_string())
    }

    /// A failure of using the program.
    pub fn usage(message: impl fmt::Display) -> Self {
        Self::new(Exit::Usage, message.to_string())
    }

    /// A check that found what it looked for; what it found is printed already.
    pub const fn check() -> Self {
        Self {
            exit: Exit::CheckFailed,
            message: String::new(),
        }
    }

    /// The same failure, told with another code.
    #[must_use]
    pub fn with(self, exit: Exit) -> Self {
        Self { exit, ..self }
    }

    /// Says what was being done to which file when reading or writing failed.
    pub fn file(doing: &str, path: &std::path::Path, error: &io::Error) -> Self {
        Self::plain(format_args!("cannot {doing} {}: {error}", path.display()))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::plain(format_args!("cannot read or write: {error}"))
    }
}

/// Writes lines to standard output. A reader that has gone away, such as `head`, is no failure.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let line_end = if text.ends_with('\n') { "" } else { "\n" };
    let written = [text, line_end]
        .iter()
        .try_for_each(|part| out.write_all(part.as_bytes()));
    let written = written.and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Writes a message to standard error.
pub fn say(text: impl fmt::Display) {
    // Nobody can be told that standard error is closed.
    drop(writeln!(io::stderr().lock(), "{text}"));
}

/// A column of a table: its heading, where its value stands in a row, and how it is aligned.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    heading: &'static str,
    pointer: &'static str,
    alignment: CellAlignment,
}

impl Column {
    /// A column of text, at a JSON pointer of each row.
    #[must_use]
    pub const fn text(heading: &'static str, pointer: &'static str) -> Self {
        Self {
            heading,
            pointer,
            alignment: CellAlignment::Left,
        }
    }

    /// A column of numbers, at a JSON pointer of each row.
    #[must_use]
    pub const fn number(heading: &'static str, pointer: &'static str) -> Self {
        Self {
            heading,
            pointer,
            alignment: CellAlignment::Right,
        }
    }
}

/// Rows as a table without borders: the same on a terminal and in a pipe.
#[must_use]
pub fn table(columns: &[Column], rows: &[Value]) -> String {
    let mut table = plain_table();
    table.set_header(columns.iter().map(|column| column.heading));
    for row in rows {
        table.add_row(
            columns
                .iter()
                .map(|column| cell(row.pointer(column.pointer))),
        );
    }
    for (place, column) in columns.iter().enumerate() {
        if let Some(shown) = table.column_mut(place) {
            shown.set_cell_alignment(column.alignment);
        }
    }
    trimmed(&table)
}

/// One object as lines of a name and a value; what it nests is written `outer.inner`.
#[must_use]
pub fn card(object: &Value) -> String {
    let mut table = plain_table();
    let mut lines = flat("", object);
    // What a reader looks for first comes first; the rest keeps its order.
    lines.sort_by_key(|(name, _)| {
        FIRST
            .iter()
            .position(|first| first == name)
            .unwrap_or(FIRST.len())
    });
    for (name, value) in lines {
        table.add_row([name, value]);
    }
    trimmed(&table)
}

/// A table for lines that are put together elsewhere.
#[must_use]
pub fn plain_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING);
    table
}

/// A table as text, without the spaces that fill its lines.
#[must_use]
pub fn trimmed(table: &Table) -> String {
    let mut text = String::new();
    for line in table.lines() {
        let line = line.strip_prefix(' ').unwrap_or(&line);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

fn flat(prefix: &str, value: &Value) -> Vec<(String, String)> {
    let Some(members) = value.as_object().filter(|members| !members.is_empty()) else {
        return vec![(prefix.to_owned(), cell(Some(value)))];
    };
    let below = members.iter().flat_map(|(name, value)| {
        let name = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        flat(&name, value)
    });
    below.collect()
}

/// A value as it stands in a cell; control characters, which a name may not have but a broken
/// server may send, are shown and never obeyed.
fn cell(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) if text.chars().any(char::is_control) => {
            text.escape_default().to_string()
        }
        Some(Value::String(text)) => text.clone(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_table_has_no_borders_and_aligns_numbers_right() {
        let columns = [
            Column::text("NAME", "/name"),
            Column::number("LIMIT", "/limits/cents"),
        ];
        let rows = [
            json!({"name": "openai", "limits": {"cents": 5}}),
            json!({"name": "a", "limits": {"cents": 12_000}}),
            json!({"name": "none"}),
        ];
        insta::assert_snapshot!(table(&columns, &rows), @r"
        NAME    LIMIT
        openai      5
        a       12000
        none        -
        ");
    }

    #[test]
    fn a_card_names_what_is_nested() {
        let object =
            json!({"id": "t-1", "budget": {"limit_cents": 10, "used_usd": "0.1"}, "at": null});
        insta::assert_snapshot!(card(&object), @r"
        id                  t-1
        at                  -
        budget.limit_cents  10
        budget.used_usd     0.1
        ");
    }

    #[test]
    fn a_terminal_never_obeys_what_a_server_sent() {
        assert!(!card(&json!({"name": "\u{1b}[2J"})).contains('\u{1b}'));
    }

    #[test]
    fn the_exit_codes_are_as_documented() {
        let codes = [
            Exit::Done,
            Exit::Failure,
            Exit::Usage,
            Exit::NotFound,
            Exit::Denied,
            Exit::Conflict,
            Exit::Limit,
            Exit::Unreachable,
            Exit::CheckFailed,
        ];
        assert_eq!(codes.map(|exit| exit as u8), [0, 1, 2, 3, 4, 5, 6, 7, 8]);
    }
}
