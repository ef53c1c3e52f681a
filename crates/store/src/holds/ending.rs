//! The end of a hold: its state, and what goes back from its node's allowance.

use jiff::Timestamp;
use tollgate_core::hold::direct::{DirectHold, HoldState};

use crate::allowances;
use crate::balances;
use crate::engine::{Work, sql};
use crate::error::StoreError;
use crate::value::micros;

/// Locks the balances of the months that these holds are in: from then on nobody else ends them.
pub(super) async fn lock<'h>(
    work: &mut Work,
    holds: impl IntoIterator<Item = &'h DirectHold>,
) -> Result<(), StoreError> {
    let months = holds
        .into_iter()
        .map(|hold| ((hold.integration_id, hold.period), hold.tenant_id.clone()))
        .collect();
    balances::lock(work, months).await.map(drop)
}

/// Ends a hold without use, if it is held, and gives all of it back. Its month must be locked.
pub(super) async fn end(
    work: &mut Work,
    hold: &DirectHold,
    state: HoldState,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let update = "UPDATE holds SET state = $2, ended_at = $3 WHERE id = $1 AND state = 'held'";
    let update = sql(update)
        .bind(hold.id.to_string())
        .bind(state.as_str())
        .bind(micros(now));
    if work.execute(update).await? == 0 {
        return Ok(false);
    }
    allowances::take_from(work, hold, (hold.cost.get(), hold.tokens)).await?;
    Ok(true)
}
