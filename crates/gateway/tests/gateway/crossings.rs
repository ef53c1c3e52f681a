//! Calls whose caller and provider speak different dialects.

use bytes::Bytes;
use cus_models::CusProviderType;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::{self, Step, end, json_with, stream};
use crate::stage::{Limited, Stage, figures, hello, hello_streamed};
use crate::streams::{DONE, FIRST, SECOND, USAGE};

const START: &str = "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"id\":\"msg_1\",\"type\":\"message\",\"role\":\"assistant\",\"model\":\"test-model\",\"content\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":1}}}\n\n";
const ONE: &str = "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\",\"text\":\"one\"}}\n\n";
const STOP: &str = "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\",\"stop_sequence\":null},\"usage\":{\"output_tokens\":2}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n";

/// An integration of this type behind callers of other dialects.
async fn behind(provider_type: CusProviderType) -> Stage {
    let config = GatewayConfig::default();
    Stage::with(provider_type, Limited::default(), json!({}), config).await
}

/// A message that used nine tokens in and two out.
fn message() -> String {
    json!({
        "id": "msg_1", "type": "message", "role": "assistant", "model": MODEL,
        "content": [{ "type": "text", "text": "hello" }], "stop_reason": "end_turn",
        "stop_sequence": null, "usage": { "input_tokens": 9, "output_tokens": 2 },
    })
    .to_string()
}

fn ask(stage: &Stage, more: &Value) -> Request<Full<Bytes>> {
    let mut body = json!({
        "model": MODEL, "max_tokens": 100, "messages": [{ "role": "user", "content": "hi" }],
    });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    stage.request(Method::POST, "/v1/messages", &body.to_string())
}

