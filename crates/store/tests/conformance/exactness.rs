//! Any order, any batching, any repetition of the same calls give the same books.

use std::collections::BTreeMap;

use cus_models::CusPolicyResult;
use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestRunner};
use tollgate_core::usage::UsageEntry;
use tollgate_core::{IntegrationId, Nanos, TenantId, TokenUsage};
use tollgate_store::{Balance, Fate, ReportedEntry, UsageSummary};

use crate::world::{Kind, World, call, moment};

/// A call, without whose it is.
#[derive(Debug, Clone)]
struct Spec {
    integration: usize,
    day: i64,
    cost: i64,
    tokens: (u64, u64),
    latency_ms: Option<i64>,
    is_refused: bool,
    has_failed: bool,
}

/// What is done to the calls on their way.
#[derive(Debug, Clone)]
struct Way {
    /// Sorts the calls, some of them twice.
    order: Vec<(u32, Option<u32>)>,
    /// Rows of a batch, in turn.
    sizes: Vec<usize>,
}

const INTEGRATIONS: usize = 3;
const DAYS: [&str; 2] = ["2026-10-01", "2026-12-31"];

fn spec() -> impl Strategy<Value = Spec> {
    let amounts = (0..30_000_000_i64, (0..1_u64 << 52, 0..1_u64 << 52));
    let outcome = (
        prop::option::of(0..100_000_i64),
        any::<bool>(),
        any::<bool>(),
    );
    ((0..INTEGRATIONS), (-20..20_i64), amounts, outcome).prop_map(
        |(integration, day, (cost, tokens), (latency_ms, is_refused, has_failed))| Spec {
            integration,
            day,
            cost: if is_refused { 0 } else { cost },
            tokens: if is_refused { (0, 0) } else { tokens },
            latency_ms,
            is_refused,
            has_failed,
        },
    )
}

fn cases() -> impl Strategy<Value = (Vec<Spec>, Way)> {
    prop::collection::vec(spec(), 1..60).prop_flat_map(|specs| {
        let order =
            prop::collection::vec((any::<u32>(), prop::option::of(any::<u32>())), specs.len());
        let sizes = prop::collection::vec(1..25_usize, 1..6);
        let way = (order, sizes).prop_map(|(order, sizes)| Way { order, sizes });
        (Just(specs), way)
    })
}

fn entries(tenant: &TenantId, ids: &[IntegrationId], specs: &[Spec]) -> Vec<UsageEntry> {
    let entry = |(index, spec): (usize, &Spec)| UsageEntry {
        created_at: moment(spec.day * 86_400),
        cost: Nanos::new(spec.cost),
        tokens: TokenUsage::plain(spec.tokens.0, spec.tokens.1),
        latency_ms: spec.latency_ms,
        policy_result: if spec.is_refused {
            CusPolicyResult::Blocked
        } else {
            CusPolicyResult::Allowed
        },
        error_code: spec.has_failed.then_some("failed".into()),
        ..call(tenant, ids[spec.integration], &format!("c-{index}"))
    };
    specs.iter().enumerate().map(entry).collect()
}

/// The calls in the order and the batches of a way.
fn travel(entries: &[UsageEntry], way: &Way) -> Vec<Vec<UsageEntry>> {
    let mut travelled: Vec<(u32, &UsageEntry)> = Vec::new();
    for ((place, again), entry) in way.order.iter().zip(entries) {
        travelled.push((*place, entry));
        travelled.extend(again.map(|place| (place, entry)));
    }
    travelled.sort_by_key(|(place, _)| *place);
    let mut rest: Vec<UsageEntry> = travelled
        .into_iter()
        .map(|(_, entry)| entry.clone())
        .collect();
    let mut batches = Vec::new();
    let mut sizes = way.sizes.iter().cycle();
    while !rest.is_empty() {
        let size = (*sizes.next().unwrap()).min(rest.len());
        let tail = rest.split_off(size);
        batches.push(std::mem::replace(&mut rest, tail));
    }
    batches
}

