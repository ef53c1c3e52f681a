//! What the append lock guards: the segments, where each living record stands, and what may go.
//!
//! A record lives while a restart would still need it: a dispatched call until it is closed, a row
//! until it is in the ledger. Segments go from the oldest on, so that a row never goes before the
//! record that opened its call. A few old records cannot keep much behind them: they are carried
//! to the newest segment.

mod upkeep;

pub(super) use self::upkeep::SyncBatch;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::JournalConfig;
use super::disk::{Disk, SegmentFile};
use super::error::JournalError;
use super::frame::{FORMAT, HEADER_BYTES, Header};
use super::replay::Replayed;

/// What a row takes, roughly: a journal with less room than this calls itself full.
const ROW_BYTES: u64 = 1_024;

/// Where a frame stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) segment: u64,
    pub(super) offset: u64,
    pub(super) length: u64,
}

/// A record that a restart would need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Live {
    pub(super) place: Place,
    /// Whether it is a dispatched call of which nothing more is known, and not a row.
    pub(super) open: bool,
}

/// Such records, by the numbers of their calls, which nobody outside chooses.
pub(super) type LiveRecords = HashMap<u64, Live, foldhash::fast::RandomState>;

/// How far a segment has come to be on the disk.
#[derive(Debug, Clone)]
enum Keeping {
    /// Some of it may be in memory only.
    Written(Arc<SegmentFile>),
    /// It is on the disk, and no record says so yet.
    Synced,
    /// A later record says that it is on the disk, and how long it is.
    Sealed,
    /// A sync of it failed: what lived in it was written again elsewhere.
    Doubted,
}

#[derive(Debug)]
struct Segment {
    number: u64,
    length: u64,
    live: u64,
    live_bytes: u64,
    keeping: Keeping,
    /// A sync of it failed, and its living records must be written again.
    suspect: bool,
}

impl Segment {
    fn new(number: u64, length: u64, keeping: Keeping) -> Self {
        Self {
            number,
            length,
            live: 0,
            live_bytes: 0,
            keeping,
            suspect: false,
        }
    }
}

/// The counts that the journal's status is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub(super) segments: usize,
    pub(super) bytes: u64,
    pub(super) open_calls: u64,
    pub(super) unposted: u64,
    pub(super) appended: u64,
    /// Whether nothing new is begun.
    pub(super) is_full: bool,
}

#[derive(Debug)]
pub(super) struct Log {
    disk: Arc<Disk>,
    next_call: Arc<AtomicU64>,
    segment_bytes: u64,
    bytes_max: u64,
    /// Oldest first, without a gap, all before `active`.
    closed: VecDeque<Segment>,
    active: Segment,
    active_file: Arc<SegmentFile>,
    /// A failed write may have left bytes behind the last frame.
    untrimmed: bool,
    live: LiveRecords,
    open_calls: u64,
    bytes: u64,
    appended: u64,
    /// Rows that went to the ledger since the last posted record, with the segment that has them.
    posted: Vec<(u64, u64)>,
    folder_changed: bool,
}

impl Log {
    /// Begins a new segment behind the replayed ones.
    pub(super) fn begin(
        disk: Arc<Disk>,
        next_call: Arc<AtomicU64>,
        config: &JournalConfig,
        replayed: &Replayed,
    ) -> Result<Self, JournalError> {
        let number = replayed
            .segments
            .last()
            .map_or(0, |segment| segment.number + 1);
        let (active, active_file) = create(&disk, number, &next_call)?;
        let closed = replayed.segments.iter().map(|found| {
            let keeping = if found.sealed {
                Keeping::Sealed
            } else {
                Keeping::Synced
            };
            Segment::new(found.number, found.length, keeping)
        });
        let mut log = Self {
            disk,
            next_call,
            segment_bytes: config.segment_bytes,
            bytes_max: config.bytes_max,
            closed: closed.collect(),
            active,
            active_file,
            untrimmed: false,
            live: LiveRecords::default(),
            open_calls: 0,
            bytes: 0,
            appended: 0,
            posted: Vec::new(),
            folder_changed: true,
        };
        log.bytes = log.closed.iter().map(|segment| segment.length).sum();
        log.bytes += log.active.length;
        for (number, live) in &replayed.live {
            log.insert(*number, *live);
        }
        log.seal()?;
        Ok(log)
    }

    /// Opens a call.
    pub(super) fn dispatch(&mut self, number: u64, frame: &[u8]) -> Result<u64, JournalError> {
        self.refuse_when_full(frame)?;
        let place = self.append(frame)?;
        self.insert(number, Live { place, open: true });
        Ok(self.appended)
    }

    /// Replaces an open call by its row. A row that is there already is replaced too: its first
    /// try may have failed after it was written.
    pub(super) fn settle(&mut self, number: u64, frame: &[u8]) -> Result<u64, JournalError> {
        if !self.live.contains_key(&number) {
            return Err(JournalError::NotOpen);
        }
        let place = self.append(frame)?;
        self.insert(number, Live { place, open: false });
        Ok(self.appended)
    }

