//! Nodes: running copies of the program. What a node has drawn stays counted until the node returns or is retired.

use jiff::Timestamp;
use tollgate_core::NodeId;
use tollgate_core::audit::AuditEntry;

use crate::allowances::{self, Freed};
use crate::engine::{Purpose, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::holds;
use crate::value::{Place, micros};
use crate::{OperatorStore, audit};

/// A node as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeRow {
    /// Its id.
    pub id: NodeId,
    /// When it was first seen.
    pub started_at: Timestamp,
    /// When it was last seen.
    pub seen_at: Timestamp,
    /// When it was retired.
    pub retired_at: Option<Timestamp>,
    /// What it told of its master keys, as JSON text; none once it has stopped in order.
    pub master_keys: Option<String>,
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

    /// The moment by the store's own clock, which all nodes that share it go by.
    pub async fn clock(&self) -> Result<Timestamp, StoreError> {
        let (shown,): (i64,) = self
            .perform(Purpose::Read, |work| {
                let read = sql("SELECT ").push(work.clock_micros());
                Box::pin(work.fetch_one(read))
            })
            .await?;
        let place = Place {
            table: "nodes",
            row: "the clock",
        };
        place.time("clock", shown)
    }

    /// Every node that was ever seen, the latest first.
    pub async fn list_nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        let select = "SELECT id, started_at, seen_at, retired_at, master_keys FROM nodes \
                      ORDER BY seen_at DESC, id";
        let rows: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(sql(select))))
            .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Tells which master keys this node has; nothing, once it is retired.
    pub async fn tell_master_keys(
        &self,
        keys: Option<String>,
        audited: Option<AuditEntry>,
    ) -> Result<(), StoreError> {
        let node = self.store.node;
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let update =
                    "UPDATE nodes SET master_keys = $2 WHERE id = $1 AND retired_at IS NULL";
                let update = sql(update).bind(node.to_string()).bind(keys);
                work.execute(update).await?;
                match &audited {
                    Some(entry) => audit::record(work, entry).await,
                    None => Ok(()),
                }
            })
        })
        .await
    }

    /// How many nodes gave a sign of life within so many seconds of the latest that any of them gave.
    pub async fn living_nodes(&self, seconds: i64) -> Result<u32, StoreError> {
        let select = "SELECT COUNT(*) FROM nodes WHERE retired_at IS NULL \
                      AND seen_at >= (SELECT MAX(seen_at) FROM nodes) - $1";
        let statement = sql(select).bind(seconds.saturating_mul(1_000_000));
        let (count,): (i64,) = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_one(statement)))
            .await?;
        Ok(u32::try_from(count).unwrap_or(u32::MAX))
    }

    /// Frees what nodes have drawn that gave no sign of life since `before`: they are gone, and hand nothing out any
    /// more. Tells how many they were.
    pub async fn free_lost_nodes(&self, before: Timestamp) -> Result<usize, StoreError> {
        let (me, before) = (self.store.node, micros(before));
        self.store
            .book(Vec::new(), move |work| {
                Box::pin(async move {
                    let select = "SELECT DISTINCT nodes.id FROM nodes JOIN allowances ON node_id = id \
                                  WHERE seen_at < $1 AND id <> $2 AND retired_at IS NULL \
                                  AND (drawn_nanos > settled_nanos OR drawn_tokens > settled_tokens)";
                    let lost = sql(select).bind(before).bind(me.to_string());
                    let lost: Vec<(String,)> = work.fetch_all(lost).await?;
                    for (id,) in &lost {
                        let place = Place {
                            table: "nodes",
                            row: id,
                        };
                        allowances::free(work, Freed::Of(place.text("id", id)?)).await?;
                    }
                    Ok(lost.len())
                })
            })
            .await
    }

    /// Retires a node that will not return: what it had drawn and not settled is free for others.
    ///
    /// `quiet_since` guards a node that lives: a conflict if it was seen later than that.
    pub async fn retire_node(
        &self,
        node: NodeId,
        quiet_since: Option<Timestamp>,
        entry: AuditEntry,
    ) -> Result<NodeRow, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { retire(work, node, quiet_since, &entry).await })
        })
        .await
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    started_at: i64,
    seen_at: i64,
    retired_at: Option<i64>,
    master_keys: Option<String>,
}

impl Row {
    fn read(self) -> Result<NodeRow, StoreError> {
        let place = Place {
            table: "nodes",
            row: &self.id,
        };
        Ok(NodeRow {
            id: place.text("id", &self.id)?,
            started_at: place.time("started_at", self.started_at)?,
            seen_at: place.time("seen_at", self.seen_at)?,
            retired_at: place.maybe_time("retired_at", self.retired_at)?,
            master_keys: self.master_keys,
        })
    }
}

async fn retire(
    work: &mut Work,
    node: NodeId,
    quiet_since: Option<Timestamp>,
    entry: &AuditEntry,
) -> Result<NodeRow, StoreError> {
    let one = "SELECT id, started_at, seen_at, retired_at, master_keys FROM nodes WHERE id = $1";
    let one = sql(one).bind(node.to_string()).locking();
    let found: Row = work.fetch_one(one).await?;
    let mut found = found.read()?;
    if found.retired_at.is_some() {
        return Ok(found);
    }
    if quiet_since.is_some_and(|since| found.seen_at > since) {
        return Err(Conflict::NodeAlive.into());
    }
    found.retired_at = Some(entry.at);
    found.master_keys = None;
    let update = "UPDATE nodes SET retired_at = $2, master_keys = NULL WHERE id = $1";
    let update = sql(update).bind(node.to_string()).bind(micros(entry.at));
    work.execute(update).await?;
    audit::record(work, entry).await?;
    holds::retire(work, node, entry.at).await?;
    allowances::free(work, Freed::Of(node)).await?;
    Ok(found)
}
