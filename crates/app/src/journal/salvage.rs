//! Looking into a journal that does not open, and setting its damaged files aside: every record
//! that can be read stays, nothing is deleted, and what cannot be read is named.
//!
//! What damage hides errs on the safe side: where the end of a call is lost, the call is found
//! interrupted and charged at its worst case; where the note is lost that a row is in the ledger,
//! the row is written again, which changes nothing. Where a row itself is lost, only the
//! provider's bill has it: that is why the damage is told with the times around it.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tollgate_core::usage::UsageEntry;

use super::disk::Disk;
use super::error::JournalError;
use super::frame::{FORMAT, Flaw, Frame, HEADER_BYTES, Header, Kind};
use super::log::{Live, Place};

/// A new segment is begun beyond so many bytes.
const SEGMENT_BYTES: usize = 64 << 20;

/// What a journal's folder holds, read without changing anything.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Inspection {
    /// Its segments, oldest first.
    pub segments: Vec<SegmentFound>,
    /// Every place that is not what was written there.
    pub damages: Vec<Damage>,
    /// Bytes at ends that a crash tore: the next start cuts them off, nothing is lost by that.
    pub torn_bytes: u64,
    /// Records that can be read.
    pub records: u64,
    /// Rows among them that are not known to be in the ledger.
    pub rows: u64,
    /// Calls among them that left and were not closed, as far as can be read.
    pub open_calls: u64,
}

/// One segment, as far as it can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentFound {
    /// The file.
    pub file: PathBuf,
    /// Its length.
    pub bytes: u64,
    /// Records in it that can be read.
    pub records: u64,
}

/// A place that is not what was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// The file.
    pub file: PathBuf,
    /// Where in it, in bytes from its start.
    pub offset: u64,
    /// How many bytes cannot be read; 0 where it is not known.
    pub bytes: u64,
    /// What is wrong there.
    pub what: &'static str,
    /// When the last call began that can be read before it.
    pub after: Option<Timestamp>,
    /// When the next call began that can be read behind it.
    pub before: Option<Timestamp>,
}

/// What was done about the damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Salvage {
    /// What was found.
    pub found: Inspection,
    /// The folder that the old files are in now; none where nothing was damaged.
    pub set_aside: Option<PathBuf>,
}

/// Reads a journal as far as it can be read. Needs the folder for itself; changes nothing in it.
pub fn inspect(dir: &Path) -> Result<Inspection, JournalError> {
    let disk = Disk::open(dir.to_owned())?;
    Ok(Survey::of(&disk)?.found)
}

/// Writes what can be read and is still needed into new segments, then moves all old ones into a
/// folder beside them. Does nothing where nothing is damaged. Stopped in the middle it can be
/// given again.
pub fn salvage(dir: &Path) -> Result<Salvage, JournalError> {
    let disk = Disk::open(dir.to_owned())?;
    let survey = Survey::of(&disk)?;
    if survey.found.damages.is_empty() {
        return Ok(Salvage {
            found: survey.found,
            set_aside: None,
        });
    }
    survey.write_anew(&disk)?;
    let aside = disk.set_aside(survey.next_segment, &survey.files)?;
    Ok(Salvage {
        found: survey.found,
        set_aside: Some(aside),
    })
}

#[derive(Debug, Default)]
struct Survey {
    found: Inspection,
    live: HashMap<u64, Live>,
    sealed: HashMap<u64, u64>,
    /// Every file that belongs to the journal, oldest first.
    files: Vec<PathBuf>,
    lengths: Vec<Ending>,
    next_call: u64,
    next_segment: u64,
    last_time: Option<Timestamp>,
    /// Damages from this one on wait for the time behind them.
    untimed: usize,
}

/// How a segment ends.
#[derive(Debug, Clone, Copy)]
struct Ending {
    number: u64,
    /// Up to where its last readable record reaches.
    readable: u64,
    length: u64,
    /// What is wrong behind that.
    flaw: Option<Flaw>,
}

impl Survey {
    fn of(disk: &Disk) -> Result<Self, JournalError> {
        let mut survey = Self::default();
        let (numbers, strangers) = disk.all_segments()?;
        for file in strangers {
            survey.damaged(file.clone(), 0, 0, "its name is not that of a segment");
            survey.files.push(file);
        }
        for number in numbers {
            let expected = survey.next_segment;
            if !survey.lengths.is_empty() && expected != number {
                survey.damaged(disk.path(expected), 0, 0, "the file is missing");
            }
            survey.next_segment = number.saturating_add(1);
            survey.files.push(disk.path(number));
            survey.read(disk, number)?;
        }
        survey.judge_endings(disk);
        let live = survey.live.values();
        survey.found.open_calls = count(live.clone().filter(|live| live.open));
        survey.found.rows = count(live.filter(|live| !live.open));
        Ok(survey)
    }

