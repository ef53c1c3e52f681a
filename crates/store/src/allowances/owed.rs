//! What a node has used and the ledger does not have yet: at a start it stays in the node's allowance, so that nobody draws it again.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::account::{Grant, Granted};
use tollgate_core::{IntegrationId, NodeId, Period, TenantId};

use super::{Freed, free};
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Work, sql};
use crate::error::StoreError;
use crate::ledger::MonthKey;
use crate::value::Place;
use crate::{OperatorStore, balances};

/// What calls have used of a month that are on their way to the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Of which integration.
    pub integration: IntegrationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// Of which month.
    pub period: Period,
    /// Nano-dollars.
    pub nanos: i64,
    /// Tokens.
    pub tokens: i64,
}

impl OperatorStore {
    /// Gives back everything that this node has drawn and not settled: for a start, when nothing is held yet, and for
    /// the end. On SQLite, where there is one node, also what earlier nodes left behind.
    ///
    /// What is owed stays drawn, in the same transaction, and is drawn where it was not: it is used already. Gives the
    /// figures of its months.
    pub async fn give_back_all(
        &self,
        owed: &[Owed],
    ) -> Result<Vec<(IntegrationId, Grant)>, StoreError> {
        let (node, owed) = (self.store.node, owed.to_vec());
        self.store
            .book(Vec::new(), move |work| {
                let owed = owed.clone();
                Box::pin(async move { give_back_all(work, node, &owed).await })
            })
            .await
    }
}

async fn give_back_all(
    work: &mut Work,
    node: NodeId,
    owed: &[Owed],
) -> Result<Vec<(IntegrationId, Grant)>, StoreError> {
    let whose = if work.is_postgres() {
        Freed::Of(node)
    } else {
        Freed::OfAll
    };
    if !owed.is_empty() {
        lock(work, &whose, owed).await?;
    }
    free(work, whose).await?;
    if owed.is_empty() {
        return Ok(Vec::new());
    }
    keep(work, node, owed).await?;
    figures(work, node, owed).await
}

/// Locks the months that are freed together with those that are owed: one look, in one order, so that nobody waits in a ring.
async fn lock(work: &mut Work, whose: &Freed, owed: &[Owed]) -> Result<(), StoreError> {
    let drawn = "SELECT DISTINCT b.integration_id, b.period, b.tenant_id FROM balances b JOIN allowances a \
                 ON a.integration_id = b.integration_id AND a.period = b.period \
                 WHERE a.node_id = COALESCE($1, a.node_id) \
                 AND (a.drawn_nanos > a.settled_nanos OR a.drawn_tokens > a.settled_tokens)";
    let drawn = sql(drawn).bind(whose.node());
    let drawn: Vec<(String, String, String)> = work.fetch_all(drawn).await?;
    let mut months: BTreeMap<MonthKey, TenantId> = owed
        .iter()
        .map(|one| ((one.integration, one.period), one.tenant.clone()))
        .collect();
    for (integration, period, tenant) in drawn {
        let place = Place {
            table: "balances",
            row: &integration,
        };
        let key = (
            place.text("integration_id", &integration)?,
            place.text("period", &period)?,
        );
        months.insert(key, place.text("tenant_id", &tenant)?);
    }
    balances::lock(work, months).await.map(drop)
}

const KEEP: Batch = Batch {
    head: "INSERT INTO allowances (integration_id, period, node_id, settled_nanos, settled_tokens, drawn_nanos, drawn_tokens)",
    columns: &[Text, Text, Text, Integer, Integer, Integer, Integer],
    tail: "ON CONFLICT (integration_id, period, node_id) DO UPDATE SET \
           drawn_nanos = excluded.drawn_nanos + CASE WHEN allowances.drawn_nanos > allowances.settled_nanos \
           THEN allowances.drawn_nanos ELSE allowances.settled_nanos END, \
           drawn_tokens = excluded.drawn_tokens + CASE WHEN allowances.drawn_tokens > allowances.settled_tokens \
           THEN allowances.drawn_tokens ELSE allowances.settled_tokens END",
    locks_rows: false,
};

/// Counts what is owed as drawn, on top of what is settled and of what direct holds hold.
async fn keep(work: &mut Work, node: NodeId, owed: &[Owed]) -> Result<(), StoreError> {
    let node = node.to_string();
    let rows = owed.iter().map(|one| {
        vec![
            one.integration.to_string().into(),
            one.period.to_string().into(),
            node.as_str().into(),
            0.into(),
            0.into(),
            one.nanos.into(),
            one.tokens.into(),
        ]
    });
    work.execute_batch(KEEP, rows.collect()).await.map(drop)
}

type FigureRow = (String, String, i64, i64, i64, i64, i64, i64);

/// What the node has of the months that it owes something of.
async fn figures(
    work: &mut Work,
    node: NodeId,
    owed: &[Owed],
) -> Result<Vec<(IntegrationId, Grant)>, StoreError> {
    let select = "SELECT a.integration_id, a.period, a.drawn_nanos, a.settled_nanos, b.settled_nanos, \
                  a.drawn_tokens, a.settled_tokens, b.settled_tokens FROM allowances a JOIN balances b \
                  ON b.integration_id = a.integration_id AND b.period = a.period WHERE a.node_id = $1 \
                  AND (a.drawn_nanos > a.settled_nanos OR a.drawn_tokens > a.settled_tokens) \
                  ORDER BY a.integration_id, a.period";
    let statement = sql(select).bind(node.to_string());
    let rows: Vec<FigureRow> = work.fetch_all(statement).await?;
    let asked: BTreeSet<MonthKey> = owed
        .iter()
        .map(|one| (one.integration, one.period))
        .collect();
    let mut figures = Vec::with_capacity(owed.len());
    for (integration, period, drawn, own, all, drawn_tokens, own_tokens, all_tokens) in rows {
        let place = Place {
            table: "allowances",
            row: &integration,
        };
        let key = (
            place.text("integration_id", &integration)?,
            place.text("period", &period)?,
        );
        if !asked.contains(&key) {
            continue;
        }
        let granted = |drawn: i64, own: i64, all: i64| Granted {
            drawn,
            own,
            elsewhere: all.saturating_sub(own),
        };
        let grant = Grant {
            period: key.1,
            budget: granted(drawn, own, all),
            tokens: granted(drawn_tokens, own_tokens, all_tokens),
        };
        figures.push((key.0, grant));
    }
    Ok(figures)
}
