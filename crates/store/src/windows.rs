//! The calls of a last minute where one node counts them itself: kept with their rows, so that its next run goes on counting.
//!
//! They go by the machine's clock, which a program that starts anew finds running; the wall clock has no part in it.
//! Where nodes share a store their permits are counted there instead, in the same table.

use std::collections::BTreeMap;

use tollgate_core::limit::kept::KeptMinute;
use tollgate_core::{IntegrationId, Moment, TenantId};

use crate::OperatorStore;
use crate::engine::Kind::Text;
use crate::engine::{Batch, Purpose, Work, sql};
use crate::error::StoreError;
use crate::permits::{packed, slots_of};
use crate::value::to_json;

/// Calls to be counted: whose they are, and when each was admitted, on the machine's clock.
pub(crate) type Marks = BTreeMap<IntegrationId, (TenantId, Vec<i64>)>;

impl OperatorStore {
    /// Counts a call that has no row, so that the next run of this node knows of it.
    pub async fn count_call(
        &self,
        integration: IntegrationId,
        tenant: &TenantId,
        now: Moment,
    ) -> Result<(), StoreError> {
        let marks: Marks = [(integration, (tenant.clone(), vec![now.steady_micros]))].into();
        self.store
            .book(Vec::new(), move |work| {
                let marks = marks.clone();
                Box::pin(async move { count(work, &marks, now.steady_micros).await })
            })
            .await
    }

    /// The calls of the last minute that this node, or its last run, has counted in the store.
    pub async fn kept_minute(
        &self,
        integration: IntegrationId,
        now: Moment,
    ) -> Result<KeptMinute, StoreError> {
        let id = integration.to_string();
        let select = "SELECT slots FROM rate_windows WHERE integration_id = $1";
        let statement = sql(select).bind(id.as_str());
        let found: Option<(String,)> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        let slots = found.map_or(Ok(Vec::new()), |(slots,)| slots_of(&slots, &id))?;
        Ok(KeptMinute::of(slots, now.steady_micros))
    }
}

const READ: Batch = Batch {
    head: "SELECT integration_id, slots FROM rate_windows WHERE integration_id IN (",
    columns: &[Text],
    tail: ")",
    locks_rows: false,
};

const KEEP: Batch = Batch {
    head: "INSERT INTO rate_windows (integration_id, tenant_id, slots)",
    columns: &[Text, Text, Text],
    tail: "ON CONFLICT (integration_id) DO UPDATE SET slots = excluded.slots",
    locks_rows: false,
};

/// Counts calls in the transaction that books them. For a node that is alone on its store: nobody else writes there.
pub(crate) async fn count(
    work: &mut Work,
    marks: &Marks,
    steady_micros: i64,
) -> Result<(), StoreError> {
    if marks.is_empty() {
        return Ok(());
    }
    let keys = marks.keys().map(|id| vec![id.to_string().into()]).collect();
    let found: Vec<(String, String)> = work.fetch_batch(READ, keys).await?;
    let found: BTreeMap<String, String> = found.into_iter().collect();
    let mut rows = Vec::with_capacity(marks.len());
    for (integration, (tenant, admitted)) in marks {
        let id = integration.to_string();
        let slots = found.get(&id).map(|slots| slots_of(slots, &id));
        let mut kept = KeptMinute::of(slots.transpose()?.unwrap_or_default(), steady_micros);
        for mark in admitted {
            kept.count(*mark);
        }
        let slots = to_json(&packed(kept.slots()))?;
        rows.push(vec![id.into(), tenant.as_str().into(), slots.into()]);
    }
    work.execute_batch(KEEP, rows.into()).await.map(drop)
}
