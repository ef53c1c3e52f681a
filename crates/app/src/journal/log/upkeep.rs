//! The upkeep of a log: what is synced, sealed, written again, carried and removed.

use std::sync::Arc;

use super::{Keeping, Live, Log};
use crate::journal::disk::SegmentFile;
use crate::journal::error::JournalError;
use crate::journal::frame::{Frame, Kind, with_frame};

/// Fewer closed segments than this are not worth carrying records out of.
const CARRY_SEGMENTS_MIN: usize = 4;

/// Where one part in so many lives, or less, the rest is carried.
const LIVE_PART: u64 = 4;

/// What one sync covers.
#[derive(Debug)]
pub(in crate::journal) struct SyncBatch {
    /// Every append up to this one.
    pub(in crate::journal) upto: u64,
    /// The segment that is written to, and goes on growing.
    pub(in crate::journal) active: (u64, Arc<SegmentFile>),
    /// Closed segments that may be in memory only.
    pub(in crate::journal) closed: Vec<(u64, Arc<SegmentFile>)>,
    /// Whether a segment was made since the folder was synced.
    pub(in crate::journal) folder: bool,
}

impl SyncBatch {
    /// Everything that has to be synced.
    pub(in crate::journal) fn files(&self) -> impl Iterator<Item = &(u64, Arc<SegmentFile>)> {
        self.closed.iter().chain([&self.active])
    }
}

impl Log {
    /// Writes down which rows went to the ledger, as far as a restart would still find them.
    pub(in crate::journal) fn write_posted(&mut self) -> Result<(), JournalError> {
        let oldest = self.oldest();
        self.posted.retain(|(_, segment)| *segment >= oldest);
        while !self.posted.is_empty() {
            let from = self.posted.len().saturating_sub(4_096);
            let numbers: Vec<u64> = self.posted[from..].iter().map(|(call, _)| *call).collect();
            with_frame(Kind::Posted, 0, &numbers, |frame| self.append(frame))?;
            self.posted.truncate(from);
        }
        Ok(())
    }

    /// Writes down which closed segments are on the disk; false when there was nothing to write.
    pub(in crate::journal) fn seal(&mut self) -> Result<bool, JournalError> {
        let mut sealed = false;
        for index in 0..self.closed.len() {
            let segment = &self.closed[index];
            if matches!(segment.keeping, Keeping::Synced) {
                let (number, length) = (segment.number, segment.length);
                with_frame(Kind::Sealed, number, &length, |frame| self.append(frame))?;
                self.closed[index].keeping = Keeping::Sealed;
                sealed = true;
            }
        }
        Ok(sealed)
    }

    /// What has to be synced so that everything appended until now is on the disk.
    pub(in crate::journal) fn sync_batch(&self) -> SyncBatch {
        let mut closed = Vec::new();
        for segment in &self.closed {
            if let Keeping::Written(file) = &segment.keeping {
                closed.push((segment.number, Arc::clone(file)));
            }
        }
        SyncBatch {
            upto: self.appended,
            active: (self.active.number, Arc::clone(&self.active_file)),
            closed,
            folder: self.folder_changed,
        }
    }

    /// A batch is on the disk.
    pub(in crate::journal) fn synced(&mut self, batch: &SyncBatch) {
        // A segment that was made meanwhile may not be in the folder's synced list.
        if batch.folder && batch.active.0 == self.active.number {
            self.folder_changed = false;
        }
        // Not the one that was active: it may have grown after the sync, and be closed by now.
        for (number, _) in &batch.closed {
            if let Some(segment) = self.closed_segment(*number) {
                segment.keeping = Keeping::Synced;
            }
        }
    }

    /// A batch may not be on the disk, and a second sync would not say so: the system reports a
    /// failed write once.
    pub(in crate::journal) fn sync_failed(&mut self, batch: &SyncBatch) {
        for (number, _) in batch.files() {
            match self.closed_segment(*number) {
                Some(segment) => segment.suspect = true,
                None => self.active.suspect = true,
            }
        }
    }

    /// Writes what lives in suspect segments again, into a new one.
    pub(in crate::journal) fn repair(&mut self) -> Result<(), JournalError> {
        if self.active.suspect {
            self.rotate()?;
        }
        let suspect = self.closed.iter().filter(|segment| segment.suspect);
        for number in suspect.map(|segment| segment.number).collect::<Vec<_>>() {
            let living = self.living_in(number);
            self.carry(number, &living)?;
            if let Some(segment) = self.closed_segment(number) {
                segment.suspect = false;
                segment.keeping = Keeping::Doubted;
            }
        }
        Ok(())
    }

    /// The oldest segment, if nothing in it is needed.
    pub(in crate::journal) fn removable(&self) -> Option<u64> {
        let oldest = self.closed.front()?;
        (oldest.live == 0).then_some(oldest.number)
    }

    /// The oldest segment is gone.
    pub(in crate::journal) fn removed(&mut self, number: u64) {
        if self.removable() == Some(number)
            && let Some(segment) = self.closed.pop_front()
        {
            self.bytes -= segment.length;
        }
    }

    /// The oldest segment with what lives in it, if so much of the closed segments is dead that it is
    /// worth carrying and only that one keeps them. Of a long backlog half is dead: each row stands
    /// there with the record that opened its call.
    pub(in crate::journal) fn carryable(&self) -> Option<(u64, Vec<u64>)> {
        let oldest = self.closed.front()?;
        let bytes: u64 = self.closed.iter().map(|segment| segment.length).sum();
        let live: u64 = self.closed.iter().map(|segment| segment.live_bytes).sum();
        (self.closed.len() >= CARRY_SEGMENTS_MIN && live.saturating_mul(LIVE_PART) <= bytes)
            .then(|| (oldest.number, self.living_in(oldest.number)))
    }

    /// Writes these records of a segment again at the end, as far as they still live there.
    pub(in crate::journal) fn carry(
        &mut self,
        segment: u64,
        numbers: &[u64],
    ) -> Result<(), JournalError> {
        if numbers.is_empty() {
            return Ok(());
        }
        let file = self.disk.open_segment(segment)?;
        let mut frame = Vec::new();
        for number in numbers {
            let Some(live) = self.live.get(number).copied() else {
                continue;
            };
            if live.place.segment != segment {
                continue;
            }
            frame.resize(usize::try_from(live.place.length).unwrap_or(0), 0);
            self.disk
                .read_at(&file, segment, &mut frame, live.place.offset)?;
            Frame::read(&frame).map_err(|flaw| JournalError::Corrupt {
                file: self.disk.path(segment),
                offset: live.place.offset,
                what: flaw.what,
            })?;
            let place = self.append(&frame)?;
            self.insert(*number, Live { place, ..live });
        }
        Ok(())
    }

    fn living_in(&self, segment: u64) -> Vec<u64> {
        let here = self
            .live
            .iter()
            .filter(|(_, live)| live.place.segment == segment);
        let mut places: Vec<(u64, u64)> = here
            .map(|(number, live)| (live.place.offset, *number))
            .collect();
        places.sort_unstable();
        places.into_iter().map(|(_, number)| number).collect()
    }
}
