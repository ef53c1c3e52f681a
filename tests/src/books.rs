//! Both sides' books, read from outside: the tables of the ledger, the provider's journal, and how they join.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::Value;

use crate::postgres::Cluster;
use crate::simulator::Line;

const STATEMENT: &str = "SELECT tenant_id, integration_id, call_id, model, provider, tokens_in, tokens_out, cost_cents, \
     cost_nanos, held_nanos, policy_result, error_code, usage_source, tokens_by_class, unit_prices, latency_ms, created_at \
     FROM cus_llm_usage ORDER BY created_at, id";

/// Reads a SQLite file as `sqlite3` of any machine would, one JSON object a line.
const READ_SQLITE: &str = "\
import json, sqlite3, sys
books = sqlite3.connect(f'file:{sys.argv[1]}?mode=ro', uri=True)
books.row_factory = sqlite3.Row
for row in books.execute(sys.argv[2]):
    print(json.dumps(dict(row)))
";

/// A row of the ledger as it is in its table.
#[derive(Debug, Clone, Deserialize)]
pub struct LedgerRow {
    /// Whose call.
    pub tenant_id: String,
    /// Through which integration.
    pub integration_id: String,
    /// The call's id.
    pub call_id: String,
    /// Its model.
    pub model: String,
    /// Its provider.
    pub provider: String,
    /// Input tokens.
    pub tokens_in: u64,
    /// Output tokens.
    pub tokens_out: u64,
    /// Cents posted for it.
    pub cost_cents: i64,
    /// Its exact cost, in nano-dollars.
    pub cost_nanos: i64,
    /// What was held for it, in nano-dollars.
    pub held_nanos: i64,
    /// `allowed`, `warned` or `blocked`.
    pub policy_result: String,
    /// What went wrong.
    pub error_code: Option<String>,
    /// Where its tokens come from.
    pub usage_source: String,
    /// Tokens by class, as JSON in a text or as itself.
    pub tokens_by_class: Value,
    /// The prices that it was charged at.
    pub unit_prices: Value,
    /// How long it took.
    pub latency_ms: Option<i64>,
    /// When it was admitted, in microseconds since 1970.
    pub created_at: i64,
}

impl LedgerRow {
    /// Whether it is of a call that was refused before it left.
    pub fn is_refused(&self) -> bool {
        self.policy_result == "blocked"
    }

    /// The error's code, empty when it has none.
    pub fn error(&self) -> &str {
        self.error_code.as_deref().unwrap_or_default()
    }
}

/// Where the ledger's tables can be read from outside.
#[derive(Debug)]
pub enum Tables<'w> {
    /// A data directory with a SQLite file; the program must not be running.
    Sqlite(PathBuf),
    /// A cluster.
    Postgres(&'w Cluster),
}

impl Tables<'_> {
    /// The rows of a statement.
    pub fn rows(&self, statement: &str) -> Vec<Value> {
        let text = match self {
            Self::Postgres(cluster) => cluster.rows(statement),
            Self::Sqlite(folder) => {
                let mut python = Command::new("python3");
                python
                    .args(["-c", READ_SQLITE])
                    .arg(sqlite_file(folder))
                    .arg(statement);
                let output = python.output().unwrap();
                assert!(
                    output.status.success(),
                    "{}",
                    String::from_utf8_lossy(&output.stderr)
                );
                String::from_utf8(output.stdout).unwrap()
            }
        };
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The whole ledger.
    pub fn ledger(&self) -> Vec<LedgerRow> {
        let rows = self.rows(STATEMENT).into_iter();
        rows.map(|row| serde_json::from_value(row).unwrap())
            .collect()
    }
}

/// The SQLite file of a data directory, known by its first bytes.
fn sqlite_file(folder: &Path) -> PathBuf {
    let entries = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let is_sqlite = |path: &PathBuf| {
        path.is_file() && std::fs::read(path).unwrap().starts_with(b"SQLite format 3")
    };
    let mut files = entries.filter(is_sqlite);
    files
        .next()
        .unwrap_or_else(|| panic!("no SQLite file in {}", folder.display()))
}

/// How the provider's journal and the ledger fit together.
#[derive(Debug, Default)]
pub struct Join {
    /// Billed requests without a row.
    pub missing: Vec<String>,
    /// Calls with several rows.
    pub double: Vec<String>,
    /// Billed requests that name a call twice.
    pub billed_twice: Vec<String>,
    /// Rows without a billed request, refused ones aside, by error code.
    pub unbilled: BTreeMap<String, usize>,
}

