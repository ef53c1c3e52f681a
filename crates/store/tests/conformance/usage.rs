//! Usage as a tenant reads it.

use std::collections::BTreeSet;

use cus_models::CusPolicyResult;
use jiff::civil::{Date, date};
use tollgate_core::page::PageAsk;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{IntegrationId, Nanos, TenantId};
use tollgate_store::{ExportAsk, UsageFilter};

use crate::world::{World, call, id_of, moment, refusal};

const FIRST: Date = date(2026, 11, 14);
const LAST: Date = date(2026, 11, 16);

/// Two integrations, three days, six calls.
async fn three_days(world: &World) -> (TenantId, IntegrationId, IntegrationId) {
    let acme = world.create_tenant("acme").await;
    let zeta = id_of(&world.create_integration(&acme, "zeta").await);
    let alpha = id_of(&world.create_integration(&acme, "alpha").await);
    let day = 86_400;
    let at = |id, name: &str, seconds, latency_ms| UsageEntry {
        created_at: moment(seconds),
        latency_ms,
        cost: Nanos::new(6_000_000),
        ..call(&acme, id, name)
    };
    let batch = [
        at(zeta, "z-1", -day, Some(10)),
        at(zeta, "z-2", 0, Some(11)),
        at(zeta, "z-3", day, None),
        at(alpha, "a-1", 0, Some(2)),
        at(alpha, "a-2", 0, Some(3)),
        refusal(&acme, alpha, "r-1"),
    ];
    world.operator().append(&batch, moment(day)).await.unwrap();
    (acme, zeta, alpha)
}

pub(crate) async fn history_is_paged_newest_first_without_gaps(world: &World) {
    let (acme, ..) = three_days(world).await;
    let mut ask = PageAsk {
        rows: 2,
        after: None,
    };
    let mut seen = Vec::new();
    loop {
        let store = world.tenant(&acme);
        let page = store
            .usage_history(ask.clone(), UsageFilter::default())
            .await
            .unwrap();
        seen.extend(page.rows.into_iter().map(|row| row.usage));
        let Some(next) = page.next else { break };
        ask.after = Some(next);
    }
    let names: BTreeSet<_> = seen.iter().map(|usage| usage.call_id.as_str()).collect();
    assert_eq!((seen.len(), names.len()), (6, 6));
    assert!(seen.is_sorted_by(|a, b| (b.created_at, &b.id) <= (a.created_at, &a.id)));
}

pub(crate) async fn history_is_filtered(world: &World) {
    let (acme, zeta, _) = three_days(world).await;
    let store = world.tenant(&acme);
    let names = async |filter| -> BTreeSet<String> {
        let page = store
            .usage_history(PageAsk::default(), filter)
            .await
            .unwrap();
        page.rows.into_iter().map(|row| row.usage.call_id).collect()
    };
    let of = |names: &[&str]| {
        names
            .iter()
            .map(ToString::to_string)
            .collect::<BTreeSet<_>>()
    };
    let filter = UsageFilter {
        integration: Some(zeta),
        ..UsageFilter::default()
    };
    assert_eq!(names(filter).await, of(&["z-1", "z-2", "z-3"]));
    let refused = UsageFilter {
        policy_result: Some(CusPolicyResult::Blocked),
        ..UsageFilter::default()
    };
    assert_eq!(names(refused).await, of(&["r-1"]));
    let one = UsageFilter {
        call: Some("a-2".parse().unwrap()),
        ..UsageFilter::default()
    };
    assert_eq!(names(one).await, of(&["a-2"]));
    let today = UsageFilter {
        from: Some(moment(0)),
        to: Some(moment(86_400)),
        ..UsageFilter::default()
    };
    assert_eq!(names(today).await, of(&["a-1", "a-2", "r-1", "z-2"]));
    let nobody = UsageFilter {
        agent: Some("x".parse().unwrap()),
        session: Some("y".parse().unwrap()),
        ..UsageFilter::default()
    };
    assert!(names(nobody).await.is_empty());
}

pub(crate) async fn a_summary_is_exact_over_days_and_integrations(world: &World) {
    let (acme, zeta, alpha) = three_days(world).await;
    let store = world.tenant(&acme);
    let summary = store.usage_summary(FIRST, LAST, None).await.unwrap();
    let totals = summary.totals;
    assert_eq!(
        (totals.total_calls, totals.error_count, totals.blocked_count),
        (6, 1, 1)
    );
    assert_eq!((totals.total_tokens_in, totals.total_tokens_out), (5, 10));
    // Two months' balances of one integration each: 18,000,000 and 12,000,000 nano-dollars.
    assert_eq!(
        (totals.cost, totals.total_cost_cents),
        (Nanos::new(30_000_000), 3)
    );
    assert_eq!(
        totals.avg_latency_ms,
        Some(7),
        "(10 + 11 + 2 + 3) / 4 = 6.5"
    );
    let by: Vec<_> = summary
        .by_integration
        .iter()
        .map(|row| (row.integration, row.name.as_str()))
        .collect();
    assert_eq!(by, [(alpha, "alpha"), (zeta, "zeta")]);
    let one = store.usage_summary(FIRST, LAST, Some(zeta)).await.unwrap();
    assert_eq!((one.totals.total_calls, one.by_integration.len()), (3, 1));
    assert_eq!(one.totals.avg_latency_ms, Some(11), "(10 + 11) / 2 = 10.5");
    let none = store
        .usage_summary(date(2025, 1, 1), date(2025, 12, 31), None)
        .await
        .unwrap();
    assert_eq!(none, tollgate_store::UsageSummary::default());
}

