//! What a node does first: it books what its last run left in the journal, and begins without an allowance.

use crate::authority::Authority;
use crate::error::AppError;
use crate::journal::{Journal, Recovery};
use crate::ledger::Ledger;

/// Brings the books up to what an earlier run of this node has done, and gives back what it had
/// drawn. Returns how many bytes the run left half-written.
pub(crate) async fn resume(
    authority: &dyn Authority,
    journal: &Journal,
    ledger: &Ledger,
    recovery: Recovery,
) -> Result<u64, AppError> {
    let torn_bytes = recover(journal, ledger, recovery)?;
    ledger.caught_up().await;
    // Only direct holds outlive a run: the rest of what was drawn is not needed.
    authority.give_back_all().await?;
    Ok(torn_bytes)
}

/// Sends what an earlier run left in the journal on its way to the ledger. A call that was
/// dispatched and never finished is charged at its worst case: the provider may have billed it.
/// Returns how many bytes were left half-written.
fn recover(journal: &Journal, ledger: &Ledger, recovery: Recovery) -> Result<u64, AppError> {
    let torn_bytes = recovery.torn_bytes;
    let (finished, interrupted) = (recovery.unposted.len(), recovery.interrupted.len());
    if finished > 0 || interrupted > 0 || torn_bytes > 0 {
        tracing::info!(
            finished,
            interrupted,
            torn_bytes,
            "recovering calls from the journal"
        );
    }
    for (receipt, entry) in recovery.unposted {
        ledger.post(Some(receipt), entry, None);
    }
    for (ticket, worst) in recovery.interrupted {
        let receipt = journal.settled(ticket, &worst)?;
        ledger.post(Some(receipt), worst, None);
    }
    Ok(torn_bytes)
}
