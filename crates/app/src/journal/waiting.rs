//! Waiting for the disk without a thread: whoever may not block is woken by the sync that covers its record.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

use super::error::JournalError;
use super::keeper::Keeper;
use super::{Journal, SyncPolicy, Ticket};

use tollgate_core::usage::UsageEntry;

/// A record on its way to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Append(pub(super) u64);

/// How far syncs have come, and who waits for them.
#[derive(Debug, Default)]
pub(super) struct Synced {
    /// The last append that is known to be on the disk.
    pub(super) upto: u64,
    /// The last append that a sync was to bring there which failed: it is tried again, for nobody.
    refused_upto: u64,
    /// Whether somebody is syncing: the others wait, and share the next sync.
    pub(super) running: bool,
    /// Who is to be woken, by append.
    waiting: BTreeMap<u64, Waker>,
}

impl Synced {
    /// A sync of all appends up to one has ended, well or not. Gives those who waited for it.
    pub(super) fn ended(&mut self, upto: u64, is_well: Result<(), ()>) -> BTreeMap<u64, Waker> {
        self.running = false;
        match is_well {
            Ok(()) => self.upto = self.upto.max(upto),
            Err(()) => self.refused_upto = self.refused_upto.max(upto),
        }
        let later = self.waiting.split_off(&upto.saturating_add(1));
        std::mem::replace(&mut self.waiting, later)
    }
}

impl Journal {
    /// Opens a call as [`Self::dispatched`] does, and does not wait for the disk: the call may be sent when
    /// [`Self::poll_synced`] says so. After an error it must not be sent: it counts as never dispatched.
    pub fn begin(&self, worst: &UsageEntry) -> Result<(Ticket, Append), JournalError> {
        let (ticket, append) = self.open_call(worst)?;
        self.keeper.called_for_sync();
        Ok((ticket, Append(append)))
    }

    /// Whether a record is as durable as the policy wants it before its caller goes on. Records that wait at the same
    /// time share a sync. After an error the call is to be given back with [`Self::take_back`].
    pub fn poll_synced(
        &self,
        append: Append,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), JournalError>> {
        self.keeper.poll_synced(append.0, context)
    }
}

impl Keeper {
    fn poll_synced(
        &self,
        append: u64,
        context: &mut Context<'_>,
    ) -> Poll<Result<(), JournalError>> {
        if self.policy != SyncPolicy::Always {
            return Poll::Ready(Ok(()));
        }
        let mut synced = self.synced.lock();
        if synced.upto >= append {
            return Poll::Ready(Ok(()));
        }
        if synced.refused_upto >= append {
            return Poll::Ready(Err(JournalError::NotSynced));
        }
        match synced.waiting.get_mut(&append) {
            Some(waker) => waker.clone_from(context.waker()),
            None => {
                synced.waiting.insert(append, context.waker().clone());
            }
        }
        Poll::Pending
    }
}
