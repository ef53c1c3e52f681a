//! OpenAI's responses: whole, streamed, and made in the background; reading one is never billed.

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::{Value, json as value};
use tollgate_app::testing::MODEL;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, end, json, stream};
use crate::stage::{Limited, Setting, Stage, connector, figures};

const CREATED: &str = "event: response.created\ndata: {\"type\":\"response.created\",\"response\":{\"id\":\"resp_1\",\"status\":\"in_progress\",\"usage\":null},\"sequence_number\":0}\n\n";
const DELTA: &str = "event: response.output_text.delta\ndata: {\"type\":\"response.output_text.delta\",\"delta\":\"hello\",\"sequence_number\":1}\n\n";
const COMPLETED: &str = "event: response.completed\ndata: {\"type\":\"response.completed\",\"response\":{\"id\":\"resp_1\",\"status\":\"completed\",\"output\":[],\"usage\":{\"input_tokens\":9,\"output_tokens\":2,\"total_tokens\":11}},\"sequence_number\":2}\n\n";

fn asked(more: &[(&str, Value)]) -> String {
    let mut body = value!({ "model": MODEL, "input": "hi", "max_output_tokens": 100 });
    for (name, with) in more {
        body[name] = with.clone();
    }
    body.to_string()
}

fn response(status: &str, usage: &Value) -> String {
    value!({
        "id": "resp_1", "object": "response", "status": status, "model": MODEL, "error": null,
        "output": [], "usage": usage,
    })
    .to_string()
}

fn used() -> Value {
    value!({
        "input_tokens": 20, "input_tokens_details": { "cached_tokens": 5 }, "output_tokens": 30,
        "output_tokens_details": { "reasoning_tokens": 10 }, "total_tokens": 50,
    })
}

/// A stage that asks for background answers at once and again.
async fn impatient() -> Stage {
    let setting = Setting {
        config: GatewayConfig {
            background_poll_ms: 1,
            ..GatewayConfig::default()
        },
        connector: connector(),
        ..Setting::default()
    };
    let world = tollgate_app::testing::World::start().await;
    Stage::before(crate::provider::Provider::start().await, world, setting).await
}

#[tokio::test]
async fn a_response_passes_untouched_and_is_booked() {
    let stage = Stage::set().await;
    stage
        .provider
        .script(json(200, &response("completed", &used())));
    let request = stage.request(Method::POST, "/v1/responses", &asked(&[]));
    let said = stage.send(request).await;
    assert_eq!(said.body, response("completed", &used()));
    assert_eq!(stage.provider.seen()[0].body, asked(&[]).into_bytes());
    // 20 × $1 and 30 × $2 a million.
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((20, 30, 80_000), UsageSource::Provider)
    );
    assert_eq!((row.tokens.cached_input, row.tokens.reasoning), (5, 10));
    stage.strike().await;
}

#[tokio::test]
async fn a_streamed_response_passes_byte_for_byte_and_is_booked() {
    let stage = Stage::set().await;
    let mut steps = stream(&[CREATED, DELTA, COMPLETED]);
    steps.push(end());
    stage.provider.script(steps);
    let body = asked(&[("stream", value!(true))]);
    let said = stage
        .send(stage.request(Method::POST, "/v1/responses", &body))
        .await;
    assert_eq!(said.body, [CREATED, DELTA, COMPLETED].concat());
    assert_eq!(stage.provider.seen()[0].body, body.into_bytes());
    assert_eq!(figures(&stage.row().await), (9, 2, 13_000));
    stage.strike().await;
}

