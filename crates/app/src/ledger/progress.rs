//! What the writer has done so far.

use jiff::Timestamp;

/// How the ledger is doing on this node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerProgress {
    /// Rows given to the writer since the start, those of an earlier run among them.
    pub queued_rows: u64,
    /// Of these, rows that the store has.
    pub posted_rows: u64,
    /// Rows that the store already had.
    pub duplicate_rows: u64,
    /// Rows whose id the store has with other content.
    pub conflicting_rows: u64,
    /// Batches that the store did not take at the first try.
    pub failed_writes: u64,
    /// When the last batch was written.
    pub last_posted_at: Option<Timestamp>,
}