#[tokio::test]
async fn a_chat_is_answered_by_anthropic_in_the_callers_words_and_booked() {
    let stage = behind(CusProviderType::Anthropic).await;
    stage.provider.script(provider::json(200, &message()));
    let mut request = stage.request(Method::POST, "/v1/chat/completions?beta=true", &hello());
    let headers = request.headers_mut();
    headers.insert("accept", "application/json".parse().unwrap());
    headers.insert("openai-beta", "x".parse().unwrap());
    let said = stage.send(request).await;
    assert_eq!(said.status, StatusCode::OK, "{:?}", said.body);
    let answer = said.json();
    assert_eq!(answer["choices"][0]["message"]["content"], "hello");
    assert_eq!(answer["usage"]["total_tokens"], 11);
    // 9 × $1 and 2 × $2 a million.
    assert_eq!(said.header("x-tollgate-cost-usd"), Some("0.000013000"));
    assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
    assert_eq!(said.header("content-type"), Some("application/json"));
    let seen = &stage.provider.seen()[0];
    assert!(
        seen.head.starts_with("POST /v1/messages HTTP"),
        "{}",
        seen.head
    );
    assert_eq!(seen.header("anthropic-version"), Some("2023-06-01"));
    assert_eq!(
        (seen.header("accept"), seen.header("openai-beta")),
        (None, None)
    );
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(
        (&sent["max_tokens"], &sent["model"]),
        (&json!(100), &json!(MODEL))
    );
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((9, 2, 13_000), UsageSource::Provider)
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_stream_of_anthropics_comes_as_chunks_and_as_it_comes() {
    let stage = behind(CusProviderType::Anthropic).await;
    let mut steps = stream(&[START, ONE]);
    steps.push(Step::Wait);
    steps.extend(stream(&[STOP]).into_iter().skip(1));
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let answer = stage.open(request).await;
    assert_eq!(
        answer.headers()["content-type"],
        "text/event-stream; charset=utf-8"
    );
    let mut body = answer.into_body();
    let mut got = String::new();
    while !got.contains("one") {
        let piece = body.frame().await.unwrap().unwrap().into_data().unwrap();
        got.push_str(std::str::from_utf8(&piece).unwrap());
    }
    stage.provider.go();
    let rest = body.collect().await.unwrap().to_bytes();
    got.push_str(std::str::from_utf8(&rest).unwrap());
    assert!(
        got.ends_with(DONE) && got.contains("\"finish_reason\":\"stop\""),
        "{got}"
    );
    assert_eq!(figures(&stage.row().await), (9, 2, 13_000));
    stage.strike().await;
}

#[tokio::test]
async fn a_stream_of_openais_comes_as_events_with_the_usage_that_was_asked_for() {
    let stage = behind(CusProviderType::OpenAi).await;
    let mut steps = stream(&[FIRST, SECOND, USAGE, DONE]);
    steps.push(end());
    stage.provider.script(steps);
    let said = stage.send(ask(&stage, &json!({ "stream": true }))).await;
    let got = String::from_utf8(said.body.to_vec()).unwrap();
    assert!(
        got.contains(r#""usage":{"input_tokens":9,"output_tokens":2}"#),
        "{got}"
    );
    assert!(
        got.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n"),
        "{got}"
    );
    let sent: Value = serde_json::from_slice(&stage.provider.seen()[0].body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    assert_eq!(sent["max_completion_tokens"], 100);
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((9, 2, 13_000), UsageSource::Provider)
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_stream_that_breaks_off_ends_with_the_callers_error_event_and_an_abort() {
    let stage = behind(CusProviderType::OpenAi).await;
    let mut steps = stream(&[FIRST]);
    steps.push(Step::Abort);
    stage.provider.script(steps);
    let answer = stage.open(ask(&stage, &json!({ "stream": true }))).await;
    let mut body = answer.into_body();
    let mut got = String::new();
    let mut aborted = false;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else {
            aborted = true;
            break;
        };
        got.push_str(std::str::from_utf8(&frame.into_data().unwrap()).unwrap());
    }
    assert!(
        got.contains("\n\nevent: error\ndata: {\"type\":\"error\""),
        "{got}"
    );
    assert!(aborted && !got.contains("message_stop"), "{got}");
    let row = stage.row().await;
    assert_eq!(row.usage.error_code.as_deref(), Some("upstream_broken"));
    assert_eq!(row.source, UsageSource::Counted);
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_that_cannot_be_said_in_other_words_is_an_error_and_is_booked() {
    let stage = behind(CusProviderType::Anthropic).await;
    stage
        .provider
        .script(provider::json(200, r#"{"type":"completion"}"#));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    assert_eq!(said.json()["error"]["code"], "upstream_untranslatable");
    assert_eq!(said.header("x-tollgate-origin"), Some("gateway"));
    assert_eq!(said.header("x-should-retry"), Some("false"));
    // A stream whose event is none is read on for the books.
    let mut steps = stream(&[START, "data: nonsense\n\n", ONE, STOP]);
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let broken = stage.open(request).await.into_body().collect().await;
    assert!(broken.is_err());
    let rows = stage.rows_once(2).await;
    let read_on = rows.iter().find(|row| figures(row) == (9, 2, 13_000));
    assert_eq!(read_on.unwrap().usage.error_code, None);
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_that_is_too_large_to_be_kept_is_an_error_and_is_booked() {
    let config = GatewayConfig {
        whole_answer_bytes_max: 100,
        ..GatewayConfig::default()
    };
    let stage = Stage::with(
        CusProviderType::Anthropic,
        Limited::default(),
        json!({}),
        config,
    )
    .await;
    stage.provider.script(provider::json(200, &message()));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::BAD_GATEWAY);
    assert_eq!(said.json()["error"]["code"], "upstream_untranslatable");
    assert_eq!(figures(&stage.row().await), (9, 2, 13_000));
    stage.strike().await;
}

#[tokio::test]
async fn a_providers_own_error_keeps_its_status_and_says_the_same_in_the_callers_words() {
    let stage = behind(CusProviderType::Anthropic).await;
    let body = r#"{"type":"error","error":{"type":"rate_limit_error","message":"Slow down"}}"#;
    stage
        .provider
        .script(json_with(429, "retry-after: 7\r\n", body));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(said.header("retry-after"), Some("7"));
    assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
    let error = &said.json()["error"];
    assert_eq!(
        (&error["message"], &error["type"]),
        (&json!("Slow down"), &json!("rate_limit_error"))
    );
    // An error that calls itself a stream is none.
    let head = "HTTP/1.1 529 Said\r\ncontent-type: text/event-stream\r\ncontent-length: 74\r\n\r\n";
    let body = r#"{"type":"error","error":{"type":"overloaded_error","message":"Overload."}}"#;
    stage
        .provider
        .script(vec![Step::Send([head, body].concat().into_bytes())]);
    let said = stage.chat(&hello_streamed()).await;
    assert_eq!(
        (said.status.as_u16(), &said.json()["error"]["code"]),
        (529, &json!("overloaded_error"))
    );
    stage.strike().await;
}

#[tokio::test]
async fn what_has_no_counterpart_is_refused_by_name_before_anything_is_held_or_sent() {
    let stage = behind(CusProviderType::Anthropic).await;
    let body = hello().replace("\"max_tokens\":100", "\"max_tokens\":100,\"seed\":7");
    let said = stage.chat(&body).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST);
    let error = &said.json()["error"];
    assert_eq!(
        (&error["param"], &error["code"]),
        (&json!("seed"), &json!("unsupported_parameter"))
    );
    assert!(
        error["message"].as_str().unwrap().contains("`seed`"),
        "{error}"
    );
    assert!(stage.provider.seen().is_empty() && stage.rows().await.is_empty());
    stage.strike().await;
    let stage = behind(CusProviderType::OpenAi).await;
    let said = stage.send(ask(&stage, &json!({ "top_k": 3 }))).await;
    assert_eq!(said.json()["type"], "error");
    assert!(
        said.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`top_k`")
    );
    let mut request = ask(&stage, &json!({}));
    let headers = request.headers_mut();
    headers.insert("anthropic-beta", "context-1m-2025-08-07".parse().unwrap());
    let said = stage.send(request).await;
    assert!(
        said.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("`anthropic-beta`")
    );
    stage.strike().await;
}

#[tokio::test]
async fn what_is_held_is_what_goes_out_and_a_missing_maximum_is_written_in() {
    let limited = |tokens: usize| {
        let limits = Limited {
            tokens: i64::try_from(tokens).unwrap(),
            ..Limited::default()
        };
        let config = GatewayConfig::default();
        let more = json!({ "default_max_output_tokens": 300 });
        Stage::with(CusProviderType::Anthropic, limits, more, config)
    };
    let body = hello().replace("\"max_tokens\":100,", "");
    let stage = limited(0).await;
    stage.provider.script(provider::json(200, &message()));
    assert_eq!(stage.chat(&body).await.status, StatusCode::OK);
    let sent = stage.provider.seen()[0].body.clone();
    stage.strike().await;
    let read: Value = serde_json::from_slice(&sent).unwrap();
    assert_eq!(read["max_tokens"], 300);
    assert!(sent.len() > body.len());
    for (limit, status) in [(sent.len() + 300, 200), (sent.len() + 299, 402)] {
        let stage = limited(limit).await;
        stage.provider.script(provider::json(200, &message()));
        assert_eq!(stage.chat(&body).await.status.as_u16(), status, "{limit}");
        stage.strike().await;
    }
}

#[tokio::test]
async fn only_chats_cross_and_everything_else_is_refused_clearly() {
    let stage = behind(CusProviderType::Anthropic).await;
    for (method, path) in [
        (Method::POST, "/v1/embeddings"),
        (Method::POST, "/v1/completions"),
        (Method::GET, "/v1/models"),
    ] {
        let mut request = stage.request(method, path, &hello());
        let headers = request.headers_mut();
        headers.insert("x-tollgate-integration", "main".parse().unwrap());
        let said = stage.send(request).await;
        assert_eq!(said.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(
            said.json()["error"]["code"],
            "operation_not_served",
            "{path}"
        );
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_leaves_a_translated_stream_leaves_it_to_be_read_on() {
    let stage = behind(CusProviderType::Anthropic).await;
    let mut steps = stream(&[START, ONE]);
    steps.push(Step::Wait);
    steps.extend(stream(&[STOP]).into_iter().skip(1));
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let mut body = stage.open(request).await.into_body();
    body.frame().await.unwrap().unwrap();
    drop(body);
    stage.provider.go();
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((9, 2, 13_000), UsageSource::Provider)
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_hard_cap_is_written_into_what_goes_out() {
    let more = json!({ "region": "us-east-1", "hard_cap": true, "default_max_output_tokens": 7 });
    let config = GatewayConfig::default();
    let stage = Stage::with(CusProviderType::Bedrock, Limited::default(), more, config).await;
    let answer = json!({
        "output": { "message": { "role": "assistant", "content": [{ "text": "hello" }] } },
        "stopReason": "max_tokens",
        "usage": { "inputTokens": 9, "outputTokens": 2, "totalTokens": 11 },
    });
    stage
        .provider
        .script(provider::json(200, &answer.to_string()));
    let said = stage
        .chat(&hello().replace("\"max_tokens\":100,", ""))
        .await;
    assert_eq!(said.json()["choices"][0]["finish_reason"], "length");
    assert_eq!(said.json()["model"], MODEL);
    let seen = &stage.provider.seen()[0];
    let line = format!("POST /model/{MODEL}/converse HTTP");
    assert!(seen.head.starts_with(&line), "{}", seen.head);
    let sent: Value = serde_json::from_slice(&seen.body).unwrap();
    assert_eq!(sent["inferenceConfig"]["maxTokens"], 7);
    assert_eq!(figures(&stage.row().await), (9, 2, 13_000));
    stage.strike().await;
}
