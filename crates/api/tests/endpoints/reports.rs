//! Reported usage: each record has its own fate, a retry changes nothing, and the sums hold.

use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::TokenUsage;

use crate::client::{Answer, Client};

const ONE: &str = "/api/v1/telemetry/llm-usage";
const BATCH: &str = "/api/v1/telemetry/llm-usage/batch";

fn record(integration: impl std::fmt::Display, call_id: &str) -> Value {
    json!({
        "integration_id": integration.to_string(), "call_id": call_id, "model": MODEL,
        "tokens_in": 1_000, "tokens_out": 500,
    })
}

fn with(mut record: Value, more: &Value) -> Value {
    for (name, value) in more.as_object().unwrap() {
        record[name] = value.clone();
    }
    record
}

async fn post(client: &Client, path: &str, body: &Value) -> Answer {
    client
        .ask("POST", path)
        .key(&client.caller)
        .json(body)
        .send()
        .await
}

async fn sums(client: &Client) -> Value {
    client.get("/api/v1/telemetry/usage-summary").await
}

/// The words of a batch's results.
fn words(batch: &Value) -> Vec<&str> {
    let results = batch["results"].as_array().unwrap();
    results
        .iter()
        .map(|one| one["result"].as_str().unwrap())
        .collect()
}

#[tokio::test]
async fn a_report_is_booked_once_and_a_retry_a_minute_later_says_so() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let mine = with(
        record(id, "c-1"),
        &json!({ "cost_usd": "9.5", "latency_ms": 120, "session_id": "s", "extra_data": { "b": 1, "a": [2] } }),
    );
    let first = post(&client, ONE, &mine).await.json_of(201);
    assert_eq!(first["result"], "accepted");
    assert_eq!(first["cost_usd"], "0.002000000", "ours, not the client's");
    assert_eq!(first["price_version"], "integration");
    client.world.clock.advance_ms(60_000);
    let again = post(&client, ONE, &mine).await.json_of(200);
    assert_eq!(again["result"], "duplicate");
    for same in ["id", "cost_usd", "cost_cents", "created_at", "call_id"] {
        assert_eq!(again[same], first[same], "{same}");
    }
    let other = with(mine, &json!({ "tokens_in": 1_001 }));
    post(&client, ONE, &other)
        .await
        .problem(409, "call_id_conflict");
    let history = client
        .get("/api/v1/telemetry/usage-history?origin=telemetry&call_id=c-1")
        .await;
    let row = &history["data"][0];
    assert_eq!(
        (&row["id"], &row["origin"]),
        (&first["id"], &json!("telemetry"))
    );
    assert_eq!(row["client_cost_usd"], "9.500000000");
    assert_eq!(row["extra_data"], json!({ "a": [2], "b": 1 }));
    assert_eq!(row["created_at"], "2026-11-22T10:00:00Z");
    assert_eq!(sums(&client).await["total_calls"], 1);
    client.world.close().await;
}

#[tokio::test]
async fn a_batch_tells_the_fate_of_each_record_and_the_books_verify() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let globex = "globex".parse().unwrap();
    let foreign = client.world.integration(&globex, "Theirs").await;
    post(&client, ONE, &record(id, "old")).await.json_of(201);
    let batch = json!({ "records": [
        record(id, "old"),
        record(id, "new"),
        record(id, "new"),
        record(foreign, "foreign"),
        with(record(id, "negative"), &json!({ "tokens_in": -1 })),
        record(id, "last"),
    ] });
    let told = post(&client, BATCH, &batch).await.json_of(207);
    assert_eq!(
        words(&told),
        [
            "duplicate",
            "accepted",
            "duplicate",
            "rejected",
            "rejected",
            "accepted"
        ]
    );
    let counts = ["accepted", "duplicates", "conflicts", "rejected", "total"];
    assert_eq!(
        counts.map(|name| told[name].as_i64().unwrap()),
        [2, 2, 0, 2, 6]
    );
    let results = &told["results"];
    assert_eq!(results[3]["code"], "integration_not_found");
    assert_eq!(results[3]["pointer"], "/records/3/integration_id");
    assert_eq!(results[4]["pointer"], "/records/4/tokens_in");
    assert_eq!(results[4]["call_id"], "negative");
    assert_eq!(results[5]["index"], 5);
    let again = post(&client, BATCH, &json!({ "records": [record(id, "new")] })).await;
    assert_eq!(words(&again.json_of(200)), ["duplicate"]);
    assert_eq!(sums(&client).await["total_calls"], 3);
    client.world.close().await;
}

