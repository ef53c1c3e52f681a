//! Requests per minute: at a steady overload, no more than the limit and hardly less, in any minute; and no burst twice.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{Answer, Caller, Engine, LedgerRow, Plan, World};

const RPM: usize = 600;
const MINUTE_MICROS: i64 = 60_000_000;

/// Twice what the limit lets through, for a minute and some seconds: then windows that slide are seen, too.
const TRIES: usize = 1_360;
const PACE: Duration = Duration::from_millis(50);

/// The limit of the tenant that calls in bursts, and how many calls a burst has.
const BURST_RPM: usize = 100;
const BURST: usize = 150;

/// The wall clock may be set by a little against the steady one while the test runs.
const CLOCK_MICROS: i64 = 2_000;

fn call() -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]})
}

fn burst(calls: &mut JoinSet<Answer>, caller: &Caller, size: usize) {
    for _ in 0..size {
        let caller = caller.clone();
        calls.spawn(async move { caller.chat(&call()).await });
    }
}

fn must_be_answered_or_throttled(answer: &Answer) {
    if answer.status == 200 {
        return;
    }
    assert_eq!(
        (answer.status, answer.code().as_str()),
        (429, "rate_limit_exceeded")
    );
    let seconds: u64 = answer.header("retry-after").parse().unwrap();
    let millis: u64 = answer.header("retry-after-ms").parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds} s, {millis} ms");
    assert_eq!(millis.div_ceil(1_000), seconds, "{seconds} s, {millis} ms");
}

/// The moments of a tenant's admitted calls, in order.
fn admitted(rows: &[LedgerRow], tenant: &str) -> Vec<i64> {
    let calls = rows
        .iter()
        .filter(|row| row.tenant_id == tenant && !row.is_refused());
    let mut moments: Vec<i64> = calls.map(|row| row.created_at).collect();
    moments.sort_unstable();
    moments
}

fn no_minute_has_more_than(limit: usize, moments: &[i64]) {
    for calls in moments.windows(limit + 1) {
        let span = calls[limit] - calls[0];
        assert!(
            span >= MINUTE_MICROS - CLOCK_MICROS,
            "{} calls within {span} µs",
            limit + 1
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_minute_has_more_calls_than_the_limit_and_hardly_one_has_less() {
    let world = World::start(Plan::quiet(Engine::Sqlite)).await;
    let (steady, bursting) = (world.tenant().await, world.tenant().await);
    steady.openai(&json!({"rate_limit_rpm": RPM})).await;
    bursting.openai(&json!({"rate_limit_rpm": BURST_RPM})).await;
    let mut calls = JoinSet::new();
    let mut clock = tokio::time::interval(PACE);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Burst);
    for at in 0..TRIES {
        clock.tick().await;
        burst(&mut calls, &steady.caller, 1);
        // At once, before the first burst is a minute old, and after that.
        if [0, TRIES / 2, TRIES - 40].contains(&at) {
            burst(&mut calls, &bursting.caller, BURST);
        }
    }
    for answer in calls.join_all().await {
        must_be_answered_or_throttled(&answer);
    }
    let rows = world.close().await;
    let bursts = admitted(&rows, &bursting.id);
    no_minute_has_more_than(BURST_RPM, &bursts);
    assert_eq!(
        bursts.len(),
        2 * BURST_RPM,
        "the whole limit is there again after a minute"
    );
    let moments = admitted(&rows, &steady.id);
    no_minute_has_more_than(RPM, &moments);
    // Every minute that lies within the overload.
    let end = rows.iter().map(|row| row.created_at).max().unwrap();
    let mut minutes = Vec::new();
    let mut from = moments[0];
    while from + MINUTE_MICROS <= end {
        let inside = |at: &&i64| (from..from + MINUTE_MICROS).contains(*at);
        minutes.push(moments.iter().filter(inside).count());
        from += 250_000;
    }
    assert!(minutes.len() > 10, "the overload was too short");
    let least = minutes.into_iter().min().unwrap();
    assert!(least * 100 >= RPM * 95, "only {least} calls in a minute");
    eprintln!("calls in any minute of the overload: at least {least}, at most {RPM}");
}
