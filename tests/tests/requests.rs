//! Requests: where they are routed, which are refused as they stand, and which cost nothing.

use serde_json::json;
use tollgate_tests::{
    Answer, CHAT, Engine, Plan, World, call, call_with, message, must_refuse, nanos_of_usd,
};

#[tokio::test(flavor = "multi_thread")]
async fn a_model_without_a_price_is_refused_where_a_budget_is_set() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 100})).await;
    let mut unknown = call();
    unknown["model"] = json!("a-model-nobody-sells");
    must_refuse(&tenant.caller.chat(&unknown).await, 403, "price_unknown");
    let prices = json!({"config": {"prices": {"a-model-nobody-sells": {"input": 1_000_000, "output": 2_000_000}}}});
    integration.update(&prices).await;
    let answer = tenant.caller.chat(&unknown).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    // 3 × 1 + 5 × 2 nano-dollars.
    assert_eq!(nanos_of_usd(answer.header("x-tollgate-cost-usd")), 13);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_is_routed_by_key_header_prefix_and_face_and_never_to_another_tenant() {
    let world = World::on(Engine::Sqlite).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    let first = tenant.integration("openai", "first", &json!({})).await;
    let theirs = other.integration("openai", "theirs", &json!({})).await;
    assert_eq!(
        tenant.caller.chat(&call()).await.status,
        200,
        "the only one of its face"
    );
    let second = tenant.integration("openai", "second", &json!({})).await;
    assert_eq!(
        tenant.caller.chat(&call()).await.status,
        400,
        "two of them, and none is named"
    );
    let through = async |answer: Answer, id: &str| {
        assert_eq!(answer.status, 200, "{}", answer.text());
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(
            (row["integration_id"].as_str(), &row["model"]),
            (Some(id), &json!("gpt-4o-mini")),
            "{row}"
        );
    };
    let named = |name: &str| call_with("model", &json!(format!("{name}/gpt-4o-mini")));
    through(tenant.caller.chat(&named("second")).await, &second.id).await;
    for name in [first.id.as_str(), "first"] {
        let header = [("x-tollgate-integration", name)];
        through(
            tenant.caller.post(CHAT, &header, call().to_string()).await,
            &first.id,
        )
        .await;
    }
    let bound = json!({"name": "bound", "role": "caller", "integration_id": second.id});
    let key = tenant.control.post("/keys", &bound).await;
    let bound = tenant.caller.with_key(key["key"].as_str().unwrap());
    through(bound.chat(&call()).await, &second.id).await;
    let elsewhere = [("x-tollgate-integration", "first")];
    assert_eq!(
        bound
            .post(CHAT, &elsewhere, call().to_string())
            .await
            .status,
        403
    );
    for name in ["theirs", theirs.id.as_str(), "nobody"] {
        let header = [("x-tollgate-integration", name)];
        let answer = tenant.caller.post(CHAT, &header, call().to_string()).await;
        must_refuse(&answer, 404, "integration_not_found");
    }
    assert_eq!(other.history().await.len(), 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_two_readers_could_read_differently_is_refused() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for (body, code) in [
        (
            r#"{"model":"gpt-4o-mini","model":"gpt-4o","messages":[]}"#,
            "duplicate_parameter",
        ),
        (
            r#"{"model":"gpt-4o-mini","m\u006fdel":"gpt-4o","messages":[]}"#,
            "duplicate_parameter",
        ),
        (
            r#"{"model":"gpt-4o-mini","stream":true,"stream":false,"messages":[]}"#,
            "duplicate_parameter",
        ),
        (
            r#"{"model":"gpt-4o-mini","max_tokens":1,"max_tokens":9999,"messages":[]}"#,
            "duplicate_parameter",
        ),
        (r#"{"model":"gpt-4o-mini","#, "invalid_json"),
        ("[]", "invalid_json"),
        (r#"{"messages":[]}"#, "missing_parameter"),
        (r#"{"model":7,"messages":[]}"#, "invalid_parameter"),
        (
            r#"{"model":"gpt-4o-mini","max_tokens":-1,"messages":[]}"#,
            "invalid_parameter",
        ),
        (
            r#"{"model":"gpt-4o-mini","max_tokens":18446744073709551615,"messages":[]}"#,
            "invalid_parameter",
        ),
        (
            r#"{"model":"gpt-4o-mini","n":1000000000,"messages":[]}"#,
            "invalid_parameter",
        ),
    ] {
        must_refuse(&tenant.caller.post(CHAT, &[], body).await, 400, code);
    }
    let deep = format!(
        r#"{{"model":"gpt-4o-mini","messages":[],"x":{}{}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let answer = tenant.caller.post(CHAT, &[], deep).await;
    assert!(answer.status < 500, "{}", answer.text());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_refused() {
    let plan = Plan::on(Engine::Sqlite).with("TOLLGATE__GATEWAY__BODY_BYTES_MAX", "10000");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let filler = "word ".repeat(2_500);
    let large = call_with("messages", &json!([{"role": "user", "content": filler}]));
    must_refuse(&tenant.caller.chat(&large).await, 413, "request_too_large");
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_id_serves_once() {
    let mut world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let id = [("x-tollgate-call-id", "order-17")];
    assert_eq!(
        tenant
            .caller
            .post(CHAT, &id, call().to_string())
            .await
            .status,
        200
    );
    let again = tenant.caller.post(CHAT, &id, call().to_string()).await;
    must_refuse(&again, 409, "call_id_taken");
    assert_eq!(again.header("x-should-retry"), "false");
    let other = world.tenant().await;
    other.openai(&json!({})).await;
    assert_eq!(
        other
            .caller
            .post(CHAT, &id, call().to_string())
            .await
            .status,
        200,
        "ids are a tenant's own"
    );
    world.kill_and_restart().await;
    let after = world
        .again(&tenant)
        .caller
        .post(CHAT, &id, call().to_string())
        .await;
    must_refuse(&after, 409, "call_id_taken");
    let long = "x".repeat(101);
    let tenant = world.again(&tenant);
    let refused = tenant
        .caller
        .post(CHAT, &[("x-tollgate-call-id", &long)], call().to_string())
        .await;
    must_refuse(&refused, 400, "invalid_header");
    // The provider was asked once by each tenant: their ids are equal, and that is all that a join could tell.
    assert_eq!(world.simulator.billed(), 2);
    world.holds_are_gone().await;
    world.books_verify().await;
    world.stop_gateway().await;
    assert_eq!(
        world
            .ledger()
            .iter()
            .filter(|row| row.call_id == "order-17")
            .count(),
        2
    );
    world.end_unjoined().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unknown_paths_are_404_and_models_are_free() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"budget_limit_cents": 1})).await;
    tenant.anthropic(&json!({})).await;
    let answer = tenant.caller.get("/v1/nothing").await;
    must_refuse(&answer, 404, "unknown_path");
    let models = tenant.caller.get("/v1/models").await;
    assert_eq!(models.status, 200, "{}", models.text());
    assert!(
        models.json()["data"]
            .as_array()
            .unwrap()
            .iter()
            .any(|model| model["id"] == "gpt-4o-mini")
    );
    let model = tenant.caller.get("/v1/models/gpt-4o-mini").await;
    assert_eq!(
        (model.status, &model.json()["id"]),
        (200, &json!("gpt-4o-mini"))
    );
    let counted = tenant
        .caller
        .post("/v1/messages/count_tokens", &[], message().to_string())
        .await;
    assert_eq!(
        (counted.status, &counted.json()["input_tokens"]),
        (200, &json!(3)),
        "{}",
        counted.text()
    );
    let rows = world.close().await;
    assert!(
        rows.is_empty(),
        "what no provider bills has no row: {rows:?}"
    );
}
