//! A start that finds calls of an earlier run in its journal.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use jiff::Timestamp;
use tollgate_app::AppConfig;
use tollgate_app::integrations::{Change, IntegrationPatch};
use tollgate_app::metering::{CallFacts, NotAdmitted};
use tollgate_app::testing::rows::{finished, leave_behind};
use tollgate_app::testing::{BEGINNING, MODEL, World};
use tollgate_core::clock::ManualClock;
use tollgate_core::hold::Ask;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Nanos, TenantId, TokenUsage};

/// A dollar.
const LIMIT: i64 = 1_000_000_000;
/// So many calls that a ledger takes a while to write them.
const CALLS: i64 = 2_000;

fn clock() -> ManualClock {
    ManualClock::at(BEGINNING.parse::<Timestamp>().unwrap())
}

async fn limited() -> (World, TenantId, IntegrationId) {
    // Small batches, so that a draw has its turn between two of them on a slow machine.
    let world = World::start_with(AppConfig {
        ledger_gather_ms: 0,
        ledger_batch_rows: 50,
        // What an earlier run left keeps no call out, however much it is.
        ledger_backlog_rows_max: 10,
        probe_seconds: 0,
        ..AppConfig::default()
    });
    let world = Box::pin(world).await;
    let tenant = world.tenant("acme").await;
    let id = world.integration(&tenant, "main").await;
    let change = IntegrationPatch {
        budget_limit_cents: Change::Set(100),
        ..IntegrationPatch::default()
    };
    let context = world.acting_on(&tenant);
    world
        .app
        .update_integration(&context, id, change)
        .await
        .unwrap();
    (world, tenant, id)
}

fn rows(tenant: &TenantId, id: IntegrationId) -> impl Iterator<Item = UsageEntry> {
    let cost = Nanos::new(LIMIT / 2 / CALLS);
    (0..CALLS).map(move |call| finished(tenant, id, name(call), cost))
}

fn name(call: i64) -> CallId {
    format!("earlier-{call}").parse().unwrap()
}

async fn admit(
    world: &World,
    id: IntegrationId,
    call_id: CallId,
    cost: i64,
) -> Option<NotAdmitted> {
    let integration = world.app.directory().integration(id).unwrap();
    let facts = CallFacts {
        call_id: Some(call_id),
        session_id: None,
        agent_id: None,
        model: MODEL.into(),
        ask: Ask {
            worst: TokenUsage::plain(10, 10),
            cost: Some(Nanos::new(cost)),
        },
        prices: None,
    };
    let admitted = world.app.metering().admit(&integration, facts).await;
    match admitted {
        Ok(hold) => {
            hold.release();
            None
        }
        Err(refused) => Some(refused),
    }
}

fn fresh() -> CallId {
    CallId::generate()
}

#[tokio::test]
async fn calls_on_their_way_to_the_ledger_count_as_used_before_it_has_them() {
    let (world, tenant, id) = limited().await;
    let world = world.restart(clock(), |folder| leave_behind(folder, rows(&tenant, id)));
    let world = world.await;
    let ready = world.app.readiness().await;
    assert!(ready.is_ready() && ready.lag_rows > 0, "{ready:?}");
    let refused = admit(&world, id, fresh(), LIMIT / 2 + 1).await;
    assert!(
        matches!(refused, Some(NotAdmitted::Refused { .. })),
        "{refused:?}"
    );
    assert!(admit(&world, id, fresh(), LIMIT / 2).await.is_none());
    world.app.books_caught_up().await;
    let refused = admit(&world, id, fresh(), LIMIT / 2 + 1).await;
    assert!(
        matches!(refused, Some(NotAdmitted::Refused { .. })),
        "{refused:?}"
    );
    assert!(admit(&world, id, fresh(), LIMIT / 2).await.is_none());
    world.close().await;
}

