//! The books as whoever has the database sees them: rows cannot be changed, and what was forced is found.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::Command;

use serde_json::json;
use tollgate_tests::{Engine, World, call, run};

/// Runs statements on a SQLite file as any tool would; what it complains about, if it does.
fn change(world: &World, statements: &str) -> Result<(), String> {
    let script = "import sqlite3, sys; books = sqlite3.connect(sys.argv[1]); books.executescript(sys.argv[2])";
    let file = world.data_dir().join("tollgate.db");
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .arg(statements)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(complaint)
    }
}

async fn verify(world: &World, noun: &str) -> Option<i32> {
    let args = [noun, "verify", "--json", "--url", &world.gateway.admin_url];
    run(&args, &[("TOLLGATE_KEY", &world.gateway.operator_key)], "")
        .await
        .code
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_cannot_be_changed_and_what_was_forced_is_found_and_named() {
    let mut world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"budget_limit_cents": 100})).await;
    for _ in 0..3 {
        assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    }
    world.stop_gateway().await;
    for statement in [
        "UPDATE cus_llm_usage SET cost_nanos = 0",
        "UPDATE cus_llm_usage SET error_message = 'x'",
        "DELETE FROM cus_llm_usage",
    ] {
        let refused = change(&world, statement).unwrap_err();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    world.restart().await;
    assert_eq!(
        (
            verify(&world, "ledger").await,
            verify(&world, "rollup").await
        ),
        (Some(0), Some(0))
    );
    for (forced, mended, nouns) in [
        (
            "UPDATE balances SET settled_nanos = settled_nanos - 1",
            "UPDATE balances SET settled_nanos = settled_nanos + 1",
            &["ledger"][..],
        ),
        (
            "UPDATE cus_usage_daily SET total_tokens_in = total_tokens_in + 1",
            "UPDATE cus_usage_daily SET total_tokens_in = total_tokens_in - 1",
            &["ledger", "rollup"],
        ),
    ] {
        world.stop_gateway().await;
        change(&world, forced).unwrap();
        world.restart().await;
        for noun in nouns {
            assert_eq!(
                verify(&world, noun).await,
                Some(8),
                "{forced} is not found by {noun} verify"
            );
        }
        let report = world.operator.get("/ledger/verify").await;
        assert_eq!(
            (&report["exact"], &report["differences"]),
            (&json!(false), &json!(1)),
            "{report}"
        );
        assert!(report["first_difference"].is_string(), "{report}");
        world.stop_gateway().await;
        change(&world, mended).unwrap();
        world.restart().await;
        assert_eq!(verify(&world, "ledger").await, Some(0));
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn roll_ups_are_made_anew_from_the_ledger() {
    let mut world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for _ in 0..3 {
        assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    }
    world.stop_gateway().await;
    change(
        &world,
        "UPDATE cus_usage_daily SET total_calls = 7, total_cost_nanos = 1",
    )
    .unwrap();
    world.restart().await;
    assert_eq!(verify(&world, "rollup").await, Some(8));
    let args = [
        "rollup",
        "rebuild",
        "--json",
        "--url",
        &world.gateway.admin_url,
    ];
    let rebuilt = run(&args, &[("TOLLGATE_KEY", &world.gateway.operator_key)], "").await;
    assert_eq!(rebuilt.code, Some(0), "{rebuilt:?}");
    assert_eq!(verify(&world, "rollup").await, Some(0));
    let days = world
        .again(&tenant)
        .control
        .get("/telemetry/usage-daily")
        .await;
    assert_eq!(days["data"][0]["total_calls"], 3, "{days}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_to_change_rows_too() {
    let world = World::on(Engine::Postgres).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let answer = tenant.caller.chat(&call()).await;
    assert_eq!(answer.status, 200);
    tenant.row(answer.header("x-tollgate-call-id")).await;
    for statement in [
        "UPDATE cus_llm_usage SET cost_nanos = 0",
        "DELETE FROM cus_llm_usage",
        "TRUNCATE cus_llm_usage",
    ] {
        let refused = world.cluster().change(statement).unwrap_err();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    let rows = world.close().await;
    assert_eq!(rows.len(), 1);
}
