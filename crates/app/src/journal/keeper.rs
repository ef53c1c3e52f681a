//! What makes the journal durable and keeps it small: grouped syncs, notes, removal of what is done.
//!
//! `chores` is taken before all other locks; `synced`, `wanted` and `log` are each held for a moment
//! and never together. No sync runs while `log` is held.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::Waker;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::disk::Disk;
use super::error::JournalError;
use super::log::{Log, SyncBatch};
use super::room::Room;
use super::waiting::Synced;
use super::{JournalStatus, SyncPolicy};

/// How long chores gather where the sync policy does not say it.
const GATHER: Duration = Duration::from_millis(5);
/// How long to wait after the disk refused.
const PAUSE: Duration = Duration::from_secs(1);
/// So many records are carried at a time, so that no append waits long.
const CARRY_CHUNK: usize = 64;

/// The journal without its thread.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) disk: Arc<Disk>,
    pub(super) log: Mutex<Log>,
    pub(super) policy: SyncPolicy,
    pub(super) synced: Mutex<Synced>,
    /// Rings for everybody when a sync has ended.
    sync_ended: Condvar,
    sync_failures: AtomicU64,
    room: Room,
    pub(super) chores: Mutex<()>,
    /// Whether the thread was told that there is something to do.
    called: AtomicBool,
    wanted: Mutex<Wanted>,
    bell: Condvar,
}

#[derive(Debug, Default)]
struct Wanted {
    work: bool,
    stop: bool,
}

impl Keeper {
    pub(super) fn new(disk: Arc<Disk>, log: Log, policy: SyncPolicy, room: Room) -> Self {
        Self {
            disk,
            log: Mutex::new(log),
            policy,
            synced: Mutex::new(Synced::default()),
            sync_ended: Condvar::new(),
            sync_failures: AtomicU64::new(0),
            room,
            chores: Mutex::new(()),
            called: AtomicBool::new(false),
            wanted: Mutex::new(Wanted::default()),
            bell: Condvar::new(),
        }
    }

    /// Makes the opening of a call as durable as the policy wants it before the call is sent.
    pub(super) fn settle_append(&self, append: u64) -> Result<(), JournalError> {
        if self.policy == SyncPolicy::Always {
            return self.sync_upto(append);
        }
        self.called_for_sync();
        Ok(())
    }

    /// Has what was appended brought to the disk, and waits for nothing: a call that ended may be found interrupted after
    /// a loss of power, and is charged at its worst case then.
    pub(super) fn called_for_sync(&self) {
        if self.policy != SyncPolicy::Never {
            self.call();
        }
    }

    /// Refuses what is new where the disk has too little room, and has it looked at again.
    pub(super) fn demand_room(&self) -> Result<(), JournalError> {
        self.room.check().inspect_err(|_no_room| self.call())
    }

    /// Wakes the thread, at most once for all that it finds to do when it comes.
    pub(super) fn call(&self) {
        if !self.called.swap(true, Ordering::SeqCst) {
            self.wanted.lock().work = true;
            self.bell.notify_one();
        }
    }

    /// Returns when everything appended until now is on the disk.
    pub(super) fn sync(&self) -> Result<(), JournalError> {
        let appended = self.log.lock().counts().appended;
        self.sync_upto(appended)
    }

    /// Writes the notes, syncs, and removes what nothing needs any more.
    pub(super) fn do_chores(&self, sync: SyncPolicy) -> Result<(), JournalError> {
        let _chores = self.chores.lock();
        self.room.look_again(&self.disk);
        self.log.lock().write_posted()?;
        if sync != SyncPolicy::Never {
            self.sync()?;
        }
        self.reclaim()?;
        if self.log.lock().seal()? {
            self.call();
        }
        Ok(())
    }

