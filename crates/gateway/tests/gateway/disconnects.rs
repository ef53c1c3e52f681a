//! Callers who go away: their call is read on, or cut off, and always booked.

use cus_models::CusProviderType;
use http::Method;
use http_body_util::BodyExt;
use serde_json::json;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, completion, end, stream};
use crate::stage::{Limited, Stage, figures, hello, hello_streamed};
use crate::streams::{DONE, FIRST, SECOND, USAGE};

#[tokio::test]
async fn a_caller_who_leaves_in_the_middle_is_charged_what_the_provider_reports_in_the_end() {
    for chunks in 0..3 {
        let stage = Stage::set().await;
        let mut steps = stream(&[FIRST, SECOND][..chunks.min(2)]);
        steps.push(Step::Wait);
        steps.extend(stream(&[SECOND, USAGE, DONE]).into_iter().skip(1));
        steps.push(end());
        stage.provider.script(steps);
        let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
        let mut answer = stage.open(request).await.into_body();
        for _ in 0..chunks.min(1) {
            answer.frame().await.unwrap().unwrap();
        }
        drop(answer);
        stage.provider.go();
        let row = stage.row().await;
        assert_eq!(
            (figures(&row), row.source),
            ((9, 2, 13_000), UsageSource::Provider)
        );
        stage.strike().await;
    }
}

#[tokio::test]
async fn a_caller_who_leaves_before_the_answer_begins_is_still_booked() {
    let stage = Stage::set().await;
    let mut steps = vec![Step::Wait];
    steps.extend(completion(5, 3));
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    tokio::select! {
        () = stage.provider.arrived(1) => {}
        answer = stage.open(request) => panic!("{answer:?}"),
    }
    stage.provider.go();
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((5, 3, 11_000), UsageSource::Provider)
    );
    stage.strike().await;
}

#[tokio::test]
async fn where_configured_the_provider_is_cut_off_and_what_was_delivered_is_charged() {
    let stage = Stage::limited(Limited::default(), json!({"on_disconnect": "cancel"})).await;
    let mut steps = stream(&[FIRST]);
    steps.push(Step::Wait);
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let mut answer = stage.open(request).await.into_body();
    answer.frame().await.unwrap().unwrap();
    drop(answer);
    let row = stage.row().await;
    assert_eq!(row.source, UsageSource::Counted);
    assert!(
        row.usage.tokens_out >= 1 && row.usage.tokens_in > 0,
        "{row:?}"
    );
    stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_stops_reading_is_cut_off_and_booked() {
    let config = GatewayConfig {
        write_seconds: 1,
        ..GatewayConfig::default()
    };
    let limits = Limited::default();
    let stage = Stage::with(CusProviderType::OpenAi, limits, json!({}), config).await;
    // More than the sockets between them can hold.
    let long = FIRST.replace("one", &"one ".repeat(4_000_000));
    let mut steps = stream(&[&long, SECOND, USAGE, DONE]);
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let unread = stage.open(request).await;
    let row = stage.row().await;
    assert_eq!(
        (figures(&row), row.source),
        ((9, 2, 13_000), UsageSource::Provider)
    );
    drop(unread);
    stage.strike().await;
}
