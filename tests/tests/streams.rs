//! Streams: what the caller sees of them, and what is booked when a caller goes away at any moment.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tollgate_tests::{Engine, Next, Plan, Tenant, World};

const TOKENS_OUT: u64 = 6;

/// A face of the gateway: its path, what to send, and how many tokens an event delivers.
struct Face {
    path: &'static str,
    body: Value,
    delivered: fn(&str) -> u64,
}

fn words(event: &str, member: &str) -> u64 {
    let Some(data) = event.lines().find_map(|line| line.strip_prefix("data: ")) else {
        return 0;
    };
    let json: Value = serde_json::from_str(data).unwrap_or_default();
    let text = json
        .pointer(member)
        .and_then(Value::as_str)
        .unwrap_or_default();
    u64::try_from(text.split_whitespace().count()).unwrap()
}

fn faces() -> [Face; 2] {
    let messages = json!([{"role": "user", "content": "one two three"}]);
    [
        Face {
            path: "/v1/chat/completions",
            body: json!({"model": "gpt-4o-mini", "messages": messages, "max_tokens": TOKENS_OUT, "stream": true}),
            delivered: |event| words(event, "/choices/0/delta/content"),
        },
        Face {
            path: "/v1/messages",
            body: json!({"model": "claude-haiku-4-5", "messages": messages, "max_tokens": TOKENS_OUT, "stream": true}),
            delivered: |event| words(event, "/delta/text"),
        },
    ]
}

async fn both(world: &World, config: &Value) -> Tenant {
    let tenant = world.tenant().await;
    tenant.openai(config).await;
    tenant.anthropic(config).await;
    tenant
}

/// Reads so many events, or all, then goes away: the call's id and the tokens that were delivered.
async fn cut_after(tenant: &Tenant, face: &Face, events: usize) -> (String, u64, bool) {
    let mut stream = tenant.caller.open(face.path, &face.body).await;
    assert_eq!(stream.status, 200);
    let call_id = stream.header("x-tollgate-call-id").to_owned();
    let (mut delivered, mut is_whole) = (0, false);
    for _ in 0..events {
        match stream.next().await {
            Next::Event(event) => delivered += (face.delivered)(&event),
            end @ (Next::End | Next::Cut) => {
                assert_eq!(end, Next::End);
                is_whole = true;
                break;
            }
        }
    }
    (call_id, delivered, is_whole)
}

