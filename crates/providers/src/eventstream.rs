//! AWS's event streams: binary frames with checksums, found while their bytes pass.
//!
//! A frame is two lengths and their checksum, headers, a payload, and a checksum of it all. Half a
//! frame is of no use to anyone, so it is held back until it is whole: a stream that breaks off can
//! then end with a frame that says so. A frame of more than [`FRAME_MAX`] bytes passes as it comes,
//! unread, and so does everything after a checksum that is wrong.

use bytes::Bytes;
use crc::{CRC_32_ISO_HDLC, Crc, Table};

/// The largest frame that is held to be read, in bytes.
const FRAME_MAX: usize = 1 << 20;

/// The largest frame that there may be, in bytes; a length beyond it is rubbish.
const FRAME_POSSIBLE: usize = 32 << 20;

/// The two lengths and their checksum.
const PRELUDE: usize = 12;

/// The bytes of a frame beside its headers and its payload.
const FRAMING: usize = 16;

static CHECKSUM: Crc<u32, Table<16>> = Crc::<u32, Table<16>>::new(&CRC_32_ISO_HDLC);

/// Finds frames.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    /// The bytes so far of a frame that has not ended.
    partial: Vec<u8>,
    /// The bytes to come of a frame that is too large to be held.
    skipping: usize,
    /// Whether a frame was none: where the next one begins is not known.
    lost: bool,
}

/// What was found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// A whole frame whose checksums are right.
    Frame(Frame<'a>),
    /// A frame of so many bytes, too large to be held.
    TooLarge(usize),
    /// Something that is no frame; nothing is found after it.
    Lost,
}

/// One frame.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Frame<'a> {
    headers: &'a [u8],
    /// What it carries.
    pub(crate) payload: &'a [u8],
}

