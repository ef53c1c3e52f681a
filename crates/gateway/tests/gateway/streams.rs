//! Streamed answers: as they come, byte for byte but for the documented edit.

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate_app::testing::MODEL;
use tollgate_core::usage::UsageSource;

use crate::provider::{Step, end, stream};
use crate::stage::{Stage, figures, hello_streamed};

pub(crate) const FIRST: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"one\"}}],\"usage\":null}\n\n";
pub(crate) const SECOND: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\" two\"},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
pub(crate) const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":9,\"completion_tokens\":2,\"total_tokens\":11}}\n\n";
pub(crate) const DONE: &str = "data: [DONE]\n\n";

#[tokio::test]
async fn usage_is_asked_for_and_its_chunk_is_kept_from_a_caller_who_did_not_ask() {
    let stage = Stage::set().await;
    let mut steps = stream(&[FIRST, SECOND, USAGE, DONE]);
    steps.push(end());
    stage.provider.script(steps);
    let said = stage.chat(&hello_streamed()).await;
    assert_eq!(said.body, [FIRST, SECOND, DONE].concat());
    let sent: Value = serde_json::from_slice(&stage.provider.seen()[0].body).unwrap();
    assert_eq!(sent["stream_options"]["include_usage"], true);
    let row = stage.row().await;
    // 9 × $1 and 2 × $2 a million.
    assert_eq!(
        (figures(&row), row.source),
        ((9, 2, 13_000), UsageSource::Provider)
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_asks_for_usage_gets_every_byte() {
    let stage = Stage::set().await;
    let mut steps = stream(&[FIRST, SECOND, USAGE, DONE]);
    steps.push(end());
    stage.provider.script(steps);
    let asked = hello_streamed().replace(
        "\"stream\":true",
        "\"stream\":true,\"stream_options\":{\"include_usage\":true}",
    );
    let said = stage.chat(&asked).await;
    assert_eq!(said.body, [FIRST, SECOND, USAGE, DONE].concat());
    assert_eq!(stage.provider.seen()[0].body, asked.into_bytes());
    assert_eq!(figures(&stage.row().await), (9, 2, 13_000));
    stage.strike().await;
}

#[tokio::test]
async fn the_first_bytes_reach_the_caller_before_the_provider_has_ended() {
    let stage = Stage::set().await;
    let mut steps = stream(&[FIRST]);
    steps.push(Step::Wait);
    steps.extend(stream(&[SECOND, USAGE, DONE]).into_iter().skip(1));
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let mut answer = stage.open(request).await.into_body();
    let first = answer.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!(first, FIRST);
    stage.provider.go();
    let rest = answer.collect().await.unwrap().to_bytes();
    assert_eq!(rest, [SECOND, DONE].concat());
    stage.strike().await;
}

#[tokio::test]
async fn a_stream_that_breaks_ends_with_the_vendors_error_event_and_no_clean_end() {
    for breaking in [Step::Abort, end()] {
        let stage = Stage::set().await;
        let mut steps = stream(&[FIRST]);
        steps.push(Step::Wait);
        steps.push(breaking);
        stage.provider.script(steps);
        let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
        let mut answer = stage.open(request).await.into_body();
        let mut read: Vec<Bytes> =
            vec![answer.frame().await.unwrap().unwrap().into_data().unwrap()];
        stage.provider.go();
        let broken = loop {
            match answer.frame().await {
                Some(Ok(frame)) => read.extend(frame.into_data()),
                Some(Err(_)) => break true,
                None => break false,
            }
        };
        assert!(broken, "a broken stream ended cleanly");
        let text = String::from_utf8(read.concat()).unwrap();
        assert!(
            text.starts_with(FIRST) && text.contains("\"error\""),
            "{text}"
        );
        let row = stage.row().await;
        assert_eq!(row.source, UsageSource::Counted);
        assert!(row.usage.tokens_out >= 1 && row.usage.is_error(), "{row:?}");
        stage.strike().await;
    }
}

#[tokio::test]
async fn an_answer_that_never_comes_is_charged_at_the_hold() {
    let stage = Stage::set().await;
    stage.provider.script(vec![Step::Abort]);
    let said = stage.chat(&hello_streamed()).await;
    assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT);
    assert_eq!(said.json()["error"]["code"], "upstream_timeout");
    assert_eq!(said.header("x-should-retry"), Some("false"));
    let row = stage.row().await;
    assert_eq!((row.source, row.cost), (UsageSource::Estimated, row.held));
    assert_eq!(row.usage.model, MODEL);
    stage.strike().await;
}
