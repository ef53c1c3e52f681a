//! What callers see: statuses, codes and headers of every condition that can be reached from outside.

use serde_json::{Value, json};
use tollgate_tests::{Answer, Engine, Plan, World, nanos_of_usd};

const CHAT: &str = "/v1/chat/completions";
const MESSAGES: &str = "/v1/messages";

fn call() -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})
}

fn message() -> Value {
    json!({"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})
}

/// An error of the gateway in OpenAI's dialect, with every member that its SDKs read.
fn must_refuse(answer: &Answer, status: u16, code: &str) {
    let json = answer.json();
    let error = &json["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (status, Some(code)),
        "{}",
        answer.text()
    );
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{error}"
    );
    assert!(error.get("param").is_some(), "{error}");
    assert_eq!(answer.tollgate()["code"], code, "{json}");
    assert_eq!(answer.header("x-tollgate-origin"), "gateway");
    must_have_ids(answer);
}

/// The same in Anthropic's.
fn must_refuse_in_anthropics(answer: &Answer, status: u16, kind: &str) {
    let json = answer.json();
    assert_eq!(
        (answer.status, json["error"]["type"].as_str()),
        (status, Some(kind)),
        "{json}"
    );
    assert_eq!(json["type"], "error", "{json}");
    assert!(
        json["error"]["message"].is_string() && json["request_id"].is_string(),
        "{json}"
    );
    must_have_ids(answer);
}

fn must_have_ids(answer: &Answer) {
    let id = answer.header("x-request-id");
    assert!(!id.is_empty(), "{:?}", answer.headers);
    assert_eq!(id, answer.header("request-id"));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_bears_its_ids_its_verdict_its_cost_and_the_rate() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"rate_limit_rpm": 50})).await;
    let headers = [
        ("x-request-id", "my-request.1"),
        ("x-tollgate-call-id", "my-call"),
        ("x-tollgate-session-id", "my-session"),
        ("x-tollgate-agent-id", "my-agent"),
    ];
    let answer = tenant.caller.post(CHAT, &headers, call().to_string()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    must_have_ids(&answer);
    for (name, value) in [
        ("x-request-id", "my-request.1"),
        ("x-tollgate-call-id", "my-call"),
        ("x-tollgate-origin", "provider"),
        ("x-tollgate-verdict", "allowed"),
        ("x-ratelimit-limit-requests", "50"),
        ("x-ratelimit-remaining-requests", "49"),
    ] {
        assert_eq!(answer.header(name), value, "{name}");
    }
    let row = tenant.row("my-call").await;
    assert_eq!(
        (&row["session_id"], &row["agent_id"]),
        (&json!("my-session"), &json!("my-agent"))
    );
    assert_eq!(
        (&row["tokens_in"], &row["tokens_out"]),
        (&json!(3), &json!(5))
    );
    let cost = nanos_of_usd(answer.header("x-tollgate-cost-usd"));
    assert_eq!(cost, nanos_of_usd(row["cost_usd"].as_str().unwrap()));
    let rows = world.close().await;
    assert_eq!(
        (rows[0].cost_nanos, tollgate_tests::cost_of(&rows[0])),
        (cost, cost)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_missing_wrong_or_doubled_is_refused_in_the_callers_dialect() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    tenant.anthropic(&json!({})).await;
    let (chat, message) = (call().to_string(), message().to_string());
    let key = tenant.caller.key.clone();
    let bearer = format!("Bearer {key}");
    let hidden: String = key.chars().take(key.len() - 4).collect();
    let mut other = key.clone();
    let last = other.pop().unwrap();
    other.push(if last == 'a' { 'b' } else { 'a' });
    for wrong in [
        "",
        "Bearer nonsense",
        "Basic dXNlcjpwYXNz",
        "Bearer sk-live-1234",
        &format!("Bearer {other}"),
    ] {
        let headers: &[(&str, &str)] = if wrong.is_empty() {
            &[]
        } else {
            &[("authorization", wrong)]
        };
        let answer = tenant.caller.bare(CHAT, headers, chat.clone()).await;
        must_refuse(&answer, 401, "invalid_api_key");
        assert_eq!(answer.header("www-authenticate"), "Bearer");
        assert!(!answer.text().contains(&*hidden), "a key is repeated");
        let answer = tenant.caller.bare(MESSAGES, headers, message.clone()).await;
        must_refuse_in_anthropics(&answer, 401, "authentication_error");
    }
    let two = [
        ("authorization", bearer.as_str()),
        ("x-api-key", other.as_str()),
    ];
    must_refuse(
        &tenant.caller.bare(CHAT, &two, chat.clone()).await,
        400,
        "conflicting_credentials",
    );
    let same = [
        ("authorization", bearer.as_str()),
        ("x-api-key", key.as_str()),
    ];
    assert_eq!(tenant.caller.bare(CHAT, &same, chat).await.status, 200);
    let anthropics = [
        ("x-api-key", key.as_str()),
        ("anthropic-version", "2023-06-01"),
    ];
    assert_eq!(
        tenant
            .caller
            .bare(MESSAGES, &anthropics, message)
            .await
            .status,
        200
    );
    let rows = world.close().await;
    assert_eq!(rows.len(), 2, "a call of nobody has no row");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_callers_call() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for role in ["admin", "viewer"] {
        let made = tenant
            .control
            .post("/keys", &json!({"name": role, "role": role}))
            .await;
        let answer = tenant
            .caller
            .with_key(made["key"].as_str().unwrap())
            .chat(&call())
            .await;
        must_refuse(&answer, 403, "permission_denied");
    }
    let operator = tenant.caller.with_key(&world.gateway.operator_key);
    must_refuse(&operator.chat(&call()).await, 403, "permission_denied");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_key_and_a_suspended_tenant_are_out_at_once() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    tenant
        .control
        .delete(&format!("/keys/{}", tenant.key_id))
        .await;
    must_refuse(&tenant.caller.chat(&call()).await, 401, "invalid_api_key");
    let key = tenant
        .control
        .post("/keys", &json!({"name": "next", "role": "caller"}))
        .await;
    let caller = tenant.caller.with_key(key["key"].as_str().unwrap());
    assert_eq!(caller.chat(&call()).await.status, 200);
    world
        .operator
        .patch(
            &format!("/tenants/{}", tenant.id),
            &json!({"status": "suspended"}),
        )
        .await;
    assert!(matches!(caller.chat(&call()).await.status, 401 | 403));
    world
        .operator
        .patch(
            &format!("/tenants/{}", tenant.id),
            &json!({"status": "active"}),
        )
        .await;
    assert_eq!(caller.chat(&call()).await.status, 200);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_integration_out_of_service_refuses_with_its_reason_and_no_retry() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.created("openai", "openai", &json!({})).await;
    let named = [("x-tollgate-integration", "openai")];
    let refused = async |code: &str| {
        let answer = tenant.caller.post(CHAT, &named, call().to_string()).await;
        must_refuse(&answer, 403, code);
        assert_eq!(answer.header("x-should-retry"), "false");
        assert_eq!(answer.header("x-tollgate-verdict"), "hard_blocked");
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(
            (&row["policy_result"], &row["error_code"]),
            (&json!("blocked"), &json!(code)),
            "{row}"
        );
    };
    refused("integration_not_enabled").await;
    integration.act("enable").await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    integration.act("disable").await;
    refused("integration_disabled").await;
    integration
        .control
        .delete(&format!("/integrations/{}", integration.id))
        .await;
    let answer = tenant.caller.post(CHAT, &named, call().to_string()).await;
    must_refuse(&answer, 404, "integration_not_found");
    let rows = world.close().await;
    assert_eq!(
        rows.iter().filter(|row| !row.is_refused()).count(),
        1,
        "its ledger stays"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_spent_budget_is_402_and_says_when_it_starts_afresh() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"budget_limit_cents": 1})).await;
    tenant.anthropic(&json!({"token_limit_month": 50})).await;
    let mut large = call();
    large["max_tokens"] = json!(100_000);
    let answer = tenant.caller.chat(&large).await;
    must_refuse(&answer, 402, "budget_exceeded");
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "insufficient_quota", "{error}");
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(answer.header("retry-after"), "");
    assert_eq!(answer.header("x-tollgate-verdict"), "blocked");
    let figures = answer.tollgate();
    assert!(
        figures["resets_at"]
            .as_str()
            .unwrap()
            .ends_with("-01T00:00:00Z"),
        "{figures}"
    );
    assert_eq!(
        nanos_of_usd(figures["limit"].as_str().unwrap()),
        10_000_000,
        "{figures}"
    );
    let answer = tenant
        .caller
        .post(MESSAGES, &[], message().to_string())
        .await;
    must_refuse_in_anthropics(&answer, 402, "billing_error");
    assert_eq!(answer.header("x-should-retry"), "false");
    assert_eq!(answer.header("retry-after"), "");
    assert!(
        answer.text().contains("token_limit_exceeded"),
        "{}",
        answer.text()
    );
    let rows = world.close().await;
    assert!(
        rows.iter().all(tollgate_tests::LedgerRow::is_refused),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_that_others_hold_is_429_for_a_moment() {
    let world = World::start(Plan::on(Engine::Sqlite).provider("--latency-ms=2000")).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"budget_limit_cents": 1})).await;
    let mut half = call();
    // 60 cents a million: 10,000 tokens are more than half a cent.
    half["max_tokens"] = json!(10_000);
    let (first, second) = tokio::join!(tenant.caller.chat(&half), tenant.caller.chat(&half));
    let (admitted, refused) = if first.status == 200 {
        (first, second)
    } else {
        (second, first)
    };
    assert_eq!(admitted.status, 200, "{}", admitted.text());
    must_refuse(&refused, 429, "budget_held");
    let seconds: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert_ne!(
        nanos_of_usd(refused.tollgate()["held"].as_str().unwrap()),
        0
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn near_a_limit_calls_are_warned_and_beyond_the_rate_throttled() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"token_limit_month": 625})).await;
    let large = call_with("max_tokens", &json!(500));
    // The first uses 503 of 625: the second is near the limit, and the third does not fit.
    for (body, status, verdict, booked) in [
        (&large, 200, "allowed", "allowed"),
        (&call(), 200, "warned", "warned"),
        (&large, 402, "blocked", "blocked"),
    ] {
        let answer = tenant.caller.chat(body).await;
        assert_eq!(
            (answer.status, answer.header("x-tollgate-verdict")),
            (status, verdict),
            "{}",
            answer.text()
        );
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(row["policy_result"], booked, "{row}");
    }
    let other = world.tenant().await;
    other.openai(&json!({"rate_limit_rpm": 2})).await;
    for _ in 0..2 {
        assert_eq!(other.caller.chat(&call()).await.status, 200);
    }
    let answer = other.caller.chat(&call()).await;
    must_refuse(&answer, 429, "rate_limit_exceeded");
    assert_eq!(answer.header("x-tollgate-verdict"), "throttled");
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    assert!((50..=60).contains(&seconds), "{seconds}");
    assert!(!answer.header("retry-after-ms").is_empty());
    world.close().await;
}

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

fn call_with(member: &str, value: &Value) -> Value {
    let mut body = call();
    body[member] = value.clone();
    body
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
