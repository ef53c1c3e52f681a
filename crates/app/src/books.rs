//! The books as a whole: whether they are exact, how far they are, and whether this node is ready.

use jiff::Timestamp;
use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;
use tollgate_core::role::Permission;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::journal::JournalStatus;
use crate::ledger::LedgerProgress;

pub use tollgate_store::{Difference, LedgerStatus, RebuildReport, VerifyReport};

/// How the books of this node and of the store are doing.
#[derive(Debug, Clone)]
pub struct BooksStatus {
    /// What is in the ledger, from every node.
    pub ledger: LedgerStatus,
    /// How this node is doing.
    pub node: Progress,
    /// The last verification that this node was asked for since its start.
    pub last_check: Option<Check>,
    /// `sqlite` or `postgres`.
    pub engine: &'static str,
}

/// How far a node is with what it has to write down.
#[derive(Debug, Clone)]
pub struct Progress {
    /// The ledger's writer.
    pub ledger: LedgerProgress,
    /// The journal.
    pub journal: JournalStatus,
    /// Bytes that the last end of the program left half-written in the journal.
    pub torn_bytes: u64,
}

/// A verification of the books.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// When it was asked for.
    pub at: Timestamp,
    /// Of whose books; none for everybody's.
    pub tenant: Option<TenantId>,
    /// Whether nothing differed.
    pub is_exact: bool,
}

/// Whether this node can take calls, one check each. No secrets: anybody may ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the store answers.
    pub store: bool,
    /// Whether the journal reaches the disk and has room for calls that begin.
    pub journal: bool,
    /// Whether so few rows wait for the ledger in memory that calls are admitted.
    pub ledger: bool,
    /// Rows that wait for the ledger, those of an earlier run among them.
    pub lag_rows: u64,
}

impl Readiness {
    /// Whether every check passes.
    #[must_use]
    pub const fn is_ready(&self) -> bool {
        self.store && self.journal && self.ledger
    }
}

impl App {
    /// Compares the ledger with every balance and roll-up, after what was settled before is in it.
    pub async fn verify_ledger(&self, context: &Context) -> Result<VerifyReport, AppError> {
        context.must_be_allowed(Permission::ManageLedger)?;
        self.settle_books().await;
        let operator = self.store.operator();
        let report = operator.verify(context.tenant.as_ref()).await?;
        *self.last_check.lock() = Some(Check {
            at: context.now.wall,
            tenant: context.tenant.clone(),
            is_exact: report.is_exact(),
        });
        Ok(report)
    }

    /// How far this node's writer is, and how its journal is doing. No secrets, and no statement.
    #[must_use]
    pub fn progress(&self) -> Progress {
        Progress {
            ledger: self.ledger.progress(),
            journal: self.journal.status(),
            torn_bytes: self.torn_bytes,
        }
    }

    /// Compares the ledger with the roll-ups alone.
    pub async fn verify_rollups(&self, context: &Context) -> Result<VerifyReport, AppError> {
        context.must_be_allowed(Permission::ManageLedger)?;
        self.settle_books().await;
        Ok(self.store.operator().verify_rollups().await?)
    }

    /// Makes the roll-ups anew from the ledger; in healthy books it changes nothing.
    pub async fn rebuild_rollups(&self, context: &Context) -> Result<RebuildReport, AppError> {
        context.must_be_allowed(Permission::ManageLedger)?;
        self.settle_books().await;
        // Every tenant's roll-ups are made anew, whatever tenant the request names.
        let audit = AuditEntry {
            tenant: None,
            ..context.audit("rollup.rebuild", "rollup/all".to_owned())
        };
        let report = self.store.operator().rebuild_rollups(audit).await?;
        tracing::info!(?context.actor, days = report.days, changed = report.changed, "roll-ups rebuilt");
        Ok(report)
    }

    /// How the books are doing.
    pub async fn books_status(&self, context: &Context) -> Result<BooksStatus, AppError> {
        context.must_be_allowed(Permission::ManageLedger)?;
        Ok(BooksStatus {
            ledger: self.store.operator().ledger_status().await?,
            node: self.progress(),
            last_check: self.last_check.lock().clone(),
            engine: self.store.engine_name(),
        })
    }

    /// Whether this node can take calls.
    pub async fn readiness(&self) -> Readiness {
        let store = self.store.ping().await;
        if let Err(error) = &store {
            tracing::warn!(%error, "not ready: the store does not answer");
        }
        let progress = self.ledger.progress();
        let lag_rows = progress.queued_rows.saturating_sub(progress.posted_rows);
        Readiness {
            store: store.is_ok(),
            // Unsynced records beside failed syncs mean that the disk refuses right now.
            journal: {
                let status = self.journal.status();
                status.has_room && (status.sync_failures == 0 || status.unsynced == 0)
            },
            // What an earlier run left waits in the journal alone, and keeps no call out.
            ledger: self.ledger.backlog_rows() <= self.metering().backlog_rows_max,
            lag_rows,
        }
    }
}
