//! Allowances: what each node has drawn of an integration's month and may hand out without asking.
//!
//! Always `settled(all) + Σ over nodes max(0, drawn − settled) ≤ limit`, unless calls have cost more than was held for them.

mod owed;

use tollgate_core::account::{Draw, Grant};
use tollgate_core::allowance::{Allowances, Part, SettledByAll};
use tollgate_core::hold::direct::DirectHold;
use tollgate_core::limit::Limits;
use tollgate_core::{IntegrationId, NodeId, Period, TenantId};

pub use self::owed::Owed;

use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Purpose, Work, sql};
use crate::error::StoreError;
use crate::ledger::{Books, MonthSum};
use crate::{OperatorStore, TenantStore, balances, news};

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DrawAsk {
    /// For which integration.
    pub integration: IntegrationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// For which month, and how much is missing. A quantity of which nothing is missing gets its figures and no more.
    pub need: Draw,
    /// The limits in force. A quantity without one gets its figures and no more.
    pub limits: Limits,
    /// The node may get one part in so many of what is left, where that is more than it needs; 0 counts as 1.
    pub share: u32,
}

/// What a node would have if it drew all that is left of a month, and what the others have drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prospect {
    /// The store's answer to such a draw, which did not take place.
    pub grant: Grant,
    /// Nano-dollars that other nodes have drawn and not settled: at most so much they hold.
    pub elsewhere_nanos: i64,
    /// Tokens that other nodes have drawn and not settled.
    pub elsewhere_tokens: i64,
}

impl TenantStore {
    /// What a draw of this node would bring for one of the tenant's integrations; changes nothing.
    pub async fn prospect(
        &self,
        integration: IntegrationId,
        period: Period,
        limits: Limits,
    ) -> Result<Prospect, StoreError> {
        let (tenant, node) = (self.tenant.clone(), self.store.node);
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let month = settled_month(work, integration, period).await?;
                if !month.tenant.is_empty() && month.tenant != tenant.as_str() {
                    return Err(StoreError::NotFound);
                }
                prospect(work, (integration, period), limits, node).await
            })
        })
        .await
    }
}

impl OperatorStore {
    /// Draws for this node in one transaction, never beyond what is left; what is granted may be less than was asked.
    pub async fn draw(&self, ask: &DrawAsk) -> Result<Grant, StoreError> {
        let (ask, node) = (ask.clone(), self.store.node);
        self.store
            .book(Vec::new(), move |work| {
                let ask = ask.clone();
                Box::pin(async move { draw(work, &ask, node).await })
            })
            .await
    }

    /// Gives back what this node has drawn and will not hand out; never more than it has left.
    pub async fn give_back(
        &self,
        integration: IntegrationId,
        unused: &Draw,
    ) -> Result<Grant, StoreError> {
        let (unused, node) = (*unused, self.store.node);
        self.store
            .book(Vec::new(), move |work| {
                Box::pin(give_back(work, integration, unused, node))
            })
            .await
    }
}

/// Whose allowances are to be free again.
pub(crate) enum Freed {
    Of(NodeId),
    OfAll,
}

impl Freed {
    /// The one node whose they are; none where they are everybody's.
    fn node(&self) -> Option<String> {
        match self {
            Self::Of(node) => Some(node.to_string()),
            Self::OfAll => None,
        }
    }
}

/// What the living holds of an allowance add up to.
macro_rules! held {
    ($column:literal) => {
        concat!(
            "(SELECT CAST(COALESCE(SUM(h.",
            $column,
            "), 0) AS BIGINT) FROM holds h WHERE h.integration_id = allowances.integration_id \
             AND h.period = allowances.period AND h.node_id = allowances.node_id AND h.state = 'held')"
        )
    };
}

const FREE: &str = concat!(
    "UPDATE allowances SET drawn_nanos = CASE WHEN drawn_nanos - settled_nanos > ",
    held!("cost_nanos"),
    " THEN settled_nanos + ",
    held!("cost_nanos"),
    " ELSE drawn_nanos END, drawn_tokens = CASE WHEN drawn_tokens - settled_tokens > ",
    held!("tokens"),
    " THEN settled_tokens + ",
    held!("tokens"),
    " ELSE drawn_tokens END WHERE node_id = COALESCE($1, node_id) \
     AND (drawn_nanos > settled_nanos OR drawn_tokens > settled_tokens)"
);

