//! Reading a journal back: what lives, what was torn by a crash, and what is damaged.
//!
//! A crash can only cut off the end of what was not yet known to be on the disk. A segment that a
//! later record has sealed must be whole; in any other, a flaw with nothing whole behind it is the
//! torn end of a write, and everything else is damage and stops the start.

use std::collections::HashMap;

use super::disk::Disk;
use super::error::JournalError;
use super::frame::{FORMAT, Flaw, Frame, HEADER_BYTES, Header, Kind};
use super::log::{Live, Place};

/// What a journal's folder holds.
#[derive(Debug)]
pub(super) struct Replayed {
    /// Every segment, oldest first.
    pub(super) segments: Vec<Found>,
    /// What a restart needs, by call number.
    pub(super) live: HashMap<u64, Live>,
    /// A call number above all that were used.
    pub(super) next_call: u64,
    /// How many records were read.
    pub(super) records: u64,
    /// How many bytes of torn writes were cut off.
    pub(super) torn_bytes: u64,
}

/// One segment that was read.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) number: u64,
    /// Its length in bytes, without a torn end.
    pub(super) length: u64,
    /// Whether a later record says that it is whole.
    pub(super) sealed: bool,
    /// Its length as it was read.
    length_read: u64,
    flaw: Option<(Flaw, Behind)>,
}

/// What stands behind a flaw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Behind {
    Nothing,
    WholeRecords,
}

/// Reads every segment, judges every flaw, and only then cuts the torn ends off.
pub(super) fn replay(disk: &Disk) -> Result<Replayed, JournalError> {
    let mut replayed = Replayed {
        segments: Vec::new(),
        live: HashMap::new(),
        next_call: 0,
        records: 0,
        torn_bytes: 0,
    };
    let mut sealed = HashMap::new();
    for number in disk.segments()? {
        let expected = replayed.segments.last().map(|last| last.number + 1);
        if let Some(expected) = expected.filter(|expected| *expected != number) {
            return Err(JournalError::Corrupt {
                file: disk.path(expected),
                offset: 0,
                what: "the file is missing",
            });
        }
        let found = replayed.read(disk, number, &mut sealed)?;
        replayed.segments.push(found);
    }
    for found in &mut replayed.segments {
        found.judge(disk, sealed.get(&found.number).copied())?;
    }
    replayed.cut_torn_ends(disk)?;
    Ok(replayed)
}

impl Replayed {
    fn read(
        &mut self,
        disk: &Disk,
        number: u64,
        sealed: &mut HashMap<u64, u64>,
    ) -> Result<Found, JournalError> {
        let bytes = disk.read(number)?;
        let mut found = Found {
            number,
            length: 0,
            sealed: false,
            length_read: length_of(&bytes),
            flaw: None,
        };
        match Header::read(&bytes) {
            Ok(header) => {
                header.check(disk, number)?;
                self.next_call = self.next_call.max(header.next_call);
                found.length = length_of(&bytes[..HEADER_BYTES]);
            }
            Err(flaw) => {
                found.flaw = Some((flaw, Behind::of(&bytes)));
                return Ok(found);
            }
        }
        let mut rest = &bytes[HEADER_BYTES..];
        while !rest.is_empty() {
            match Frame::read(rest) {
                Ok(frame) => {
                    let place = Place {
                        segment: number,
                        offset: found.length,
                        length: length_of(&rest[..frame.length]),
                    };
                    self.take(disk, &frame, place, sealed)?;
                    found.length += place.length;
                    rest = &rest[frame.length..];
                }
                Err(flaw) => {
                    found.flaw = Some((flaw, Behind::of(&rest[1..])));
                    break;
                }
            }
        }
        Ok(found)
    }

    fn take(
        &mut self,
        disk: &Disk,
        frame: &Frame<'_>,
        place: Place,
        sealed: &mut HashMap<u64, u64>,
    ) -> Result<(), JournalError> {
        self.records += 1;
        if frame.kind != Kind::Sealed {
            self.next_call = self.next_call.max(frame.number.saturating_add(1));
        }
        match frame.kind {
            Kind::Dispatched => {
                self.live.insert(frame.number, Live { place, open: true });
            }
            Kind::Settled | Kind::Recorded => {
                self.live.insert(frame.number, Live { place, open: false });
            }
            Kind::Released => {
                self.live.remove(&frame.number);
            }
            Kind::Posted => {
                for number in decode::<Vec<u64>>(disk, frame, place)? {
                    self.live.remove(&number);
                }
            }
            Kind::Sealed => {
                sealed.insert(frame.number, decode(disk, frame, place)?);
            }
        }
        Ok(())
    }

    fn cut_torn_ends(&mut self, disk: &Disk) -> Result<(), JournalError> {
        for found in self.segments.iter().filter(|found| !found.sealed) {
            let file = disk.open_segment(found.number)?;
            if found.length < found.length_read {
                disk.cut(&file, found.number, found.length)?;
                self.torn_bytes += found.length_read - found.length;
            }
            // What is about to be sealed must be on the disk, also what a dead process wrote.
            disk.sync(&file, found.number)?;
        }
        Ok(())
    }
}

impl Header {
    fn check(self, disk: &Disk, number: u64) -> Result<(), JournalError> {
        if self.format != FORMAT {
            return Err(JournalError::Format {
                file: disk.path(number),
                found: self.format,
                known: FORMAT,
            });
        }
        if self.segment != number {
            return Err(JournalError::Corrupt {
                file: disk.path(number),
                offset: 0,
                what: "its header has the number of another segment",
            });
        }
        Ok(())
    }
}

impl Behind {
    fn of(bytes: &[u8]) -> Self {
        if Frame::is_anywhere_in(bytes) {
            Self::WholeRecords
        } else {
            Self::Nothing
        }
    }
}

impl Found {
    fn judge(&mut self, disk: &Disk, sealed_at: Option<u64>) -> Result<(), JournalError> {
        self.sealed = sealed_at.is_some();
        let what = match (self.flaw, sealed_at) {
            (None, Some(length)) if length > self.length => Some("the file is shorter than it was"),
            (None, Some(length)) if length < self.length => Some("the file is longer than it was"),
            // A segment that was cut to nothing because even its header was torn.
            (Some(_), Some(0)) if self.length_read == 0 => None,
            (Some((flaw, _)), Some(_)) => Some(flaw.what),
            (Some((flaw, behind)), None) => {
                (!flaw.can_be_torn || behind == Behind::WholeRecords).then_some(flaw.what)
            }
            (None, _) => None,
        };
        what.map_or(Ok(()), |what| {
            Err(JournalError::Corrupt {
                file: disk.path(self.number),
                offset: self.length,
                what,
            })
        })
    }
}

/// What a record says.
pub(super) fn decode<'a, T: serde::Deserialize<'a>>(
    disk: &Disk,
    frame: &Frame<'a>,
    place: Place,
) -> Result<T, JournalError> {
    match postcard::take_from_bytes(frame.body) {
        Ok((record, [])) => Ok(record),
        _ => Err(corrupt(disk, place, "a record is not what its kind says")),
    }
}

/// Damage at a place that had been read before.
pub(super) fn corrupt(disk: &Disk, place: Place, what: &'static str) -> JournalError {
    JournalError::Corrupt {
        file: disk.path(place.segment),
        offset: place.offset,
        what,
    }
}

fn length_of(bytes: &[u8]) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
