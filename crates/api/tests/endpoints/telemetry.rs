//! Usage: rows, sums and days that agree, today included.

use serde_json::{Value, json};
use tollgate_core::TokenUsage;

use crate::client::Client;

#[tokio::test]
async fn a_settled_call_is_in_the_history_the_sums_and_the_days_at_once() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let used = TokenUsage {
        cached_input: 100,
        ..TokenUsage::plain(1_000, 500)
    };
    client.world.call(id, used).await;
    let history = client.get("/api/v1/telemetry/usage-history").await;
    let row = &history["data"][0];
    assert_eq!(history["next_cursor"], Value::Null);
    assert_eq!(
        (&row["tokens_in"], &row["tokens_out"]),
        (&json!(1_100), &json!(500))
    );
    assert_eq!(
        row["tokens_by_class"],
        json!({ "input": 1_000, "cached_input": 100, "output": 500 })
    );
    assert_eq!(row["cost_usd"], "0.002100000");
    assert_eq!(row["cost_cents"], 0);
    assert_eq!(row["usage_source"], "provider");
    assert_eq!(row["policy_result"], "allowed");
    assert_eq!(row["price_version"], "integration");
    assert_eq!(row["integration_id"], id.to_string());
    assert_eq!(row["created_at"], "2026-11-22T10:00:00Z");
    let sums = client.get("/api/v1/telemetry/usage-summary").await;
    assert_eq!(
        (&sums["from"], &sums["to"]),
        (&json!("2026-11-01"), &json!("2026-11-22"))
    );
    for totals in [&sums, &sums["by_integration"][0]] {
        assert_eq!(totals["total_calls"], 1);
        assert_eq!(totals["total_tokens_in"], 1_100);
        assert_eq!(totals["total_cost_usd"], "0.002100000");
        assert_eq!(totals["blocked_count"], 0);
    }
    assert_eq!(sums["by_integration"][0]["name"], "Production");
    let days = client.get("/api/v1/telemetry/usage-daily").await;
    assert_eq!(days["data"][0]["date"], "2026-11-22");
    assert_eq!(days["data"][0]["total_cost_usd"], "0.002100000");
    client.world.close().await;
}

#[tokio::test]
async fn a_refused_call_is_a_row_that_costs_nothing() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let limits = json!({ "token_limit_month": 100 });
    let path = format!("/api/v1/integrations/{id}");
    client
        .admin("PATCH", &path)
        .json(&limits)
        .send()
        .await
        .json_of(200);
    client
        .world
        .hold(id, TokenUsage::plain(101, 0))
        .await
        .unwrap_err();
    let blocked = client
        .get("/api/v1/telemetry/usage-history?policy_result=blocked")
        .await;
    assert_eq!(blocked["data"][0]["error_code"], "token_limit_exceeded");
    assert_eq!(blocked["data"][0]["cost_usd"], "0.000000000");
    let sums = client.get("/api/v1/telemetry/usage-summary").await;
    assert_eq!(
        (&sums["total_calls"], &sums["blocked_count"]),
        (&json!(1), &json!(1))
    );
    client.world.close().await;
}

#[tokio::test]
async fn the_history_comes_in_pages_and_between_times() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    for tokens in 1..=5 {
        client.world.call(id, TokenUsage::plain(tokens, 0)).await;
        client.world.clock.advance_ms(1_000);
    }
    let tokens = |page: &Value| -> Vec<i64> {
        let rows = page["data"].as_array().unwrap();
        rows.iter()
            .map(|row| row["tokens_in"].as_i64().unwrap())
            .collect()
    };
    let path = "/api/v1/telemetry/usage-history";
    let first = client.get(&format!("{path}?limit=3")).await;
    assert_eq!(tokens(&first), [5, 4, 3]);
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = client.get(&format!("{path}?limit=3&cursor={cursor}")).await;
    assert_eq!(
        (tokens(&second), &second["next_cursor"]),
        (vec![2, 1], &Value::Null)
    );
    for (query, expected) in [
        ("from=2026-11-22T10:00:03Z", vec![5, 4]),
        ("to=2026-11-22T10:00:01Z", vec![1]),
        ("from=2026-11-22&to=2026-11-22", vec![5, 4, 3, 2, 1]),
        ("from=2026-11-23", vec![]),
        ("session_id=none", vec![]),
    ] {
        assert_eq!(
            tokens(&client.get(&format!("{path}?{query}")).await),
            expected,
            "{query}"
        );
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_span_of_days_must_make_sense() {
    let client = Client::start().await;
    for (query, status) in [
        ("from=yesterday", 400),
        ("integration_id=x", 400),
        ("from=2026-11-22&to=2026-11-21", 422),
        ("from=1990-01-01&to=2026-11-21", 422),
        ("from=2026-11-21T23:59:59Z&to=2026-11-22", 200),
        ("to=2026-02-28", 200),
        ("from=2027-01-01", 200),
    ] {
        let path = format!("/api/v1/telemetry/usage-summary?{query}");
        let answer = client.admin("GET", &path).send().await;
        assert_eq!(answer.status, status, "{query}: {}", answer.text);
    }
    let past = client
        .get("/api/v1/telemetry/usage-summary?to=2026-02-28")
        .await;
    assert_eq!(past["from"], "2026-02-01");
    client.world.close().await;
}
