//! Nodes: running copies of the program. What a node has drawn stays counted until the node returns or is retired.

use jiff::Timestamp;
use tollgate_core::NodeId;

use crate::OperatorStore;
use crate::engine::{Purpose, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::value::{Place, micros};

/// A node as it is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
}

impl OperatorStore {
    /// Tells that this node is alive; a conflict once it is retired.
    pub async fn heartbeat(&self, now: Timestamp) -> Result<(), StoreError> {
        let node = self.store.node;
        self.perform(Purpose::Book, move |work| {
            Box::pin(async move {
                let upsert = "INSERT INTO nodes (id, started_at, seen_at) VALUES ($1, $2, $2) \
                                  ON CONFLICT (id) DO UPDATE SET seen_at = excluded.seen_at \
                                  WHERE nodes.retired_at IS NULL";
                let upsert = sql(upsert).bind(node.to_string()).bind(micros(now));
                match work.execute(upsert).await? {
                    0 => Err(Conflict::NodeRetired.into()),
                    _ => Ok(()),
                }
            })
        })
        .await
    }

    /// Every node that was ever seen, the latest first.
    pub async fn list_nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let select =
            "SELECT id, started_at, seen_at, retired_at FROM nodes ORDER BY seen_at DESC, id";
        let rows: Vec<(String, i64, i64, Option<i64>)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(sql(select))))
            .await?;
        rows.into_iter()
            .map(|(id, started_at, seen_at, retired_at)| {
                let place = Place {
                    table: "nodes",
                    row: &id,
                };
                Ok(NodeRow {
                    id: place.text("id", &id)?,
                    started_at: place.time("started_at", started_at)?,
                    seen_at: place.time("seen_at", seen_at)?,
                    retired_at: place.maybe_time("retired_at", retired_at)?,
                })
            })
            .collect()
    }

    /// Retires a node that will not return: what it had drawn and not settled is free for others.
    pub async fn retire_node(&self, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
        self.store
            .book(Vec::new(), move |work| Box::pin(retire(work, node, now)))
            .await
    }
}

async fn retire(work: &mut Work, node: NodeId, now: Timestamp) -> Result<(), StoreError> {
    let update = "UPDATE nodes SET retired_at = COALESCE(retired_at, $2) WHERE id = $1";
    if work
        .execute(sql(update).bind(node.to_string()).bind(micros(now)))
        .await?
        == 0
    {
        return Err(StoreError::NotFound);
    }
    // The balances first, sorted, as everywhere: whoever has the balance has its allowances.
    let lock = "SELECT integration_id FROM balances WHERE (integration_id, period) IN \
                (SELECT integration_id, period FROM allowances WHERE node_id = $1) ORDER BY integration_id, period";
    let _locked: Vec<(String,)> = work
        .fetch_all(sql(lock).bind(node.to_string()).locking())
        .await?;
    let free = "UPDATE allowances SET drawn_nanos = settled_nanos, drawn_tokens = settled_tokens WHERE node_id = $1";
    work.execute(sql(free).bind(node.to_string()))
        .await
        .map(drop)
}
