//! Calls that an earlier run of this node left in the journal, on their way to the ledger: where they are, whose ids are
//! taken, and how they are counted.
//!
//! There may be very many. In memory are a number and a hash for each; their rows stay on the disk until they are booked.

use std::collections::{HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, TenantId};

use crate::journal::Receipt;

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Earlier {
    rows: VecDeque<Receipt>,
    pub(super) ids: EarlierIds,
    counted: Counted,
}

/// Which calls are counted in a minute with their rows, and as admitted when: nobody knows it any more.
#[derive(Debug, Default)]
pub(crate) struct Counted {
    /// On the machine's clock.
    pub(crate) mark: i64,
    /// Those of these integrations.
    pub(crate) integrations: HashSet<IntegrationId>,
}

/// The ids of calls, as hashes: a new call that is taken for one of them is refused, which costs nothing.
#[derive(Debug, Default)]
pub(crate) struct EarlierIds {
    hashes: Vec<u64>,
}

// === impl Earlier ===

impl Earlier {
    pub(crate) fn new(rows: Vec<Receipt>, ids: EarlierIds, counted: Counted) -> Self {
        Self {
            rows: rows.into(),
            ids,
            counted,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// The next so many.
    pub(super) fn take(&mut self, rows: usize) -> Vec<Receipt> {
        self.rows.drain(..rows.min(self.rows.len())).collect()
    }

    /// When one of them counts as admitted, if it is to be counted with its row.
    pub(super) fn mark_of(&self, entry: &UsageEntry) -> Option<i64> {
        let is_counted = self.counted.integrations.contains(&entry.integration_id);
        (is_counted && !entry.is_refusal()).then_some(self.counted.mark)
    }
}

// === impl EarlierIds ===

impl EarlierIds {
    pub(crate) fn with_room_for(calls: usize) -> Self {
        Self {
            hashes: Vec::with_capacity(calls),
        }
    }

    pub(crate) fn add(&mut self, tenant: &TenantId, call: &CallId) {
        self.hashes.push(hash_of(tenant, call));
    }

    /// After the last was added, before any is asked for.
    pub(crate) fn sort(&mut self) {
        self.hashes.sort_unstable();
    }

    pub(super) fn has(&self, tenant: &TenantId, call: &CallId) -> bool {
        !self.hashes.is_empty() && self.hashes.binary_search(&hash_of(tenant, call)).is_ok()
    }
}

fn hash_of(tenant: &TenantId, call: &CallId) -> u64 {
    let mut hasher = DefaultHasher::new();
    (tenant.as_str(), call.as_str()).hash(&mut hasher);
    hasher.finish()
}