/// Frees what was drawn and not settled, but for the living direct holds: they stay in the allowance that they were taken in.
pub(crate) async fn free(work: &mut Work, whose: Freed) -> Result<(), StoreError> {
    let node = whose.node();
    // The balances first, sorted, as everywhere: whoever has the balance has its allowances.
    let lock = "SELECT integration_id FROM balances WHERE (integration_id, period) IN \
                (SELECT integration_id, period FROM allowances WHERE node_id = COALESCE($1, node_id) \
                AND (drawn_nanos > settled_nanos OR drawn_tokens > settled_tokens)) ORDER BY integration_id, period";
    let _locked: Vec<(String,)> = work
        .fetch_all(sql(lock).bind(node.clone()).locking())
        .await?;
    work.execute(sql(FREE).bind(node)).await.map(drop)
}

/// What a draw of a node would bring. Without limits it is what the node has.
pub(crate) async fn prospect(
    work: &mut Work,
    (integration, period): (IntegrationId, Period),
    limits: Limits,
    node: NodeId,
) -> Result<Prospect, StoreError> {
    let month = settled_month(work, integration, period).await?;
    let mut allowances = read(work, integration, period, node).await?;
    let elsewhere_nanos = allowances.nanos.elsewhere();
    let elsewhere_tokens = allowances.tokens.elsewhere();
    let all = Draw {
        period,
        budget: i64::MAX,
        tokens: i64::MAX,
    };
    allowances.draw(&limits, &settled(&month), &all, 1);
    Ok(Prospect {
        grant: allowances.grant(period, &settled(&month)),
        elsewhere_nanos,
        elsewhere_tokens,
    })
}

/// Takes what was not used of a hold out of its node's allowance, as far as that has so much left. Its month is locked.
pub(crate) async fn take_from(
    work: &mut Work,
    hold: &DirectHold,
    (nanos, tokens): (i64, i64),
) -> Result<(), StoreError> {
    let key = (hold.integration_id, hold.period);
    let mut allowances = read(work, hold.integration_id, hold.period, hold.node).await?;
    let unused = Draw {
        period: hold.period,
        budget: nanos,
        tokens,
    };
    if allowances.give_back(&unused) {
        write(work, &allowances, key, hold.node).await?;
    }
    Ok(())
}

async fn draw(work: &mut Work, ask: &DrawAsk, node: NodeId) -> Result<Grant, StoreError> {
    let key = (ask.integration, ask.need.period);
    let months = balances::lock(work, [(key, ask.tenant.clone())].into()).await?;
    let month = months.get(&key).ok_or(StoreError::NotFound)?;
    if month.tenant != ask.tenant.as_str() {
        return Err(StoreError::NotFound);
    }
    let mut allowances = read(work, ask.integration, ask.need.period, node).await?;
    let drawn = allowances.draw(&ask.limits, &settled(month), &ask.need, ask.share);
    if drawn.is_changed {
        write(work, &allowances, key, node).await?;
    }
    if drawn.is_lacking {
        news::wanted(work, ask.integration).await?;
    }
    Ok(allowances.grant(ask.need.period, &settled(month)))
}

async fn give_back(
    work: &mut Work,
    integration: IntegrationId,
    unused: Draw,
    node: NodeId,
) -> Result<Grant, StoreError> {
    lock_month(work, integration, unused.period).await?;
    let month = settled_month(work, integration, unused.period).await?;
    let mut allowances = read(work, integration, unused.period, node).await?;
    if allowances.give_back(&unused) {
        write(work, &allowances, (integration, unused.period), node).await?;
    }
    Ok(allowances.grant(unused.period, &settled(&month)))
}

/// Locks a balance if there is one. Nothing was drawn where there is none yet, so none is made.
async fn lock_month(
    work: &mut Work,
    integration: IntegrationId,
    period: Period,
) -> Result<(), StoreError> {
    let select = "SELECT tenant_id FROM balances WHERE integration_id = $1 AND period = $2";
    let one = sql(select)
        .bind(integration.to_string())
        .bind(period.to_string())
        .locking();
    let _locked: Option<(String,)> = work.fetch_optional(one).await?;
    Ok(())
}

