//! Admission and settlement, on a whole application with a clock of its own.
#![expect(clippy::unwrap_used, reason = "a test may fail loudly")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tollgate_app::AppConfig;
use tollgate_app::metering::{CallFacts, Ending, Hold, NotAdmitted};
use tollgate_app::testing::rows::finished;
use tollgate_app::testing::{MODEL, World};
use tollgate_app::usage::report::{NewReport, Reported, UsageReport};
use tollgate_app::usage::{UsageFilter, UsageRow};
use tollgate_core::hold::Ask;
use tollgate_core::page::PageAsk;
use tollgate_core::role::Role;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{Clock as _, IntegrationId, Nanos, TenantId, TokenUsage};

fn facts(call_id: &str) -> CallFacts {
    CallFacts {
        call_id: Some(call_id.parse().unwrap()),
        session_id: None,
        agent_id: None,
        model: MODEL.into(),
        ask: Ask {
            worst: TokenUsage::plain(10, 10),
            cost: Some(Nanos::ZERO),
        },
        prices: None,
    }
}

async fn started() -> (World, TenantId, IntegrationId) {
    let world = World::start().await;
    let tenant = world.tenant("acme").await;
    let id = world.integration(&tenant, "main").await;
    (world, tenant, id)
}

async fn admit(world: &World, id: IntegrationId, call_id: &str) -> Result<Hold, NotAdmitted> {
    let integration = world.app.directory().integration(id).unwrap();
    world
        .app
        .metering()
        .admit(&integration, facts(call_id))
        .await
}

fn finish(hold: Hold) {
    hold.dispatch().leave().unwrap();
    let usage = Some((TokenUsage::plain(1, 1), UsageSource::Provider));
    hold.settle(Ending {
        usage,
        ..Ending::default()
    });
}

async fn rows(world: &World, tenant: &TenantId) -> Vec<UsageRow> {
    world.app.books_caught_up().await;
    let context = world.acting_on(tenant);
    let page = world
        .app
        .usage_history(&context, PageAsk::default(), UsageFilter::default());
    page.await.unwrap().rows
}

#[tokio::test]
async fn a_caller_who_goes_away_during_admission_does_not_use_its_call_id_up() {
    let (world, _, id) = started().await;
    let integration = world.app.directory().integration(id).unwrap();
    {
        let mut left = pin!(world.app.metering().admit(&integration, facts("one")));
        let polled = left.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert!(
            matches!(polled, Poll::Pending),
            "the look-up of the id takes a turn"
        );
    }
    finish(admit(&world, id, "one").await.unwrap());
    world.close().await;
}

#[tokio::test]
async fn a_call_id_is_taken_while_its_call_is_in_flight_and_after_it_is_booked() {
    let (world, _, id) = started().await;
    let hold = admit(&world, id, "one").await.unwrap();
    let taken =
        |again: Result<Hold, NotAdmitted>| matches!(again, Err(NotAdmitted::CallIdTaken(_)));
    assert!(taken(admit(&world, id, "one").await));
    finish(hold);
    assert!(taken(admit(&world, id, "one").await));
    world.app.books_caught_up().await;
    assert!(taken(admit(&world, id, "one").await));
    finish(admit(&world, id, "two").await.unwrap());
    world.close().await;
}