    /// Lets no chore run while the guard lives, so that a test sees the folder standing still.
    #[cfg(test)]
    pub(super) fn pause(&self) -> parking_lot::MutexGuard<'_, ()> {
        self.chores.lock()
    }

    pub(super) fn status(&self) -> JournalStatus {
        let counts = self.log.lock().counts();
        let synced = self.synced.lock().upto;
        JournalStatus {
            segments: counts.segments,
            bytes: counts.bytes,
            open_calls: counts.open_calls,
            unposted: counts.unposted,
            unsynced: counts.appended.saturating_sub(synced),
            sync_failures: self.sync_failures.load(Ordering::SeqCst),
            free_bytes: self.room.free_bytes(),
            has_room: !counts.is_full && self.room.check().is_ok(),
        }
    }

    /// Ends the thread; what is left to do is the caller's.
    pub(super) fn stop(&self) {
        self.wanted.lock().stop = true;
        self.bell.notify_one();
    }

    fn sync_upto(&self, append: u64) -> Result<(), JournalError> {
        let mut synced = self.synced.lock();
        while synced.upto < append && synced.running {
            self.sync_ended.wait(&mut synced);
        }
        if synced.upto >= append {
            return Ok(());
        }
        synced.running = true;
        drop(synced);
        let (upto, outcome) = self.sync_now();
        let is_well = outcome.as_ref().map(drop).map_err(drop);
        let woken = self.synced.lock().ended(upto, is_well);
        self.sync_ended.notify_all();
        woken.into_values().for_each(Waker::wake);
        outcome
    }

    /// Syncs all that was appended until now: up to which append, and whether it is on the disk.
    fn sync_now(&self) -> (u64, Result<(), JournalError>) {
        let batch = {
            let mut log = self.log.lock();
            match log.repair() {
                Ok(()) => log.sync_batch(),
                Err(error) => return (log.counts().appended, Err(error)),
            }
        };
        (batch.upto, self.sync_files(&batch))
    }

    fn sync_files(&self, batch: &SyncBatch) -> Result<(), JournalError> {
        let outcome = batch
            .files()
            .try_for_each(|(segment, file)| self.disk.sync(file, *segment))
            .and_then(|()| {
                if batch.folder {
                    self.disk.sync_folder()
                } else {
                    Ok(())
                }
            });
        if let Err(error) = outcome {
            self.sync_failures.fetch_add(1, Ordering::SeqCst);
            self.log.lock().sync_failed(batch);
            self.call();
            return Err(error);
        }
        self.log.lock().synced(batch);
        Ok(())
    }

    fn reclaim(&self) -> Result<(), JournalError> {
        loop {
            self.remove_dead_segments()?;
            let Some((segment, numbers)) = self.log.lock().carryable() else {
                return Ok(());
            };
            for chunk in numbers.chunks(CARRY_CHUNK) {
                self.log.lock().carry(segment, chunk)?;
            }
        }
    }

    fn remove_dead_segments(&self) -> Result<(), JournalError> {
        loop {
            let Some(segment) = self.log.lock().removable() else {
                return Ok(());
            };
            // A call's opening must not go before what closed it is on the disk.
            self.sync()?;
            self.disk.remove(segment)?;
            self.disk.sync_folder()?;
            self.log.lock().removed(segment);
        }
    }

    fn run(&self) {
        let gather = match self.policy {
            SyncPolicy::Grouped { millis } => Duration::from_millis(millis),
            // Calls wait for it; what comes during a sync gathers for the next.
            SyncPolicy::Always => Duration::ZERO,
            SyncPolicy::Never => GATHER,
        };
        let mut failing = false;
        while self.wait_for_work(if failing { PAUSE } else { gather }) {
            match self.do_chores(self.policy) {
                Ok(()) if failing => {
                    failing = false;
                    tracing::info!("the journal can write to the disk again");
                }
                Ok(()) => {}
                Err(error) => {
                    if !failing {
                        tracing::error!(%error, "the journal cannot write to the disk; it tries again every second");
                    }
                    failing = true;
                    self.call();
                }
            }
        }
    }

    /// Waits for a call and then for others to gather; false when it is time to stop.
    fn wait_for_work(&self, gather: Duration) -> bool {
        let mut wanted = self.wanted.lock();
        self.bell
            .wait_while(&mut wanted, |wanted| !wanted.work && !wanted.stop);
        if !wanted.stop {
            self.bell
                .wait_while_for(&mut wanted, |wanted| !wanted.stop, gather);
        }
        wanted.work = false;
        // Before the chores look: who appends after that calls again.
        self.called.store(false, Ordering::SeqCst);
        !wanted.stop
    }
}

/// Starts the journal's thread. It is a thread and not a task because it does nothing but wait
/// for the disk.
pub(super) fn start(keeper: &Arc<Keeper>) -> std::io::Result<JoinHandle<()>> {
    let keeper = Arc::clone(keeper);
    thread::Builder::new()
        .name("journal".to_owned())
        .spawn(move || keeper.run())
}
