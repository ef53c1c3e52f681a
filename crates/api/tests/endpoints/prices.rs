//! Prices: who says what a model costs, set and removed, in force at once and never looking back.

use serde_json::{Value, json};
use tollgate_core::TokenUsage;

use crate::client::Client;

const GPT: &str = "/api/v1/prices/openai/gpt-4o-mini";

/// A body that sets these prices, in nano-dollars per million tokens.
fn rates(input: i64, output: i64) -> Value {
    json!({ "rates": { "input": input, "output": output } })
}

#[tokio::test]
async fn a_tenants_price_wins_over_the_installations_and_that_over_the_bundled_one() {
    let client = Client::start().await;
    let source = async || {
        let price = client.get(GPT).await;
        (price["source"].clone(), price["rates"]["input"].clone())
    };
    assert_eq!(source().await, (json!("bundled"), json!(150_000_000)));
    let all = client.operator("PUT", GPT).json(&rates(7, 8)).send().await;
    assert_eq!(all.json_of(200)["source"], "installation");
    assert_eq!(source().await, (json!("installation"), json!(7)));
    let own = client
        .admin("PUT", GPT)
        .json(&rates(2_500_000_000, 5))
        .send();
    let own = own.await.json_of(200);
    assert_eq!(own["version"], "tenant:2026-11-22T10:00:00Z");
    assert_eq!(own["usd_per_million"]["input"], "2.500000000");
    assert_eq!(source().await, (json!("tenant"), json!(2_500_000_000_i64)));
    // Another tenant pays what the operator set.
    let theirs = client.ask("GET", GPT).key(&client.stranger).send().await;
    assert_eq!(theirs.json_of(200)["source"], "installation");
    let remove = || client.admin("DELETE", GPT).send();
    assert_eq!(remove().await.status, 204);
    remove().await.problem(404, "not_found");
    assert_eq!(source().await.0, "installation");
    assert_eq!(client.operator("DELETE", GPT).send().await.status, 204);
    assert_eq!(source().await.0, "bundled");
    for tenant in [Some(&client.acme), None] {
        let trail = client.world.audit(tenant).await;
        let of_prices = trail
            .iter()
            .filter(|row| row.target == "price/openai/gpt-4o-mini");
        let actions: Vec<_> = of_prices.map(|row| row.action.as_str()).collect();
        assert_eq!(actions, ["price.remove", "price.set"]);
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_price_says_which_name_it_was_found_by() {
    let client = Client::start().await;
    let put = client.admin("PUT", "/api/v1/prices/custom/Meta%2FLlama-4");
    put.json(&rates(1, 2)).send().await.json_of(200);
    for (path, matched, by) in [
        ("openai/gpt-4o-mini", "gpt-4o-mini", "name"),
        ("openai/gpt-4o-mini-2029-01-01", "gpt-4o-mini", "snapshot"),
        ("custom/meta%2Fllama-4", "meta/llama-4", "name"),
        ("custom/meta%2Fllama-4-20290101", "meta/llama-4", "snapshot"),
    ] {
        let price = client.get(&format!("/api/v1/prices/{path}")).await;
        assert_eq!(
            (&price["matched"], &price["matched_by"]),
            (&json!(matched), &json!(by)),
            "{path}"
        );
    }
    for path in ["openai/no-such-model", "nobody/gpt-4o"] {
        let asked = client.admin("GET", &format!("/api/v1/prices/{path}"));
        asked.send().await.problem(404, "not_found");
    }
    client.world.close().await;
}

#[tokio::test]
async fn the_list_has_every_model_once_and_comes_in_pages() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    for model in ["gpt-4o-mini", "mine"] {
        let put = client.admin("PUT", &format!("/api/v1/prices/openai/{model}"));
        put.json(&rates(1, 2)).send().await.json_of(200);
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/prices?provider_type=openai&limit=20".to_owned();
    loop {
        let page = client.get(&path).await;
        seen.extend(page["data"].as_array().unwrap().clone());
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/prices?provider_type=openai&limit=20&cursor={cursor}");
    }
    let of = |model: &str| {
        let rows = seen.iter().filter(|row| row["model"] == model);
        rows.map(|row| row["source"].as_str().unwrap())
            .collect::<Vec<_>>()
    };
    assert_eq!(of("gpt-4o-mini"), ["tenant"]);
    assert_eq!(of("mine"), ["tenant"]);
    assert_eq!(of("gpt-4o"), ["bundled"]);
    assert_eq!(of("test-model"), ["integration"]);
    assert!(seen.iter().any(|row| row["integration_id"] == json!(id)));
    let found = client.get("/api/v1/prices?search=MIN&model=mine").await;
    assert_eq!(found["data"].as_array().map(Vec::len), Some(1));
    client.world.close().await;
}

#[tokio::test]
async fn a_price_that_cannot_be_meant_is_refused_with_its_place() {
    let client = Client::start().await;
    let tier =
        |bound: u64| json!({ "above_input_tokens": bound, "rates": { "input": 1, "output": 1 } });
    for (body, pointer) in [
        (rates(-1, 0), "/rates/input"),
        (rates(0, 1_000_000_000_000_001), "/rates/output"),
        (
            json!({ "rates": { "input": 1, "output": 1, "request": -1 } }),
            "/rates/request",
        ),
        (
            json!({ "rates": { "input": 1.5, "output": 1 } }),
            "/rates/input",
        ),
        (
            json!({ "rates": { "input": 1, "output": 1, "inputs": 1 } }),
            "/rates/inputs",
        ),
        (
            json!({ "rates": { "input": 1, "output": 1 }, "tiers": [tier(2), tier(1)] }),
            "/tiers",
        ),
        (
            json!({ "rates": { "input": 1, "output": 1 }, "tiers": [tier(1_000_000_001)] }),
            "/tiers",
        ),
    ] {
        let asked = client.admin("PUT", GPT).json(&body).send().await;
        let problem = asked.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer, "{body}");
    }
    let spaced = client.admin("PUT", "/api/v1/prices/openai/a%20b");
    let spaced = spaced.json(&rates(1, 1)).send().await;
    assert_eq!(
        spaced.problem(422, "invalid")["errors"][0]["pointer"],
        "/model"
    );
    assert_eq!(client.get(GPT).await["source"], "bundled");
    client.world.close().await;
}

#[tokio::test]
async fn a_new_price_is_in_force_at_once_and_changes_no_row_that_was_booked() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let config = json!({ "config": { "prices": null } });
    let path = format!("/api/v1/integrations/{id}");
    let unpriced = client.admin("PATCH", &path).json(&config).send().await;
    unpriced.json_of(200);
    let call = || client.world.call(id, TokenUsage::plain(1_000_000, 0));
    // Nobody says what the model costs: without a budget it is booked at nothing, and told.
    assert_eq!(call().await.get(), 0);
    let unknown = client.get("/api/v1/prices/unknown").await;
    let one = &unknown["data"][0];
    assert_eq!(
        (&one["model"], &one["calls"]),
        (&json!("test-model"), &json!(1))
    );
    assert_eq!(
        (&one["tokens_in"], &one["integration_id"]),
        (&json!(1_000_000), &json!(id))
    );
    let budget = json!({ "budget_limit_cents": 100 });
    let limited = client.admin("PATCH", &path).json(&budget).send().await;
    limited.json_of(200);
    let refused = client.world.hold(id, TokenUsage::plain(1, 0)).await;
    assert!(refused.is_err(), "a budget needs a price");
    client.world.app.books_caught_up().await;
    let unknown = client.get("/api/v1/prices/unknown").await;
    assert_eq!(unknown["data"][0]["refused"], 1);

    for price in [5_000, 7_000] {
        client.world.clock.advance_ms(1_000);
        let put = client.admin("PUT", "/api/v1/prices/openai/test-model");
        put.json(&rates(price, 0)).send().await.json_of(200);
        assert_eq!(call().await.get(), price);
    }
    assert_eq!(
        client.get("/api/v1/prices/unknown").await["data"],
        json!([])
    );
    let rows = client.get("/api/v1/telemetry/usage-history").await;
    let costs: Vec<_> = rows["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["cost_usd"])
        .collect();
    assert_eq!(
        costs,
        ["0.000007000", "0.000005000", "0.000000000", "0.000000000"]
    );
    client.world.close().await;
}
