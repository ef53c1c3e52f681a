//! Calls that may not leave: said in the caller's dialect, booked as refused, and free.

use cus_models::{CusPolicyResult, CusProviderType};
use http::{Method, StatusCode};
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tollgate_core::role::Role;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, completion};
use crate::stage::{Limited, Said, Stage, figures, hello};

fn code(said: &Said) -> String {
    said.json()["error"]["code"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[tokio::test]
async fn a_budget_that_cannot_hold_the_call_refuses_it_for_good() {
    // The hold is some 200 micro-dollars; one cent is spent after so many calls at that price.
    let stage = Stage::limited(
        Limited {
            budget_cents: 1,
            ..Limited::default()
        },
        json!({}),
    )
    .await;
    let body = hello().replace("\"max_tokens\":100", "\"max_tokens\":10000");
    let said = stage.chat(&body).await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::PAYMENT_REQUIRED, "budget_exceeded".into())
    );
    assert_eq!(said.json()["error"]["type"], "insufficient_quota");
    assert_eq!(
        (said.header("x-should-retry"), said.header("retry-after")),
        (Some("false"), None)
    );
    assert_eq!(said.json()["tollgate"]["limit"], "0.010000000");
    assert_eq!(said.json()["tollgate"]["resets_at"], "2026-12-01T00:00:00Z");
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.usage.policy_result),
        ((0, 0, 0), CusPolicyResult::Blocked)
    );
    assert_eq!(row.usage.error_code.as_deref(), Some("budget_exceeded"));
    assert!(stage.provider.seen().is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_budget_held_by_calls_in_flight_may_be_free_again_soon() {
    let stage = Stage::limited(
        Limited {
            tokens: 300,
            ..Limited::default()
        },
        json!({}),
    )
    .await;
    let mut steps = vec![Step::Wait];
    steps.extend(completion(5, 5));
    stage.provider.script(steps);
    let body = hello();
    let (first, second) = tokio::join!(stage.chat(&body), async {
        stage.provider.arrived(1).await;
        let second = stage.chat(&hello()).await;
        stage.provider.go();
        second
    });
    assert_eq!(first.status, StatusCode::OK);
    assert_eq!(
        (second.status, code(&second)),
        (StatusCode::TOO_MANY_REQUESTS, "budget_held".into())
    );
    assert_eq!(second.header("retry-after"), Some("1"));
    stage.provider.script(completion(5, 5));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    stage.strike().await;
}

#[tokio::test]
async fn too_many_requests_wait_until_the_window_frees() {
    let stage = Stage::limited(
        Limited {
            rpm: 2,
            ..Limited::default()
        },
        json!({}),
    )
    .await;
    for _ in 0..2 {
        stage.provider.script(completion(1, 1));
        assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    }
    let said = stage.chat(&hello()).await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded".into())
    );
    assert_eq!(said.header("retry-after"), Some("60"));
    assert_eq!(said.header("x-ratelimit-remaining-requests"), Some("0"));
    stage.world.clock.advance_ms(60_100);
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    stage.strike().await;
}

#[tokio::test]
async fn keys_that_are_missing_wrong_or_of_another_role_are_told_so() {
    let stage = Stage::set().await;
    let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    request.headers_mut().remove("authorization");
    let said = stage.send(request).await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::UNAUTHORIZED, "invalid_api_key".into())
    );
    let viewer = stage.world.key(Some(&stage.tenant), Role::Viewer).await;
    for (key, status) in [
        ("tg_caller_nonsense".to_owned(), StatusCode::UNAUTHORIZED),
        (viewer, StatusCode::FORBIDDEN),
    ] {
        let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
        request
            .headers_mut()
            .insert("authorization", format!("Bearer {key}").parse().unwrap());
        assert_eq!(stage.send(request).await.status, status);
    }
    let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    request
        .headers_mut()
        .insert("x-api-key", "another".parse().unwrap());
    let said = stage.send(request).await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::BAD_REQUEST, "conflicting_credentials".into())
    );
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn an_integration_out_of_service_refuses_and_says_why() {
    let stage = Stage::set().await;
    let context = stage.world.acting_on(&stage.tenant);
    stage
        .world
        .app
        .disable_integration(&context, stage.integration)
        .await
        .unwrap();
    let said = stage.chat(&hello()).await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::FORBIDDEN, "integration_disabled".into())
    );
    assert_eq!(said.header("x-tollgate-verdict"), Some("hard_blocked"));
    assert_eq!(said.header("x-should-retry"), Some("false"));
    assert_eq!(
        stage.row().await.usage.error_code.as_deref(),
        Some("integration_disabled")
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_call_id_serves_once_and_a_refused_call_does_not_use_it_up() {
    let stage = Stage::limited(
        Limited {
            rpm: 1,
            ..Limited::default()
        },
        json!({}),
    )
    .await;
    let with_id = |id: &str| {
        let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
        request
            .headers_mut()
            .insert("x-tollgate-call-id", id.parse().unwrap());
        request
    };
    stage.provider.script(completion(1, 1));
    let said = stage.send(with_id("one")).await;
    assert_eq!(
        (said.status, said.header("x-tollgate-call-id")),
        (StatusCode::OK, Some("one"))
    );
    assert_eq!(
        stage.send(with_id("two")).await.status,
        StatusCode::TOO_MANY_REQUESTS
    );
    stage.world.clock.advance_ms(61_000);
    let again = stage.send(with_id("one")).await;
    assert_eq!(
        (again.status, code(&again)),
        (StatusCode::CONFLICT, "call_id_taken".into())
    );
    assert_eq!(again.header("x-should-retry"), Some("false"));
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.send(with_id("two")).await.status, StatusCode::OK);
    stage.strike().await;
}