    fn read(&mut self, disk: &Disk, number: u64) -> Result<(), JournalError> {
        let bytes = disk.read(number)?;
        let records_before = self.found.records;
        let mut flaw = self.read_header(disk, number, &bytes)?;
        let mut at = if flaw.is_some() { 0 } else { HEADER_BYTES };
        let mut readable = at;
        while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
            let frame = match flaw.take().map_or_else(|| Frame::read(rest), Err) {
                Ok(frame) => frame,
                Err(found) => {
                    let Some(skipped) = skip(rest) else {
                        flaw = Some(found);
                        break;
                    };
                    let file = disk.path(number);
                    self.damaged(file, length(at), length(skipped), found.what);
                    at += skipped;
                    continue;
                }
            };
            let place = Place {
                segment: number,
                offset: length(at),
                length: length(frame.length),
            };
            if let Err(what) = self.take(&frame, place) {
                self.damaged(disk.path(number), place.offset, place.length, what);
            }
            at += frame.length;
            readable = at;
        }
        self.lengths.push(Ending {
            number,
            readable: length(readable),
            length: length(bytes.len()),
            flaw,
        });
        self.found.segments.push(SegmentFound {
            file: disk.path(number),
            bytes: length(bytes.len()),
            records: self.found.records - records_before,
        });
        Ok(())
    }

    fn read_header(
        &mut self,
        disk: &Disk,
        number: u64,
        bytes: &[u8],
    ) -> Result<Option<Flaw>, JournalError> {
        let header = match Header::read(bytes) {
            Ok(header) => header,
            Err(flaw) => return Ok(Some(flaw)),
        };
        if header.format != FORMAT {
            return Err(JournalError::Format {
                file: disk.path(number),
                found: header.format,
                known: FORMAT,
            });
        }
        self.next_call = self.next_call.max(header.next_call);
        if header.segment != number {
            let what = "its header has the number of another segment";
            self.damaged(disk.path(number), 0, 0, what);
        }
        Ok(None)
    }

    fn take(&mut self, frame: &Frame<'_>, place: Place) -> Result<(), &'static str> {
        const WRONG: &str = "a record is not what its kind says";
        if frame.kind != Kind::Sealed {
            self.next_call = self.next_call.max(frame.number.saturating_add(1));
        }
        match frame.kind {
            Kind::Dispatched | Kind::Settled | Kind::Recorded => {
                let entry: UsageEntry = decode(frame).ok_or(WRONG)?;
                self.saw(entry.created_at);
                let open = frame.kind == Kind::Dispatched;
                self.live.insert(frame.number, Live { place, open });
            }
            Kind::Released => {
                self.live.remove(&frame.number);
            }
            Kind::Posted => {
                for number in decode::<Vec<u64>>(frame).ok_or(WRONG)? {
                    self.live.remove(&number);
                }
            }
            Kind::Sealed => {
                let length = decode(frame).ok_or(WRONG)?;
                self.sealed.insert(frame.number, length);
            }
        }
        self.found.records += 1;
        Ok(())
    }

    /// Tells a torn end from one that was lost: only what no later record calls whole can be torn.
    fn judge_endings(&mut self, disk: &Disk) {
        for ending in std::mem::take(&mut self.lengths) {
            let left = ending.length - ending.readable;
            let file = disk.path(ending.number);
            match (ending.flaw, self.sealed.get(&ending.number).copied()) {
                (Some(_), Some(0)) if ending.length == 0 => {}
                (flaw, Some(sealed)) if sealed > ending.length => {
                    let what = flaw.map_or("the file is shorter than it was", |flaw| flaw.what);
                    let lost = sealed - ending.readable;
                    self.damaged(file, ending.readable, lost, what);
                }
                (Some(flaw), Some(_)) => self.damaged(file, ending.readable, left, flaw.what),
                (None, Some(sealed)) if sealed < ending.length => {
                    self.damaged(file, sealed, 0, "the file is longer than it was");
                }
                (Some(flaw), None) if !flaw.can_be_torn => {
                    self.damaged(file, ending.readable, left, flaw.what);
                }
                (Some(_), None) => self.found.torn_bytes += left,
                (None, _) => {}
            }
        }
    }

    fn damaged(&mut self, file: PathBuf, offset: u64, bytes: u64, what: &'static str) {
        self.found.damages.push(Damage {
            file,
            offset,
            bytes,
            what,
            after: self.last_time,
            before: None,
        });
    }

    /// A call that can be read began then: that is behind every damage before it.
    fn saw(&mut self, began: Timestamp) {
        self.last_time = Some(began);
        for damage in self.found.damages.iter_mut().skip(self.untimed) {
            damage.before = Some(began);
        }
        self.untimed = self.found.damages.len();
    }

    /// Copies the living records, as they are, into segments behind all others.
    fn write_anew(&self, disk: &Disk) -> Result<(), JournalError> {
        let mut living: Vec<Place> = self.live.values().map(|live| live.place).collect();
        living.sort_unstable_by_key(|place| (place.segment, place.offset));
        let mut number = self.next_segment;
        let mut content = self.header(number);
        for segment in living.chunk_by(|a, b| a.segment == b.segment) {
            let Some(first) = segment.first() else {
                continue;
            };
            let bytes = disk.read(first.segment)?;
            for place in segment {
                let start = usize::try_from(place.offset).unwrap_or(usize::MAX);
                let end = start.saturating_add(usize::try_from(place.length).unwrap_or(0));
                content.extend_from_slice(bytes.get(start..end).unwrap_or_default());
                if content.len() >= SEGMENT_BYTES {
                    disk.sync(&disk.create(number, &content)?, number)?;
                    number += 1;
                    content = self.header(number);
                }
            }
        }
        disk.sync(&disk.create(number, &content)?, number)?;
        disk.sync_folder()
    }

    fn header(&self, segment: u64) -> Vec<u8> {
        let header = Header {
            format: FORMAT,
            segment,
            next_call: self.next_call,
        };
        header.encode()
    }
}

/// How many bytes there are before the next readable record, if there is one.
fn skip(bytes: &[u8]) -> Option<usize> {
    (1..bytes.len()).find(|start| {
        bytes
            .get(*start..)
            .is_some_and(|rest| Frame::read(rest).is_ok())
    })
}

fn decode<'a, T: serde::Deserialize<'a>>(frame: &Frame<'a>) -> Option<T> {
    match postcard::take_from_bytes(frame.body) {
        Ok((record, [])) => Some(record),
        _ => None,
    }
}

fn count<T>(items: impl Iterator<Item = T>) -> u64 {
    length(items.count())
}

fn length(bytes: usize) -> u64 {
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
