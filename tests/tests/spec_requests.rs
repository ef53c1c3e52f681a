//! The earlier system's cases 18 to 31 and 41: what a request must look like. Where the status is
//! another one, `docs/deviations.md` says why: 422 for a body, 400 for a query or a header.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Answer, Control, Engine, Tenant, World};

async fn create(tenant: &Tenant, change: &Value) -> Answer {
    let mut body = json!({
        "name": "main", "provider_type": "openai", "credential": { "api_key": "sk-simulated" },
    });
    for (name, value) in change.as_object().unwrap() {
        if value.is_null() {
            body.as_object_mut().unwrap().remove(name);
        } else {
            body[name] = value.clone();
        }
    }
    let answer = tenant
        .control
        .send(Method::POST, "/integrations", Some(&body));
    answer.await
}

fn must_tell(answer: &Answer, status: u16, pointer: &str) {
    assert_eq!(answer.status, status, "{}", answer.text());
    let errors = answer.json()["errors"].clone();
    let told = errors.as_array().is_some_and(|errors| {
        let mut places = errors.iter().map(|error| &error["pointer"]);
        places.any(|place| place == pointer)
    });
    assert!(told, "{pointer}: {}", answer.text());
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_18_to_24_an_integration_needs_a_name_a_provider_and_a_credential_that_can_be_ones() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    for (change, pointer) in [
        (json!({ "name": null }), "/name"),                           // 18
        (json!({ "provider_type": null }), "/provider_type"),         // 18
        (json!({ "credential": null }), "/credential"),               // 18
        (json!({ "name": "x".repeat(256) }), "/name"),                // 19
        (json!({ "name": "" }), "/name"),                             // 19
        (json!({ "provider_type": "google" }), "/provider_type"),     // 20
        (json!({ "provider_type": "OPENAI" }), "/provider_type"),     // 20
        (json!({ "budget_limit_cents": -1 }), "/budget_limit_cents"), // 24
        (json!({ "budget_limit_cents": "5" }), "/budget_limit_cents"), // 24
        (json!({ "budget_limit_cents": 1.5 }), "/budget_limit_cents"), // 24
    ] {
        must_tell(&create(&tenant, &change).await, 422, pointer);
    }
    // 21, 22, 23: only references of known schemes, and what was given is not repeated.
    for raw in [
        "sk-canary-1",
        "anthropic-canary-1",
        "az-canary-1",
        "aws_canary_1",
        "",
        " sk-canary-x",
        "AIzacanary",
        "plain-canary",
    ] {
        let change = json!({ "credential": null, "credential_ref": raw });
        let refused = create(&tenant, &change).await;
        must_tell(&refused, 422, "/credential_ref");
        assert!(!refused.text().contains("canary"), "{}", refused.text());
    }
    let longest = create(&tenant, &json!({ "name": "x".repeat(255) })).await;
    assert_eq!(longest.status, 201, "{}", longest.text());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_25_an_update_of_nothing_is_refused() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let made = create(&tenant, &json!({})).await.json();
    let path = format!("/integrations/{}", made["id"].as_str().expect("an id"));
    for body in [
        json!({}),
        json!({ "name": null }),
        json!({ "status": "enabled" }),
    ] {
        let answer = tenant.control.send(Method::PATCH, &path, Some(&body)).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
    }
    assert_eq!(tenant.control.get(&path).await, made);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_26_to_28_a_query_is_refused_with_every_mistake_in_its_order() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let ask = async |query: &str| {
        let path = format!("/integrations?{query}");
        tenant.control.send(Method::GET, &path, None).await
    };
    for (query, places) in [
        ("limit=0", vec!["?limit"]),
        ("limit=201", vec!["?limit"]),
        ("offset=-1", vec!["?offset"]),
        ("zz=1&limit=abc&status=", vec!["?zz", "?limit", "?status"]), // 27
        ("as_of=2026-01-01", vec!["?as_of"]),                         // 28
    ] {
        let answer = ask(query).await;
        assert_eq!(answer.status, 400, "{}", answer.text());
        let errors = answer.json()["errors"].clone();
        let errors = errors.as_array().expect("errors").clone();
        let told: Vec<_> = errors.iter().map(|error| &error["pointer"]).collect();
        assert_eq!(told, places);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_29_and_30_a_report_has_bounds() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = create(&tenant, &json!({})).await.json()["id"].clone();
    let made = json!({ "name": "reporter", "role": "caller" });
    let key = tenant.control.post("/keys", &made).await["key"].clone();
    let caller: Control = tenant.control.with_key(key.as_str().expect("a key"));
    let record = |call_id: String| {
        json!({
            "call_id": call_id, "integration_id": integration, "model": "gpt-4o-mini",
            "tokens_in": 1, "tokens_out": 1,
        })
    };
    let batch = async |count: usize| {
        let records: Vec<_> = (0..count)
            .map(|index| record(format!("call-{index}")))
            .collect();
        let body = json!({ "records": records });
        let path = "/telemetry/llm-usage/batch";
        caller.send(Method::POST, path, Some(&body)).await.status
    };
    assert_eq!(
        (batch(0).await, batch(101).await, batch(100).await),
        (422, 422, 200)
    );
    let with = |name: &str, value: Value| {
        let mut record = record("one".to_owned());
        record[name] = value;
        record
    };
    for (record, pointer) in [
        (record("x".repeat(101)), "/call_id"),
        (with("tokens_in", json!(-1)), "/tokens_in"),
        (with("policy_result", json!("throttled")), "/policy_result"),
    ] {
        let answer = caller
            .send(Method::POST, "/telemetry/llm-usage", Some(&record))
            .await;
        must_tell(&answer, 422, pointer);
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_31_an_operator_names_a_tenant_that_can_be_one() {
    let world = World::on(Engine::Sqlite).await;
    let operator = &world.operator;
    for path in ["/integrations", "/telemetry/usage-summary"] {
        let none = operator.send(Method::GET, path, None).await;
        must_tell(&none, 400, "x-tollgate-tenant");
        let nobody = operator.of_tenant("not a tenant");
        let malformed = nobody.send(Method::GET, path, None).await;
        must_tell(&malformed, 400, "x-tollgate-tenant");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_41_a_list_is_newest_first() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    for name in ["first", "second", "third"] {
        let made = create(&tenant, &json!({ "name": name })).await;
        assert_eq!(made.status, 201, "{}", made.text());
    }
    let listed = tenant.control.list("/integrations").await;
    let names: Vec<_> = listed.iter().map(|one| one["name"].clone()).collect();
    assert_eq!(names, ["third", "second", "first"]);
    world.close().await;
}
