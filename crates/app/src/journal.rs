//! The journal: this node's file of calls in flight and of rows that are not yet in the ledger.
//!
//! A call is in the journal before its first byte goes to the provider, and stays until its row is
//! in the ledger: a process that is killed finds it there when it starts again. An append alone
//! survives the end of the process; a sync, grouped over a few milliseconds, also a loss of power.
//!
//! The files are numbered segments of checked records. A record that a crash tore is cut off at the
//! next start; any other damage is named and stops the start, because it may be money.

mod disk;
mod error;
mod frame;
mod keeper;
mod left;
mod log;
mod replay;
mod room;
mod salvage;
mod sheet;
#[cfg(test)]
mod tests;
mod waiting;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use tollgate_core::usage::UsageEntry;

#[cfg(test)]
pub(crate) use self::disk::memory::Platter;
pub use self::error::JournalError;
pub use self::salvage::{Damage, Inspection, Salvage, SegmentFound, inspect, salvage};
pub use self::waiting::Append;

use self::disk::Disk;
use self::frame::{Kind, with_frame};
use self::keeper::Keeper;
use self::log::Log;
use self::room::Room;

/// So many receipts are taken at a time while appends wait.
const POSTED_CHUNK: usize = 256;

/// When appended records are forced to the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncPolicy {
    /// Before a call is sent; calls at the same time share a sync. The end of a call does not wait.
    Always,
    /// At most so many milliseconds after the append, together with others.
    Grouped {
        /// How long appends gather, in milliseconds.
        millis: u64,
    },
    /// When the system pleases; a loss of power may lose what was appended.
    Never,
}

/// Where the journal is and how it behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalConfig {
    /// The journal's folder, for itself alone; made where it is missing.
    pub dir: PathBuf,
    /// When records are forced to the disk.
    pub sync: SyncPolicy,
    /// A segment is closed before it would grow beyond so many bytes.
    pub segment_bytes: u64,
    /// Beyond so many bytes no call is begun and no refusal recorded; calls in flight can still be closed.
    pub bytes_max: u64,
    /// The same where fewer bytes than these are free on the journal's disk; 0 never looks.
    pub free_bytes_min: u64,
}

impl JournalConfig {
    /// A journal in `dir` with syncs every 5 ms, segments of 64 MiB, and 4 GiB in all, however
    /// little room the disk has.
    #[must_use]
    pub const fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            sync: SyncPolicy::Grouped { millis: 5 },
            segment_bytes: 64 << 20,
            bytes_max: 4 << 30,
            free_bytes_min: 0,
        }
    }
}

/// A dispatched call, to be closed exactly once: settled or released.
///
/// One that is dropped leaves its call open; the next start finds it interrupted.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a call that is not closed is found interrupted at the next start"]
pub struct Ticket {
    number: u64,
}

/// A row in the journal, to be given back once it is in the ledger.
///
/// One that is dropped keeps its row in the journal; the next start finds it again.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a row that is not reported as posted stays in the journal"]
pub struct Receipt {
    number: u64,
}

/// What a journal held when it was opened.
#[derive(Debug)]
pub struct Recovery {
    /// Rows that are not known to be in the ledger, in the order in which they stand on the disk,
    /// to be read with [`Journal::rows`]. Some may be in it: the ledger knows them by call id.
    pub unposted: Vec<Receipt>,
    /// Calls that were dispatched and never closed, in the same order.
    pub interrupted: Vec<Ticket>,
    /// How many bytes of records that a crash tore were cut off.
    pub torn_bytes: u64,
    /// How many records were read.
    pub records: u64,
}

/// The journal at a glance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct JournalStatus {
    /// Segment files.
    pub segments: usize,
    /// Their length together, in bytes.
    pub bytes: u64,
    /// Calls that were dispatched and are not closed.
    pub open_calls: u64,
    /// Rows that are not yet reported as posted.
    pub unposted: u64,
    /// Records that are not yet known to be on the disk.
    pub unsynced: u64,
    /// How often a sync failed since the journal was opened.
    pub sync_failures: u64,
    /// Bytes that were free on its disk when that was last looked at.
    pub free_bytes: u64,
    /// Whether calls can be begun: it may grow, and its disk has room.
    pub has_room: bool,
}

