//! The program is killed in the middle of its work, again and again: no call is lost and none is booked twice.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]
#![expect(
    clippy::print_stderr,
    reason = "how many calls a kill interrupted is worth knowing"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{Caller, Engine, Join, Plan, Tenant, World, setting, until};

const CLIENTS: usize = 12;

/// Calls of every shape, so that a kill meets each of them in each of its phases.
fn body_of(call: usize) -> (&'static str, Value) {
    let messages = json!([{"role": "user", "content": "one two three four"}]);
    let chat = |stream: bool| json!({"model": "gpt-4o-mini", "messages": messages, "max_tokens": 8, "stream": stream});
    match call % 4 {
        0 | 1 => ("/v1/chat/completions", chat(call % 4 == 1)),
        2 => (
            "/v1/messages",
            json!({"model": "claude-haiku-4-5", "messages": messages, "max_tokens": 8}),
        ),
        _ => (
            "/v1/embeddings",
            json!({"model": "text-embedding-3-small", "input": "one two"}),
        ),
    }
}

/// Clients that call until they are told to stop; that the gateway dies under them does not disturb them.
fn load(caller: &Caller, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (caller, stop) = (caller.clone(), Arc::clone(stop));
        clients.spawn(async move {
            let mut call = client;
            while !stop.load(Ordering::Relaxed) {
                let (path, body) = body_of(call);
                // No answer is what a kill looks like from here.
                if caller.attempt(path, &[], body.to_string()).await.is_err() {
                    return;
                }
                call += 1;
            }
        });
    }
    clients
}

/// A different share of work before each kill, the same in every run.
fn calls_before(kill: usize) -> usize {
    1 + (kill * 37) % 61
}

async fn is_killed(engine: Engine, kills: usize) {
    let plan = Plan::on(engine)
        .provider("--latency-ms=2")
        .provider("--chunk-interval-ms=1");
    let mut world = World::start(plan).await;
    let tenant = world.tenant().await;
    tenant
        .openai(&json!({"budget_limit_cents": 1_000_000, "token_limit_month": 1_000_000_000}))
        .await;
    tenant.anthropic(&json!({})).await;
    for kill in 0..kills {
        let reached: Tenant = world.again(&tenant);
        let stop = Arc::new(AtomicBool::new(false));
        let clients = load(&reached.caller, &stop);
        let goal = world.simulator.billed() + calls_before(kill);
        let billed = async || (world.simulator.billed() >= goal).then_some(());
        until("calls before the next kill", billed).await;
        world.gateway.program.kill().await;
        stop.store(true, Ordering::Relaxed);
        clients.join_all().await;
        world.restart().await;
    }
    let lines = world.simulator.lines();
    let rows = world.close().await;
    let join = Join::of(&lines, &rows);
    let interrupted = rows
        .iter()
        .filter(|row| row.error() == "interrupted")
        .count();
    let unbilled = join
        .unbilled
        .get("interrupted")
        .copied()
        .unwrap_or_default();
    eprintln!(
        "{kills} kills: {} billed requests, {} rows, {interrupted} interrupted, of which {unbilled} never reached the provider",
        lines.len(),
        rows.len()
    );
    assert!(
        join.unbilled.keys().all(|code| code == "interrupted"),
        "rows without a request: {:?}",
        join.unbilled
    );
    assert!(
        interrupted > 0,
        "no kill met a call in flight: the test proves nothing"
    );
    for row in rows.iter().filter(|row| row.error() == "interrupted") {
        assert_eq!(row.usage_source, "estimated", "{row:?}");
        assert!(
            row.cost_nanos > 0 && row.cost_nanos >= row.held_nanos,
            "charged less than held: {row:?}"
        );
    }
}

fn kills(usual: usize) -> usize {
    setting("TOLLGATE_KILLS").map_or(usual, |kills| kills.parse().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn every_billed_request_has_exactly_one_row_however_often_the_program_is_killed() {
    is_killed(Engine::Sqlite, kills(25)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_billed_request_has_exactly_one_row_on_postgres_too() {
    is_killed(Engine::Postgres, kills(8)).await;
}