impl Join {
    /// Joins them on the call's id.
    pub fn of(lines: &[Line], rows: &[LedgerRow]) -> Self {
        let mut join = Self::default();
        let mut billed = BTreeSet::new();
        for line in lines {
            let id = line.client_request_id.clone().unwrap_or_default();
            if !billed.insert(id.clone()) {
                join.billed_twice.push(id);
            }
        }
        let mut booked = BTreeSet::new();
        for row in rows {
            if !booked.insert(row.call_id.clone()) {
                join.double.push(row.call_id.clone());
            }
            if !row.is_refused() && !billed.contains(&row.call_id) {
                *join.unbilled.entry(row.error().to_owned()).or_default() += 1;
            }
        }
        join.missing = billed.difference(&booked).cloned().collect();
        join
    }

    /// Fails the test unless every billed request has exactly one row.
    pub fn must_be_exact(&self) {
        let lists = [&self.missing, &self.double, &self.billed_twice];
        let examples: Vec<_> = lists.into_iter().flatten().take(5).collect();
        let wrong = lists.map(Vec::len);
        assert_eq!(
            wrong, [0; 3],
            "billed without a row, rows twice, billed twice, such as {examples:?}"
        );
    }
}

/// JSON that one engine keeps as text and the other as itself.
fn json(value: &Value) -> Value {
    value
        .as_str()
        .map_or_else(|| value.clone(), |text| serde_json::from_str(text).unwrap())
}

/// What a row must have cost: its tokens at its own unit prices, rounded half up once, in nano-dollars.
pub fn cost_of(row: &LedgerRow) -> i64 {
    let (tokens, prices) = (json(&row.tokens_by_class), json(&row.unit_prices));
    let price = |names: &[&str]| -> i128 {
        let named = names.iter().find_map(|name| prices[*name].as_i64());
        i128::from(named.unwrap_or_default())
    };
    let classes: [(&str, &[&str]); 8] = [
        ("input", &["input"]),
        ("cached_input", &["cached_input", "input"]),
        ("cache_write", &["cache_write", "input"]),
        (
            "cache_write_hour",
            &["cache_write_hour", "cache_write", "input"],
        ),
        ("audio_input", &["audio_input", "input"]),
        ("output", &["output"]),
        ("reasoning", &["reasoning", "output"]),
        ("audio_output", &["audio_output", "output"]),
    ];
    let millionths: i128 = classes
        .iter()
        .map(|(class, names)| {
            i128::from(tokens[*class].as_u64().unwrap_or_default()) * price(names)
        })
        .sum();
    let cost = (millionths + 500_000) / 1_000_000 + price(&["request"]);
    i64::try_from(cost).unwrap()
}

/// A decimal number of dollars as nano-dollars, exactly.
pub fn nanos_of_usd(usd: &str) -> i64 {
    let (whole, fraction) = usd.split_once('.').unwrap_or((usd, ""));
    assert!(fraction.len() <= 9, "{usd}: finer than a nano-dollar");
    let fraction = format!("{fraction:0<9}");
    whole.parse::<i64>().unwrap() * 1_000_000_000 + fraction.parse::<i64>().unwrap()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dollars_are_read_to_the_nano_dollar() {
        assert_eq!(nanos_of_usd("0.000000001"), 1);
        assert_eq!(nanos_of_usd("12.5"), 12_500_000_000);
        assert_eq!(nanos_of_usd("3"), 3_000_000_000);
    }

    #[test]
    fn a_join_finds_what_is_missing_and_what_is_there_twice() {
        let line = |id: &str| -> Line {
            let text = format!(
                r#"{{"time":"2026-01-01T00:00:00Z","client_request_id":"{id}","model":"m","tokens_in":1,"tokens_out":1,"path":"/"}}"#
            );
            serde_json::from_str(&text).unwrap()
        };
        let row = |id: &str, result: &str, error: Option<&str>| -> LedgerRow {
            serde_json::from_value(serde_json::json!({
                "tenant_id": "t", "integration_id": "i", "call_id": id, "model": "m", "provider": "openai",
                "tokens_in": 1, "tokens_out": 1, "cost_cents": 0, "cost_nanos": 0, "held_nanos": 0,
                "policy_result": result, "error_code": error, "usage_source": "provider",
                "tokens_by_class": "{}", "unit_prices": null, "latency_ms": 1, "created_at": 0,
            }))
            .unwrap()
        };
        let rows = [
            row("a", "allowed", None),
            row("b", "allowed", None),
            row("b", "allowed", None),
            row("refused", "blocked", Some("budget_exceeded")),
            row("lost", "allowed", Some("interrupted")),
        ];
        let join = Join::of(&[line("a"), line("b"), line("c"), line("a")], &rows);
        assert_eq!(join.missing, ["c"]);
        assert_eq!(join.double, ["b"]);
        assert_eq!(join.billed_twice, ["a"]);
        assert_eq!(join.unbilled, [("interrupted".to_owned(), 1)].into());
    }
}