/// An open journal; dropping it syncs it and ends its thread.
#[derive(Debug)]
pub struct Journal {
    keeper: Arc<Keeper>,
    next_call: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Journal {
    /// Opens the folder for this process alone and reads what is there.
    ///
    /// Fails when another process has it, when it is damaged, and when the disk refuses.
    pub fn open(config: JournalConfig) -> Result<(Self, Recovery), JournalError> {
        let disk = Disk::open(config.dir.clone())?;
        let (mut journal, recovery) = Self::open_on(disk, &config)?;
        let thread = keeper::start(&journal.keeper)
            .map_err(|source| JournalError::io("start the thread for", config.dir, source))?;
        journal.thread = Some(thread);
        Ok((journal, recovery))
    }

    /// Opens what is on a disk, without the thread that does the chores.
    fn open_on(disk: Disk, config: &JournalConfig) -> Result<(Self, Recovery), JournalError> {
        let disk = Arc::new(disk);
        let replayed = replay::replay(&disk)?;
        let recovery = Recovery::of(&replayed);
        let next_call = Arc::new(AtomicU64::new(replayed.next_call));
        let log = Log::begin(Arc::clone(&disk), Arc::clone(&next_call), config, &replayed)?;
        let room = Room::look(&disk, config.free_bytes_min);
        let keeper = Arc::new(Keeper::new(disk, log, config.sync, room));
        keeper.do_chores(SyncPolicy::Always)?;
        let journal = Self {
            keeper,
            next_call,
            thread: None,
        };
        Ok((journal, recovery))
    }

    /// Opens what is on a simulated disk. Its chores are the simulation's to call.
    #[cfg(test)]
    pub(crate) fn simulated(
        platter: &Platter,
        config: &JournalConfig,
    ) -> Result<(Self, Recovery), JournalError> {
        Self::open_on(Disk::in_memory(platter), config)
    }

    /// What the thread does when it is called.
    #[cfg(test)]
    pub(crate) fn do_chores(&self, sync: SyncPolicy) -> Result<(), JournalError> {
        self.keeper.do_chores(sync)
    }

    /// Opens a call, before its first byte goes to the provider. `worst` is the row that it gets
    /// if nothing more is heard of it. Waits for the disk where the policy says so.
    ///
    /// After an error the call must not be sent: it counts as never dispatched.
    pub fn dispatched(&self, worst: &UsageEntry) -> Result<Ticket, JournalError> {
        let (ticket, append) = self.open_call(worst)?;
        match self.keeper.settle_append(append) {
            Ok(()) => Ok(ticket),
            Err(error) => {
                self.take_back(ticket);
                Err(error)
            }
        }
    }

    fn open_call(&self, worst: &UsageEntry) -> Result<(Ticket, u64), JournalError> {
        self.keeper.demand_room()?;
        let number = self.next_number();
        let append = with_frame(Kind::Dispatched, number, worst, |frame| {
            self.keeper.log.lock().dispatch(number, frame)
        })?;
        Ok((Ticket { number }, append))
    }

    /// Closes a dispatched call with its row. Waits for nothing.
    ///
    /// After an error the ticket comes back ([`JournalError::into_ticket`]) to be tried again;
    /// nothing is counted twice.
    pub fn settled(&self, ticket: Ticket, entry: &UsageEntry) -> Result<Receipt, JournalError> {
        let number = ticket.number;
        let append = with_frame(Kind::Settled, number, entry, |frame| {
            self.keeper.log.lock().settle(number, frame)
        });
        match append {
            Ok(_) => {
                self.keeper.called_for_sync();
                Ok(Receipt { number })
            }
            Err(error) => Err(JournalError::unclosed(ticket, error)),
        }
    }

    /// Adds the row of a call that never was dispatched: a refused one. Waits for nothing.
    pub fn recorded(&self, entry: &UsageEntry) -> Result<Receipt, JournalError> {
        self.keeper.demand_room()?;
        let number = self.next_number();
        with_frame(Kind::Recorded, number, entry, |frame| {
            self.keeper.log.lock().record(number, frame)
        })?;
        self.keeper.called_for_sync();
        Ok(Receipt { number })
    }

    /// Closes a dispatched call of which nothing reached the provider: it gets no row.
    ///
    /// After an error the ticket comes back ([`JournalError::into_ticket`]) to be tried again.
    pub fn released(&self, ticket: Ticket) -> Result<(), JournalError> {
        let number = ticket.number;
        let append = with_frame(Kind::Released, number, &(), |frame| {
            self.keeper.log.lock().release(number, frame)
        });
        match append {
            // Released and not yet on the disk is no harm: at worst it is found interrupted.
            Ok(_) => {
                self.keeper.call();
                Ok(())
            }
            Err(error) => Err(JournalError::unclosed(ticket, error)),
        }
    }

    /// These rows are in the ledger: the journal need not keep them.
    ///
    /// Segments in which nothing is needed any more are removed soon after, or by [`Self::sync`].
    pub fn posted(&self, receipts: impl IntoIterator<Item = Receipt>) {
        // The caller's iterator may take its time, and a batch may be long: appends do not wait.
        let receipts: Vec<Receipt> = receipts.into_iter().collect();
        for some in receipts.chunks(POSTED_CHUNK) {
            let mut log = self.keeper.log.lock();
            for receipt in some {
                log.post(receipt.number);
            }
        }
        self.keeper.call();
    }

    /// The journal at a glance; never waits for the disk.
    pub fn status(&self) -> JournalStatus {
        self.keeper.status()
    }

    /// Forces everything to the disk now and removes what is not needed.
    pub fn sync(&self) -> Result<(), JournalError> {
        self.keeper.do_chores(SyncPolicy::Always)
    }

    fn next_number(&self) -> u64 {
        self.next_call.fetch_add(1, Ordering::SeqCst)
    }

    /// A call whose opening could not be made durable, or was given up meanwhile, was never dispatched.
    pub fn take_back(&self, ticket: Ticket) {
        let number = ticket.number;
        if let Err(error) = self.released(ticket) {
            // The disk refuses everything. Should the opening be there at the next start, the call
            // is found interrupted: charged too much rather than too little.
            tracing::error!(%error, "a call that was not sent could not be taken back");
            self.keeper.log.lock().forget(number);
        }
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.keeper.stop();
        let ended = self.thread.take().map(JoinHandle::join);
        if matches!(ended, Some(Err(_))) {
            tracing::error!("the journal's thread had panicked");
        }
        if let Err(error) = self.sync() {
            tracing::error!(%error, "the journal could not be synced at the end");
        }
    }
}
