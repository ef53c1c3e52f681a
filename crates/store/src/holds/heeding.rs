//! What a node must know of its holds: those that live when it starts, those that have ended since.

use tollgate_core::account::Grant;
use tollgate_core::hold::direct::{DirectHold, HoldEnd};
use tollgate_core::limit::Limits;
use tollgate_core::{HoldId, IntegrationId, NodeId, Period};

use super::row::{self, Row};
use crate::OperatorStore;
use crate::allowances;
use crate::engine::Kind::Text;
use crate::engine::{Batch, Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::Place;

/// A hold of this node that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedHold {
    /// Which.
    pub id: HoldId,
    /// How.
    pub end: HoldEnd,
}

/// The ends of an integration's holds, with this node's figures of the same moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ended {
    /// The holds.
    pub holds: Vec<EndedHold>,
    /// The figures of each month that they are in.
    pub figures: Vec<Grant>,
}

/// The living holds of this node on one integration, by month, with the node's figures of the same moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LivingHolds {
    /// The integration.
    pub integration: IntegrationId,
    /// The figures of the month.
    pub figures: Grant,
    /// The holds of the month.
    pub holds: Vec<DirectHold>,
}

impl OperatorStore {
    /// This node's living holds: what it takes again when it starts. Earlier months come first.
    pub async fn living_holds(&self) -> Result<Vec<LivingHolds>, StoreError> {
        let node = self.store.node;
        self.perform(Purpose::Snapshot, move |work| Box::pin(living(work, node)))
            .await
    }

    /// The integrations on which holds of this node have ended that it has not heeded yet.
    pub async fn unheeded_holds(&self) -> Result<Vec<IntegrationId>, StoreError> {
        let select = "SELECT DISTINCT integration_id FROM holds \
                      WHERE node_id = $1 AND heeded = 0 AND state <> 'held'";
        let statement = sql(select).bind(self.store.node.to_string());
        let rows: Vec<(String,)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        rows.into_iter()
            .map(|(id,)| {
                let place = Place {
                    table: "holds",
                    row: &id,
                };
                place.text("integration_id", &id)
            })
            .collect()
    }

    /// The ends of this node's holds on an integration, to be taken in together with the figures.
    pub async fn ended_holds(&self, integration: IntegrationId) -> Result<Ended, StoreError> {
        let node = self.store.node;
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(ended(work, integration, node))
        })
        .await
    }

    /// Notes that this node has taken in the ends of these holds.
    pub async fn heed_holds(&self, ids: &[HoldId]) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        let rows = ids.iter().map(|id| vec![id.to_string().into()]).collect();
        self.perform(Purpose::Book, move |work| {
            Box::pin(async move { work.execute_batch(HEED, rows).await.map(drop) })
        })
        .await
    }
}

const HEED: Batch = Batch {
    head: "UPDATE holds SET heeded = 1 WHERE id IN (",
    columns: &[Text],
    tail: ")",
    locks_rows: false,
};

async fn living(work: &mut Work, node: NodeId) -> Result<Vec<LivingHolds>, StoreError> {
    let select = sql(row::SELECT)
        .push("WHERE node_id = $1 AND heeded = 0 AND state = 'held' ORDER BY integration_id, period, id")
        .bind(node.to_string());
    let rows: Vec<Row> = work.fetch_all(select).await?;
    let mut living: Vec<LivingHolds> = Vec::new();
    for row in rows {
        let (hold, _) = row.read()?;
        let (integration, period) = (hold.integration_id, hold.period);
        match living.last_mut() {
            Some(last) if last.integration == integration && last.figures.period == period => {
                last.holds.push(hold);
            }
            _ => living.push(LivingHolds {
                integration,
                figures: figures(work, integration, period, node).await?,
                holds: vec![hold],
            }),
        }
    }
    Ok(living)
}

async fn ended(
    work: &mut Work,
    integration: IntegrationId,
    node: NodeId,
) -> Result<Ended, StoreError> {
    let select = sql(row::SELECT)
        .push("WHERE integration_id = $1 AND node_id = $2 AND heeded = 0 AND state <> 'held' ORDER BY period, id")
        .bind(integration.to_string())
        .bind(node.to_string());
    let rows: Vec<Row> = work.fetch_all(select).await?;
    let mut ended = Ended::default();
    for row in rows {
        let (hold, end) = row.read_end()?;
        let known = ended.figures.last().map(|grant| grant.period);
        if known != Some(hold.period) {
            let figures = figures(work, integration, hold.period, node).await?;
            ended.figures.push(figures);
        }
        ended
            .holds
            .extend(end.map(|end| EndedHold { id: hold.id, end }));
    }
    Ok(ended)
}

async fn figures(
    work: &mut Work,
    integration: IntegrationId,
    period: Period,
    node: NodeId,
) -> Result<Grant, StoreError> {
    let prospect = allowances::prospect(work, (integration, period), Limits::default(), node);
    prospect.await.map(|prospect| prospect.grant)
}