/// What is settled of a month: nothing, and nobody's, where there is no balance yet.
async fn settled_month(
    work: &mut Work,
    integration: IntegrationId,
    period: Period,
) -> Result<MonthSum, StoreError> {
    let select = "SELECT tenant_id, settled_nanos, settled_tokens FROM balances \
                  WHERE integration_id = $1 AND period = $2";
    let one = sql(select)
        .bind(integration.to_string())
        .bind(period.to_string());
    let found: Option<(String, i64, i64)> = work.fetch_optional(one).await?;
    let (tenant, nanos, tokens) = found.unwrap_or_default();
    Ok(MonthSum {
        tenant,
        nanos,
        tokens,
        cents: 0,
        calls: 0,
    })
}

const fn settled(month: &MonthSum) -> SettledByAll {
    SettledByAll {
        nanos: month.nanos,
        tokens: month.tokens,
    }
}

/// Reads the allowances of a month whose balance is locked, as a node sees them.
async fn read(
    work: &mut Work,
    integration: IntegrationId,
    period: Period,
    node: NodeId,
) -> Result<Allowances, StoreError> {
    let select = "SELECT node_id, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens \
                  FROM allowances WHERE integration_id = $1 AND period = $2";
    let statement = sql(select)
        .bind(integration.to_string())
        .bind(period.to_string());
    let rows: Vec<(String, i64, i64, i64, i64)> = work.fetch_all(statement).await?;
    let node = node.to_string();
    let mut allowances = Allowances::default();
    for (row_node, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens) in rows {
        let nanos = Part {
            drawn: drawn_nanos,
            settled: settled_nanos,
        };
        let tokens = Part {
            drawn: drawn_tokens,
            settled: settled_tokens,
        };
        allowances.nanos.add(nanos);
        allowances.tokens.add(tokens);
        if row_node == node {
            (allowances.nanos.own, allowances.tokens.own) = (nanos, tokens);
        }
    }
    Ok(allowances)
}

const WRITE: &str = "INSERT INTO allowances \
     (integration_id, period, node_id, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens) \
     VALUES ($1, $2, $3, $4, 0, $5, 0) ON CONFLICT (integration_id, period, node_id) \
     DO UPDATE SET drawn_nanos = excluded.drawn_nanos, drawn_tokens = excluded.drawn_tokens";

/// Writes what a node has drawn.
async fn write(
    work: &mut Work,
    allowances: &Allowances,
    (integration, period): (IntegrationId, Period),
    node: NodeId,
) -> Result<(), StoreError> {
    let statement = sql(WRITE)
        .bind(integration.to_string())
        .bind(period.to_string())
        .bind(node.to_string())
        .bind(allowances.nanos.own.drawn)
        .bind(allowances.tokens.own.drawn);
    work.execute(statement).await.map(drop)
}

const SETTLE: Batch = Batch {
    head: "INSERT INTO allowances (integration_id, period, node_id, settled_nanos, settled_tokens, drawn_nanos, drawn_tokens)",
    columns: &[Text, Text, Text, Integer, Integer, Integer, Integer],
    tail: "ON CONFLICT (integration_id, period, node_id) DO UPDATE SET \
           settled_nanos = allowances.settled_nanos + excluded.settled_nanos, \
           settled_tokens = allowances.settled_tokens + excluded.settled_tokens",
    locks_rows: false,
};

/// Moves what a batch has settled from each node's allowance to what that has settled.
pub(crate) async fn settle(work: &mut Work, books: &Books) -> Result<(), StoreError> {
    let rows = books
        .settled
        .iter()
        .map(|(((integration, period), node), settled)| {
            vec![
                integration.to_string().into(),
                period.to_string().into(),
                node.to_string().into(),
                settled.nanos.into(),
                settled.tokens.into(),
                0.into(),
                0.into(),
            ]
        });
    work.execute_batch(SETTLE, rows.collect()).await.map(drop)
}
