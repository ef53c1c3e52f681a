//! Allowances: what each node has drawn of an integration's month and may hand out without asking.
//!
//! Always `settled(all) + Σ over nodes max(0, drawn − settled) ≤ limit`, unless calls have cost more than was held for them.

use tollgate_core::account::{Draw, Grant, Granted};
use tollgate_core::limit::Limits;
use tollgate_core::{IntegrationId, Nanos, NodeId, Period, TenantId};

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
                let mut figures = Figures::read(work, integration, period, node).await?;
                let elsewhere_nanos = figures.nanos.elsewhere();
                let elsewhere_tokens = figures.tokens.elsewhere();
                let budget = limits.budget.map(Nanos::get);
                figures.nanos.draw(budget, month.nanos, i64::MAX, 1);
                figures
                    .tokens
                    .draw(limits.tokens, month.tokens, i64::MAX, 1);
                Ok(Prospect {
                    grant: figures.grant(period, &month),
                    elsewhere_nanos,
                    elsewhere_tokens,
                })
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

    /// Gives back everything that this node has drawn and not settled: for a start, when nothing is held yet, and for
    /// the end. On SQLite, where there is one node, also what earlier nodes left behind.
    pub async fn give_back_all(&self) -> Result<(), StoreError> {
        let node = self.store.node;
        self.store
            .book(Vec::new(), move |work| {
                Box::pin(async move {
                    if work.is_postgres() {
                        free(work, Freed::Of(node)).await
                    } else {
                        free(work, Freed::OfAll).await
                    }
                })
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

/// Frees what was drawn and not settled.
pub(crate) async fn free(work: &mut Work, whose: Freed) -> Result<(), StoreError> {
    let node = match whose {
        Freed::Of(node) => Some(node.to_string()),
        Freed::OfAll => None,
    };
    // The balances first, sorted, as everywhere: whoever has the balance has its allowances.
    let lock = "SELECT integration_id FROM balances WHERE (integration_id, period) IN \
                (SELECT integration_id, period FROM allowances WHERE node_id = COALESCE($1, node_id) \
                AND (drawn_nanos > settled_nanos OR drawn_tokens > settled_tokens)) ORDER BY integration_id, period";
    let _locked: Vec<(String,)> = work
        .fetch_all(sql(lock).bind(node.clone()).locking())
        .await?;
    let free = "UPDATE allowances SET drawn_nanos = settled_nanos, drawn_tokens = settled_tokens \
                WHERE node_id = COALESCE($1, node_id) AND (drawn_nanos > settled_nanos OR drawn_tokens > settled_tokens)";
    work.execute(sql(free).bind(node)).await.map(drop)
}

async fn draw(work: &mut Work, ask: &DrawAsk, node: NodeId) -> Result<Grant, StoreError> {
    let key = (ask.integration, ask.need.period);
    let months = balances::lock(work, [(key, ask.tenant.clone())].into()).await?;
    let month = months.get(&key).ok_or(StoreError::NotFound)?;
    if month.tenant != ask.tenant.as_str() {
        return Err(StoreError::NotFound);
    }
    let mut figures = Figures::read(work, ask.integration, ask.need.period, node).await?;
    let before = figures;
    let share = ask.share.max(1);
    let budget = ask.limits.budget.map(Nanos::get);
    let changed = [
        figures
            .nanos
            .draw(budget, month.nanos, ask.need.budget, share),
        figures
            .tokens
            .draw(ask.limits.tokens, month.tokens, ask.need.tokens, share),
    ];
    if changed.contains(&true) {
        figures
            .write(work, ask.integration, ask.need.period, node)
            .await?;
    }
    let lacks = [
        figures.nanos.lacks(budget, before.nanos, ask.need.budget),
        figures
            .tokens
            .lacks(ask.limits.tokens, before.tokens, ask.need.tokens),
    ];
    if lacks.contains(&true) {
        news::wanted(work, ask.integration).await?;
    }
    Ok(figures.grant(ask.need.period, month))
}

async fn give_back(
    work: &mut Work,
    integration: IntegrationId,
    unused: Draw,
    node: NodeId,
) -> Result<Grant, StoreError> {
    lock_month(work, integration, unused.period).await?;
    let month = settled_month(work, integration, unused.period).await?;
    let mut figures = Figures::read(work, integration, unused.period, node).await?;
    let changed = [
        figures.nanos.give_back(unused.budget),
        figures.tokens.give_back(unused.tokens),
    ];
    if changed.contains(&true) {
        figures
            .write(work, integration, unused.period, node)
            .await?;
    }
    Ok(figures.grant(unused.period, &month))
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

/// One quantity of an integration's month, seen from one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Share {
    drawn: i64,
    settled: i64,
    /// What all nodes together have drawn and not settled.
    outstanding: i128,
}

impl Share {
    fn add(&mut self, drawn: i64, settled: i64) {
        self.outstanding += (i128::from(drawn) - i128::from(settled)).max(0);
    }

    /// Draws what is needed or one share of what is left, whichever is more, as far as there is so much. Tells whether it did.
    fn draw(&mut self, limit: Option<i64>, settled_by_all: i64, need: i64, share: u32) -> bool {
        let Some(limit) = limit else { return false };
        if need <= 0 {
            return false;
        }
        let left = i128::from(limit) - i128::from(settled_by_all) - self.outstanding;
        let granted = left.min(i128::from(need).max(left / i128::from(share)));
        // A node that has settled more than it drew begins again at what it has settled.
        let drawn = i128::from(self.drawn.max(self.settled)) + granted;
        match i64::try_from(drawn) {
            Ok(drawn) if granted > 0 => {
                self.drawn = drawn;
                true
            }
            _ => false,
        }
    }

    /// What the other nodes have drawn and not settled.
    fn elsewhere(&self) -> i64 {
        let own = (i128::from(self.drawn) - i128::from(self.settled)).max(0);
        i64::try_from((self.outstanding - own).max(0)).unwrap_or(i64::MAX)
    }

    /// Whether a draw brought less than was needed while others have what they drew.
    fn lacks(&self, limit: Option<i64>, before: Self, need: i64) -> bool {
        let gained = self.drawn.saturating_sub(before.drawn.max(before.settled));
        limit.is_some() && gained.max(0) < need && before.elsewhere() > 0
    }

    fn give_back(&mut self, unused: i64) -> bool {
        let unused = unused.min(self.drawn.saturating_sub(self.settled)).max(0);
        self.drawn -= unused;
        unused > 0
    }

    const fn granted(&self, settled_by_all: i64) -> Granted {
        Granted {
            drawn: self.drawn,
            own: self.settled,
            elsewhere: settled_by_all.saturating_sub(self.settled),
        }
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Figures {
    nanos: Share,
    tokens: Share,
}

const WRITE: &str = "INSERT INTO allowances \
     (integration_id, period, node_id, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens) \
     VALUES ($1, $2, $3, $4, 0, $5, 0) ON CONFLICT (integration_id, period, node_id) \
     DO UPDATE SET drawn_nanos = excluded.drawn_nanos, drawn_tokens = excluded.drawn_tokens";

impl Figures {
    /// Reads the allowances of a month whose balance is locked.
    async fn read(
        work: &mut Work,
        integration: IntegrationId,
        period: Period,
        node: NodeId,
    ) -> Result<Self, StoreError> {
        let select = "SELECT node_id, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens \
                      FROM allowances WHERE integration_id = $1 AND period = $2";
        let statement = sql(select)
            .bind(integration.to_string())
            .bind(period.to_string());
        let rows: Vec<(String, i64, i64, i64, i64)> = work.fetch_all(statement).await?;
        let node = node.to_string();
        let mut figures = Self::default();
        for (row_node, drawn_nanos, settled_nanos, drawn_tokens, settled_tokens) in rows {
            figures.nanos.add(drawn_nanos, settled_nanos);
            figures.tokens.add(drawn_tokens, settled_tokens);
            if row_node == node {
                (figures.nanos.drawn, figures.nanos.settled) = (drawn_nanos, settled_nanos);
                (figures.tokens.drawn, figures.tokens.settled) = (drawn_tokens, settled_tokens);
            }
        }
        Ok(figures)
    }

    async fn write(
        &self,
        work: &mut Work,
        integration: IntegrationId,
        period: Period,
        node: NodeId,
    ) -> Result<(), StoreError> {
        let statement = sql(WRITE)
            .bind(integration.to_string())
            .bind(period.to_string())
            .bind(node.to_string())
            .bind(self.nanos.drawn)
            .bind(self.tokens.drawn);
        work.execute(statement).await.map(drop)
    }

    const fn grant(&self, period: Period, month: &MonthSum) -> Grant {
        Grant {
            period,
            budget: self.nanos.granted(month.nanos),
            tokens: self.tokens.granted(month.tokens),
        }
    }
}

const SETTLE: Batch = Batch {
    head: "INSERT INTO allowances (integration_id, period, node_id, settled_nanos, settled_tokens, drawn_nanos, drawn_tokens)",
    columns: &[Text, Text, Text, Integer, Integer, Integer, Integer],
    tail: "ON CONFLICT (integration_id, period, node_id) DO UPDATE SET \
           settled_nanos = allowances.settled_nanos + excluded.settled_nanos, \
           settled_tokens = allowances.settled_tokens + excluded.settled_tokens",
    locks_rows: false,
};

/// Moves what a batch has settled from the node's allowance to what it has settled.
pub(crate) async fn settle(work: &mut Work, books: &Books, node: NodeId) -> Result<(), StoreError> {
    let node = node.to_string();
    let rows = books
        .settled
        .iter()
        .map(|((integration, period), settled)| {
            vec![
                integration.to_string().into(),
                period.to_string().into(),
                node.as_str().into(),
                settled.nanos.into(),
                settled.tokens.into(),
                0.into(),
                0.into(),
            ]
        });
    work.execute_batch(SETTLE, rows.collect()).await.map(drop)
}
