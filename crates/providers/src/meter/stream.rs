//! A stream of events in text, of which some may be taken out.

use bytes::Bytes;

use super::kept::Kept;
use super::{Fate, pass};
use crate::sse::{Found, Scanner};

/// Where a stream is.
#[derive(Debug, Default)]
pub(super) struct Stream {
    pub(super) scanner: Scanner,
    /// An event that has not ended; only kept where events may be taken out.
    pub(super) held: Kept,
    /// Whether the event before was taken out, so that a LF that belongs to it is, too.
    removed: bool,
}

impl Stream {
    /// Whether what comes now is the beginning of an event.
    pub(super) const fn begins_event(&self) -> bool {
        self.scanner.is_fresh()
    }

    /// An event has passed, from its first byte to its last, that the scanner was not shown.
    pub(super) const fn pass_event(&mut self) {
        self.removed = false;
    }

    /// Hands on all events but those that have only usage. Only bytes of an event that has not
    /// ended are held back.
    pub(super) fn push_filtered(
        &mut self,
        chunk: &Bytes,
        see: &mut impl FnMut(&Found<'_>) -> Fate,
        out: &mut impl FnMut(Bytes),
    ) {
        let Self {
            scanner,
            held,
            removed,
        } = self;
        // Everything before `from` is handed on or taken out; `ended` is where the last event ends.
        let (mut from, mut ended) = (0_usize, 0_usize);
        scanner.push(chunk, |found, end| {
            if found == Found::Tail {
                if *removed {
                    from = end;
                }
            } else if see(&found) == Fate::UsageOnly {
                *removed = true;
                drop(held.take());
                pass(part(chunk, from, ended), out);
                from = end;
            } else {
                *removed = false;
                pass(held.take(), out);
            }
            ended = end;
        });
        if scanner.is_skipping() {
            pass(held.take(), out);
            ended = chunk.len();
        }
        pass(part(chunk, from, ended), out);
        let rest = part(chunk, ended, chunk.len());
        // An event that is too large for the scanner is not held: this cannot be full.
        if !held.push(rest.clone()) {
            pass(held.take(), out);
            pass(rest, out);
        }
    }
}

/// A slice that is empty where the span is not inside the chunk.
fn part(chunk: &Bytes, from: usize, to: usize) -> Bytes {
    chunk
        .get(from..to)
        .map_or_else(Bytes::new, |inside| chunk.slice_ref(inside))
}
