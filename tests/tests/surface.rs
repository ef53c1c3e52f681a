//! What callers see: statuses, codes and headers of every condition that can be reached from outside.

use serde_json::json;
use tollgate_tests::{
    CHAT, Engine, MESSAGES, Plan, World, call, call_with, message, must_have_ids, must_refuse,
    must_refuse_in_anthropics, nanos_of_usd,
};

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