#[tokio::test]
async fn requests_that_cannot_be_read_are_refused_with_what_is_wrong() {
    let config = GatewayConfig {
        body_bytes_max: 1_000,
        ..GatewayConfig::default()
    };
    let stage = Stage::with(
        CusProviderType::OpenAi,
        Limited::default(),
        json!({}),
        config,
    )
    .await;
    let twice = r#"{"model":"a","model":"b","messages":[]}"#;
    let said = stage.chat(twice).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    assert!(
        said.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("model")
    );
    assert_eq!(stage.chat("{").await.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        stage.chat(&"x".repeat(1_001)).await.status,
        StatusCode::PAYLOAD_TOO_LARGE
    );
    let said = stage
        .chat(&hello().replace("test-model", "nobody/test-model"))
        .await;
    assert_ne!(said.status, StatusCode::OK);
    let said = stage
        .send(stage.request(Method::POST, "/v1/nowhere", "{}"))
        .await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::NOT_FOUND, "unknown_path".into())
    );
    stage.strike().await;
}

#[tokio::test]
async fn an_anthropic_caller_is_refused_in_its_own_words() {
    let limits = Limited {
        tokens: 10,
        ..Limited::default()
    };
    let config = GatewayConfig::default();
    let stage = Stage::with(CusProviderType::Anthropic, limits, json!({}), config).await;
    let mut request = stage.request(Method::POST, "/v1/messages", &hello());
    request
        .headers_mut()
        .insert("anthropic-version", "2023-06-01".parse().unwrap());
    let said = stage.send(request).await;
    assert_eq!(said.status, StatusCode::PAYMENT_REQUIRED);
    let body = said.json();
    assert_eq!(
        (&body["type"], &body["error"]["type"]),
        (&json!("error"), &json!("billing_error"))
    );
    assert_eq!(body["request_id"].as_str(), said.header("request-id"));
    stage.strike().await;
}

#[tokio::test]
async fn a_dearer_tier_than_the_price_book_knows_is_refused_under_a_budget() {
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    let stage = Stage::limited(limits, json!({})).await;
    let said = stage
        .chat(&hello().replace(
            "\"max_tokens\"",
            "\"service_tier\":\"priority\",\"max_tokens\"",
        ))
        .await;
    assert_eq!(
        (said.status, code(&said)),
        (StatusCode::FORBIDDEN, "price_unknown".into())
    );
    assert_eq!(figures(&stage.row().await), (0, 0, 0));
    stage.strike().await;
}

#[tokio::test]
async fn a_refused_caller_whose_request_was_read_is_waited_for_no_longer() {
    let stage = Stage::set().await;
    let body = hello().replace("\"max_tokens\":100", "\"max_tokens\":-1");
    for path in ["/v1/chat/completions", "/v1/responses/resp_1/nothing"] {
        let mut connection = TcpStream::connect(stage.address()).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\nconnection: close\r\n\
             content-length: {}\r\n\r\n{body}",
            stage.key,
            body.len(),
        );
        connection.write_all(request.as_bytes()).await.unwrap();
        let mut said = String::new();
        connection.read_to_string(&mut said).await.unwrap();
        let was_read = said.starts_with("HTTP/1.1 400");
        assert!(was_read || said.starts_with("HTTP/1.1 404"), "{said}");
        // Where nobody takes what still comes, the connection breaks. The first pieces may still go
        // into a buffer.
        let mut taken = 0;
        while taken < 1_000 && connection.write_all(&[b'x'; 16 << 10]).await.is_ok() {
            taken += 1;
        }
        assert_eq!(taken < 1_000, was_read, "{path}: {taken} pieces");
    }
    stage.strike().await;
}
