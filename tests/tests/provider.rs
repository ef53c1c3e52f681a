//! A provider that fails: what the caller gets, and what is booked.

use serde_json::{Value, json};
use tollgate_tests::{Caller, Engine, Plan, World, call, message, until};

#[tokio::test(flavor = "multi_thread")]
async fn errors_of_the_provider_pass_through_as_they_are_and_cost_nothing() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 1_000})).await;
    tenant.anthropic(&json!({})).await;
    for (status, code) in [
        (400, "upstream_bad_request"),
        (404, "upstream_not_found"),
        (429, "upstream_rate_limited"),
        (500, "upstream_error"),
        (503, "upstream_overloaded"),
        (529, "upstream_overloaded"),
    ] {
        let faults = json!({"error_rate": 1.0, "error_status": status, "retry_after_s": 7});
        world.simulator.faults(&faults).await;
        let direct = Caller::new(&world.simulator.url, "any key will do");
        for (path, body) in [
            ("/v1/chat/completions", call()),
            ("/v1/messages", message()),
        ] {
            let answer = tenant.caller.post(path, &[], body.to_string()).await;
            assert_eq!(answer.status, status, "{}", answer.text());
            assert_eq!(answer.header("x-tollgate-origin"), "provider");
            assert_eq!(answer.header("retry-after"), "7");
            let mut headers = Vec::new();
            if path == "/v1/messages" {
                headers.push(("x-api-key", "any key will do"));
            }
            let theirs = direct.post(path, &headers, body.to_string()).await;
            let (mut ours, mut theirs) = (answer.json(), theirs.json());
            for body in [&mut ours, &mut theirs] {
                // The provider's id of the request is another one each time.
                body.as_object_mut().unwrap().remove("request_id");
            }
            assert_eq!(ours, theirs, "the body is the provider's own");
            let row = tenant.row(answer.header("x-tollgate-call-id")).await;
            assert_eq!(
                (&row["error_code"], &row["tokens_out"]),
                (&json!(code), &json!(0)),
                "{row}"
            );
            assert_eq!(row["cost_usd"], "0.000000000", "{row}");
        }
    }
    assert_eq!(integration.used_nanos().await, 0);
    assert_eq!(world.simulator.billed(), 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_the_stored_credential_is_not_the_callers_fault() {
    let world =
        World::start(Plan::on(Engine::Sqlite).provider("--require-key=sk-another-key")).await;
    let tenant = world.tenant().await;
    for (integration, path, body) in [
        (
            tenant.openai(&json!({})).await,
            "/v1/chat/completions",
            call(),
        ),
        (
            tenant.anthropic(&json!({})).await,
            "/v1/messages",
            message(),
        ),
    ] {
        let answer = tenant.caller.post(path, &[], body.to_string()).await;
        assert_eq!(answer.status, 502, "{}", answer.text());
        assert_eq!(answer.header("x-should-retry"), "false");
        assert!(
            answer.text().contains("upstream_auth_failed"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("x-tollgate-origin"), "gateway");
        let record = until("the integration in error", async || {
            let record = integration.record().await;
            (record["status"] == "error").then_some(record)
        });
        let record = record.await;
        assert_eq!(record["health_state"], "failing", "{record}");
        // What the store knows is in force on the node a moment later.
        let refused = until("calls refused", async || {
            let next = tenant.caller.post(path, &[], body.to_string()).await;
            (next.status != 502).then_some(next)
        });
        let next = refused.await;
        assert_eq!(next.status, 403, "{}", next.text());
        assert!(next.text().contains("integration_error"), "{}", next.text());
        assert_eq!(next.header("x-should-retry"), "false");
    }
    let rows = world.close().await;
    assert!(
        rows.iter()
            .all(|row| row.cost_nanos == 0 && row.tokens_in == 0),
        "{rows:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_never_answers_is_charged_at_what_was_held() {
    let plan = Plan::on(Engine::Sqlite).with("TOLLGATE__GATEWAY__FIRST_BYTE_SECONDS", "1");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    tenant.anthropic(&json!({})).await;
    world.simulator.faults(&json!({"hang": true})).await;
    for (path, body) in [
        ("/v1/chat/completions", call()),
        ("/v1/messages", message()),
    ] {
        let answer = tenant.caller.post(path, &[], body.to_string()).await;
        assert_eq!(answer.status, 504, "{}", answer.text());
        assert!(
            answer.text().contains("upstream_timeout"),
            "{}",
            answer.text()
        );
        assert_eq!(answer.header("x-should-retry"), "false");
        let row = tenant.row(answer.header("x-tollgate-call-id")).await;
        assert_eq!(row["usage_source"], "estimated", "{row}");
        assert_eq!(row["error_code"], "upstream_timeout", "{row}");
    }
    let rows = world.close().await;
    assert_eq!(rows.len(), 2);
    for row in rows {
        assert!(row.cost_nanos > 0, "{row:?}");
        assert_eq!(row.cost_nanos, row.held_nanos, "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_that_breaks_off_is_charged_and_never_looks_whole() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for bytes in [0, 1, 100] {
        world.simulator.faults(&json!({"cut_after": bytes})).await;
        let body = call().to_string();
        if let Ok(answer) = tenant
            .caller
            .attempt("/v1/chat/completions", &[], body)
            .await
        {
            assert!(
                answer.status >= 500,
                "cut after {bytes} bytes: {}",
                answer.text()
            );
            assert_eq!(answer.header("x-should-retry"), "false");
        }
    }
    let rows = world.close().await;
    assert_eq!(rows.len(), 3);
    for row in rows {
        assert!(row.cost_nanos > 0 && row.error_code.is_some(), "{row:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_usage_is_counted_and_not_free() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    tenant.anthropic(&json!({})).await;
    world.simulator.faults(&json!({"no_usage": true})).await;
    for (path, body) in [
        ("/v1/chat/completions", call()),
        ("/v1/messages", message()),
    ] {
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = json!(stream);
            let answer = tenant.caller.post(path, &[], body.to_string()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            let row = tenant.row(answer.header("x-tollgate-call-id")).await;
            assert_eq!(row["usage_source"], "counted", "{path} {stream}: {row}");
            assert!(row["tokens_in"].as_u64().unwrap() >= 3, "{row}");
            assert!(row["tokens_out"].as_u64().unwrap() >= 5, "{row}");
        }
    }
    let rows = world.close().await;
    assert!(rows.iter().all(|row| row.cost_nanos > 0), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_cannot_be_reached_costs_nothing() {
    let mut world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 1_000})).await;
    world.simulator.stop().await;
    let answer = tenant.caller.chat(&call()).await;
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (502, "upstream_unreachable"),
        "{}",
        answer.text()
    );
    assert_eq!(integration.used_nanos().await, 0);
    let rows = world.close().await;
    assert!(rows.iter().all(|row| row.cost_nanos == 0), "{rows:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn cached_and_reasoning_tokens_are_priced_as_such_and_counted_once() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    tenant.anthropic(&json!({})).await;
    world
        .simulator
        .faults(&json!({"cached_tokens": 2, "reasoning_tokens": 4}))
        .await;
    for (path, body) in [
        ("/v1/chat/completions", call()),
        ("/v1/messages", message()),
    ] {
        for stream in [false, true] {
            let mut body = body.clone();
            body["stream"] = json!(stream);
            assert_eq!(
                tenant.caller.post(path, &[], body.to_string()).await.status,
                200
            );
        }
    }
    let rows = world.close().await;
    assert_eq!(rows.len(), 4);
    for row in rows {
        assert_eq!((row.tokens_in, row.tokens_out), (3, 5), "{row:?}");
        let tokens: Value = serde_json::from_str(row.tokens_by_class.as_str().unwrap()).unwrap();
        assert_eq!(
            (&tokens["input"], &tokens["cached_input"]),
            (&json!(1), &json!(2)),
            "{row:?}"
        );
        assert_eq!(row.cost_nanos, tollgate_tests::cost_of(&row), "{row:?}");
    }
}