#[tokio::test]
async fn a_call_that_never_left_leaves_no_row_and_gives_its_id_back() {
    let (world, tenant, id) = started().await;
    drop(admit(&world, id, "one").await.unwrap());
    finish(admit(&world, id, "one").await.unwrap());
    assert_eq!(rows(&world, &tenant).await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn an_admitted_call_that_is_dropped_after_it_left_is_charged_at_its_hold() {
    let (world, tenant, id) = started().await;
    let Ok(hold) = world.hold(id, TokenUsage::plain(100, 50)).await else {
        panic!("refused")
    };
    hold.dispatch().leave().unwrap();
    drop(hold);
    let row = rows(&world, &tenant).await.remove(0);
    assert_eq!(
        (row.usage.tokens_in, row.usage.tokens_out, row.cost),
        (100, 50, row.held)
    );
    assert_eq!(row.usage.error_code.as_deref(), Some("abandoned"));
    world.close().await;
}

/// A report of a call of one token each way, by somebody whose key may be bound to an integration.
async fn report(
    world: &World,
    tenant: &TenantId,
    (id, call_id): (IntegrationId, &str),
    bound_to: Option<IntegrationId>,
) -> Reported {
    let context = tollgate_app::Context {
        bound_to,
        ..world.somebody(tenant, Role::Caller)
    };
    let report = UsageReport {
        integration_id: id,
        call_id: call_id.parse().unwrap(),
        model: MODEL.into(),
        tokens: TokenUsage::plain(1, 1),
        source: UsageSource::Provider,
        session_id: None,
        agent_id: None,
        client_cost: None,
        latency_ms: None,
        policy_result: cus_models::CusPolicyResult::Allowed,
        error_code: None,
        error_message: None,
        extra: None,
        hold_id: None,
        created_at: None,
    };
    let new = NewReport {
        report,
        provider: None,
    };
    let mut told = world.app.report_usage(&context, vec![new]).await.unwrap();
    told.pop().unwrap()
}

#[tokio::test]
async fn a_report_cannot_keep_a_call_out_of_the_books_that_is_under_way() {
    let (world, tenant, id) = started().await;
    let Ok(hold) = world.hold(id, TokenUsage::plain(100, 50)).await else {
        panic!("refused")
    };
    hold.dispatch().leave().unwrap();
    // Its caller knows the id as soon as the answer begins.
    let call_id = hold.call_id().to_string();
    let told = report(&world, &tenant, (id, &call_id), None).await;
    assert!(matches!(told, Reported::Accepted(_)), "{told:?}");
    let usage = Some((TokenUsage::plain(90, 40), UsageSource::Provider));
    hold.settle(Ending {
        usage,
        ..Ending::default()
    });
    let rows = rows(&world, &tenant).await;
    let mut ids: Vec<_> = rows.iter().map(|row| row.usage.call_id.as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, [call_id.as_str(), &format!("{call_id}~gateway")]);
    assert_eq!(rows.iter().map(|row| row.usage.tokens_in).sum::<i64>(), 91);
    world.close().await;
}

#[tokio::test]
async fn a_call_whose_id_its_caller_gave_cannot_be_reported_while_it_is_under_way() {
    let (world, tenant, id) = started().await;
    let hold = admit(&world, id, "one").await.unwrap();
    let told = report(&world, &tenant, (id, "one"), None).await;
    assert_eq!(told, Reported::Conflict(None));
    finish(hold);
    assert_eq!(rows(&world, &tenant).await.len(), 1);
    world.close().await;
}

#[tokio::test]
async fn a_bound_key_reports_for_its_own_integration_alone() {
    let (world, tenant, id) = started().await;
    let other = world.integration(&tenant, "other").await;
    let told = report(&world, &tenant, (other, "a"), Some(id)).await;
    let Reported::Rejected(rejection) = told else {
        panic!("{told:?}")
    };
    assert_eq!(rejection.code, "permission_denied");
    let told = report(&world, &tenant, (id, "a"), Some(id)).await;
    assert!(matches!(told, Reported::Accepted(_)), "{told:?}");
    world.close().await;
}

#[tokio::test]
async fn calls_that_end_one_after_the_other_share_a_transaction_and_who_waits_for_the_books_does_not_wait_for_more()
 {
    const CALLS: usize = 40;
    // Whatever does not end this gathering would never be seen to end.
    let gathering = AppConfig {
        ledger_gather_ms: 86_400_000,
        ..AppConfig::default()
    };
    let world = World::start_with(gathering).await;
    let tenant = world.tenant("acme").await;
    let id = world.integration(&tenant, "main").await;
    finish(admit(&world, id, "the-first").await.unwrap());
    assert_eq!(rows(&world, &tenant).await.len(), 1);
    for call in 0..CALLS {
        finish(admit(&world, id, &format!("call-{call}")).await.unwrap());
    }
    let before = world.app.statements();
    world.app.books_caught_up().await;
    let sent = world.app.statements() - before;
    assert!(sent < 60, "{sent} statements are more than one transaction");
    assert_eq!(rows(&world, &tenant).await.len(), CALLS + 1);
    world.close().await;
}

#[tokio::test]
async fn one_id_given_to_two_nodes_at_once_is_two_rows_and_a_copy_of_a_call_is_none() {
    let (world, tenant, id) = started().await;
    let hold = admit(&world, id, "same").await.unwrap();
    world.clock.advance_ms(1);
    let elsewhere = UsageEntry {
        created_at: world.clock.now().wall,
        ..finished(&tenant, id, "same".parse().unwrap(), Nanos::new(77))
    };
    world.book_elsewhere(elsewhere).await;
    finish(hold);
    let mut booked: Vec<(String, i64)> = rows(&world, &tenant)
        .await
        .into_iter()
        .map(|row| (row.usage.call_id, row.cost.get()))
        .collect();
    booked.sort();
    assert_eq!(booked.len(), 2, "{booked:?}");
    assert_eq!(booked[0], ("same".to_owned(), 77));
    assert!(booked[1].0.starts_with("same~"), "{booked:?}");
    let again = admit(&world, id, "same").await;
    assert!(matches!(again, Err(NotAdmitted::CallIdTaken(_))));
    // A second copy of a call, as a start finds it that follows a full disk, is no other call.
    let copied = admit(&world, id, "copied").await.unwrap();
    let copy = UsageEntry {
        created_at: world.clock.now().wall,
        ..finished(&tenant, id, "copied".parse().unwrap(), Nanos::new(5))
    };
    world.book_elsewhere(copy).await;
    finish(copied);
    assert_eq!(rows(&world, &tenant).await.len(), 3);
    world.close().await;
}
