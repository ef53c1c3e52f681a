//! Which calls the ledger has already: asked at a start, of all that an earlier run left in its journal.

use std::collections::HashMap;

use jiff::Timestamp;
use tollgate_core::{CallId, TenantId};

use crate::OperatorStore;
use crate::engine::Kind::Text;
use crate::engine::{Batch, Purpose};
use crate::error::StoreError;
use crate::value::Place;

const KNOWN: Batch = Batch {
    head: "SELECT tenant_id, call_id, created_at FROM call_keys WHERE (tenant_id, call_id) IN (",
    columns: &[Text, Text],
    tail: ")",
    locks_rows: false,
};

impl OperatorStore {
    /// When the calls were admitted that the ledger has under these ids, in their order. Ask for some thousands at a time.
    pub async fn known_calls(
        &self,
        calls: &[(TenantId, CallId)],
    ) -> Result<Vec<Option<Timestamp>>, StoreError> {
        let keys = calls
            .iter()
            .map(|(tenant, call)| vec![tenant.shared().into(), call.shared().into()])
            .collect();
        let found: Vec<(String, String, i64)> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_batch(KNOWN, keys))
            })
            .await?;
        if found.is_empty() {
            return Ok(vec![None; calls.len()]);
        }
        let found = found.into_iter().map(|(tenant, call, at)| {
            let place = Place {
                table: "call_keys",
                row: &call,
            };
            let at = place.time("created_at", at)?;
            Ok(((tenant, call), at))
        });
        let found: HashMap<_, _> = found.collect::<Result<_, StoreError>>()?;
        let known = calls
            .iter()
            .map(|(tenant, call)| found.get(&(tenant.to_string(), call.to_string())).copied());
        Ok(known.collect())
    }
}