#[tokio::test]
async fn a_record_that_is_no_record_spoils_no_other() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let batch = json!({ "records": [
        7, null, [], "c", {}, record(id, "good"),
        with(record(id, "odd"), &json!({ "tokens": 5 })),
        with(record(id, "odd"), &json!({ "policy_result": "throttled" })),
        with(record(id, "odd"), &json!({ "tokens_out": 1.5 })),
        record(id, &"x".repeat(101)),
    ] });
    let told = post(&client, BATCH, &batch).await.json_of(207);
    assert_eq!(
        (&told["accepted"], &told["rejected"]),
        (&json!(1), &json!(9))
    );
    let results = &told["results"];
    assert_eq!(results[5]["result"], "accepted");
    assert_eq!(results[6]["pointer"], "/records/6/tokens");
    assert_eq!(results[7]["pointer"], "/records/7/policy_result");
    assert_eq!(results[8]["pointer"], "/records/8/tokens_out");
    assert_eq!(results[9]["pointer"], "/records/9/call_id");
    for size in [0, 101] {
        let records: Vec<_> = (0..size).map(|n| record(id, &n.to_string())).collect();
        let refused = post(&client, BATCH, &json!({ "records": records })).await;
        let problem = refused.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/records");
    }
    let records: Vec<_> = (0..100).map(|n| record(id, &n.to_string())).collect();
    let whole = post(&client, BATCH, &json!({ "records": records })).await;
    assert_eq!(whole.json_of(200)["accepted"], 100);
    client.world.close().await;
}

#[tokio::test]
async fn a_member_that_stands_twice_is_refused() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let text = record(id, "c")
        .to_string()
        .replacen('{', "{\"tokens_in\":1,", 1);
    for (path, body) in [
        (ONE, text.clone()),
        (BATCH, format!("{{\"records\":[{text}]}}")),
    ] {
        let answer = client
            .ask("POST", path)
            .key(&client.caller)
            .header("content-type", "application/json")
            .text(body)
            .send()
            .await;
        assert!([422, 207].contains(&answer.status), "{}", answer.text);
        assert!(answer.text.contains("duplicate field"), "{}", answer.text);
    }
    client.world.close().await;
}

#[tokio::test]
async fn each_field_has_its_bounds() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let table = [
        (json!({ "call_id": "x".repeat(101) }), "/call_id"),
        (json!({ "call_id": "" }), "/call_id"),
        (json!({ "tokens_in": -1 }), "/tokens_in"),
        (json!({ "tokens_in": "5" }), "/tokens_in"),
        (
            json!({ "tokens_in": 9_007_199_254_740_992_u64 }),
            "/tokens_in",
        ),
        (json!({ "policy_result": "throttled" }), "/policy_result"),
        (json!({ "policy_result": "blocked" }), "/policy_result"),
        (json!({ "model": "" }), "/model"),
        (json!({ "provider": "anthropic" }), "/provider"),
        (json!({ "provider": "google" }), "/provider"),
        (json!({ "cost_cents": -1 }), "/cost_cents"),
        (json!({ "cost_usd": 1.5 }), "/cost_usd"),
        (
            json!({ "cost_usd": "1.5", "cost_cents": 150 }),
            "/cost_cents",
        ),
        (json!({ "latency_ms": -1 }), "/latency_ms"),
        (json!({ "error_code": "" }), "/error_code"),
        (json!({ "extra_data": [] }), "/extra_data"),
        (
            json!({ "extra_data": { "a": "x".repeat(9_000) } }),
            "/extra_data",
        ),
        (json!({ "created_at": "yesterday" }), "/created_at"),
        (
            json!({ "tokens_by_class": { "input": 1 } }),
            "/tokens_by_class",
        ),
        (
            json!({ "tokens_by_class": { "inputs": 1 } }),
            "/tokens_by_class/inputs",
        ),
        (json!({ "usage_source": "guessed" }), "/usage_source"),
        (json!({ "surprise": 1 }), "/surprise"),
        (json!({ "integration_id": null }), "/integration_id"),
        (json!({ "integration_id": "x" }), "/integration_id"),
    ];
    for (more, pointer) in table {
        let refused = post(&client, ONE, &with(record(id, "c"), &more)).await;
        assert_eq!(refused.status, 422, "{more}: {}", refused.text);
        assert_eq!(refused.json["errors"][0]["pointer"], pointer, "{more}");
    }
    assert_eq!(sums(&client).await["total_calls"], 0);
    client.world.close().await;
}

