//! Permits: the calls of a minute, counted by the store's clock for all nodes that share an integration.

use tollgate_core::limit::permits::{PermitAsk, PermitGrant};
use tollgate_core::limit::rate::RateWindow;
use tollgate_core::{IntegrationId, TenantId};

use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::{Place, to_json};
use crate::{OperatorStore, TenantStore};

/// What a node asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PermitDraw {
    /// For which integration.
    pub integration: IntegrationId,
    /// Whose it is.
    pub tenant: TenantId,
    /// The most calls in any minute.
    pub rpm: i64,
    /// How many are needed and wanted, and which are returned.
    pub ask: PermitAsk,
    /// Of what is wanted the node may get one part in so many of what is left; 0 counts as 1.
    pub share: u32,
}

impl OperatorStore {
    /// Draws permits in one transaction: in any 60 seconds nodes can use no more of them than `rpm`.
    pub async fn draw_permits(&self, draw: &PermitDraw) -> Result<PermitGrant, StoreError> {
        let draw = draw.clone();
        self.store
            .book(Vec::new(), move |work| {
                let draw = draw.clone();
                Box::pin(async move { permits(work, &draw).await })
            })
            .await
    }
}

impl TenantStore {
    /// What a draw of all that is left would bring for one of the tenant's integrations; changes nothing.
    pub async fn permit_prospect(
        &self,
        integration: IntegrationId,
        rpm: i64,
    ) -> Result<PermitGrant, StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Read, move |work| {
            Box::pin(async move {
                let id = integration.to_string();
                let select = format!(
                    "SELECT COALESCE((SELECT slots FROM rate_windows WHERE integration_id = $1 \
                     AND tenant_id = $2), '[]'), {}",
                    work.clock_micros()
                );
                let read = sql("")
                    .push(&select)
                    .bind(id.as_str())
                    .bind(tenant.as_str());
                let (slots, now): (String, i64) = work.fetch_one(read).await?;
                let all = PermitAsk {
                    need: i64::MAX,
                    ..PermitAsk::default()
                };
                let mut window = window_of(&slots, &id)?;
                let in_window = window.calls(now);
                let grant = window.permit(rpm, now, &all, 1);
                Ok(PermitGrant { in_window, ..grant })
            })
        })
        .await
    }
}

/// The window that is kept in a row.
fn window_of(slots: &str, id: &str) -> Result<RateWindow, StoreError> {
    slots_of(slots, id).map(RateWindow::of_permits)
}

/// The slots that are kept in a row, oldest first.
pub(crate) fn slots_of(slots: &str, id: &str) -> Result<Vec<(i64, i64)>, StoreError> {
    let place = Place {
        table: "rate_windows",
        row: id,
    };
    let flat: Vec<i64> = place.known("slots", place.json("slots", Some(slots))?)?;
    Ok(unpacked(&flat))
}

async fn permits(work: &mut Work, draw: &PermitDraw) -> Result<PermitGrant, StoreError> {
    let open = "INSERT INTO rate_windows (integration_id, tenant_id, slots) VALUES ($1, $2, '[]') \
                ON CONFLICT (integration_id) DO NOTHING";
    let id = draw.integration.to_string();
    let open = sql(open).bind(id.as_str()).bind(draw.tenant.as_str());
    work.execute(open).await?;
    let read = sql("SELECT slots, tenant_id, ")
        .push(work.clock_micros())
        .push(" FROM rate_windows WHERE integration_id = $1")
        .bind(id.as_str())
        .locking();
    let (slots, tenant, now): (String, String, i64) = work.fetch_one(read).await?;
    if tenant != draw.tenant.as_str() {
        return Err(StoreError::NotFound);
    }
    let mut window = window_of(&slots, &id)?;
    let grant = window.permit(draw.rpm, now, &draw.ask, draw.share);
    let slots = to_json(&packed(window.slots()))?;
    let write = "UPDATE rate_windows SET slots = $2 WHERE integration_id = $1";
    work.execute(sql(write).bind(id).bind(slots)).await?;
    Ok(grant)
}

/// Slots as pairs of the gap to the slot before and the calls.
pub(crate) fn packed(slots: impl Iterator<Item = (i64, i64)>) -> Vec<i64> {
    let mut before = 0;
    let mut flat = Vec::new();
    for (slot, calls) in slots {
        flat.extend([slot.saturating_sub(before), calls]);
        before = slot;
    }
    flat
}

fn unpacked(flat: &[i64]) -> Vec<(i64, i64)> {
    let mut at = 0_i64;
    let pairs = flat.chunks_exact(2).filter_map(|pair| match pair {
        [gap, calls] => Some((*gap, *calls)),
        _ => None,
    });
    pairs
        .map(|(gap, calls)| {
            at = at.saturating_add(gap);
            (at, calls)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_window_comes_back_as_it_was_kept(
            steps in prop::collection::vec((1_i64..700, 1_i64..1_000), 0..50),
        ) {
            let mut at = 17_900_000_000;
            let slots: Vec<(i64, i64)> = steps.into_iter().map(|(gap, calls)| { at += gap; (at, calls) }).collect();
            let window = RateWindow::of_permits(slots.clone());
            prop_assert_eq!(unpacked(&packed(window.slots())), slots);
        }
    }
}