/// The number of events of a whole stream.
async fn length(tenant: &Tenant, face: &Face) -> usize {
    let (events, end) = tenant.caller.open(face.path, &face.body).await.rest().await;
    assert_eq!(end, Next::End);
    let delivered: u64 = events.iter().map(|event| (face.delivered)(event)).sum();
    assert_eq!(delivered, TOKENS_OUT, "{events:?}");
    events.len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_its_caller_cuts_anywhere_is_read_on_and_booked_as_the_provider_says() {
    let world = World::start(Plan::on(Engine::Sqlite).provider("--chunk-interval-ms=3")).await;
    let tenant = both(&world, &json!({})).await;
    for face in faces() {
        for events in 0..=length(&tenant, &face).await + 1 {
            let (call_id, ..) = cut_after(&tenant, &face, events).await;
            let row = tenant.row(&call_id).await;
            let seen = (
                &row["usage_source"],
                &row["tokens_in"],
                &row["tokens_out"],
                &row["error_code"],
            );
            let expected = (
                &json!("provider"),
                &json!(3),
                &json!(TOKENS_OUT),
                &Value::Null,
            );
            assert_eq!(seen, expected, "{} cut after {events} events", face.path);
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_is_cancelled_with_its_caller_costs_at_least_what_was_delivered() {
    let world = World::start(Plan::on(Engine::Sqlite).provider("--chunk-interval-ms=25")).await;
    let tenant = both(&world, &json!({"config": {"on_disconnect": "cancel"}})).await;
    let mut counted = 0;
    for face in faces() {
        for events in 0..=length(&tenant, &face).await + 1 {
            let (call_id, delivered, is_whole) = cut_after(&tenant, &face, events).await;
            let row = tenant.row(&call_id).await;
            let place = format!("{} cut after {events} events: {row}", face.path);
            assert!(row["tokens_out"].as_u64().unwrap() >= delivered, "{place}");
            assert!(row["tokens_in"].as_u64().unwrap() >= 3, "{place}");
            match row["usage_source"].as_str().unwrap() {
                "counted" => counted += 1,
                // The caller may have gone after the usage had come.
                "provider" => assert!(is_whole || delivered == TOKENS_OUT, "{place}"),
                _ => assert_eq!(events, 0, "{place}"),
            }
        }
    }
    assert!(
        counted > TOKENS_OUT,
        "nothing was cancelled: the test proves nothing"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_usage_chunk_reaches_the_caller_only_when_it_asked_for_one() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = both(&world, &json!({})).await;
    let [chat, _] = faces();
    let mut asked = chat.body.clone();
    asked["stream_options"] = json!({"include_usage": true});
    let mut declined = chat.body.clone();
    declined["stream_options"] = json!({"include_usage": false});
    for (body, wants) in [(&chat.body, false), (&asked, true), (&declined, false)] {
        let stream = tenant.caller.open(chat.path, body).await;
        let call_id = stream.header("x-tollgate-call-id").to_owned();
        let (events, end) = stream.rest().await;
        assert_eq!(end, Next::End);
        assert_eq!(events.last().unwrap(), "data: [DONE]");
        let without_choices = events
            .iter()
            .filter(|event| event.contains(r#""choices":[]"#))
            .count();
        assert_eq!(without_choices, usize::from(wants), "{body}: {events:?}");
        let usages = events
            .iter()
            .filter(|event| event.contains(r#""prompt_tokens""#))
            .count();
        assert_eq!(usages, usize::from(wants), "{body}: {events:?}");
        let row = tenant.row(&call_id).await;
        assert_eq!(
            (&row["usage_source"], &row["tokens_out"]),
            (&json!("provider"), &json!(TOKENS_OUT))
        );
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_the_provider_cuts_ends_with_an_error_event_and_a_broken_connection() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = both(&world, &json!({})).await;
    for face in faces() {
        for events in 1..4 {
            world.simulator.faults(&json!({"cut_after": events})).await;
            let stream = tenant.caller.open(face.path, &face.body).await;
            let call_id = stream.header("x-tollgate-call-id").to_owned();
            let (seen, end) = stream.rest().await;
            assert_eq!(
                end,
                Next::Cut,
                "{}: a clean end looks like success: {seen:?}",
                face.path
            );
            let last = seen.last().unwrap();
            let data = last
                .lines()
                .find_map(|line| line.strip_prefix("data: "))
                .unwrap();
            let json: Value = serde_json::from_str(data).unwrap();
            assert!(json["error"]["message"].is_string(), "{last}");
            if face.path == "/v1/messages" {
                assert!(last.starts_with("event: error"), "{last}");
                assert_eq!(json["type"], "error", "{last}");
            }
            let row = tenant.row(&call_id).await;
            let delivered: u64 = seen.iter().map(|event| (face.delivered)(event)).sum();
            assert_eq!(row["usage_source"], "counted", "{row}");
            assert!(row["tokens_out"].as_u64().unwrap() >= delivered, "{row}");
            assert_eq!(row["error_code"], "upstream_broken", "{row}");
        }
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_provider_falls_silent_ends_when_patience_does() {
    let plan = Plan::on(Engine::Sqlite).with("TOLLGATE__GATEWAY__IDLE_SECONDS", "1");
    let world = World::start(plan).await;
    let tenant = both(&world, &json!({})).await;
    world.simulator.faults(&json!({"stall_after": 3})).await;
    for face in faces() {
        let stream = tenant.caller.open(face.path, &face.body).await;
        let call_id = stream.header("x-tollgate-call-id").to_owned();
        let (seen, end) = stream.rest().await;
        assert_eq!(end, Next::Cut, "{seen:?}");
        assert!(seen.last().unwrap().contains("error"), "{seen:?}");
        let row = tenant.row(&call_id).await;
        assert_eq!(row["usage_source"], "counted", "{row}");
    }
    world.close().await;
}
