//! The direct holds that this node has taken and that have not ended, as far as it knows.
//!
//! The store has them too, and decides how they end. What is here is what the gates hold.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tollgate_core::hold::HoldAmount;
use tollgate_core::{HoldId, TenantId};

use crate::directory::Integration;

/// Microseconds after which a hold that may or may not have reached the store is given up: much
/// longer than a statement may take.
const DOUBT_MICROS: i64 = 120_000_000;

/// A hold of this node.
#[derive(Debug, Clone)]
pub(crate) struct OpenHold {
    pub(crate) integration: Arc<Integration>,
    pub(crate) amount: HoldAmount,
    pub(crate) expires_at: Timestamp,
    /// When it was taken, on the steady clock.
    taken_micros: i64,
    /// Whether the store has said that it keeps it.
    is_kept: bool,
    /// Whether an earlier run took it: then its place in the minute is not known any more.
    pub(crate) is_retaken: bool,
}

/// A hold that nobody knows to be kept, and whose tenant.
pub(crate) type Doubtful = (HoldId, TenantId);

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct OpenHolds(Mutex<HashMap<HoldId, OpenHold>>);

impl OpenHolds {
    /// Takes in a hold that is on its way to the store.
    pub(crate) fn put(
        &self,
        id: HoldId,
        hold: (Arc<Integration>, HoldAmount),
        until: Timestamp,
        taken_micros: i64,
    ) {
        let (integration, amount) = hold;
        let open = OpenHold {
            integration,
            amount,
            expires_at: until,
            taken_micros,
            is_kept: false,
            is_retaken: false,
        };
        self.0.lock().insert(id, open);
    }

    /// The store keeps it.
    pub(crate) fn kept(&self, id: HoldId) {
        if let Some(open) = self.0.lock().get_mut(&id) {
            open.is_kept = true;
        }
    }

    /// The store keeps it since an earlier run.
    pub(crate) fn retaken(&self, id: HoldId) {
        if let Some(open) = self.0.lock().get_mut(&id) {
            (open.is_kept, open.is_retaken) = (true, true);
        }
    }

    /// It has ended.
    pub(crate) fn remove(&self, id: HoldId) -> Option<OpenHold> {
        self.0.lock().remove(&id)
    }

    /// Whether any has outlived its time, or may have ended elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Whether the time of any has come.
    pub(crate) fn has_due(&self, now: Timestamp) -> bool {
        self.0.lock().values().any(|open| open.expires_at <= now)
    }

    /// Those that went to the store long ago, and of which nobody heard whether they came there.
    pub(crate) fn doubtful(&self, steady_micros: i64) -> Vec<Doubtful> {
        let open = self.0.lock();
        let is_old = |one: &OpenHold| {
            !one.is_kept && steady_micros.saturating_sub(one.taken_micros) > DOUBT_MICROS
        };
        open.iter()
            .filter(|(_, one)| is_old(one))
            .map(|(id, one)| (*id, one.integration.tenant_id.clone()))
            .collect()
    }
}