    /// Adds the row of a call that never was open.
    pub(super) fn record(&mut self, number: u64, frame: &[u8]) -> Result<u64, JournalError> {
        self.refuse_when_full(frame)?;
        let place = self.append(frame)?;
        self.insert(number, Live { place, open: false });
        Ok(self.appended)
    }

    /// Ends an open call without a row.
    pub(super) fn release(&mut self, number: u64, frame: &[u8]) -> Result<u64, JournalError> {
        if !self.live.get(&number).is_some_and(|live| live.open) {
            return Err(JournalError::NotOpen);
        }
        self.append(frame)?;
        self.forget(number);
        Ok(self.appended)
    }

    /// Notes that a row is in the ledger.
    pub(super) fn post(&mut self, number: u64) {
        if let Some(live) = self.live.get(&number).filter(|live| !live.open) {
            self.posted.push((number, live.place.segment));
            self.forget(number);
        }
    }

    /// Ends a record's life without a word in the file.
    pub(super) fn forget(&mut self, number: u64) {
        if let Some(live) = self.live.remove(&number) {
            self.open_calls -= u64::from(live.open);
            self.count(live.place, |segment, length| {
                segment.live -= 1;
                segment.live_bytes -= length;
            });
        }
    }

    /// Where a living record stands.
    pub(super) fn place_of(&self, number: u64) -> Option<Place> {
        self.live.get(&number).map(|live| live.place)
    }

    /// Takes what an open call would get at worst for its row.
    pub(super) fn give_up(&mut self, number: u64) {
        if let Some(live) = self.live.get_mut(&number).filter(|live| live.open) {
            live.open = false;
            self.open_calls -= 1;
        }
    }

    /// How many there are of everything.
    pub(super) fn counts(&self) -> Counts {
        let live = u64::try_from(self.live.len()).unwrap_or(u64::MAX);
        Counts {
            segments: self.closed.len() + 1,
            bytes: self.bytes,
            open_calls: self.open_calls,
            unposted: live - self.open_calls,
            appended: self.appended,
            is_full: self.bytes.saturating_add(ROW_BYTES) > self.bytes_max,
        }
    }

    fn refuse_when_full(&self, frame: &[u8]) -> Result<(), JournalError> {
        if self.bytes.saturating_add(length_of(frame)) > self.bytes_max {
            return Err(JournalError::Full {
                bytes_max: self.bytes_max,
            });
        }
        Ok(())
    }

    fn append(&mut self, frame: &[u8]) -> Result<Place, JournalError> {
        let begun = self.active.length > length_of(&[0; HEADER_BYTES]);
        if begun && self.active.length + length_of(frame) > self.segment_bytes {
            // A segment that cannot be made (no more files may be open, say) must not lose a
            // row: the old one grows on. Whether there is room, the write below finds out.
            drop(self.rotate());
        }
        self.trim()?;
        let place = Place {
            segment: self.active.number,
            offset: self.active.length,
            length: length_of(frame),
        };
        if let Err(error) = self
            .disk
            .write(&self.active_file, place.segment, frame, place.offset)
        {
            self.untrimmed = true;
            // If the half-written frame cannot be cut off now, then before the next one.
            drop(self.trim());
            return Err(error);
        }
        self.active.length += place.length;
        self.bytes += place.length;
        self.appended += 1;
        Ok(place)
    }

    fn trim(&mut self) -> Result<(), JournalError> {
        if self.untrimmed {
            self.disk
                .cut(&self.active_file, self.active.number, self.active.length)?;
            self.untrimmed = false;
        }
        Ok(())
    }

    fn rotate(&mut self) -> Result<(), JournalError> {
        self.trim()?;
        let (active, file) = create(&self.disk, self.active.number + 1, &self.next_call)?;
        self.bytes += active.length;
        self.folder_changed = true;
        self.closed
            .push_back(std::mem::replace(&mut self.active, active));
        self.active_file = file;
        Ok(())
    }

    fn insert(&mut self, number: u64, live: Live) {
        self.forget(number);
        self.live.insert(number, live);
        self.open_calls += u64::from(live.open);
        self.count(live.place, |segment, length| {
            segment.live += 1;
            segment.live_bytes += length;
        });
    }

    fn count(&mut self, place: Place, change: impl FnOnce(&mut Segment, u64)) {
        if place.segment == self.active.number {
            change(&mut self.active, place.length);
        } else if let Some(segment) = self.closed_segment(place.segment) {
            change(segment, place.length);
        }
    }

    fn oldest(&self) -> u64 {
        self.closed
            .front()
            .map_or(self.active.number, |segment| segment.number)
    }

    fn closed_segment(&mut self, number: u64) -> Option<&mut Segment> {
        let index = usize::try_from(number.checked_sub(self.oldest())?).ok()?;
        self.closed.get_mut(index)
    }
}

fn create(
    disk: &Disk,
    number: u64,
    next_call: &AtomicU64,
) -> Result<(Segment, Arc<SegmentFile>), JournalError> {
    let header = Header {
        format: FORMAT,
        segment: number,
        next_call: next_call.load(Ordering::SeqCst),
    };
    let header = header.encode();
    let file = Arc::new(disk.create(number, &header)?);
    let keeping = Keeping::Written(Arc::clone(&file));
    Ok((Segment::new(number, length_of(&header), keeping), file))
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
