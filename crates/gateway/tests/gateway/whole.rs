//! Whole answers: bytes in, bytes out, and one row.

use cus_models::CusProviderType;
use http::{Method, StatusCode};
use serde_json::Value;
use tollgate_app::testing::{CANARY, MODEL};
use tollgate_core::usage::UsageSource;

use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, completion, completion_text, json, json_with};
use crate::stage::{Limited, Stage, figures, hello};

#[tokio::test]
async fn a_call_passes_untouched_and_leaves_one_row_at_its_exact_cost() {
    let stage = Stage::set().await;
    stage.provider.script(completion(11, 7));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.body, completion_text(11, 7));
    // 11 × $1 and 7 × $2 a million: 25,000 nano-dollars.
    assert_eq!(said.header("x-tollgate-cost-usd"), Some("0.000025000"));
    assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
    assert_eq!(said.header("x-tollgate-verdict"), Some("allowed"));
    assert_eq!(said.header("x-request-id"), said.header("request-id"));
    let row = stage.row().await;
    assert_eq!(figures(&row), (11, 7, 25_000));
    assert_eq!(row.source, UsageSource::Provider);
    assert_eq!(
        Some(row.usage.call_id.as_str()),
        said.header("x-tollgate-call-id")
    );
    stage.strike().await;
}

#[tokio::test]
async fn the_provider_gets_the_stored_credential_and_nothing_of_the_callers() {
    let stage = Stage::set().await;
    stage.provider.script(completion(1, 1));
    let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    for (name, value) in [
        ("x-api-key", stage.key.as_str()),
        ("cookie", "a=b"),
        ("x-tollgate-session-id", "s1"),
        ("x-request-id", "mine-1"),
    ] {
        request.headers_mut().insert(name, value.parse().unwrap());
    }
    let said = stage.send(request).await;
    assert_eq!(said.header("x-request-id"), Some("mine-1"));
    let seen = &stage.provider.seen()[0];
    assert_eq!(
        seen.header("authorization"),
        Some(format!("Bearer {CANARY}").as_str())
    );
    assert_eq!(
        seen.header("x-client-request-id"),
        said.header("x-tollgate-call-id")
    );
    assert!(!seen.head.contains(&stage.key), "{}", seen.head);
    for name in ["x-api-key", "cookie", "x-tollgate-session-id"] {
        assert_eq!(seen.header(name), None, "{name}");
    }
    assert_eq!(seen.body, hello().into_bytes());
    assert_eq!(stage.row().await.usage.session_id.as_deref(), Some("s1"));
    stage.strike().await;
}

#[tokio::test]
async fn a_providers_error_passes_unchanged_and_costs_nothing() {
    let stage = Stage::set().await;
    let body = r#"{"error":{"message":"slow down","type":"requests","param":null,"code":"rate"}}"#;
    stage
        .provider
        .script(json_with(429, "retry-after: 7\r\n", body));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(
        (said.body.as_ref(), said.header("retry-after")),
        (body.as_bytes(), Some("7"))
    );
    assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
    let row = stage.row().await;
    assert_eq!(figures(&row), (0, 0, 0));
    assert!(row.usage.is_error());
    stage.strike().await;
}

