//! Direct holds: each is taken by one node, in its allowance, and ended once by any node.
//!
//! Whoever ends a hold has the balance of its month locked, so an end and a draw never cross. What was not used of it goes
//! back from the allowance of the node that took it; that node heeds the end afterwards, and until then holds too much.

mod ending;
mod heeding;
mod row;
mod settling;

use jiff::Timestamp;
use tollgate_core::hold::direct::{DirectHold, HoldState};
use tollgate_core::{HoldId, NodeId};

use self::row::Row;
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::{micros, storable};
use crate::{OperatorStore, TenantStore};

pub use self::heeding::{Ended, EndedHold, LivingHolds};
pub(crate) use self::settling::NamedHolds;

/// Seconds after which other nodes end a hold whose own node did not: clocks differ.
const GRACE_SECONDS: i64 = 60;

/// The most holds that expire in one transaction.
const EXPIRED_MAX: i64 = 500;

const INSERT: &str = "INSERT INTO holds (id, tenant_id, integration_id, period, cost_nanos, tokens, node_id, model, \
     call_id, policy_result, created_at, expires_at, state) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 'held')";

impl TenantStore {
    /// Keeps a hold that this node has taken.
    pub async fn create_hold(&self, hold: &DirectHold) -> Result<(), StoreError> {
        if hold.tenant_id != self.tenant {
            return Err(StoreError::InvalidRow {
                reason: "a hold belongs to another tenant",
            });
        }
        let insert = sql(INSERT)
            .bind(hold.id.to_string())
            .bind(hold.tenant_id.as_str())
            .bind(hold.integration_id.to_string())
            .bind(hold.period.to_string())
            .bind(hold.cost.get())
            .bind(hold.tokens)
            .bind(hold.node.to_string())
            .bind(hold.model.as_deref().map(storable))
            .bind(hold.call_id.as_ref().map(ToString::to_string))
            .bind(hold.policy_result.as_str())
            .bind(micros(hold.created_at))
            .bind(micros(hold.expires_at));
        self.perform(Purpose::Book, move |work| {
            Box::pin(async move { work.execute(insert).await.map(drop) })
        })
        .await
    }

    /// One of the tenant's holds, and where it is in its life.
    pub async fn get_hold(&self, id: HoldId) -> Result<(DirectHold, HoldState), StoreError> {
        let tenant = self.tenant.clone();
        let found = self
            .perform(Purpose::Read, move |work| Box::pin(row::find(work, id)))
            .await?;
        let row = found.filter(|row| row.tenant_id == tenant.as_str());
        row.ok_or(StoreError::NotFound)?.read()
    }

    /// Gives a hold back: the state that it had before. Only one that was held changes.
    pub async fn release_hold(
        &self,
        id: HoldId,
        now: Timestamp,
    ) -> Result<(DirectHold, HoldState), StoreError> {
        let tenant = self.tenant.clone();
        self.store
            .book(Vec::new(), move |work| {
                let tenant = tenant.clone();
                Box::pin(async move {
                    let found = row::find(work, id).await?;
                    let found = found.filter(|row| row.tenant_id == tenant.as_str());
                    let (hold, _) = found.ok_or(StoreError::NotFound)?.read()?;
                    ending::lock(work, [&hold]).await?;
                    // What stood there before the lock may have ended meanwhile.
                    let (hold, state) = row::find(work, id)
                        .await?
                        .ok_or(StoreError::NotFound)?
                        .read()?;
                    if state == HoldState::Held {
                        ending::end(work, &hold, HoldState::Released, now).await?;
                    }
                    Ok((hold, state))
                })
            })
            .await
    }
}

impl OperatorStore {
    /// Ends holds whose time has come: this node's own at once, others' a minute later. Tells how many.
    pub async fn expire_holds(&self, now: Timestamp) -> Result<usize, StoreError> {
        let node = self.store.node;
        self.store
            .book(Vec::new(), move |work| Box::pin(expire(work, node, now)))
            .await
    }
}

async fn expire(work: &mut Work, node: NodeId, now: Timestamp) -> Result<usize, StoreError> {
    let due = || {
        let select = "WHERE state = 'held' AND expires_at <= $1 AND (node_id = $2 OR expires_at <= $3) \
                      ORDER BY integration_id, period, id LIMIT $4";
        let late = micros(now).saturating_sub(GRACE_SECONDS * 1_000_000);
        sql(row::SELECT)
            .push(select)
            .bind(micros(now))
            .bind(node.to_string())
            .bind(late)
            .bind(EXPIRED_MAX)
    };
    let rows: Vec<Row> = work.fetch_all(due()).await?;
    if rows.is_empty() {
        return Ok(0);
    }
    let found: Vec<_> = rows.into_iter().map(Row::read).collect::<Result<_, _>>()?;
    ending::lock(work, found.iter().map(|(hold, _)| hold)).await?;
    let mut ended = 0;
    for (hold, _) in &found {
        // One that ended before the lock is as it is.
        if ending::end(work, hold, HoldState::Expired, now).await? {
            ended += 1;
        }
    }
    Ok(ended)
}

/// The holds of a node that is retired expire with it.
pub(crate) async fn retire(
    work: &mut Work,
    node: NodeId,
    now: Timestamp,
) -> Result<(), StoreError> {
    let update =
        "UPDATE holds SET state = 'expired', ended_at = $2 WHERE node_id = $1 AND state = 'held'";
    let update = sql(update).bind(node.to_string()).bind(micros(now));
    work.execute(update).await.map(drop)
}
