//! Requests per minute: at a steady overload, no more than the limit and hardly less, in any minute.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use tollgate_tests::{Engine, Plan, World, pause};

const RPM: usize = 600;
const MINUTE_MICROS: i64 = 60_000_000;

/// Twice what the limit lets through, for a minute and some seconds: then windows that slide are seen, too.
const TRIES: usize = 1_360;
const PACE: Duration = Duration::from_millis(50);

#[tokio::test(flavor = "multi_thread")]
async fn no_minute_has_more_calls_than_the_limit_and_hardly_one_has_less() {
    let world = World::start(Plan::quiet(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"rate_limit_rpm": RPM})).await;
    let body = json!({"model": "gpt-4o-mini", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]});
    let mut calls = JoinSet::new();
    let mut clock = tokio::time::interval(PACE);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    // The first half minute's worth at once: the burst that a fixed window would let through twice.
    for at in 0..TRIES {
        if at > RPM / 2 {
            clock.tick().await;
        }
        let (caller, body) = (tenant.caller.clone(), body.clone());
        calls.spawn(async move { caller.chat(&body).await });
        if at % 50 == 0 {
            pause(Duration::ZERO).await;
        }
    }
    for answer in calls.join_all().await {
        if answer.status == 200 {
            continue;
        }
        assert_eq!((answer.status, answer.code().as_str()), (429, "rate_limit_exceeded"));
        let seconds: u64 = answer.header("retry-after").parse().unwrap();
        let millis: u64 = answer.header("retry-after-ms").parse().unwrap();
        assert!((1..=60).contains(&seconds) && millis <= 60_000, "{seconds} s, {millis} ms");
        assert!(millis <= seconds * 1_000 && millis + 1_000 > seconds * 1_000, "{seconds} s, {millis} ms");
    }
    let rows = world.close().await;
    let mut admitted: Vec<i64> =
        rows.iter().filter(|row| !row.is_refused()).map(|row| row.created_at).collect();
    admitted.sort_unstable();
    let most = admitted.windows(RPM + 1).map(|calls| calls[RPM] - calls[0]).min().unwrap_or(MINUTE_MICROS);
    assert!(most >= MINUTE_MICROS - 2_000, "{} calls within {most} µs", RPM + 1);
    // Every minute that lies within the overload.
    let last = rows.iter().map(|row| row.created_at).max().unwrap();
    let (mut from, step) = (admitted[0], 500_000);
    let mut least = usize::MAX;
    while from + MINUTE_MICROS <= last {
        let inside = |at: &&i64| (from..from + MINUTE_MICROS).contains(*at);
        least = least.min(admitted.iter().filter(inside).count());
        from += step;
    }
    assert!(last - admitted[0] > MINUTE_MICROS, "the overload was too short");
    assert!(least * 100 >= RPM * 95, "only {least} calls in a minute");
    eprintln!("calls in any minute: at least {least}, at most {RPM}");
}