#[tokio::test]
async fn a_refused_credential_is_not_the_callers_fault_and_takes_the_integration_out() {
    let stage = Stage::set().await;
    stage
        .provider
        .script(json(401, r#"{"error":{"message":"bad key sk-canary"}}"#));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    assert_eq!(said.json()["error"]["code"], "upstream_auth_failed");
    assert_eq!(said.header("x-should-retry"), Some("false"));
    assert!(!String::from_utf8_lossy(&said.body).contains("canary"));
    // The next calls are refused as soon as the integration is marked.
    loop {
        stage.provider.script(completion(1, 1));
        let next = stage.chat(&hello()).await;
        if next.status == StatusCode::FORBIDDEN {
            assert_eq!(next.json()["error"]["code"], "integration_error");
            break;
        }
    }
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_without_usage_is_counted_and_never_free() {
    let stage = Stage::set().await;
    let body = r#"{"id":"c","choices":[{"index":0,"message":{"role":"assistant","content":"one two"},"finish_reason":"stop"}]}"#;
    stage.provider.script(json(200, body));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    let row = stage.row().await;
    assert_eq!(row.source, UsageSource::Counted);
    let (tokens_in, tokens_out, cost) = figures(&row);
    assert!(tokens_in > 0 && tokens_out >= 2 && cost > 0, "{row:?}");
    stage.strike().await;
}

#[tokio::test]
async fn a_usage_that_the_request_makes_impossible_is_charged_at_the_hold() {
    let stage = Stage::set().await;
    stage.provider.script(completion(1_000_000, 5));
    stage.chat(&hello()).await;
    let row = stage.row().await;
    assert_eq!(row.usage.error_code.as_deref(), Some("usage_out_of_bounds"));
    assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
    assert!(row.cost.get() > 0);
    stage.strike().await;
}

#[tokio::test]
async fn the_model_may_name_the_integration_and_an_alias() {
    let stage = Stage::limited(
        Limited::default(),
        serde_json::json!({"aliases": {"quick": MODEL}}),
    )
    .await;
    stage.provider.script(completion(1, 1));
    let said = stage.chat(&hello().replace(MODEL, "main/quick")).await;
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
    let sent: Value = serde_json::from_slice(&stage.provider.seen()[0].body).unwrap();
    assert_eq!(sent["model"], MODEL);
    assert_eq!(stage.row().await.usage.model, MODEL);
    stage.strike().await;
}

#[tokio::test]
async fn a_list_of_models_is_passed_on_and_not_booked() {
    let stage = Stage::set().await;
    let list = r#"{"object":"list","data":[]}"#;
    stage.provider.script(json(200, list));
    let said = stage
        .send(stage.request(Method::GET, "/v1/models", ""))
        .await;
    assert_eq!(
        (said.status, said.body.as_ref()),
        (StatusCode::OK, list.as_bytes())
    );
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_reached_costs_nothing_and_leaves_no_row() {
    let stage = Stage::limited(
        Limited::default(),
        serde_json::json!({"base_url": "http://127.0.0.1:9"}),
    )
    .await;
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    assert_eq!(said.json()["error"]["code"], "upstream_unreachable");
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_whole_answer_larger_than_is_kept_back_flows_on_untouched() {
    let config = GatewayConfig {
        whole_answer_bytes_max: 100,
        ..GatewayConfig::default()
    };
    let limits = Limited::default();
    let stage = Stage::with(
        CusProviderType::OpenAi,
        limits,
        serde_json::json!({}),
        config,
    )
    .await;
    let text = completion_text(11, 7).replace("hello", &"hello ".repeat(20_000));
    let (first, second) = text.split_at(50_000);
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{first}",
        text.len()
    );
    stage.provider.script(vec![
        Step::Send(head.into_bytes()),
        Step::Send(second.as_bytes().to_vec()),
    ]);
    let said = stage.chat(&hello()).await;
    assert_eq!((said.status, said.body == text), (StatusCode::OK, true));
    assert_eq!(said.header("x-tollgate-cost-usd"), None);
    assert_eq!(figures(&stage.row().await), (11, 7, 25_000));
    stage.strike().await;
}

#[tokio::test]
async fn under_a_hard_cap_a_dearer_class_than_was_held_is_charged_at_the_hold() {
    let dear = serde_json::json!({
        "hard_cap": true,
        "prices": { MODEL: {
            "input": 1_000_000_000_i64, "output": 2_000_000_000_i64,
            "audio_output": 80_000_000_000_i64,
        } },
    });
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    let stage = Stage::limited(limits, dear).await;
    let spoken = completion_text(11, 90).replace(
        "\"total_tokens\"",
        "\"completion_tokens_details\":{\"audio_tokens\":90},\"total_tokens\"",
    );
    stage.provider.script(json(200, &spoken));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    let row = stage.row().await;
    assert_eq!(row.usage.error_code.as_deref(), Some("usage_out_of_bounds"));
    assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
    stage.strike().await;
}
