//! The store is away, or dies again and again: calls go on within what was drawn, and nothing that was settled is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::json;
use tokio::task::JoinSet;
use tollgate_tests::{Engine, Plan, World, call, until};

#[tokio::test(flavor = "multi_thread")]
async fn an_admitted_call_asks_no_database() {
    let world = World::start(Plan::quiet(Engine::Postgres)).await;
    let tenant = world.tenant().await;
    let limits = json!({"budget_limit_cents": 100_000, "token_limit_month": 1_000_000_000});
    let integration = tenant.openai(&limits).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    integration.holds_are_gone().await;
    let cluster = world.cluster();
    cluster.freeze();
    let calls = async {
        for _ in 0..200 {
            let answer = tenant.caller.chat(&call()).await;
            assert_eq!(answer.status, 200, "{}", answer.text());
        }
    };
    // A database that does not answer would keep even one call for longer than all of these take.
    let done = tokio::time::timeout(std::time::Duration::from_secs(20), calls).await;
    cluster.thaw();
    assert!(done.is_ok(), "calls wait for the database");
    let rows = world.close().await;
    assert_eq!(rows.len(), 201, "what was settled meanwhile is there");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_store_a_budget_lasts_as_long_as_what_was_drawn_and_nothing_is_let_through_unchecked()
 {
    let world = World::start(Plan::quiet(Engine::Postgres)).await;
    let (drawn, fresh) = (world.tenant().await, world.tenant().await);
    let integration = drawn.openai(&json!({"budget_limit_cents": 1})).await;
    fresh.openai(&json!({"budget_limit_cents": 1})).await;
    assert_eq!(drawn.caller.chat(&call()).await.status, 200);
    integration.holds_are_gone().await;
    world.cluster().freeze();
    let unchecked = fresh.caller.chat(&call()).await;
    let mut admitted = 0;
    let refused = loop {
        let answer = drawn.caller.chat(&call()).await;
        if answer.status != 200 {
            break answer;
        }
        admitted += 1;
        assert!(admitted < 5_000, "nothing stops it: a cent buys far less");
    };
    world.cluster().thaw();
    let seen = (unchecked.status, unchecked.code());
    assert_eq!(
        seen,
        (503, "limits_unavailable".to_owned()),
        "{}",
        unchecked.text()
    );
    let seconds: u64 = unchecked.header("retry-after").parse().unwrap();
    assert!((1..=5).contains(&seconds), "{seconds}");
    assert!([402, 503].contains(&refused.status), "{}", refused.text());
    assert!(admitted > 0, "what was drawn is not used");
    let again = async || (fresh.caller.chat(&call()).await.status == 200).then_some(());
    until("calls are admitted again", again).await;
    integration.holds_are_gone().await;
    assert!(integration.used_nanos().await <= 10_000_000);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_crashes_under_load_again_and_again_loses_nothing() {
    let world = World::start(Plan::quiet(Engine::Postgres).durable()).await;
    let tenant = world.tenant().await;
    let integration = tenant
        .openai(&json!({"budget_limit_cents": 1_000_000}))
        .await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (caller, stop) = (tenant.caller.clone(), Arc::clone(&stop));
        clients.spawn(async move {
            let mut answered = 0;
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.chat(&call()).await;
                assert!([200, 503].contains(&answer.status), "{}", answer.text());
                answered += usize::from(answer.status == 200);
            }
            answered
        });
    }
    for crash in 1..=6 {
        let goal = world.simulator.billed() + 150;
        until("calls before the next crash", async || {
            (world.simulator.billed() >= goal).then_some(())
        })
        .await;
        eprintln!("crash {crash}, after {} calls", world.simulator.billed());
        until("a connection to break", async || world.cluster().crash()).await;
    }
    let goal = world.simulator.billed() + 50;
    until("calls after the last crash", async || {
        (world.simulator.billed() >= goal).then_some(())
    })
    .await;
    stop.store(true, Ordering::Relaxed);
    let answered: usize = clients.join_all().await.into_iter().sum();
    until("the control plane is back", async || {
        let path = format!("/integrations/{}/limits", integration.id);
        (integration
            .control
            .send(http::Method::GET, &path, None)
            .await
            .status
            == 200)
            .then_some(())
    })
    .await;
    let billed = world.simulator.billed();
    let rows = world.close().await;
    assert_eq!(rows.iter().filter(|row| !row.is_refused()).count(), billed);
    assert_eq!(
        answered, billed,
        "a call that was answered is booked, and no other"
    );
}
