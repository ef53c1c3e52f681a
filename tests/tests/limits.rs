//! A hard limit is hard: many clients try far more than it allows, and it is never passed.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{Answer, Caller, Engine, Integration, LedgerRow, Plan, World, nanos_of_usd};

const CLIENTS: usize = 200;
const TRIES: usize = 10_000;

/// Output of every call: `hard_cap` writes it into requests that name none.
const TOKENS_OUT: u64 = 100;

/// A call that says nothing of its output.
fn call() -> Value {
    json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "one two three"}]})
}

fn capped(limit: (&str, i64)) -> Value {
    let config = json!({"hard_cap": true, "default_max_output_tokens": TOKENS_OUT});
    json!({limit.0: limit.1, "config": config})
}

/// Many clients at once, until all tries are used up: how many got which status.
async fn storm(caller: &Caller) -> BTreeMap<u16, usize> {
    let mut clients = JoinSet::new();
    for _ in 0..CLIENTS {
        let caller = caller.clone();
        clients.spawn(async move {
            let mut statuses = Vec::new();
            for _ in 0..TRIES / CLIENTS {
                let answer = caller.chat(&call()).await;
                must_be_answered_or_refused(&answer);
                statuses.push(answer.status);
            }
            statuses
        });
    }
    let mut count = BTreeMap::new();
    for status in clients.join_all().await.into_iter().flatten() {
        *count.entry(status).or_default() += 1;
    }
    count
}

fn must_be_answered_or_refused(answer: &Answer) {
    let code = answer.code();
    match (answer.status, code.as_str()) {
        (200, "") | (402, "budget_exceeded" | "token_limit_exceeded") => {}
        (429, "budget_held") => assert!(!answer.header("retry-after").is_empty()),
        (status, _) => assert_eq!(status, 0, "{}", answer.text()),
    }
}

/// What was refused has a row of no tokens and no cost; every try has exactly one row.
fn must_be_booked(rows: &[LedgerRow], tries: usize, admitted: usize) {
    let (refused, called): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.is_refused());
    assert_eq!((rows.len(), called.len()), (tries, admitted), "a row a try");
    for row in refused {
        assert_eq!((row.tokens_in, row.tokens_out), (0, 0), "{row:?}");
        assert_eq!((row.cost_nanos, row.cost_cents), (0, 0), "{row:?}");
        assert!(!row.error().is_empty(), "{row:?}");
    }
    for row in called {
        assert_eq!((row.tokens_in, row.tokens_out), (3, TOKENS_OUT), "{row:?}");
        assert_eq!(row.usage_source, "provider", "{row:?}");
        assert_eq!(row.cost_nanos, tollgate_tests::cost_of(row), "{row:?}");
    }
}

/// Refused calls change nothing: neither what is used nor what is held.
async fn refusals_must_be_free(integration: &Integration, caller: &Caller, tries: usize) -> Answer {
    let before = integration.limits().await;
    let mut last = caller.chat(&call()).await;
    for _ in 1..tries {
        last = caller.chat(&call()).await;
    }
    assert_eq!(last.status, 402, "{}", last.text());
    let after = integration.limits().await;
    assert_eq!(
        (&before["budget"], &before["tokens"]),
        (&after["budget"], &after["tokens"])
    );
    last
}

async fn a_budget_is_never_passed(engine: Engine) {
    let world = World::start(Plan::quiet(engine)).await;
    let tenant = world.tenant().await;
    // A call costs 60,450 nano-dollars at 15 cents and 60 cents for a million tokens: 992 fit.
    let cents = 6;
    let integration = tenant.openai(&capped(("budget_limit_cents", cents))).await;
    let statuses = storm(&tenant.caller).await;
    integration.holds_are_gone().await;
    let refused = refusals_must_be_free(&integration, &tenant.caller, 20).await;
    let (limit, settled) = (cents * 10_000_000, integration.used_nanos().await);
    let hold = nanos_of_usd(refused.tollgate()["asked"].as_str().unwrap());
    assert!(
        settled <= limit,
        "{settled} of {limit} nano-dollars are spent"
    );
    assert!(
        limit - settled < hold,
        "{} are left, and a call holds {hold}",
        limit - settled
    );
    assert!((900..1_100).contains(&statuses[&200]), "{statuses:?}");
    let summary = tenant.control.get("/telemetry/usage-summary").await;
    let rows = world.close().await;
    must_be_booked(&rows, TRIES + 20, statuses[&200]);
    assert_eq!(rows.iter().map(|row| row.cost_nanos).sum::<i64>(), settled);
    let blocked = rows.iter().filter(|row| row.is_refused()).count();
    assert_eq!(summary["blocked_count"], json!(blocked), "{summary}");
    assert_eq!(
        nanos_of_usd(summary["total_cost_usd"].as_str().unwrap()),
        settled,
        "{summary}"
    );
}

async fn tokens_are_never_passed(engine: Engine) {
    let world = World::start(Plan::quiet(engine)).await;
    let tenant = world.tenant().await;
    let limit = 103_000;
    let integration = tenant.openai(&capped(("token_limit_month", limit))).await;
    let statuses = storm(&tenant.caller).await;
    integration.holds_are_gone().await;
    let refused = refusals_must_be_free(&integration, &tenant.caller, 20).await;
    let settled = integration.limits().await["tokens"]["used"]
        .as_i64()
        .unwrap();
    let hold = refused.tollgate()["asked"].as_i64().unwrap();
    assert!(settled <= limit, "{settled} of {limit} tokens are used");
    assert!(
        limit - settled < hold,
        "{} are left, and a call holds {hold}",
        limit - settled
    );
    let rows = world.close().await;
    must_be_booked(&rows, TRIES + 20, statuses[&200]);
    let tokens: u64 = rows.iter().map(|row| row.tokens_in + row.tokens_out).sum();
    assert_eq!(i64::try_from(tokens).unwrap(), settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_never_pass_a_budget_on_sqlite() {
    a_budget_is_never_passed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_never_pass_a_budget_on_postgres() {
    a_budget_is_never_passed(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_never_pass_a_token_limit_on_sqlite() {
    tokens_are_never_passed(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_clients_never_pass_a_token_limit_on_postgres() {
    tokens_are_never_passed(Engine::Postgres).await;
}
