//! The bytes of a segment: a header, then frames of length, checksum and payload, all little-endian.
//!
//! | bytes | header | | bytes | frame |
//! | --- | --- | --- | --- | --- |
//! | 8 | magic | | 4 | length of the payload |
//! | 4 | format | | 4 | CRC-32C of the payload |
//! | 8 | number of the segment | | 1 | kind of record |
//! | 8 | a call number not yet used | | 8 | number of the call |
//! | 4 | CRC-32C of what is before | | … | the record, in postcard |
//!
//! A change of anything here, or of the fields of a usage entry, is a new [`FORMAT`].

use std::cell::RefCell;

use super::error::JournalError;
use super::sheet::{Record, Sheet};

/// The format that is written and read.
pub(super) const FORMAT: u32 = 2;
/// The length of a segment's header.
pub(super) const HEADER_BYTES: usize = 32;

const MAGIC: &[u8; 8] = b"TGJOURNL";
/// Length and checksum, which stand before the payload.
const PREFIX_BYTES: usize = 8;
/// Kind and number, which every payload begins with.
const PAYLOAD_BYTES_MIN: usize = 9;
/// No row is nearly as long; a greater length is damage.
const PAYLOAD_BYTES_MAX: usize = 1 << 20;
/// Each thread that appends keeps a buffer of so many bytes; an unusual row gets one of its own.
const BUFFER_BYTES: usize = 4 << 10;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// What a record says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A call is about to be sent; the record is its row if nothing more is heard of it.
    Dispatched,
    /// The finished row of a dispatched call.
    Settled,
    /// The row of a call that never was dispatched.
    Recorded,
    /// A dispatched call did not reach the provider.
    Released,
    /// The calls of these numbers are in the ledger.
    Posted,
    /// The segment of this number is on the disk, with this length.
    Sealed,
}

impl Kind {
    const ALL: [Self; 6] = [
        Self::Dispatched,
        Self::Settled,
        Self::Recorded,
        Self::Released,
        Self::Posted,
        Self::Sealed,
    ];

    const fn code(self) -> u8 {
        match self {
            Self::Dispatched => 1,
            Self::Settled => 2,
            Self::Recorded => 3,
            Self::Released => 4,
            Self::Posted => 5,
            Self::Sealed => 6,
        }
    }
}

/// What is wrong with some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Flaw {
    /// The flaw, in words.
    pub(super) what: &'static str,
    /// Whether a write that was cut short by a crash can look like this.
    pub(super) can_be_torn: bool,
}

impl Flaw {
    const fn torn(what: &'static str) -> Self {
        Self {
            what,
            can_be_torn: true,
        }
    }
}

/// What stands at the head of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    /// The format of the segment.
    pub(super) format: u32,
    /// The number of the segment, as in its name.
    pub(super) segment: u64,
    /// Every call number in earlier segments is below this one.
    pub(super) next_call: u64,
}

impl Header {
    /// The header's bytes.
    pub(super) fn encode(self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.format.to_le_bytes());
        bytes.extend_from_slice(&self.segment.to_le_bytes());
        bytes.extend_from_slice(&self.next_call.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// Reads the header at the start of a segment.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, Flaw> {
        let short = Flaw::torn("its header is cut short");
        let (magic, rest) = bytes.split_first_chunk::<8>().ok_or(short)?;
        let (format, rest) = rest.split_first_chunk().ok_or(short)?;
        let (segment, rest) = rest.split_first_chunk().ok_or(short)?;
        let (next_call, rest) = rest.split_first_chunk().ok_or(short)?;
        let (checksum, _) = rest.split_first_chunk().ok_or(short)?;
        if magic != MAGIC {
            return Err(Flaw::torn("it is not a segment of a journal"));
        }
        let covered = HEADER_BYTES - 4;
        if crc32c::crc32c(&bytes[..covered]) != u32::from_le_bytes(*checksum) {
            return Err(Flaw::torn("the checksum of its header does not match"));
        }
        Ok(Self {
            format: u32::from_le_bytes(*format),
            segment: u64::from_le_bytes(*segment),
            next_call: u64::from_le_bytes(*next_call),
        })
    }
}

/// One record as it stands in a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Frame<'a> {
    /// What the record says.
    pub(super) kind: Kind,
    /// Of which call (or segment).
    pub(super) number: u64,
    /// The record itself.
    pub(super) body: &'a [u8],
    /// The length of the whole frame.
    pub(super) length: usize,
}

impl<'a> Frame<'a> {
    /// Reads the frame at the start of `bytes`.
    pub(super) fn read(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let payload = checked_payload(bytes)?;
        let unknown = Flaw {
            what: "a record of a kind that this version does not know",
            can_be_torn: false,
        };
        let (code, rest) = payload.split_first().ok_or(unknown)?;
        let (number, body) = rest.split_first_chunk().ok_or(unknown)?;
        let kind = Kind::ALL.into_iter().find(|kind| kind.code() == *code);
        Ok(Self {
            kind: kind.ok_or(unknown)?,
            number: u64::from_le_bytes(*number),
            body,
            length: PREFIX_BYTES + payload.len(),
        })
    }

    /// Whether an undamaged frame begins at any place in `bytes`: then what is before it was not
    /// the last thing written.
    pub(super) fn is_anywhere_in(bytes: &[u8]) -> bool {
        (0..bytes.len()).any(|start| checked_payload(&bytes[start..]).is_ok())
    }
}