pub(crate) async fn days_are_read_from_the_first_to_the_last(world: &World) {
    let (acme, zeta, alpha) = three_days(world).await;
    let store = world.tenant(&acme);
    let days = store.usage_daily(FIRST, LAST, None).await.unwrap();
    let dates: Vec<_> = days.iter().map(|row| row.daily.date).collect();
    assert_eq!(dates, [FIRST, date(2026, 11, 15), date(2026, 11, 15), LAST]);
    let days = store.usage_daily(LAST, LAST, None).await.unwrap();
    assert_eq!((days.len(), days[0].daily.avg_latency_ms), (1, None));
    assert_eq!(days[0].daily.integration_id, zeta.to_string());
    let days = store.usage_daily(FIRST, LAST, Some(alpha)).await.unwrap();
    assert_eq!(
        (days.len(), days[0].daily.avg_latency_ms),
        (1, Some(3)),
        "2.5 rounds up"
    );
    assert_eq!(
        (days[0].daily.total_calls, days[0].daily.blocked_count),
        (3, 1)
    );
}

pub(crate) async fn another_tenants_usage_is_not_seen(world: &World) {
    let (_, zeta, _) = three_days(world).await;
    let other = world.create_tenant("other").await;
    let store = world.tenant(&other);
    let page = store
        .usage_history(PageAsk::default(), UsageFilter::default())
        .await
        .unwrap();
    assert!(page.rows.is_empty());
    assert!(
        store
            .usage_daily(FIRST, LAST, Some(zeta))
            .await
            .unwrap()
            .is_empty()
    );
    let summary = store.usage_summary(FIRST, LAST, Some(zeta)).await.unwrap();
    assert_eq!(summary.totals.total_calls, 0);
    let balance = store
        .balance(zeta, "2026-11".parse().unwrap())
        .await
        .unwrap();
    assert_eq!(balance, tollgate_store::Balance::default());
}

pub(crate) async fn an_export_has_every_call_once_oldest_first_and_nothing_that_settles_later(
    world: &World,
) {
    let (acme, zeta, _) = three_days(world).await;
    let store = world.tenant(&acme);
    let mut ask = ExportAsk {
        from: moment(-86_400 * 10),
        to: moment(86_400 * 10),
        integration: None,
        settled_by: moment(86_400),
        after: None,
        rows: 2,
    };
    let mut seen = Vec::new();
    loop {
        let piece = store.export_usage(&ask).await.unwrap();
        // What settles while it is read belongs before and behind what was read.
        let n = seen.len();
        let late = UsageEntry {
            created_at: moment(if n % 4 == 0 { -86_400 } else { 2 * 86_400 }),
            ..call(&acme, zeta, &format!("late-{n}"))
        };
        let settled = world.operator().append(&[late], moment(86_401)).await;
        settled.unwrap();
        seen.extend(piece.rows.into_iter().map(|row| row.usage));
        let Some(next) = piece.next else { break };
        ask.after = Some(next);
    }
    let names: BTreeSet<_> = seen.iter().map(|usage| usage.call_id.as_str()).collect();
    let all = ["a-1", "a-2", "r-1", "z-1", "z-2", "z-3"];
    assert_eq!((seen.len(), names), (6, all.into_iter().collect()));
    assert!(seen.is_sorted_by(|a, b| (a.created_at, &a.id) < (b.created_at, &b.id)));
    let one = ExportAsk {
        integration: Some(zeta),
        from: moment(0),
        to: moment(86_400),
        after: None,
        ..ask
    };
    let rows = store.export_usage(&one).await.unwrap().rows;
    let names: Vec<_> = rows.iter().map(|row| row.usage.call_id.as_str()).collect();
    assert_eq!(names, ["z-2"]);
}

pub(crate) async fn sums_by_model_are_those_of_the_summary(world: &World) {
    let (acme, zeta, _) = three_days(world).await;
    let other = UsageEntry {
        model: "gpt-4o-mini".into(),
        ..call(&acme, zeta, "mini")
    };
    world.operator().append(&[other], moment(1)).await.unwrap();
    let store = world.tenant(&acme);
    let span = (moment(-86_400 * 3), moment(86_400 * 3));
    let models = store.usage_by_model(span, None).await.unwrap();
    let names: Vec<_> = models.iter().map(|one| one.model.as_str()).collect();
    assert_eq!(names, ["gpt-4o", "gpt-4o-mini"]);
    // The refused one was never to have a price.
    assert_eq!(models[0].unpriced_calls, 5);
    let whole = store.usage_summary(FIRST, LAST, None).await.unwrap().totals;
    let sum = |of: fn(&tollgate_store::UsageTotals) -> i64| -> i64 {
        models.iter().map(|one| of(&one.totals)).sum()
    };
    assert_eq!(sum(|totals| totals.total_calls), whole.total_calls);
    assert_eq!(sum(|totals| totals.cost.get()), whole.cost.get());
    assert_eq!(
        sum(|totals| totals.total_cost_cents),
        whole.total_cost_cents
    );
    assert_eq!(sum(|totals| totals.error_count), whole.error_count);
}