#[tokio::test]
async fn the_id_of_a_call_on_its_way_to_the_ledger_is_taken() {
    let (world, tenant, id) = limited().await;
    let world = world.restart(clock(), |folder| leave_behind(folder, rows(&tenant, id)));
    let world = world.await;
    let refused = admit(&world, id, name(CALLS - 1), 1).await;
    assert!(
        matches!(refused, Some(NotAdmitted::CallIdTaken(_))),
        "{refused:?}"
    );
    world.close().await;
}

#[tokio::test]
async fn calls_that_the_ledger_had_already_are_not_counted_twice() {
    let (world, tenant, id) = limited().await;
    let again = |world: World| {
        let rows = rows(&tenant, id);
        world.restart(clock(), |folder| leave_behind(folder, rows))
    };
    let world = again(world).await;
    world.app.books_caught_up().await;
    let world = again(world).await;
    let refused = admit(&world, id, fresh(), LIMIT / 2).await;
    assert!(refused.is_none(), "{refused:?}");
    world.app.books_caught_up().await;
    let refused = admit(&world, id, fresh(), LIMIT / 2).await;
    assert!(refused.is_none(), "{refused:?}");
    world.close().await;
}

fn hours_later(hours: i64) -> ManualClock {
    let beginning: Timestamp = BEGINNING.parse().unwrap();
    ManualClock::at(beginning + jiff::SignedDuration::from_hours(hours))
}

/// A world whose integration admits three calls a minute, and has admitted three.
async fn throttled() -> (World, IntegrationId) {
    let world = World::start().await;
    let tenant = world.tenant("acme").await;
    let id = world.integration(&tenant, "main").await;
    let change = IntegrationPatch {
        rate_limit_rpm: Change::Set(3),
        ..IntegrationPatch::default()
    };
    let context = world.acting_on(&tenant);
    world
        .app
        .update_integration(&context, id, change)
        .await
        .unwrap();
    world.clock.advance_ms(500_000);
    for _ in 0..3 {
        world.call(id, TokenUsage::plain(1, 1)).await;
    }
    (world, id)
}

#[tokio::test]
async fn a_minute_goes_on_after_a_start_whatever_the_wall_clock_says() {
    for hours in [-1, 0, 1] {
        let (world, id) = throttled().await;
        let clock = hours_later(hours).on_a_machine_up_for(500_000_000 + 30_000_000);
        let world = world.restart(clock, |_| ()).await;
        let refused = admit(&world, id, fresh(), 1).await;
        assert!(refused.is_some(), "the clock was set by {hours} hours");
        world.clock.advance_ms(31_000);
        assert!(admit(&world, id, fresh(), 1).await.is_none());
        world.close().await;
    }
}

#[tokio::test]
async fn after_a_start_of_the_machine_the_minute_begins_with_what_was_counted() {
    let (world, id) = throttled().await;
    let world = world.restart(clock(), |_| ()).await;
    assert!(admit(&world, id, fresh(), 1).await.is_some());
    world.clock.advance_ms(61_000);
    assert!(admit(&world, id, fresh(), 1).await.is_none());
    world.close().await;
}

#[tokio::test]
async fn calls_that_a_kill_left_in_the_journal_count_in_the_minute_after_it() {
    let (world, tenant, id) = limited().await;
    let change = IntegrationPatch {
        rate_limit_rpm: Change::Set(CALLS),
        ..IntegrationPatch::default()
    };
    let context = world.acting_on(&tenant);
    world
        .app
        .update_integration(&context, id, change)
        .await
        .unwrap();
    let world = world.restart(clock(), |folder| {
        leave_behind(folder, rows(&tenant, id));
    });
    let world = world.await;
    assert!(admit(&world, id, fresh(), 1).await.is_some());
    world.app.books_caught_up().await;
    let world = world.restart(clock(), |_| ()).await;
    assert!(
        admit(&world, id, fresh(), 1).await.is_some(),
        "nor is it forgotten after a second start"
    );
    world.close().await;
}