fn checked_payload(bytes: &[u8]) -> Result<&[u8], Flaw> {
    let short = Flaw::torn("a record is cut short");
    let (length, rest) = bytes.split_first_chunk().ok_or(short)?;
    let (checksum, rest) = rest.split_first_chunk().ok_or(short)?;
    let length = usize::try_from(u32::from_le_bytes(*length)).unwrap_or(usize::MAX);
    if !(PAYLOAD_BYTES_MIN..=PAYLOAD_BYTES_MAX).contains(&length) {
        return Err(Flaw::torn("the length of a record is impossible"));
    }
    let payload = rest.get(..length).ok_or(short)?;
    if crc32c::crc32c(payload) != u32::from_le_bytes(*checksum) {
        return Err(Flaw::torn("the checksum of a record does not match"));
    }
    Ok(payload)
}

/// Writes a frame into this thread's buffer and hands it to `then`: no allocation once there is
/// one, and no lock while encoding.
pub(super) fn with_frame<T>(
    kind: Kind,
    number: u64,
    record: &impl Record,
    then: impl FnOnce(&[u8]) -> Result<T, JournalError>,
) -> Result<T, JournalError> {
    BUFFER.with_borrow_mut(|buffer| {
        if buffer.is_empty() {
            buffer.resize(BUFFER_BYTES, 0);
        }
        let length = encode(buffer, kind, number, record);
        if let Some(frame) = buffer.get(..length) {
            return then(frame);
        }
        let payload = length - PREFIX_BYTES;
        if payload > PAYLOAD_BYTES_MAX {
            return Err(JournalError::TooLong {
                bytes: u64::try_from(payload).unwrap_or(u64::MAX),
                bytes_max: 1 << 20,
            });
        }
        let mut long = vec![0; length];
        encode(&mut long, kind, number, record);
        then(&long)
    })
}

/// Writes a frame to the front of a buffer and tells how long it is; if that is more than the
/// buffer has, there is no frame in it.
fn encode(buffer: &mut [u8], kind: Kind, number: u64, record: &impl Record) -> usize {
    let mut sheet = Sheet::behind(buffer, PREFIX_BYTES);
    sheet.byte(kind.code());
    sheet.bytes(&number.to_le_bytes());
    record.write(&mut sheet);
    let length = sheet.used();
    let frame = buffer.get_mut(..length);
    if let Some((prefix, payload)) = frame.and_then(<[u8]>::split_first_chunk_mut) {
        *prefix = prefix_of(payload);
    }
    length
}

/// Length and checksum, as they stand before a payload.
fn prefix_of(payload: &[u8]) -> [u8; PREFIX_BYTES] {
    let length = u32::try_from(payload.len()).unwrap_or(u32::MAX);
    let prefix = u64::from(length) | (u64::from(crc32c::crc32c(payload)) << 32);
    prefix.to_le_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(number: u64) -> Vec<u8> {
        with_frame(Kind::Settled, number, &number, |bytes| Ok(bytes.to_vec())).unwrap()
    }

    #[test]
    fn a_frame_reads_back_and_any_flipped_bit_is_noticed() {
        let written = frame(7);
        let read = Frame::read(&written).unwrap();
        assert_eq!((read.kind, read.number), (Kind::Settled, 7));
        assert_eq!(read.length, written.len());
        for bit in 0..written.len() * 8 {
            let mut flipped = written.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::read(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_header_reads_back_and_any_flipped_bit_is_noticed() {
        let header = Header {
            format: FORMAT,
            segment: 3,
            next_call: 1 << 40,
        };
        let written = header.encode();
        assert_eq!(written.len(), HEADER_BYTES);
        assert_eq!(Header::read(&written), Ok(header));
        for bit in 0..written.len() * 8 {
            let mut flipped = written.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::read(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_whole_frame_is_found_behind_rubbish_and_none_in_zeros() {
        let mut bytes = vec![0xA5; 100];
        bytes.extend(frame(1));
        assert!(Frame::is_anywhere_in(&bytes));
        assert!(!Frame::is_anywhere_in(&bytes[..bytes.len() - 1]));
        assert!(!Frame::is_anywhere_in(&[0; 100]));
    }

    #[test]
    fn a_record_of_an_unknown_kind_is_never_taken_for_a_torn_one() {
        let mut bytes = frame(1);
        bytes[PREFIX_BYTES] = 99;
        let checksum = crc32c::crc32c(&bytes[PREFIX_BYTES..]);
        bytes[4..8].copy_from_slice(&checksum.to_le_bytes());
        assert!(!Frame::read(&bytes).unwrap_err().can_be_torn);
    }

    #[test]
    fn a_record_longer_than_the_buffer_is_a_frame_and_of_more_than_a_mebibyte_is_refused() {
        let most = PAYLOAD_BYTES_MAX - PAYLOAD_BYTES_MIN - 3;
        for (numbers, fits) in [(BUFFER_BYTES, true), (most, true), (most + 1, false)] {
            let long = vec![0_u64; numbers];
            let framed = with_frame(Kind::Posted, 1, &long, |bytes| Ok(bytes.to_vec()));
            match framed {
                Ok(bytes) => {
                    let read = Frame::read(&bytes).unwrap();
                    assert!(fits && read.length == bytes.len());
                    assert_eq!(postcard::from_bytes(read.body), Ok(long));
                }
                Err(error) => {
                    let bytes = u64::try_from(PAYLOAD_BYTES_MAX + 1).unwrap();
                    let is_told =
                        matches!(error, JournalError::TooLong { bytes: told, .. } if told == bytes);
                    assert!(!fits && is_told, "{error}");
                }
            }
        }
    }
}
