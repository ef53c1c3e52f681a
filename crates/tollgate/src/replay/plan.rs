//! Reading a trace: all of it is checked before anything is sent.

use std::{io, path::Path, time::Duration};

use jiff::{Timestamp, civil, tz::TimeZone};

const TIMESTAMP: &str = "TIMESTAMP";
const CONTEXT_TOKENS: &str = "ContextTokens";
const GENERATED_TOKENS: &str = "GeneratedTokens";

/// More tokens than this in one row are taken for a mistake.
const MAX_TOKENS: u64 = 10_000_000;

/// Why a trace could not be read.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// The file could not be read at all.
    #[error("cannot read {path}: {error}")]
    File {
        /// The file as it was named.
        path: String,
        /// What the system says.
        error: io::Error,
    },
    /// A line is not as it must be.
    #[error("line {line}: {problem}")]
    Line {
        /// The number of the line, from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
}

/// One call of a trace.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// How long after the first call of the trace.
    pub offset: Duration,
    /// Words of the prompt.
    pub tokens_in: u64,
    /// Tokens that the answer is asked to have.
    pub tokens_out: u64,
}

/// The calls of a trace in the order of their times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan(Vec<Row>);

impl Plan {
    /// Read a trace from a CSV file with a header; the first line that is wrong is an error.
    pub fn read(path: &Path) -> Result<Self, PlanError> {
        let text = std::fs::read_to_string(path).map_err(|error| PlanError::File {
            path: path.display().to_string(),
            error,
        })?;
        Self::parse(&text)
    }

    /// Read a trace from the text of such a file.
    pub fn parse(text: &str) -> Result<Self, PlanError> {
        let mut lines = (1..).zip(text.trim_start_matches('\u{feff}').lines());
        let wrong = |line: usize, problem: String| PlanError::Line { line, problem };
        let header = lines
            .next()
            .map(|(_, line)| fields(line))
            .unwrap_or_default();
        let columns = Columns::find(&header).map_err(|problem| wrong(1, problem))?;
        let mut rows = Vec::new();
        for (number, line) in lines.filter(|(_, line)| !line.trim().is_empty()) {
            let row = columns
                .row(&fields(line))
                .map_err(|problem| wrong(number, problem))?;
            rows.push(row);
        }
        rows.sort_by_key(|(time, ..)| *time);
        let Some((first, ..)) = rows.first().copied() else {
            return Err(wrong(1, "there is no row after the header".to_owned()));
        };
        let offset = |time: Timestamp| time.duration_since(first).unsigned_abs();
        Ok(Self(
            rows.into_iter()
                .map(|(time, tokens_in, tokens_out)| Row {
                    offset: offset(time),
                    tokens_in,
                    tokens_out,
                })
                .collect(),
        ))
    }

    /// The calls, at least one, in the order of their times.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }
}

/// Where the columns are in each line.
struct Columns {
    time: usize,
    tokens_in: usize,
    tokens_out: usize,
}

impl Columns {
    fn find(header: &[String]) -> Result<Self, String> {
        let at = |name: &str| {
            let mut places = (0..)
                .zip(header)
                .filter(|(_, column)| column.trim() == name)
                .map(|(at, _)| at);
            match (places.next(), places.next()) {
                (Some(at), None) => Ok(at),
                (Some(_), Some(_)) => Err(format!("the column {name} is there twice")),
                (None, _) => Err(format!(
                    "the header has no column {name}; it needs {TIMESTAMP}, {CONTEXT_TOKENS} and {GENERATED_TOKENS}"
                )),
            }
        };
        Ok(Self {
            time: at(TIMESTAMP)?,
            tokens_in: at(CONTEXT_TOKENS)?,
            tokens_out: at(GENERATED_TOKENS)?,
        })
    }

    fn row(&self, fields: &[String]) -> Result<(Timestamp, u64, u64), String> {
        let field = |at: usize, name: &str| {
            fields
                .get(at)
                .map(|field| field.trim())
                .ok_or_else(|| format!("{name} is missing"))
        };
        let tokens = |at: usize, name: &str| {
            let text = field(at, name)?;
            match text.parse::<u64>() {
                Ok(count) if count <= MAX_TOKENS => Ok(count),
                Ok(count) => Err(format!("{name} is {count}, more than {MAX_TOKENS}")),
                Err(_) => Err(format!("{name} is '{text}', not a number of tokens")),
            }
        };
        let time = field(self.time, TIMESTAMP)?;
        let time = moment(time).ok_or_else(|| {
            format!("{TIMESTAMP} is '{time}', not a time such as 2023-11-16 18:17:03.9799600")
        })?;
        let tokens_in = tokens(self.tokens_in, CONTEXT_TOKENS)?;
        Ok((time, tokens_in, tokens(self.tokens_out, GENERATED_TOKENS)?))
    }
}

/// A time with an offset, or without one in UTC.
fn moment(text: &str) -> Option<Timestamp> {
    text.parse::<Timestamp>().ok().or_else(|| {
        let time: civil::DateTime = text.parse().ok()?;
        Some(time.to_zoned(TimeZone::UTC).ok()?.timestamp())
    })
}

/// The fields of a line; one in quotation marks may have commas, and quotation marks that are doubled.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = line.chars().peekable();
    while let Some(character) = characters.next() {
        let Some(field) = fields.last_mut() else {
            break;
        };
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' if quoted || field.is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            other => field.push(other),
        }
    }
    fields
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_by_name_and_others_ignored() {
        let plan = Plan::parse(
            "\u{feff}GeneratedTokens, note ,ContextTokens,TIMESTAMP\r\n\
             5,\"a, \"\"b\"\"\",30,2023-11-16 18:17:04.5000000\r\n\
             \r\n\
             4,,20,2023-11-16T18:17:03Z\r\n",
        )
        .unwrap();
        let row = |offset_ms, tokens_in, tokens_out| Row {
            offset: Duration::from_millis(offset_ms),
            tokens_in,
            tokens_out,
        };
        assert_eq!(plan.rows(), [row(0, 20, 4), row(1_500, 30, 5)]);
    }

    #[test]
    fn a_wrong_line_is_named_with_what_is_wrong() {
        const HEADER: &str = "TIMESTAMP,ContextTokens,GeneratedTokens\n";
        const GOOD: &str = "2023-11-16 18:17:03,1,2\n";
        for (text, says) in [
            (String::new(), "line 1: the header has no column TIMESTAMP"),
            (HEADER.to_owned(), "line 1: there is no row"),
            (
                "TIMESTAMP,ContextTokens\n".to_owned(),
                "line 1: the header has no column Generated",
            ),
            (
                "TIMESTAMP,TIMESTAMP,ContextTokens,GeneratedTokens".to_owned(),
                "is there twice",
            ),
            (
                format!("{HEADER}{GOOD}2023-11-16 18:17:03,1\n"),
                "line 3: GeneratedTokens is missing",
            ),
            (
                format!("{HEADER}\n{GOOD}soon,1,2\n"),
                "line 4: TIMESTAMP is 'soon'",
            ),
            (
                format!("{HEADER}2023-11-16 18:17:03,-1,2"),
                "line 2: ContextTokens is '-1'",
            ),
            (
                format!("{HEADER}2023-11-16 18:17:03,1,2.5"),
                "line 2: GeneratedTokens is '2.5'",
            ),
            (
                format!("{HEADER}2023-11-16 18:17:03,10000001,2"),
                "more than 10000000",
            ),
        ] {
            let error = Plan::parse(&text).unwrap_err().to_string();
            assert!(error.contains(says), "{text:?}: {error}");
        }
    }
}
