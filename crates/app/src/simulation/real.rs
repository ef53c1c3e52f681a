//! The embedded store beside the model: each question is asked of both, and both must say the same.
//!
//! It counts no permits, which go by its own clock; and what a node had drawn is given back month by
//! month, because an embedded store has one node and takes all others for gone.

use std::collections::BTreeSet;

use jiff::Timestamp;
use tokio::runtime::{Builder, Runtime};
use tollgate_core::account::{Draw, Grant};
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::limit::Limits;
use tollgate_core::tenant::{Tenant, TenantStatus};
use tollgate_core::{IntegrationId, Nanos, NodeId, Period, TenantId};
use tollgate_store::{AuditSeal, DrawAsk, OpenStore, OperatorStore, Owed, Store, StoreError};

use super::oracle::Broken;
use super::plan::Plan;
use super::wire::{Question, Reply};

/// An embedded store in memory.
#[derive(Debug)]
pub(super) struct RealStore {
    runtime: Runtime,
    store: Store,
    /// The months that nodes have drawn from.
    drawn: BTreeSet<(NodeId, IntegrationId, Period)>,
}

fn beginning() -> Timestamp {
    "2026-01-01T00:00:00Z".parse().unwrap()
}

fn audit(tenant: &TenantId, action: &'static str) -> AuditEntry {
    AuditEntry {
        tenant: Some(tenant.clone()),
        actor: Actor::Console,
        action,
        target: "a thing".to_owned(),
        before: None,
        after: None,
        request_id: None,
        at: beginning(),
    }
}

impl RealStore {
    pub(super) fn open() -> Self {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let store = runtime.block_on(async {
            let seal = AuditSeal::new(|_bytes| [0; 32]);
            let options = OpenStore::for_node(NodeId::from_uuid(uuid::Uuid::nil()), seal);
            let store = Store::open("sqlite::memory:", options).await.unwrap();
            store.migrate(beginning()).await.unwrap();
            store
        });
        Self {
            runtime,
            store,
            drawn: BTreeSet::new(),
        }
    }

    /// Makes the tenant and its integrations.
    pub(super) fn furnish(&self, plan: &Plan) {
        let tenant = Tenant {
            id: plan.tenant.clone(),
            name: "Acme".to_owned(),
            status: TenantStatus::Active,
            created_at: beginning(),
            updated_at: beginning(),
        };
        self.runtime.block_on(async {
            let entry = audit(&plan.tenant, "tenant.create");
            let operator = self.store.operator();
            operator.create_tenant(&tenant, entry).await.unwrap();
            let own = self.store.tenant(&plan.tenant);
            for subject in &plan.subjects {
                let entry = audit(&plan.tenant, "integration.create");
                own.create_integration(&subject.record, None, entry)
                    .await
                    .unwrap();
            }
        });
    }

    fn node(&self, node: NodeId) -> OperatorStore {
        self.store.as_node(node).operator()
    }

    /// Asks the same of the embedded store.
    pub(super) fn compare(
        &mut self,
        question: &Question,
        node: NodeId,
        expected: &Reply,
    ) -> Result<(), Broken> {
        if let Question::Draw(ask) = question {
            let month = (node, ask.integration, ask.need.period);
            self.drawn.insert(month);
        }
        if let (Question::GiveBackAll(owed), Reply::Figures(figures)) = (question, expected) {
            self.free(&[node]);
            return self.keep_owed(owed, node, figures);
        }
        let operator = self.node(node);
        let answered = self.runtime.block_on(async {
            let reply = match question {
                Question::Draw(ask) => Reply::Grant(operator.draw(ask).await?),
                Question::Permits(_) | Question::GiveBackAll(_) => return Ok(None),
                Question::GiveBack(integration, unused) => {
                    Reply::Grant(operator.give_back(*integration, unused).await?)
                }
                Question::Kept(integration, now) => {
                    Reply::Kept(operator.kept_minute(*integration, *now).await?)
                }
                Question::IsKnown(tenant, call) => {
                    Reply::IsKnown(operator.is_call_known(tenant, call).await?)
                }
                Question::Known(calls) => Reply::Known(operator.known_calls(calls).await?),
                Question::Append(entries, marks, now) => {
                    Reply::Append(operator.append_counting(entries, marks, *now).await?)
                }
            };
            Ok(Some(reply))
        });
        let answered =
            answered.map_err(|error: StoreError| format!("the embedded store: {error}"))?;
        match answered {
            Some(reply) if reply != *expected => Err(format!(
                "the embedded store says {reply:?} to {question:?}, and the model {expected:?}"
            )),
            _ => Ok(()),
        }
    }

    /// Draws what a node owes, month by month, with limits that leave just that.
    fn keep_owed(
        &mut self,
        owed: &[Owed],
        node: NodeId,
        figures: &[(IntegrationId, Grant)],
    ) -> Result<(), Broken> {
        for (one, (id, expected)) in owed.iter().zip(figures) {
            self.drawn.insert((node, one.integration, one.period));
            let need = Draw {
                period: one.period,
                budget: one.nanos,
                tokens: one.tokens,
            };
            let ask = DrawAsk {
                integration: one.integration,
                tenant: one.tenant.clone(),
                need,
                limits: Limits {
                    budget: Some(Nanos::new(i64::MAX)),
                    tokens: Some(i64::MAX),
                    rate_rpm: None,
                },
                share: u32::MAX,
            };
            let operator = self.node(node);
            let grant = self.runtime.block_on(operator.draw(&ask));
            let grant = grant.map_err(|error| format!("the embedded store: {error}"))?;
            // One part in so many of everything is more than was owed: it goes back.
            let more = Draw {
                period: one.period,
                budget: grant.budget.drawn - expected.budget.drawn,
                tokens: grant.tokens.drawn - expected.tokens.drawn,
            };
            let kept = operator.give_back(one.integration, &more);
            let kept = self.runtime.block_on(kept);
            let kept = kept.map_err(|error| format!("the embedded store: {error}"))?;
            if (one.integration, kept) != (*id, *expected) {
                return Err(format!(
                    "the embedded store has {kept:?} of {one:?}, and the model {expected:?}"
                ));
            }
        }
        Ok(())
    }

    /// Gives back what nodes have drawn and not settled.
    pub(super) fn free(&self, nodes: &[NodeId]) {
        let months = self.drawn.iter().filter(|(node, ..)| nodes.contains(node));
        for (node, integration, period) in months {
            let all = Draw {
                period: *period,
                budget: i64::MAX,
                tokens: i64::MAX,
            };
            let operator = self.node(*node);
            self.runtime
                .block_on(operator.give_back(*integration, &all))
                .unwrap();
        }
    }

    /// Whether ledger, balances, allowances, roll-ups and idempotency keys of the embedded store agree.
    pub(super) fn verify(&self, rows: i64) -> Result<(), Broken> {
        let (report, status) = self.runtime.block_on(async {
            let operator = self.store.operator();
            let report = operator.verify(None).await.unwrap();
            (report, operator.ledger_status().await.unwrap())
        });
        if !report.is_exact() {
            return Err(format!("the embedded store's books differ: {report:?}"));
        }
        if i64::try_from(status.rows).unwrap() != rows {
            return Err(format!(
                "the embedded store has {} rows of {rows}",
                status.rows
            ));
        }
        Ok(())
    }

    pub(super) fn close(self) {
        let Self { runtime, store, .. } = self;
        runtime.block_on(store.close());
    }
}
