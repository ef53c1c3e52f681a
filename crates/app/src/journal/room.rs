//! How much room the journal's disk has: looked at beside the appends, so that no call waits for it.

use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::Disk;
use super::error::JournalError;

/// The bytes that are free, as last seen.
#[derive(Debug)]
pub(super) struct Room {
    free_bytes: AtomicU64,
    free_bytes_min: u64,
}

impl Room {
    /// The room that there is now.
    pub(super) fn look(disk: &Disk, free_bytes_min: u64) -> Self {
        let room = Self {
            free_bytes: AtomicU64::new(u64::MAX),
            free_bytes_min,
        };
        room.look_again(disk);
        room
    }

    /// Looks again. Where the system does not say it, there is taken to be enough: a disk that is
    /// full is noticed by the next append all the same.
    pub(super) fn look_again(&self, disk: &Disk) {
        let free = disk.free_bytes().unwrap_or(u64::MAX);
        self.free_bytes.store(free, Ordering::Relaxed);
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.free_bytes.load(Ordering::Relaxed)
    }

    /// Whether a call may be begun.
    pub(super) fn check(&self) -> Result<(), JournalError> {
        let free_bytes = self.free_bytes();
        if free_bytes >= self.free_bytes_min {
            return Ok(());
        }
        Err(JournalError::NoRoom {
            free_bytes,
            free_bytes_min: self.free_bytes_min,
        })
    }
}
