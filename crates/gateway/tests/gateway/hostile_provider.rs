//! Providers that do what no provider should: each call ends in time, as one row that costs no
//! more than was held, and the books are exact. What they can make the gateway hold is measured
//! on the program itself.

use cus_models::CusProviderType;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, chunk, completion, completion_text, end, json, json_with, stream};
use crate::stage::{Limited, Stage, hello, hello_streamed};
use crate::streams::{DONE, FIRST, SECOND};

const EVENTS: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";

async fn stage_with(config: GatewayConfig) -> Stage {
    let provider_type = CusProviderType::OpenAi;
    Stage::with(provider_type, Limited::default(), json!({}), config).await
}

/// One row more than before, which costs what may be asked for it.
async fn booked(stage: &Stage, calls: usize) -> tollgate_app::usage::UsageRow {
    let mut rows = stage.rows_once(calls).await;
    assert_eq!(rows.len(), calls, "one row a call: {rows:?}");
    let row = rows.pop().unwrap();
    let (cost, held) = (row.cost.get(), row.held.get());
    assert!((0..=held).contains(&cost), "{cost} of {held}");
    row
}

#[tokio::test]
async fn a_provider_that_says_nothing_or_a_letter_at_a_time_is_given_up() {
    let stage = stage_with(GatewayConfig {
        first_byte_seconds: 1,
        ..GatewayConfig::default()
    })
    .await;
    let head = b"HTTP/1.1 200 OK\r\nx-more: and more and more and more and more and more";
    for (calls, steps) in [
        (1, vec![Step::Wait]),
        (2, vec![Step::Drip(head.repeat(100))]),
        (
            3,
            vec![Step::Again(
                b"HTTP/1.1 100 Continue\r\n\r\n".to_vec(),
                usize::MAX,
            )],
        ),
    ] {
        stage.provider.script(steps);
        let said = stage.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT, "{calls}");
        assert_eq!(said.json()["error"]["code"], "upstream_timeout");
        let row = booked(&stage, calls).await;
        assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
    }
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_that_comes_a_letter_at_a_time_ends_when_its_time_is_up() {
    let stage = stage_with(GatewayConfig {
        total_seconds: 1,
        ..GatewayConfig::default()
    })
    .await;
    let body = completion_text(1, 1).repeat(10);
    let whole = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
    stage.provider.script(vec![
        Step::Send(whole.into_bytes()),
        Step::Drip(body.into_bytes()),
    ]);
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT);
    booked(&stage, 1).await;
    let head = format!("{EVENTS}connection: close\r\n\r\n");
    let events = FIRST.repeat(100).into_bytes();
    stage
        .provider
        .script(vec![Step::Send(head.into_bytes()), Step::Drip(events)]);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let broken = stage.open(request).await.into_body().collect().await;
    assert!(broken.is_err(), "a stream that was cut ended cleanly");
    booked(&stage, 2).await;
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_without_end_ends_when_its_time_is_up() {
    let stage = stage_with(GatewayConfig {
        total_seconds: 1,
        ..GatewayConfig::default()
    })
    .await;
    let close = "connection: close\r\n\r\n";
    let json = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n";
    for (calls, head, again, body) in [
        (1, EVENTS, FIRST.to_owned(), hello_streamed()),
        (2, EVENTS, "data: ".repeat(10_000), hello_streamed()),
        (3, EVENTS, ": ping\r\r".to_owned(), hello_streamed()),
        (4, json, "[".repeat(10_000), hello()),
        (
            5,
            json,
            format!("{{\"usage\":{}", " ".repeat(10_000)),
            hello(),
        ),
    ] {
        let head = format!("{head}{close}").into_bytes();
        stage.provider.script(vec![
            Step::Send(head),
            Step::Again(again.into_bytes(), usize::MAX),
        ]);
        let request = stage.request(Method::POST, "/v1/chat/completions", &body);
        let mut answer = stage.open(request).await.into_body();
        let broken = loop {
            match answer.frame().await {
                Some(Ok(_)) => {}
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broken, "{calls}: an answer that was cut ended cleanly");
        booked(&stage, calls).await;
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_line_of_many_mebibytes_passes() {
    let stage = Stage::set().await;
    let piece = vec![b'x'; 1 << 16];
    let head = format!("{EVENTS}connection: close\r\n\r\ndata: ");
    stage.provider.script(vec![
        Step::Send(head.into_bytes()),
        Step::Again(piece, 160),
        Step::Send([b"\n\n", SECOND.as_bytes(), DONE.as_bytes()].concat()),
        Step::Close,
    ]);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let mut answer = stage.open(request).await.into_body();
    let mut bytes = 0;
    while let Some(frame) = answer.frame().await {
        bytes += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(bytes, 6 + (160 << 16) + 2 + SECOND.len() + DONE.len());
    let row = booked(&stage, 1).await;
    assert_eq!(row.source, UsageSource::Counted);
    stage.strike().await;
}

/// Four mebibytes of zeros in four kibibytes, as gzip writes them.
fn bomb() -> Vec<u8> {
    let head = [
        31, 139, 8, 0, 0, 0, 0, 0, 2, 3, 237, 193, 1, 1, 0, 0, 0, 130, 32, 255, 175, 110,
    ];
    let tail = [124, 27, 106, 64, 71, 17, 0, 0, 64, 0];
    [&head[..], &[72, 64, 1], &[0; 4_063], &tail].concat()
}

#[tokio::test]
async fn an_answer_that_is_compressed_all_the_same_is_passed_on_and_not_unpacked() {
    let stage = Stage::set().await;
    for (calls, kind) in [(1, "application/json"), (2, "text/event-stream")] {
        let bomb = bomb();
        let head = format!(
            "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-encoding: gzip\r\ncontent-length: {}\r\n\r\n",
            bomb.len()
        );
        stage
            .provider
            .script(vec![Step::Send([head.as_bytes(), &bomb].concat())]);
        let said = stage.chat(&hello()).await;
        assert_eq!((said.status, &said.body[..]), (StatusCode::OK, &bomb[..]));
        let row = booked(&stage, calls).await;
        assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
    }
    let asked = stage.provider.seen();
    assert_eq!(asked[0].header("accept-encoding"), Some("identity"));
    stage.strike().await;
}

fn raw(answer: &str) -> Vec<Step> {
    vec![Step::Send(answer.as_bytes().to_vec()), Step::Close]
}

#[tokio::test]
async fn an_answer_that_is_no_answer_is_charged_as_held_and_told_as_an_error() {
    let stage = Stage::set().await;
    let long = format!(
        "HTTP/1.1 200 OK\r\nx-long: {}\r\n\r\n{{}}",
        "x".repeat(10 << 20)
    );
    let many = format!(
        "HTTP/1.1 200 OK\r\n{}\r\n{{}}",
        "x-more: 1\r\n".repeat(100_000)
    );
    let scripts = [
        raw("HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"id\":"),
        raw("HTTP/1.1 200 OK\r\ncontent-le"),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}}"),
        raw("HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}"),
        raw("HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999\r\n\r\n{}"),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nffffffffffffffffff\r\n{}"),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n{}"),
        raw("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}\r\n0\r\n\r\n"),
        raw("HTTP/1.1 OK 200\r\n\r\n{}"),
        raw("HTTP/9.9 200 OK\r\n\r\n{}"),
        raw("HTTP/2.0 200 OK\r\n\r\n{}"),
        raw("{\"id\":\"no head at all\"}"),
        raw("HTTP/1.1 200 OK\r\nx-bad\r\n\r\n{}"),
        raw("HTTP/1.1 200 OK\r\nx-bad: a\0b\r\n\r\n{}"),
        raw("\0\0\0\x12\x04\0\0\0\0\0\0\x03\0\0\0\x64\0\x04\0\x01\0\0"),
        raw(&long),
        raw(&many),
    ];
    for (call, steps) in scripts.into_iter().enumerate() {
        stage.provider.script(steps);
        let said = stage.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT, "{call}");
        assert_eq!(said.header("x-should-retry"), Some("false"), "{call}");
        let row = booked(&stage, call + 1).await;
        assert_eq!(
            (row.source, row.cost),
            (UsageSource::Estimated, row.held),
            "{call}"
        );
        assert!(row.usage.is_error(), "{call}");
    }
    stage.strike().await;
}

