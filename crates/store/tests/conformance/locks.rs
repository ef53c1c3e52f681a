//! Nodes that write, draw and hold over the same integrations at once: whoever waits for whom, nobody waits in a circle.
//!
//! A deadlock would be retried and booked all the same, so the sums would not show it. The server's log does, which every
//! world looks through at its end: there is no deadlock in it, no failed serialization and no lock that took too long.

use cus_models::CusPolicyResult;
use tollgate_core::account::Draw;
use tollgate_core::hold::direct::DirectHold;
use tollgate_core::limit::Limits;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{HoldId, IntegrationId, Nanos, Period, TenantId};
use tollgate_store::{DrawAsk, ReportedEntry, Store};

use crate::world::{World, call, id_of, moment};

const ROUNDS: usize = 6;
const MONTH_SECONDS: i64 = 30 * 86_400;

/// What all nodes use together.
#[derive(Clone)]
struct Shared {
    /// Two tenants with six integrations each.
    integrations: Vec<(TenantId, IntegrationId)>,
}

/// An order that no one would think of, the same in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005);
        self.0 = self.0.wrapping_add(1_442_695_040_888_963_407);
        usize::try_from((self.0 >> 33) % u64::try_from(end).unwrap()).unwrap()
    }

    fn shuffled<T: Clone>(&mut self, items: &[T]) -> Vec<T> {
        let mut items = items.to_vec();
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
        items
    }
}

/// A call in this month or the one before, without a price.
fn entry((tenant, integration): &(TenantId, IntegrationId), id: &str, month: usize) -> UsageEntry {
    UsageEntry {
        created_at: moment(-MONTH_SECONDS * i64::try_from(month).unwrap()),
        ..call(tenant, *integration, id)
    }
}

impl Shared {
    /// Batches over everything, each in an order of its own. A third of the calls are those of other nodes too.
    async fn write(self, store: Store, seed: u64) {
        let mut dice = Dice(seed);
        for round in 0..ROUNDS {
            let mut batch = Vec::new();
            for (place, integration) in self.integrations.iter().enumerate() {
                for month in 0..2 {
                    let own = format!("{seed}-{round}-{place}-{month}");
                    let everybodys = format!("all-{round}-{place}-{month}");
                    batch.push(entry(integration, &own, month));
                    batch.push(entry(integration, &everybodys, month));
                }
            }
            let batch = dice.shuffled(&batch);
            let report = store.operator().append(&batch, moment(1)).await.unwrap();
            assert!(report.conflicts.is_empty() && report.refused.is_empty());
        }
    }

    /// Draws and gives back.
    async fn draw(self, store: Store, seed: u64) {
        let mut dice = Dice(seed);
        for _ in 0..ROUNDS {
            for (tenant, integration) in dice.shuffled(&self.integrations) {
                let need = Draw {
                    period: period(dice.below(2)),
                    budget: 5_000,
                    tokens: 10,
                };
                let limits = Limits {
                    budget: Some(Nanos::new(1_000_000_000)),
                    tokens: Some(1_000_000),
                    rate_rpm: None,
                };
                let ask = DrawAsk {
                    integration,
                    tenant,
                    need,
                    limits,
                    share: 10,
                };
                store.operator().draw(&ask).await.unwrap();
                store
                    .operator()
                    .give_back(integration, &need)
                    .await
                    .unwrap();
            }
            store.operator().give_back_all(&[]).await.unwrap();
        }
    }

    /// Takes holds; settles some by reports that name them in any order, releases some, lets the others expire.
    async fn hold(self, store: Store, seed: u64) {
        let mut dice = Dice(seed);
        for round in 0..ROUNDS {
            let mut holds = Vec::new();
            for (tenant, integration) in dice.shuffled(&self.integrations) {
                let hold = hold(&store, &tenant, integration, dice.below(2));
                store.tenant(&tenant).create_hold(&hold).await.unwrap();
                holds.push(hold);
            }
            let holds = dice.shuffled(&holds);
            let (settled, others) = holds.split_at(8);
            for tenant in ["acme", "globex"].map(|id| id.parse::<TenantId>().unwrap()) {
                let own = settled.iter().filter(|hold| hold.tenant_id == tenant);
                let reports: Vec<_> = own.map(|hold| report(hold, seed, round)).collect();
                let own = store.tenant(&tenant);
                own.report_usage(&reports, moment(1)).await.unwrap();
            }
            for hold in others.iter().take(2) {
                let own = store.tenant(&hold.tenant_id);
                own.release_hold(hold.id, moment(1)).await.unwrap();
            }
            store.operator().expire_holds(moment(600)).await.unwrap();
        }
    }
}

fn period(months_ago: usize) -> Period {
    ["2026-11", "2026-10"][months_ago].parse().unwrap()
}

fn hold(store: &Store, tenant: &TenantId, integration: IntegrationId, month: usize) -> DirectHold {
    DirectHold {
        id: HoldId::generate(),
        tenant_id: tenant.clone(),
        integration_id: integration,
        period: period(month),
        cost: Nanos::new(3_000),
        tokens: 5,
        node: store.node(),
        model: None,
        call_id: None,
        policy_result: CusPolicyResult::Allowed,
        created_at: moment(0),
        expires_at: moment(500),
    }
}

fn report(hold: &DirectHold, seed: u64, round: usize) -> ReportedEntry {
    let id = format!("held-{seed}-{round}-{}", hold.id);
    let of = (hold.tenant_id.clone(), hold.integration_id);
    ReportedEntry {
        entry: entry(&of, &id, usize::from(hold.period == period(1))),
        client_cost: None,
        content: id,
        hold: Some(hold.id),
    }
}

async fn no_circle(world: &World, nodes: u64) {
    let mut integrations = Vec::new();
    for tenant in ["acme", "globex"] {
        let tenant = world.create_tenant(tenant).await;
        for index in 0..6 {
            let made = world
                .create_integration(&tenant, &format!("i-{index}"))
                .await;
            integrations.push((tenant.clone(), id_of(&made)));
        }
    }
    let shared = Shared { integrations };
    let mut tasks = tokio::task::JoinSet::new();
    for node in 0..nodes {
        let store = world.another_node().await;
        store.operator().heartbeat(moment(1)).await.unwrap();
        tasks.spawn(shared.clone().write(store.clone(), node * 3));
        tasks.spawn(shared.clone().draw(store.clone(), node * 3 + 1));
        tasks.spawn(shared.clone().hold(store, node * 3 + 2));
    }
    tasks.join_all().await;
    let rows = world.operator().ledger_status().await.unwrap().rows;
    let rounds = u64::try_from(ROUNDS).unwrap();
    // Its own 24 calls of each node, everybody's 24, and the 8 that were reported, in each round.
    assert_eq!(rows, rounds * (nodes * 24 + 24 + nodes * 8));
}

pub(crate) async fn two_nodes_that_write_draw_and_hold_at_once_wait_in_no_circle(world: &World) {
    no_circle(world, 2).await;
}

pub(crate) async fn three_nodes_that_write_draw_and_hold_at_once_wait_in_no_circle(world: &World) {
    no_circle(world, 3).await;
}
