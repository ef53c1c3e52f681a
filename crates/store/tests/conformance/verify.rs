//! Verification notices what was planted, and says what and where.

use tollgate_core::audit::AuditEntry;
use tollgate_core::{IntegrationId, TenantId};
use tollgate_store::VerifyReport;

use crate::world::{World, audit, call, id_of, moment};

async fn three_calls(world: &World) -> (TenantId, IntegrationId) {
    let acme = world.create_tenant("acme").await;
    let id = id_of(&world.create_integration(&acme, "main").await);
    let batch = ["a", "b", "c"].map(|name| call(&acme, id, name));
    world.operator().append(&batch, moment(1)).await.unwrap();
    world.assert_balanced().await;
    (acme, id)
}

async fn found(world: &World) -> (VerifyReport, String) {
    let report = world.operator().verify(None).await.unwrap();
    let first = report
        .first
        .as_ref()
        .map(ToString::to_string)
        .unwrap_or_default();
    (report, first)
}

pub(crate) async fn a_changed_balance_is_named(world: &World) {
    let (acme, id) = three_calls(world).await;
    world
        .raw("UPDATE balances SET settled_nanos = settled_nanos + 1")
        .await
        .unwrap();
    let (report, first) = found(world).await;
    assert_eq!(
        (
            report.differences,
            report.rows,
            report.balances,
            report.days
        ),
        (1, 3, 1, 1)
    );
    let expected = format!(
        "balances.settled_nanos of integration {id} in 2026-11 is 3001, and the ledger says 3000"
    );
    assert_eq!(first, expected);
    assert!(
        !world
            .operator()
            .verify(Some(&acme))
            .await
            .unwrap()
            .is_exact()
    );
    let other = "other".parse().unwrap();
    assert!(
        world
            .operator()
            .verify(Some(&other))
            .await
            .unwrap()
            .is_exact()
    );
    world
        .raw("UPDATE balances SET settled_nanos = settled_nanos - 1")
        .await
        .unwrap();
}

pub(crate) async fn changed_cents_and_allowances_are_named(world: &World) {
    three_calls(world).await;
    let mut findings = Vec::new();
    for (plant, heal) in [
        (
            "UPDATE balances SET posted_cents = 1",
            "UPDATE balances SET posted_cents = 0",
        ),
        (
            "UPDATE allowances SET settled_tokens = 7",
            "UPDATE allowances SET settled_tokens = 9",
        ),
    ] {
        world.raw(plant).await.unwrap();
        let (report, first) = found(world).await;
        let (figure, _) = first.split_once(" of ").unwrap();
        findings.push((figure.to_owned(), report.differences));
        world.raw(heal).await.unwrap();
    }
    // The cents differ from the exact total and from the rows.
    let expected = [
        ("balances.posted_cents".to_owned(), 2),
        ("allowances.settled_tokens".to_owned(), 1),
    ];
    assert_eq!(findings, expected);
}

pub(crate) async fn a_changed_ledger_row_is_named(world: &World) {
    three_calls(world).await;
    world.drop_guards().await;
    let change = "UPDATE cus_llm_usage SET cost_nanos = 7 WHERE call_id = 'b'";
    assert_eq!(world.raw(change).await.unwrap(), 1);
    let (report, first) = found(world).await;
    assert_eq!(report.differences, 3, "balance, allowance and roll-up");
    assert!(
        first.ends_with("is 3000, and the ledger says 2007"),
        "{first}"
    );
    world
        .raw("UPDATE cus_llm_usage SET cost_nanos = 1000 WHERE call_id = 'b'")
        .await
        .unwrap();
    world.assert_balanced().await;
    world.raw("DELETE FROM cus_llm_usage").await.unwrap();
    let (report, _) = found(world).await;
    assert!(report.differences > 10, "{report:?}");
    for table in ["balances", "allowances", "cus_usage_daily", "call_keys"] {
        world.raw(&format!("DELETE FROM {table}")).await.unwrap();
    }
}

pub(crate) async fn a_changed_roll_up_is_named_and_rebuilt(world: &World) {
    let (_, id) = three_calls(world).await;
    world
        .raw("UPDATE cus_usage_daily SET avg_latency_ms = 11, total_calls = 4")
        .await
        .unwrap();
    let stray = format!(
        "INSERT INTO cus_usage_daily (tenant_id, integration_id, date, total_calls, total_tokens_in, total_tokens_out, \
         total_cost_cents, error_count, blocked_count, updated_at, total_cost_nanos, latency_sum_ms, latency_count) \
         VALUES ('acme', '{id}', '2026-11-20', 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)"
    );
    world.raw(&stray).await.unwrap();
    let report = world.operator().verify_rollups().await.unwrap();
    assert_eq!(report.differences, 3);
    let first = report.first.unwrap().to_string();
    assert!(first.starts_with("cus_usage_daily.total_calls"), "{first}");
    assert!(
        first.ends_with("in 2026-11-15 is 4, and the ledger says 3"),
        "{first}"
    );
    let rebuilt = world.operator().rebuild_rollups(rebuild(5)).await.unwrap();
    assert_eq!((rebuilt.days, rebuilt.changed), (1, 2));
    assert!(world.operator().verify_rollups().await.unwrap().is_exact());
}

pub(crate) async fn a_rebuild_of_good_roll_ups_changes_nothing(world: &World) {
    let (acme, _) = three_calls(world).await;
    let day = "2026-11-15".parse().unwrap();
    let before = world
        .tenant(&acme)
        .usage_daily(day, day, None)
        .await
        .unwrap();
    let rebuilt = world.operator().rebuild_rollups(rebuild(99)).await.unwrap();
    assert_eq!((rebuilt.days, rebuilt.changed), (1, 0));
    assert_eq!(
        world
            .tenant(&acme)
            .usage_daily(day, day, None)
            .await
            .unwrap(),
        before
    );
}

pub(crate) async fn a_lost_idempotency_key_is_noticed(world: &World) {
    three_calls(world).await;
    world
        .raw("UPDATE call_keys SET call_id = 'z' WHERE call_id = 'a'")
        .await
        .unwrap();
    world
        .raw("DELETE FROM call_keys WHERE call_id = 'z'")
        .await
        .unwrap();
    let (report, first) = found(world).await;
    assert_eq!(report.differences, 1);
    assert_eq!(first, "call_keys.call_id is 2, and the ledger says 3");
    world
        .raw("INSERT INTO call_keys (tenant_id, call_id, entry_hash) VALUES ('acme', 'a', 0)")
        .await
        .unwrap();
}

/// The audit entry of a rebuild at a moment.
fn rebuild(seconds: i64) -> AuditEntry {
    AuditEntry {
        at: moment(seconds),
        ..audit(None, "rollup.rebuild")
    }
}