/// All that must be the same: balances, days without the cents (which crossing call they fall on is a matter of order),
/// and the sums with them.
#[derive(Debug, PartialEq)]
struct Picture {
    balances: Vec<Balance>,
    days: BTreeMap<(usize, String), [i64; 7]>,
    sums: Vec<UsageSummary>,
}

async fn picture(world: &World, tenant: &TenantId, ids: &[IntegrationId]) -> Picture {
    let store = world.tenant(tenant);
    let [from, to] = DAYS.map(|day| day.parse().unwrap());
    let mut picture = Picture {
        balances: Vec::new(),
        days: BTreeMap::new(),
        sums: Vec::new(),
    };
    for (index, id) in ids.iter().enumerate() {
        for month in ["2026-10", "2026-11", "2026-12"] {
            picture
                .balances
                .push(store.balance(*id, month.parse().unwrap()).await.unwrap());
        }
        for row in store.usage_daily(from, to, Some(*id)).await.unwrap() {
            let daily = row.daily;
            let figures = [
                daily.total_calls,
                daily.total_tokens_in,
                daily.total_tokens_out,
                daily.error_count,
                daily.blocked_count,
                daily.avg_latency_ms.unwrap_or(-1),
                row.cost.get(),
            ];
            picture
                .days
                .insert((index, daily.date.to_string()), figures);
        }
        let mut sum = store.usage_summary(from, to, Some(*id)).await.unwrap();
        sum.by_integration.clear();
        picture.sums.push(sum);
    }
    picture
}

/// The calls of a batch as their callers report them.
async fn report(world: &World, tenant: &TenantId, batch: &[UsageEntry]) -> Vec<Fate> {
    let reports = batch.iter().map(|entry| ReportedEntry {
        content: format!("the report of {}", entry.call_id),
        client_cost: None,
        entry: entry.clone(),
        hold: None,
    });
    let reports: Vec<_> = reports.collect();
    let booked = world.tenant(tenant).report_usage(&reports, moment(1)).await;
    booked.unwrap()
}

async fn check(world: &World, case: u32, specs: &[Spec], way: &Way) -> Result<(), TestCaseError> {
    let mut pictures = Vec::new();
    for side in ["straight", "astray", "reported"] {
        let tenant: TenantId = format!("{side}-{case}").parse().unwrap();
        let ids: Vec<_> = (0..INTEGRATIONS)
            .map(|_| IntegrationId::generate())
            .collect();
        let entries = entries(&tenant, &ids, specs);
        let batches = if side == "straight" {
            vec![entries]
        } else {
            travel(&entries, way)
        };
        for batch in batches {
            if side == "reported" {
                let fates = report(world, &tenant, &batch).await;
                let is_booked = |fate: &Fate| matches!(fate, Fate::Written(_) | Fate::Duplicate(_));
                prop_assert!(fates.iter().all(is_booked));
                continue;
            }
            let report = world.operator().append(&batch, moment(1)).await.unwrap();
            prop_assert!(report.conflicts.is_empty() && report.refused.is_empty());
        }
        pictures.push(picture(world, &tenant, &ids).await);
        let report = world.operator().verify(Some(&tenant)).await.unwrap();
        prop_assert!(report.is_exact(), "{:?}", report.first);
    }
    prop_assert_eq!(&pictures[0], &pictures[1]);
    prop_assert_eq!(&pictures[0], &pictures[2]);
    for balance in &pictures[0].balances {
        prop_assert_eq!(balance.posted_cents, balance.settled.cents());
    }
    Ok(())
}

pub(crate) async fn any_order_batching_and_repetition_give_the_same_books(world: &World) {
    let cases_of_engine = if world.kind == Kind::Sqlite { 48 } else { 12 };
    let config = Config {
        cases: cases_of_engine,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(7),
        max_shrink_iters: 200,
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let case = std::cell::Cell::new(0);
    let runtime = tokio::runtime::Handle::current();
    let result = tokio::task::block_in_place(|| {
        runner.run(&cases(), |(specs, way)| {
            case.set(case.get() + 1);
            runtime.block_on(check(world, case.get(), &specs, &way))
        })
    });
    result.unwrap();
}
