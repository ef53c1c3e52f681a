//! `Server-Timing`: whose time it was.

use std::time::Duration;

use http::{Method, StatusCode};
use http_body_util::BodyExt;
use tokio::time::Instant;

use crate::provider::{Step, completion, end, stream};
use crate::stage::{Stage, hello, hello_streamed};
use crate::streams::{DONE, FIRST, SECOND, USAGE};

/// How long the provider takes at least.
const PAUSE: Duration = Duration::from_millis(20);

/// The milliseconds of each name, in their order.
fn times(header: Option<&str>) -> Vec<(&str, f64)> {
    let entries = header.unwrap().split(", ");
    entries
        .map(|entry| entry.split_once(";dur=").unwrap())
        .map(|(name, millis)| (name, millis.parse().unwrap()))
        .collect()
}

/// The bytes that a script of one step sends.
fn json_bytes(steps: Vec<Step>) -> Vec<u8> {
    let bytes = steps.into_iter().find_map(|step| {
        if let Step::Send(bytes) = step {
            Some(bytes)
        } else {
            None
        }
    });
    bytes.unwrap()
}

/// Lets the provider go on when it has had the call for a while.
async fn pause(stage: &Stage) {
    stage.provider.arrived(1).await;
    let arrived = Instant::now();
    while arrived.elapsed() < PAUSE {
        tokio::task::yield_now().await;
    }
    stage.provider.go();
}

/// The provider's time has its pause, and ours is no more than what is left of the whole.
fn assert_told_apart(header: Option<&str>, whole: Duration) {
    let pause = PAUSE.as_secs_f64() * 1_000.0;
    let whole = whole.as_secs_f64() * 1_000.0;
    let times = times(header);
    assert_eq!(times.len(), 2, "{times:?}");
    let [ours, theirs] = ["tollgate", "provider"].map(|name| {
        let entry = times.iter().find(|entry| entry.0 == name);
        entry.expect(name).1
    });
    assert!(theirs >= pause, "{theirs}");
    assert!(ours <= whole - pause, "{ours} of {whole}");
}

#[tokio::test]
async fn a_whole_answer_tells_our_time_from_the_providers() {
    let stage = Stage::set().await;
    let answer = json_bytes(completion(1, 1));
    // The pause is in the body: a whole answer is awaited to its end.
    let (head, rest) = answer.split_at(answer.len() - 10);
    let steps = [Step::Send(head.into()), Step::Wait, Step::Send(rest.into())];
    stage.provider.script(steps.into());
    let began = Instant::now();
    let body = hello();
    let (said, ()) = tokio::join!(stage.chat(&body), pause(&stage));
    assert_eq!(said.status, StatusCode::OK);
    assert_told_apart(said.header("server-timing"), began.elapsed());
    stage.row().await;
    stage.strike().await;
}

#[tokio::test]
async fn the_head_of_a_stream_tells_the_time_until_then() {
    let stage = Stage::set().await;
    let mut steps = vec![Step::Wait];
    steps.extend(stream(&[FIRST, SECOND, USAGE, DONE]));
    steps.push(end());
    stage.provider.script(steps);
    let request = stage.request(Method::POST, "/v1/chat/completions", &hello_streamed());
    let began = Instant::now();
    let (answer, ()) = tokio::join!(stage.open(request), pause(&stage));
    let took = began.elapsed();
    let header = answer.headers().get("server-timing").cloned().unwrap();
    assert_told_apart(header.to_str().ok(), took);
    answer.into_body().collect().await.unwrap();
    stage.row().await;
    stage.strike().await;
}

#[tokio::test]
async fn a_refusal_has_no_time_at_a_provider_unless_one_was_asked() {
    let stage = Stage::set().await;
    let mut request = stage.request(Method::POST, "/v1/chat/completions", &hello());
    request.headers_mut().remove("authorization");
    let said = stage.send(request).await;
    assert_eq!(said.status, StatusCode::UNAUTHORIZED);
    let header = said.header("server-timing");
    assert!(matches!(times(header)[..], [("tollgate", _)]), "{header:?}");

    stage.provider.script(vec![Step::Wait, Step::Abort]);
    let began = Instant::now();
    let body = hello();
    let (said, ()) = tokio::join!(stage.chat(&body), pause(&stage));
    assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT);
    assert_told_apart(said.header("server-timing"), began.elapsed());
    stage.row().await;
    stage.strike().await;
}