impl Frames {
    /// Looks at the next bytes: calls `found` with what ends there, and hands on all but half a
    /// frame.
    pub(crate) fn push(
        &mut self,
        chunk: &Bytes,
        found: &mut impl FnMut(&Found<'_>),
        out: &mut impl FnMut(Bytes),
    ) {
        let mut rest = chunk.clone();
        if !self.partial.is_empty() {
            self.complete(&mut rest, found, out);
        }
        let mut end = 0_usize;
        while let Some(ahead) = rest.get(end..).filter(|ahead| !ahead.is_empty()) {
            if self.lost {
                end = rest.len();
                break;
            }
            if self.skipping > 0 {
                let skipped = self.skipping.min(ahead.len());
                self.skipping = self.skipping.saturating_sub(skipped);
                end = end.saturating_add(skipped);
                continue;
            }
            match length(ahead) {
                Length::Unknown => break,
                Length::Wrong => self.lose(found),
                Length::Known(total) if total > FRAME_MAX => {
                    found(&Found::TooLarge(total));
                    self.skipping = total;
                }
                Length::Known(total) => match ahead.get(..total) {
                    None => break,
                    Some(whole) => {
                        self.tell(whole, found);
                        end = end.saturating_add(total);
                    }
                },
            }
        }
        let passed = rest.split_to(end.min(rest.len()));
        if !passed.is_empty() {
            out(passed);
        }
        self.partial.extend_from_slice(&rest);
    }

    /// What was held back of a frame that has not ended, for when nothing more comes.
    pub(crate) fn rest(&mut self) -> Bytes {
        std::mem::take(&mut self.partial).into()
    }

    /// Adds to the frame that is held; hands it on once it is whole.
    fn complete(
        &mut self,
        rest: &mut Bytes,
        found: &mut impl FnMut(&Found<'_>),
        out: &mut impl FnMut(Bytes),
    ) {
        self.take(rest, PRELUDE);
        match length(&self.partial) {
            Length::Unknown => return,
            Length::Wrong => self.lose(found),
            Length::Known(total) if total > FRAME_MAX => {
                found(&Found::TooLarge(total));
                self.skipping = total.saturating_sub(self.partial.len());
            }
            Length::Known(total) => {
                self.take(rest, total);
                if self.partial.len() < total {
                    return;
                }
                let whole = std::mem::take(&mut self.partial);
                self.tell(&whole, found);
                return out(whole.into());
            }
        }
        out(self.rest());
    }

    /// Takes bytes until so many are held.
    fn take(&mut self, rest: &mut Bytes, total: usize) {
        let missing = total.saturating_sub(self.partial.len());
        let taken = rest.split_to(missing.min(rest.len()));
        self.partial.extend_from_slice(&taken);
    }

    fn tell(&mut self, whole: &[u8], found: &mut impl FnMut(&Found<'_>)) {
        match Frame::parse(whole) {
            Some(frame) => found(&Found::Frame(frame)),
            None => self.lose(found),
        }
    }

    fn lose(&mut self, found: &mut impl FnMut(&Found<'_>)) {
        self.lost = true;
        found(&Found::Lost);
    }
}

/// What the beginning of a frame says of its length.
enum Length {
    /// It is not all there.
    Unknown,
    /// It cannot be.
    Wrong,
    /// So many bytes.
    Known(usize),
}

fn length(bytes: &[u8]) -> Length {
    let Some(prelude) = bytes.get(..PRELUDE) else {
        return Length::Unknown;
    };
    let lengths = prelude.get(..8).unwrap_or_default();
    let (Some(total), Some(headers), Some(checksum)) =
        (word(prelude, 0), word(prelude, 4), word(prelude, 8))
    else {
        return Length::Unknown;
    };
    let (Ok(total), Ok(headers)) = (usize::try_from(total), usize::try_from(headers)) else {
        return Length::Wrong;
    };
    let fits = headers
        .checked_add(FRAMING)
        .is_some_and(|least| (least..=FRAME_POSSIBLE).contains(&total));
    if fits && CHECKSUM.checksum(lengths) == checksum {
        Length::Known(total)
    } else {
        Length::Wrong
    }
}

/// Four bytes of a frame as a number.
fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    four.try_into().ok().map(u32::from_be_bytes)
}

impl<'a> Frame<'a> {
    /// Takes a whole frame apart; none when its checksum is wrong. Its prelude was looked at.
    fn parse(whole: &'a [u8]) -> Option<Self> {
        let body = whole.len().checked_sub(4)?;
        let (checked, checksum) = whole.split_at_checked(body)?;
        if word(checksum, 0)? != CHECKSUM.checksum(checked) {
            return None;
        }
        let headers = usize::try_from(word(whole, 4)?).ok()?;
        let (headers, payload) = checked.get(PRELUDE..)?.split_at_checked(headers)?;
        Some(Self { headers, payload })
    }

    /// The text of a header.
    pub(crate) fn header(&self, name: &str) -> Option<&'a str> {
        let mut rest = self.headers;
        while let Some(header) = next_header(rest) {
            if header.name == name.as_bytes() {
                let text = header.text?;
                return std::str::from_utf8(text).ok();
            }
            rest = header.after;
        }
        None
    }
}

/// A header of a frame.
struct Header<'a> {
    name: &'a [u8],
    /// The value, where it is a text.
    text: Option<&'a [u8]>,
    /// What follows.
    after: &'a [u8],
}

fn next_header(bytes: &[u8]) -> Option<Header<'_>> {
    let (length, rest) = bytes.split_first()?;
    let (name, rest) = rest.split_at_checked(usize::from(*length))?;
    let (kind, rest) = rest.split_first()?;
    let (length, rest) = match kind {
        // True and false say all by their kind; numbers, times and ids have lengths of their own.
        0 | 1 => (0, rest),
        2 => (1, rest),
        3 => (2, rest),
        4 => (4, rest),
        5 | 8 => (8, rest),
        9 => (16, rest),
        6 | 7 => {
            let (length, rest) = rest.split_at_checked(2)?;
            let length = u16::from_be_bytes(length.try_into().ok()?);
            (usize::from(length), rest)
        }
        _ => return None,
    };
    let (value, after) = rest.split_at_checked(length)?;
    let text = (*kind == 7).then_some(value);
    Some(Header { name, text, after })
}

/// A frame with these headers, each of fewer than 256 bytes, and this payload.
pub(crate) fn frame(headers: &[(&str, &str)], payload: &[u8]) -> Vec<u8> {
    let mut written = Vec::new();
    for (name, value) in headers {
        written.push(u8::try_from(name.len()).unwrap_or_default());
        written.extend_from_slice(name.as_bytes());
        written.push(7);
        written.extend_from_slice(&u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
        written.extend_from_slice(value.as_bytes());
    }
    let total = written.len().saturating_add(payload.len());
    let total = u32::try_from(total.saturating_add(FRAMING)).unwrap_or(u32::MAX);
    let mut frame = total.to_be_bytes().to_vec();
    frame.extend_from_slice(
        &u32::try_from(written.len())
            .unwrap_or(u32::MAX)
            .to_be_bytes(),
    );
    frame.extend_from_slice(&CHECKSUM.checksum(&frame).to_be_bytes());
    frame.extend_from_slice(&written);
    frame.extend_from_slice(payload);
    frame.extend_from_slice(&CHECKSUM.checksum(&frame).to_be_bytes());
    frame
}

#[cfg(test)]
mod tests;
