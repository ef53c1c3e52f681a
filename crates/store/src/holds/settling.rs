//! Reports that name a hold: the first one in time settles it, in the transaction that books it.

use std::collections::HashMap;

use jiff::Timestamp;
use tollgate_core::hold::direct::{DirectHold, HoldOutcome, HoldState};
use tollgate_core::usage::UsageEntry;
use tollgate_core::{HoldId, NodeId, TenantId};

use super::row::{self, Row};
use crate::allowances;
use crate::engine::{Work, sql};
use crate::error::StoreError;
use crate::ledger::MonthKey;
use crate::value::micros;

/// The holds that a batch names, and what it does to them.
#[derive(Default)]
pub(crate) struct NamedHolds {
    found: HashMap<HoldId, (DirectHold, HoldState)>,
    settled: Vec<Settled>,
}

/// A hold that the batch settles.
struct Settled {
    hold: DirectHold,
    call_id: String,
    /// What was used in the hold's month through the hold's node: nothing where the call is of another month.
    nanos: i64,
    tokens: i64,
}

impl NamedHolds {
    /// Reads the holds. To be read again when their months are locked.
    pub(crate) async fn read(work: &mut Work, ids: &[HoldId]) -> Result<Self, StoreError> {
        let ids = ids.iter().map(|id| vec![id.to_string().into()]).collect();
        let rows: Vec<Row> = work.fetch_batch(row::FIND, ids).await?;
        let mut found = HashMap::with_capacity(rows.len());
        for row in rows {
            let (hold, state) = row.read()?;
            found.insert(hold.id, (hold, state));
        }
        Ok(Self {
            found,
            settled: Vec::new(),
        })
    }

    /// The months to lock.
    pub(crate) fn months(&self) -> impl Iterator<Item = (MonthKey, TenantId)> {
        self.found.values().map(|(hold, _)| {
            let month = (hold.integration_id, hold.period);
            (month, hold.tenant_id.clone())
        })
    }

    /// The node in whose allowance the call was held, if the hold is settled by it.
    pub(crate) fn node_of(&self, id: Option<HoldId>, entry: &UsageEntry) -> Option<NodeId> {
        let (hold, state) = self.found.get(&id?)?;
        let settles = *state == HoldState::Held && is_for(hold, entry);
        (settles && hold.period == entry.period()).then_some(hold.node)
    }

    /// Settles the hold by a booked entry, if it can be.
    pub(crate) fn settle(&mut self, id: Option<HoldId>, entry: &UsageEntry) -> Option<HoldOutcome> {
        let found = self.found.get_mut(&id?);
        let Some((hold, state)) = found.filter(|(hold, _)| is_for(hold, entry)) else {
            return Some(HoldOutcome::Unknown);
        };
        if *state != HoldState::Held {
            return Some(HoldOutcome::late(*state));
        }
        *state = HoldState::Settled;
        let is_same_month = hold.period == entry.period();
        let used = |amount: i64| if is_same_month { amount } else { 0 };
        self.settled.push(Settled {
            call_id: entry.call_id.to_string(),
            nanos: used(entry.cost.get()),
            tokens: used(i64::try_from(entry.tokens.total()).unwrap_or(i64::MAX)),
            hold: hold.clone(),
        });
        Some(HoldOutcome::Settled)
    }

    /// Writes what was settled; the allowances have what was used already, and give back the rest.
    pub(crate) async fn write(self, work: &mut Work, now: Timestamp) -> Result<(), StoreError> {
        for settled in self.settled {
            let update = sql(SETTLE)
                .bind(settled.hold.id.to_string())
                .bind(micros(now))
                .bind(settled.nanos)
                .bind(settled.tokens)
                .bind(settled.call_id);
            if work.execute(update).await? != 1 {
                // Its month is locked, so nobody else can have ended it.
                return Err(StoreError::corrupt(
                    "holds",
                    "state",
                    &settled.hold.id.to_string(),
                ));
            }
            let unused = (
                settled.hold.cost.get().saturating_sub(settled.nanos),
                settled.hold.tokens.saturating_sub(settled.tokens),
            );
            allowances::take_from(work, &settled.hold, unused).await?;
        }
        Ok(())
    }
}

const SETTLE: &str = "UPDATE holds SET state = 'settled', ended_at = $2, settled_nanos = $3, settled_tokens = $4, \
     settled_call_id = $5 WHERE id = $1 AND state = 'held'";

/// A hold is settled by a call of its own integration alone.
fn is_for(hold: &DirectHold, entry: &UsageEntry) -> bool {
    hold.tenant_id == entry.tenant_id && hold.integration_id == entry.integration_id
}
