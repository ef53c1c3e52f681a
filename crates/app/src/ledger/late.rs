//! Rows whose ids follow from what they tell: they may be in the ledger already, and limits hear of them only if they are not.

use std::sync::Arc;

use tollgate_core::hold::Actual;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, TenantId};

use crate::directory::Integration;

/// A row that is to be booked, and that its limits are to hear of, if the ledger does not have it.
pub(super) struct Late {
    pub(super) entry: UsageEntry,
    pub(super) integration: Arc<Integration>,
}

impl Late {
    /// What the ledger knows it by.
    pub(super) fn key(&self) -> (TenantId, CallId) {
        (self.entry.tenant_id.clone(), self.entry.call_id.clone())
    }

    /// Tells its limits of it, once it is in the ledger: what of a month they have not heard yet will
    /// come with the month's figures.
    pub(super) fn charge(&self) {
        let actual = Actual {
            cost: self.entry.cost,
            tokens: i64::try_from(self.entry.tokens.total()).unwrap_or(i64::MAX),
        };
        let mut gate = self.integration.gate.lock();
        gate.report(self.entry.period(), &actual);
    }
}
