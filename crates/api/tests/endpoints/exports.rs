//! Usage as a file: whole, in order, and equal to the sums.

use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::{IntegrationId, TokenUsage};

use crate::client::Client;

const EXPORT: &str = "/api/v1/telemetry/usage-export";

async fn report(client: &Client, record: &Value) {
    let answer = client
        .ask("POST", "/api/v1/telemetry/llm-usage")
        .key(&client.caller)
        .json(record)
        .send()
        .await;
    answer.json_of(201);
}

/// The cells of CSV text, by RFC 4180.
fn cells(text: &str) -> Vec<Vec<String>> {
    let (mut rows, mut row, mut cell) = (Vec::new(), Vec::new(), String::new());
    let (mut is_quoted, mut chars) = (false, text.chars().peekable());
    while let Some(char) = chars.next() {
        match (is_quoted, char) {
            (true, '"') if chars.peek() == Some(&'"') => cell.extend(chars.next()),
            (_, '"') => is_quoted = !is_quoted,
            (false, ',') => row.push(std::mem::take(&mut cell)),
            (false, '\r') => {}
            (false, '\n') => {
                row.push(std::mem::take(&mut cell));
                rows.push(std::mem::take(&mut row));
            }
            (_, char) => cell.push(char),
        }
    }
    assert!(
        row.is_empty() && cell.is_empty(),
        "the file ends in a line end"
    );
    rows
}

/// A CSV file: the names of its columns, and its rows.
struct Table {
    names: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn of(text: &str) -> Self {
        let mut rows = cells(text);
        let names = rows.remove(0);
        assert!(rows.iter().all(|row| row.len() == names.len()));
        Self { names, rows }
    }

    fn column(&self, name: &str) -> Vec<&str> {
        let place = self.names.iter().position(|column| column == name).unwrap();
        self.rows.iter().map(|row| row[place].as_str()).collect()
    }

    fn sum(&self, name: &str) -> i64 {
        let cells = self.column(name).into_iter();
        cells.map(|cell| cell.parse::<i64>().unwrap()).sum()
    }
}

/// Some calls of this month, and one of the month before.
async fn some_calls(client: &Client, id: IntegrationId) {
    for tokens in 1..=5_u64 {
        client.world.clock.advance_ms(1_000);
        client.world.call(id, TokenUsage::plain(tokens, 1)).await;
    }
    let late = json!({
        "integration_id": id.to_string(), "call_id": "october", "model": MODEL, "tokens_in": 9, "tokens_out": 9,
        "created_at": "2026-10-31T23:59:59Z",
    });
    report(client, &late).await;
}

#[tokio::test]
async fn an_export_has_every_call_oldest_first_and_its_sums_are_the_summarys() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    some_calls(&client, id).await;
    let answer = client.admin("GET", EXPORT).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    assert_eq!(
        answer.headers["content-type"],
        "text/csv; charset=utf-8; header=present"
    );
    assert_eq!(
        answer.headers["content-disposition"],
        "attachment; filename=\"usage-2026-11-01-2026-11-22.csv\""
    );
    let table = Table::of(&answer.text);
    assert_eq!(table.column("tokens_in"), ["1", "2", "3", "4", "5"]);
    assert!(table.column("created_at").is_sorted());
    let sums = client
        .get("/api/v1/telemetry/usage-summary?group_by=model")
        .await;
    assert_eq!(sums["total_calls"], table.rows.len());
    assert_eq!(sums["total_tokens_in"], table.sum("tokens_in"));
    assert_eq!(sums["total_cost_cents"], table.sum("cost_cents"));
    let model = &sums["by_model"][0];
    assert_eq!(
        (&model["model"], &model["unpriced_calls"]),
        (&json!(MODEL), &json!(0))
    );
    for same in [
        "total_calls",
        "total_tokens_in",
        "total_cost_usd",
        "error_count",
        "avg_latency_ms",
    ] {
        assert_eq!(model[same], sums[same], "{same}");
    }
    client.world.close().await;
}

#[tokio::test]
async fn what_a_caller_wrote_is_a_text_in_any_spreadsheet() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let odd = json!({
        "integration_id": id.to_string(), "call_id": "=cmd", "model": MODEL, "tokens_in": 2, "tokens_out": 0,
        "tokens_by_class": { "input": 1, "cached_input": 1 }, "cost_usd": "0.5", "session_id": "@s",
        "error_code": "odd,\"one\"", "error_message": "-two\r\nlines", "extra_data": { "note": "a,b" },
    });
    report(&client, &odd).await;
    let answer = client.admin("GET", EXPORT).send().await;
    let table = Table::of(&answer.text);
    for (name, value) in [
        ("created_at", "2026-11-22T10:00:00Z"),
        ("call_id", "'=cmd"),
        ("session_id", "'@s"),
        ("error_code", "odd,\"one\""),
        ("error_message", "'-two\r\nlines"),
        ("origin", "telemetry"),
        ("tokens_input", "1"),
        ("tokens_cached_input", "1"),
        ("client_cost_usd", "0.500000000"),
        ("extra_data", "{\"note\":\"a,b\"}"),
    ] {
        assert_eq!(table.column(name), [value], "{name}");
    }
    client.world.close().await;
}

#[tokio::test]
async fn lines_of_an_integration_are_those_of_its_history() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let other = client.world.integration(&client.acme, "Other").await;
    some_calls(&client, id).await;
    client.world.call(other, TokenUsage::plain(7, 1)).await;
    let lines = client.admin(
        "GET",
        &format!("{EXPORT}?format=jsonl&integration_id={other}"),
    );
    let lines = lines.send().await;
    assert_eq!(lines.headers["content-type"], "application/jsonl");
    let parsed: Vec<Value> = lines
        .text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(parsed.len(), 1);
    let history = format!("/api/v1/telemetry/usage-history?integration_id={other}");
    assert_eq!(parsed[0], client.get(&history).await["data"][0]);
    client.world.close().await;
}

#[tokio::test]
async fn an_export_of_nothing_is_a_header_and_an_unfit_one_is_refused() {
    let client = Client::start().await;
    let empty = client.admin("GET", EXPORT).send().await;
    assert_eq!((empty.status, cells(&empty.text).len()), (200, 1));
    let none = client
        .admin("GET", &format!("{EXPORT}?format=jsonl"))
        .send()
        .await;
    assert_eq!((none.status, none.text.as_str()), (200, ""));
    for (query, status) in [
        ("format=xlsx", 400),
        ("from=2026-11-22&to=2026-11-21", 422),
        ("fron=2026-11-22", 400),
    ] {
        let answer = client
            .admin("GET", &format!("{EXPORT}?{query}"))
            .send()
            .await;
        assert_eq!(answer.status, status, "{query}");
    }
    client.world.close().await;
}
