//! Usage as CSV (RFC 4180), safe to open in a spreadsheet.
//!
//! A cell that a caller wrote and that begins like a formula gets an apostrophe before it, which spreadsheets take as the sign
//! of a text. Numbers and our own words are as they are.

use std::borrow::Cow;

use tollgate_core::TokenClass;

use super::usage_history::UsageBody;

/// The columns before those of the token classes.
const FIRST: [&str; 12] = [
    "created_at",
    "id",
    "tenant_id",
    "integration_id",
    "provider",
    "model",
    "call_id",
    "session_id",
    "agent_id",
    "origin",
    "tokens_in",
    "tokens_out",
];

/// The columns after them.
const LAST: [&str; 13] = [
    "cost_usd",
    "cost_cents",
    "client_cost_usd",
    "usage_source",
    "price_version",
    "latency_ms",
    "policy_result",
    "error_code",
    "error_message",
    "settled_at",
    "hold_id",
    "hold_outcome",
    "extra_data",
];

/// The first line: the names of the columns.
pub(crate) fn header() -> String {
    let classes = TokenClass::ALL.map(|class| format!("tokens_{}", class.as_str()));
    let names = FIRST
        .into_iter()
        .map(Cow::Borrowed)
        .chain(classes.into_iter().map(Cow::Owned))
        .chain(LAST.into_iter().map(Cow::Borrowed));
    let names: Vec<_> = names.collect();
    format!("{}\r\n", names.join(","))
}

/// Writes one call as a line.
pub(crate) fn write_row(out: &mut Vec<u8>, row: &UsageBody) {
    let text = |text: &str| quoted(&defused(text));
    let maybe = |value: Option<&str>| value.map(text).unwrap_or_default();
    let mut cells = vec![
        row.created_at.to_string(),
        row.id.clone(),
        text(&row.tenant_id),
        row.integration_id.clone(),
        row.provider.clone(),
        text(&row.model),
        text(&row.call_id),
        maybe(row.session_id.as_deref()),
        maybe(row.agent_id.as_deref()),
        row.origin.to_owned(),
        row.tokens_in.to_string(),
        row.tokens_out.to_string(),
    ];
    cells.extend(TokenClass::ALL.map(|class| {
        let tokens = row.tokens_by_class.get(class.as_str());
        tokens.map_or_else(|| "0".to_owned(), ToString::to_string)
    }));
    let number = |value: Option<i64>| value.map(|value| value.to_string()).unwrap_or_default();
    let extra = row.extra_data.as_ref();
    let extra = extra.map(|extra| serde_json::Value::Object(extra.clone()).to_string());
    cells.extend([
        row.cost_usd.clone(),
        row.cost_cents.to_string(),
        row.client_cost_usd.clone().unwrap_or_default(),
        row.usage_source.to_owned(),
        maybe(row.price_version.as_deref()),
        number(row.latency_ms),
        row.policy_result.to_owned(),
        maybe(row.error_code.as_deref()),
        maybe(row.error_message.as_deref()),
        row.settled_at.to_string(),
        row.hold_id.clone().unwrap_or_default(),
        row.hold_outcome.unwrap_or_default().to_owned(),
        maybe(extra.as_deref()),
    ]);
    out.extend_from_slice(cells.join(",").as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// A text that no spreadsheet takes for a formula.
fn defused(text: &str) -> Cow<'_, str> {
    if text.starts_with(['=', '+', '-', '@', '\t', '\r', '\n']) {
        Cow::Owned(format!("'{text}"))
    } else {
        Cow::Borrowed(text)
    }
}

/// A cell, between quotes where it has to be.
fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\r', '\n']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_quoted_where_it_has_to_be() {
        for (text, cell) in [
            ("plain text", "plain text"),
            ("a,b", "\"a,b\""),
            ("say \"a\"", "\"say \"\"a\"\"\""),
            ("two\r\nlines", "\"two\r\nlines\""),
        ] {
            assert_eq!(quoted(text), cell);
        }
    }

    #[test]
    fn a_cell_that_begins_like_a_formula_is_a_text() {
        for text in ["=1+1", "+1", "-1", "@sum", "\t=1", "\r=1", "\n=1"] {
            assert_eq!(defused(text), format!("'{text}"));
        }
        assert_eq!(defused("a=1"), "a=1");
    }

    #[test]
    fn no_column_stands_twice() {
        let header = header();
        let mut names: Vec<_> = header.trim_end().split(',').collect();
        assert_eq!(
            names.len(),
            FIRST.len() + TokenClass::ALL.len() + LAST.len()
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), header.split(',').count());
    }
}