#[tokio::test]
async fn late_usage_belongs_to_its_own_day_and_month() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let late = with(
        record(id, "late"),
        &json!({ "created_at": "2026-10-31T23:59:59+00:00" }),
    );
    let told = post(&client, ONE, &late).await.json_of(201);
    assert_eq!(told["created_at"], "2026-10-31T23:59:59Z");
    let october = client
        .get("/api/v1/telemetry/usage-daily?from=2026-10-01&to=2026-10-31")
        .await;
    assert_eq!(october["data"][0]["date"], "2026-10-31");
    assert_eq!(sums(&client).await["total_calls"], 0, "not this month's");
    for (at, status) in [
        ("2026-10-18T10:00:00Z", 201),
        ("2026-10-18T09:59:59Z", 422),
        ("2026-11-22T10:05:00Z", 201),
        ("2026-11-22T10:05:01Z", 422),
    ] {
        let answer = post(
            &client,
            ONE,
            &with(record(id, at), &json!({ "created_at": at })),
        )
        .await;
        assert_eq!(answer.status, status, "{at}: {}", answer.text);
        if status == 422 {
            let problem = answer.problem(422, "usage_out_of_time");
            assert_eq!(problem["errors"][0]["pointer"], "/created_at");
        }
    }
    client.world.close().await;
}

#[tokio::test]
async fn reported_spending_counts_against_the_budget_at_once() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}");
    let limits = json!({ "token_limit_month": 2_000 });
    let changed = client.admin("PATCH", &path).json(&limits).send().await;
    changed.json_of(200);
    // The gate has heard of its month, and has drawn all that is left.
    client.world.call(id, TokenUsage::plain(100, 0)).await;
    post(&client, ONE, &record(id, "c")).await.json_of(201);
    post(&client, ONE, &record(id, "c")).await.json_of(200);
    let late = with(
        record(id, "late"),
        &json!({ "created_at": "2026-10-31T10:00:00Z" }),
    );
    post(&client, ONE, &late).await.json_of(201);
    // 100 + 1,500 are used of 2,000.
    client
        .world
        .hold(id, TokenUsage::plain(401, 0))
        .await
        .unwrap_err();
    client
        .world
        .hold(id, TokenUsage::plain(400, 0))
        .await
        .unwrap()
        .release();
    let shown = client.get(&format!("{path}/limits")).await;
    assert_eq!(shown["tokens"]["used"], 1_600);
    client.world.close().await;
}

#[tokio::test]
async fn reported_spending_counts_in_a_month_that_was_not_heard_of_yet() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let limits = json!({ "token_limit_month": 2_000 });
    let path = format!("/api/v1/integrations/{id}");
    let changed = client.admin("PATCH", &path).json(&limits).send().await;
    changed.json_of(200);
    post(&client, ONE, &record(id, "c")).await.json_of(201);
    let refused = client.world.hold(id, TokenUsage::plain(501, 0)).await;
    refused.unwrap_err();
    let fits = client.world.hold(id, TokenUsage::plain(500, 0)).await;
    fits.unwrap().release();
    client.world.close().await;
}

#[tokio::test]
async fn a_model_without_a_price_costs_nothing_and_says_so() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let unknown = with(
        record(id, "c"),
        &json!({ "model": "nobody-knows-it", "cost_cents": 12 }),
    );
    let told = post(&client, ONE, &unknown).await.json_of(201);
    assert_eq!(told["cost_usd"], "0.000000000");
    assert_eq!(told["price_version"], Value::Null);
    let history = client.get("/api/v1/telemetry/usage-history").await;
    assert_eq!(history["data"][0]["price_version"], Value::Null);
    assert_eq!(history["data"][0]["client_cost_usd"], "0.120000000");
    client.world.close().await;
}

#[tokio::test]
async fn an_integration_that_is_disabled_takes_reports_and_a_deleted_one_does_not() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}");
    let disabled = client
        .admin("POST", &format!("{path}/disable"))
        .send()
        .await;
    disabled.json_of(200);
    post(&client, ONE, &record(id, "a")).await.json_of(201);
    assert!(client.admin("DELETE", &path).send().await.status < 300);
    post(&client, ONE, &record(id, "b"))
        .await
        .problem(422, "integration_not_found");
    client.world.close().await;
}

#[tokio::test]
async fn a_call_of_the_gateway_is_not_booked_again_when_it_is_reported() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    client.world.call(id, TokenUsage::plain(10, 5)).await;
    let history = client.get("/api/v1/telemetry/usage-history").await;
    let call_id = history["data"][0]["call_id"].as_str().unwrap();
    let refused = post(&client, ONE, &record(id, call_id)).await;
    let problem = refused.problem(409, "call_id_conflict");
    assert!(problem["detail"].as_str().unwrap().contains("gateway"));
    assert_eq!(sums(&client).await["total_calls"], 1);
    client.world.close().await;
}
