//! Which calls the ledger has already: asked at a start, of all that an earlier run left in its journal.

use std::collections::HashSet;

use tollgate_core::{CallId, TenantId};

use crate::OperatorStore;
use crate::engine::Kind::Text;
use crate::engine::{Batch, Purpose};
use crate::error::StoreError;

const KNOWN: Batch = Batch {
    head: "SELECT tenant_id, call_id FROM call_keys WHERE (tenant_id, call_id) IN (",
    columns: &[Text, Text],
    tail: ")",
    locks_rows: false,
};

impl OperatorStore {
    /// Which of these calls the ledger has, in their order. Ask for some thousands at a time.
    pub async fn known_calls(&self, calls: &[(TenantId, CallId)]) -> Result<Vec<bool>, StoreError> {
        let keys = calls
            .iter()
            .map(|(tenant, call)| vec![tenant.shared().into(), call.shared().into()])
            .collect();
        let found: Vec<(String, String)> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_batch(KNOWN, keys))
            })
            .await?;
        if found.is_empty() {
            return Ok(vec![false; calls.len()]);
        }
        let found: HashSet<_> = found.into_iter().collect();
        let known = calls
            .iter()
            .map(|(tenant, call)| found.contains(&(tenant.to_string(), call.to_string())));
        Ok(known.collect())
    }
}