#[tokio::test]
async fn a_streamed_response_that_breaks_ends_with_its_error_event_and_no_clean_end() {
    for breaking in [Step::Abort, end()] {
        let stage = Stage::set().await;
        let mut steps = stream(&[CREATED, DELTA]);
        steps.push(Step::Wait);
        steps.push(breaking);
        stage.provider.script(steps);
        let body = asked(&[("stream", value!(true))]);
        let request = stage.request(Method::POST, "/v1/responses", &body);
        let mut answer = stage.open(request).await.into_body();
        let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
        let mut read = first.to_vec();
        stage.provider.go();
        let broken = loop {
            match answer.frame().await {
                Some(Ok(frame)) => read.extend(frame.into_data().unwrap_or_default()),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        let text = String::from_utf8(read).unwrap();
        assert!(broken, "{text}");
        let event = text.rsplit("event: error\ndata: ").next().unwrap();
        let event: Value = serde_json::from_str(event.trim()).unwrap();
        assert_eq!(
            (&event["type"], &event["code"]),
            (&value!("error"), &value!("upstream_broken"))
        );
        assert!(event["error"]["message"].is_string(), "{event}");
        let row = stage.row().await;
        assert_eq!(row.source, UsageSource::Counted);
        stage.strike().await;
    }
}

#[tokio::test]
async fn a_response_in_the_background_is_booked_once_when_it_is_done_and_exactly() {
    let stage = impatient().await;
    stage
        .provider
        .script(json(200, &response("queued", &Value::Null)));
    stage
        .provider
        .script(json(200, &response("in_progress", &Value::Null)));
    stage.provider.script(json(500, "{}"));
    stage
        .provider
        .script(json(200, &response("completed", &used())));
    let body = asked(&[("background", value!(true))]);
    let said = stage
        .send(stage.request(Method::POST, "/v1/responses", &body))
        .await;
    assert_eq!(
        (said.status, said.json()["status"].as_str()),
        (StatusCode::OK, Some("queued"))
    );
    assert_eq!(said.header("x-tollgate-cost-usd"), None);
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((20, 30, 80_000), UsageSource::Provider)
    );
    assert_eq!(
        Some(row.usage.call_id.as_str()),
        said.header("x-tollgate-call-id")
    );
    let asked: Vec<_> = stage.provider.seen().into_iter().skip(1).collect();
    assert_eq!(asked.len(), 3);
    assert!(
        asked
            .iter()
            .all(|seen| seen.head.starts_with("GET /v1/responses/resp_1 "))
    );
    // Whoever reads it is not charged for it.
    for _ in 0..2 {
        stage
            .provider
            .script(json(200, &response("completed", &used())));
        let said = stage
            .send(stage.request(Method::GET, "/v1/responses/resp_1", ""))
            .await;
        assert_eq!(said.body, response("completed", &used()));
    }
    assert_eq!(stage.rows().await.len(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn a_response_in_the_background_that_is_lost_or_not_waited_for_is_charged_as_held() {
    for lost in [true, false] {
        let stage = impatient().await;
        stage
            .provider
            .script(json(200, &response("queued", &Value::Null)));
        let body = asked(&[("background", value!(true))]);
        if lost {
            stage.provider.script(json(404, "{}"));
        } else {
            stage.provider.script(vec![Step::Wait]);
        }
        stage
            .send(stage.request(Method::POST, "/v1/responses", &body))
            .await;
        stage.provider.arrived(2).await;
        let world = if lost {
            let row = stage.row().await;
            assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
            assert_eq!(row.usage.error_code.as_deref(), Some("background_lost"));
            stage.strike().await;
            continue;
        } else {
            stage
        };
        // Stopping does not wait for it, and what is held is not free.
        world.strike().await;
    }
}

#[tokio::test]
async fn what_is_kept_is_read_cancelled_and_deleted_without_cost() {
    let stage = Stage::set().await;
    for (method, path) in [
        (
            Method::GET,
            "/v1/responses/resp_1?include[]=message.output_text.logprobs",
        ),
        (
            Method::GET,
            "/v1/responses/resp_1/input_items?limit=5&order=asc&x=1",
        ),
        (Method::POST, "/v1/responses/resp_1/cancel"),
        (Method::DELETE, "/v1/responses/resp_1"),
    ] {
        stage.provider.script(json(200, "{\"id\":\"resp_1\"}"));
        let said = stage.send(stage.request(method.clone(), path, "")).await;
        assert_eq!(said.status, StatusCode::OK, "{path}");
        let seen = stage.provider.seen().pop().unwrap();
        let sent = path.replace("&x=1", "");
        assert!(
            seen.head.starts_with(&format!("{method} {sent} HTTP/1.1")),
            "{}",
            seen.head
        );
    }
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_capped_response_is_told_its_maximum() {
    let more = value!({ "hard_cap": true, "default_max_output_tokens": 50 });
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    let stage = Stage::limited(limits, more).await;
    stage.provider.script(json(
        200,
        &response(
            "completed",
            &value!({
                "input_tokens": 3, "output_tokens": 4, "total_tokens": 7,
            }),
        ),
    ));
    let body = value!({ "model": MODEL, "input": "hi" }).to_string();
    stage
        .send(stage.request(Method::POST, "/v1/responses", &body))
        .await;
    let sent: Value = serde_json::from_slice(&stage.provider.seen()[0].body).unwrap();
    assert_eq!(sent["max_output_tokens"], 50);
    assert_eq!(figures(&stage.row().await), (3, 4, 11_000));
    // What the provider's own tools would cost is bounded by nothing.
    let tools = asked(&[("tools", value!([{ "type": "web_search" }]))]);
    let said = stage
        .send(stage.request(Method::POST, "/v1/responses", &tools))
        .await;
    assert_eq!(said.json()["error"]["code"], "price_unknown");
    stage.strike().await;
}

#[tokio::test]
async fn what_is_not_served_is_said_with_what_is() {
    let stage = Stage::set().await;
    for path in ["/v1/realtime?model=gpt-realtime", "/v1/realtime/sessions"] {
        let said = stage.send(stage.request(Method::GET, path, "")).await;
        assert_eq!(said.status, StatusCode::NOT_FOUND);
        let said = said.json();
        assert_eq!(said["error"]["code"], "unknown_path");
        let message = said["error"]["message"].as_str().unwrap();
        assert!(message.contains("/v1/responses/{id}/cancel"), "{message}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn speech_and_images_pass_and_are_charged_by_what_is_known_of_them() {
    let stage = Stage::set().await;
    let sound =
        "HTTP/1.1 200 OK\r\ncontent-type: audio/mpeg\r\ncontent-length: 4\r\n\r\n\u{1}\u{2}{\u{3}";
    stage
        .provider
        .script(vec![Step::Send(sound.as_bytes().to_vec())]);
    let spoken = value!({ "model": MODEL, "input": "h\u{e4}llo", "voice": "alloy" }).to_string();
    let said = stage
        .send(stage.request(Method::POST, "/v1/audio/speech", &spoken))
        .await;
    assert_eq!(
        (&said.body[..], said.header("content-type")),
        (&b"\x01\x02{\x03"[..], Some("audio/mpeg"))
    );
    let row = stage.row().await;
    // Five characters, and eight tokens of sound for each at most.
    assert_eq!(
        (figures(&row), row.source),
        ((5, 40, 85_000), UsageSource::Estimated)
    );
    assert_eq!(row.usage.error_code, None);

    let made = r#"{"created":1,"data":[{"b64_json":"aGk="}],"usage":{"input_tokens":10,"input_tokens_details":{"text_tokens":4,"image_tokens":6},"output_tokens":100,"total_tokens":110}}"#;
    stage.provider.script(json(200, made));
    let body = value!({ "model": MODEL, "prompt": "a sea" }).to_string();
    let said = stage
        .send(stage.request(Method::POST, "/v1/images/generations", &body))
        .await;
    assert_eq!(said.body, made);
    let rows = stage.rows_once(2).await;
    // Both may be of the same moment.
    let row = rows.iter().find(|row| row.usage.tokens_in == 10).unwrap();
    assert_eq!(figures(row), (10, 100, 210_000));
    assert_eq!((row.tokens.image_input, row.tokens.image_output), (6, 100));

    stage
        .provider
        .script(json(200, r#"{"id":"modr-1","results":[]}"#));
    let said = stage
        .send(stage.request(Method::POST, "/v1/moderations", r#"{"input":"hi"}"#))
        .await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(stage.rows().await.len(), 2);
    stage.strike().await;
}