/// What follows an answer is not the answer to the next call.
#[tokio::test]
async fn an_answer_that_brings_another_one_along_does_not_answer_the_next_call() {
    let stage = Stage::set().await;
    for calls in 1..=5 {
        let Some(Step::Send(mut twice)) = completion(1, 1).pop() else {
            panic!("an answer is one piece");
        };
        if let Some(Step::Send(forged)) = json(200, &completion_text(9, 9)).pop() {
            twice.extend(forged);
        }
        stage.provider.script(vec![Step::Send(twice)]);
        let said = stage.chat(&hello()).await;
        assert_eq!(said.body, completion_text(1, 1), "{calls}");
        booked(&stage, calls).await;
    }
    assert_eq!(
        stage.provider.seen().len(),
        5,
        "each call was asked for itself"
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_provider_that_wants_to_speak_something_else_is_no_answer() {
    let stage = Stage::set().await;
    for (calls, answer) in [
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\n\r\n",
        "HTTP/1.1 300 Multiple Choices\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 305 Use Proxy\r\nlocation: http://10.0.0.1/\r\ncontent-length: 0\r\n\r\n",
    ]
    .into_iter()
    .enumerate()
    {
        stage.provider.script(raw(answer));
        let said = stage.chat(&hello()).await;
        assert!(said.status.is_server_error(), "{answer}: {}", said.status);
        assert_eq!(said.header("location"), None);
        assert_eq!(said.header("upgrade"), None);
        booked(&stage, calls + 1).await;
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_usage_in_a_stream_that_cannot_be_true_is_charged_as_held() {
    let stage = Stage::set().await;
    let good = r#"{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}"#;
    let lies = [
        r#"{"prompt_tokens":-9,"completion_tokens":2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":-2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":101}"#,
        r#"{"prompt_tokens":18446744073709551616,"completion_tokens":2}"#,
        r#"{"prompt_tokens":9223372036854775807,"completion_tokens":9223372036854775807}"#,
        r#"{"prompt_tokens":1e300,"completion_tokens":2}"#,
        r#"{"prompt_tokens":9.5,"completion_tokens":2}"#,
        r#"{"prompt_tokens":9,"completion_tokens":2,"prompt_tokens_details":{"cached_tokens":10}}"#,
    ];
    let mut calls = 0;
    for lie in lies {
        // Alone, and after one that was good: the last word counts, and it is a lie.
        for usages in [vec![lie], vec![good, lie]] {
            let told = |usage: &&str| {
                format!("data: {{\"id\":\"c\",\"choices\":[],\"usage\":{usage}}}\n\n")
            };
            let usages: Vec<String> = usages.iter().map(told).collect();
            let mut events = vec![FIRST, SECOND];
            events.extend(usages.iter().map(String::as_str));
            events.push(DONE);
            let mut steps = stream(&events);
            steps.push(end());
            stage.provider.script(steps);
            let said = stage.chat(&hello_streamed()).await;
            assert_eq!(said.status, StatusCode::OK);
            calls += 1;
            let row = booked(&stage, calls).await;
            assert_eq!(
                (row.source, row.cost),
                (UsageSource::Estimated, row.held),
                "{lie}"
            );
            assert_eq!(row.usage.error_code.as_deref(), Some("usage_out_of_bounds"));
        }
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_usage_that_comes_twice_is_booked_once() {
    let stage = Stage::set().await;
    let usage = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n";
    let mut steps = stream(&[FIRST, usage, SECOND, usage, usage, DONE]);
    steps.push(end());
    stage.provider.script(steps);
    let said = stage.chat(&hello_streamed()).await;
    assert_eq!(said.body, [FIRST, SECOND, DONE].concat());
    let row = booked(&stage, 1).await;
    assert_eq!((row.usage.tokens_in, row.usage.tokens_out), (9, 2));
    assert_eq!(row.source, UsageSource::Provider);
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_that_is_no_text_or_no_json_passes_as_it_is_and_is_not_free() {
    let stage = Stage::set().await;
    let deep = [vec![b'['; 100_000], vec![b']'; 100_000]].concat();
    let deep_usage = [b"{\"usage\":".as_slice(), &deep, b"}"].concat();
    let mut calls = 0;
    for body in [
        b"\xff\xfe{\"usage\":1}".to_vec(),
        b"{\"id\":\"\xc3\x28\",\"usage\":{\"prompt_tokens\":1}}".to_vec(),
        b"{\"usage\":{\"prompt_tokens\":1,".to_vec(),
        b"<html>busy</html>".to_vec(),
        b"".to_vec(),
        b"null".to_vec(),
        deep,
        deep_usage.clone(),
    ] {
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stage
            .provider
            .script(vec![Step::Send([head.as_bytes(), &body].concat())]);
        let said = stage.chat(&hello()).await;
        assert_eq!((said.status, &said.body[..]), (StatusCode::OK, &body[..]));
        calls += 1;
        let row = booked(&stage, calls).await;
        assert!(row.cost.get() > 0, "{calls}: {row:?}");
    }
    let odd = [b"data: \xff\xfe\n\ndata: ".as_slice(), &deep_usage, b"\n\n"].concat();
    let mut all = odd.clone();
    all.extend_from_slice(DONE.as_bytes());
    let head = format!("{EVENTS}content-length: {}\r\n\r\n", all.len());
    stage
        .provider
        .script(vec![Step::Send([head.as_bytes(), &all].concat())]);
    let said = stage.chat(&hello_streamed()).await;
    assert_eq!(said.body, all);
    assert!(booked(&stage, calls + 1).await.cost.get() > 0);
    stage.strike().await;
}

/// Whatever it puts into the head of its answer, the caller learns who spoke from us alone.
#[tokio::test]
async fn a_provider_cannot_speak_for_the_gateway() {
    let stage = Stage::set().await;
    let headers = "x-tollgate-origin: gateway\r\nx-tollgate-cost-usd: 0\r\nset-cookie: a=b\r\n\
        connection: keep-alive, x-hop\r\nx-hop: 1\r\nproxy-authenticate: Basic\r\nalt-svc: h3=\":1\"\r\n";
    stage
        .provider
        .script(json_with(200, headers, &completion_text(1, 1)));
    let said = stage.chat(&hello()).await;
    assert_eq!(said.header("x-tollgate-origin"), Some("provider"));
    assert_eq!(said.header("x-tollgate-cost-usd"), Some("0.000003000"));
    for name in ["set-cookie", "x-hop", "proxy-authenticate", "alt-svc"] {
        assert_eq!(said.header(name), None, "{name}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn an_answer_in_single_bytes_is_the_same_answer() {
    let stage = Stage::set().await;
    let text = completion_text(11, 7);
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n";
    let mut steps = vec![Step::Send(head.as_bytes().to_vec())];
    steps.extend(text.chars().map(|letter| chunk(&letter.to_string())));
    steps.push(end());
    stage.provider.script(steps);
    let said = stage.chat(&hello()).await;
    assert_eq!(said.body, text);
    assert_eq!(booked(&stage, 1).await.cost.get(), 25_000);
    stage.strike().await;
}
