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
use tollgate_tests::{Caller, Engine, Integration, Join, Plan, Tenant, World, setting, until};

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

/// What the call of some number is: its path and its body.
type Shape = fn(usize) -> (&'static str, Value);

/// Clients that call until they are told to stop; that the gateway dies under them does not disturb them.
fn load(caller: &Caller, stop: &Arc<AtomicBool>, shape: Shape) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for client in 0..CLIENTS {
        let (caller, stop) = (caller.clone(), Arc::clone(stop));
        clients.spawn(async move {
            let mut call = client;
            while !stop.load(Ordering::Relaxed) {
                let (path, body) = shape(call);
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
        let clients = load(&reached.caller, &stop, body_of);
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

/// A call that says nothing of its output.
fn unbounded_call(_: usize) -> (&'static str, Value) {
    let messages = json!([{"role": "user", "content": "one two three"}]);
    (
        "/v1/chat/completions",
        json!({"model": "gpt-4o-mini", "messages": messages}),
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_not_passed_by_a_nano_dollar_across_kills() {
    let mut world = World::start(Plan::quiet(Engine::Sqlite).provider("--latency-ms=2")).await;
    let tenant = world.tenant().await;
    let config = json!({"hard_cap": true, "default_max_output_tokens": 100});
    let integration = tenant
        .openai(&json!({"budget_limit_cents": 2, "config": config}))
        .await;
    for _ in 0..6 {
        let stop = Arc::new(AtomicBool::new(false));
        let clients = load(&world.again(&tenant).caller, &stop, unbounded_call);
        let goal = world.simulator.billed() + 20;
        let reached = async || (world.simulator.billed() >= goal).then_some(());
        until("calls before the next kill", reached).await;
        world.gateway.program.kill().await;
        clients.join_all().await;
        world.restart().await;
    }
    // What is left is spent, too: up to the limit and not further.
    let tenant = world.again(&tenant);
    while tenant.caller.chat(&unbounded_call(0).1).await.status != 402 {}
    let integration = Integration {
        control: tenant.control.clone(),
        ..integration
    };
    let settled = integration.used_nanos().await;
    assert!(
        (19_000_000..=20_000_000).contains(&settled),
        "{settled} of 20,000,000 nano-dollars"
    );
    let rows = world.close().await;
    assert_eq!(rows.iter().map(|row| row.cost_nanos).sum::<i64>(), settled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_does_not_open_the_minute_anew() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut world = World::start(Plan::quiet(engine)).await;
        let tenant = world.tenant().await;
        tenant.openai(&json!({"rate_limit_rpm": 20})).await;
        let (_, call) = body_of(0);
        let mut admitted = 0;
        for _ in 0..4 {
            let reached = world.again(&tenant);
            for _ in 0..8 {
                let answer = reached.caller.chat(&call).await;
                admitted += usize::from(answer.status == 200);
                assert!([200, 429].contains(&answer.status), "{}", answer.text());
            }
            world.kill_and_restart().await;
        }
        assert_eq!(admitted, 20, "on {engine:?}");
        world.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_under_load_loses_nothing_and_estimates_nothing() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let plan = Plan::on(engine)
            .provider("--latency-ms=20")
            .provider("--chunk-interval-ms=5");
        let mut world = World::start(plan).await;
        let tenant = world.tenant().await;
        tenant.openai(&json!({})).await;
        tenant.anthropic(&json!({})).await;
        for _ in 0..3 {
            let stop = Arc::new(AtomicBool::new(false));
            let clients = load(&world.again(&tenant).caller, &stop, body_of);
            let goal = world.simulator.billed() + 60;
            let reached = async || (world.simulator.billed() >= goal).then_some(());
            until("calls before the stop", reached).await;
            world.stop_gateway().await;
            stop.store(true, Ordering::Relaxed);
            clients.join_all().await;
            let rows = world.ledger();
            Join::of(&world.simulator.lines(), &rows).must_be_exact();
            let estimated: Vec<_> = rows
                .iter()
                .filter(|row| row.usage_source == "estimated")
                .collect();
            assert!(
                estimated.is_empty(),
                "{} of {} on {engine:?}, such as {:?}",
                estimated.len(),
                rows.len(),
                estimated[0]
            );
            world.restart().await;
        }
        world.close().await;
    }
}
