//! What can go wrong with the journal, said so that an operator knows what to do.

use std::io;
use std::path::PathBuf;

use super::Ticket;

/// Why the journal could not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// Another process has the folder.
    #[error(
        "the journal in {folder} is in use by another process: stop that one, or give this one a data directory of its own"
    )]
    InUse {
        /// The journal's folder.
        folder: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {doing} {path}: {source}; check the folder's permissions and the disk")]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On which file or folder.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is no room on the disk; the journal goes on as soon as there is.
    #[error(
        "cannot write to {path}: the disk is full; free some room, nothing has to be restarted"
    )]
    DiskFull {
        /// The segment that had to grow.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A segment does not hold what was written to it, and no crash explains it.
    #[error(
        "{file} is damaged at byte {offset}: {what}; Tollgate does not start on it, because what is damaged may be money. `tollgate journal inspect` says what can be read; restore the file, or give `tollgate journal salvage`, which keeps that and sets the damaged files aside"
    )]
    Corrupt {
        /// The segment.
        file: PathBuf,
        /// Where in it, in bytes from its start.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
    /// A segment has a format that this program does not know.
    #[error(
        "{file} has journal format {found}, and this program reads format {known}: use the version of the program that wrote it"
    )]
    Format {
        /// The segment.
        file: PathBuf,
        /// Its format.
        found: u32,
        /// The format that is known.
        known: u32,
    },
    /// The journal is as large as it may become: nothing new is begun until the ledger has caught up.
    #[error(
        "the journal has reached its limit of {bytes_max} bytes: calls wait for the ledger; check the store, or raise the limit"
    )]
    Full {
        /// The limit.
        bytes_max: u64,
    },
    /// The journal's disk has so little room that nothing new is begun: what is left is for calls in flight.
    #[error(
        "the journal's disk has {free_bytes} bytes free, and below {free_bytes_min} no call is begun: free some room, nothing has to be restarted; or lower the setting app.journal_free_bytes_min"
    )]
    NoRoom {
        /// What is free.
        free_bytes: u64,
        /// What must be.
        free_bytes_min: u64,
    },
    /// A row is longer than a record may be.
    #[error("a row of {bytes} bytes is longer than a journal record may be ({bytes_max} bytes)")]
    TooLong {
        /// How long it is.
        bytes: u64,
        /// How long it may be.
        bytes_max: u64,
    },
    /// A record did not come to the disk.
    #[error(
        "the journal's disk does not take what is written: the call was not sent; see the log for what the system says, and check the disk"
    )]
    NotSynced,
    /// The ticket's call is not in this journal any more.
    #[error("the call is not open in this journal: it was released, or is in the ledger already")]
    NotOpen,
    /// A call could not be closed: its ticket comes back, so that it can be tried again.
    #[error("{error}")]
    Unclosed {
        /// The call's ticket.
        ticket: Ticket,
        /// Why it could not be closed.
        #[source]
        error: Box<Self>,
    },
}

impl JournalError {
    /// The ticket of the call that could not be closed, to try again with; none for other errors.
    pub fn into_ticket(self) -> Option<Ticket> {
        if let Self::Unclosed { ticket, .. } = self {
            Some(ticket)
        } else {
            None
        }
    }

    /// An error that gives the ticket back where the call is still open.
    pub(super) fn unclosed(ticket: Ticket, error: Self) -> Self {
        if matches!(error, Self::NotOpen) {
            return error;
        }
        Self::Unclosed {
            ticket,
            error: Box::new(error),
        }
    }

    /// An error of the operating system, with what was tried on which path.
    pub(super) fn io(doing: &'static str, path: PathBuf, source: io::Error) -> Self {
        let full = [io::ErrorKind::StorageFull, io::ErrorKind::QuotaExceeded];
        if full.contains(&source.kind()) {
            return Self::DiskFull { path, source };
        }
        Self::Io {
            doing,
            path,
            source,
        }
    }
}
