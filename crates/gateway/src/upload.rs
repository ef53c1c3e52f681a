//! A form of several parts on its way from a caller to a provider: piece by piece, never whole in
//! memory. What is not decided on within its first bytes waits in a file ([`spool`]) until it is.

mod inflow;
mod passage;
mod receive;
pub(crate) mod spool;

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tollgate_providers::{RequestError, Scanner};

use inflow::Inflow;
use spool::Stored;

pub(crate) use passage::{Fault, Passage, Reached};
pub(crate) use receive::{ModelNamed, receive};

/// A form that is on its way. Its length is known before its first byte leaves.
#[derive(Debug)]
pub(crate) struct Upload {
    /// Pieces that may leave at once.
    ready: VecDeque<Bytes>,
    rest: Rest,
    patch: Option<Patch>,
    passage: Arc<Passage>,
    /// Bytes that are still to leave.
    left: u64,
}

/// What follows the pieces that are ready.
#[derive(Debug)]
enum Rest {
    Nothing,
    /// It still comes from the caller.
    Flowing(Box<Flowing>),
    /// It lies in a file.
    Stored(Stored),
}

/// The part of a form that its caller still sends, and what it must not say any more.
#[derive(Debug)]
pub(crate) struct Flowing {
    inflow: Inflow,
    scanner: Scanner,
    /// Bytes of fields that were reckoned with when the call was decided on.
    text_bytes_max: u64,
    /// Bytes that the caller has still to send.
    left: u64,
}

/// The upload broke off: the connection to the provider is aborted before the form's end.
#[derive(Debug, thiserror::Error)]
#[error("the caller's upload broke off")]
pub(crate) struct BrokenOff;

const LATE_FIELDS: RequestError = RequestError::Form(
    "more than 8 KiB of fields stand behind the file: send them before it, or the whole form in \
     less than 256 KiB",
);

impl Upload {
    fn new(length: u64, ready: VecDeque<Bytes>, rest: Rest) -> Self {
        Self {
            ready,
            rest,
            patch: None,
            passage: Arc::default(),
            left: length,
        }
    }

    /// Puts other bytes in the place of a few; to be said before the first piece is taken.
    pub(crate) fn replace(&mut self, place: Range<u64>, with: Bytes) {
        let taken = place.end.saturating_sub(place.start);
        let given = u64::try_from(with.len()).unwrap_or(0);
        self.left = self.left.saturating_sub(taken).saturating_add(given);
        let mut patch = Patch { at: 0, place, with };
        let before = std::mem::take(&mut self.ready);
        for piece in before {
            patch.pass(&piece, &mut self.ready);
        }
        self.patch = Some(patch);
    }

    /// What is known of its way, for whoever waits at the other end.
    pub(crate) fn passage(&self) -> Arc<Passage> {
        Arc::clone(&self.passage)
    }

    /// Bytes that are still to leave.
    pub(crate) const fn left(&self) -> u64 {
        self.left
    }

    /// The next piece for the provider.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, BrokenOff>>> {
        loop {
            if let Some(piece) = self.ready.pop_front() {
                let bytes = u64::try_from(piece.len()).unwrap_or(0);
                self.left = self.left.saturating_sub(bytes);
                if self.ready.is_empty() && self.rest.has_told_all() {
                    self.passage.close();
                }
                if self.left == 0 {
                    self.passage.end();
                }
                return Poll::Ready(Some(Ok(piece)));
            }
            let next = match &mut self.rest {
                Rest::Nothing => None,
                Rest::Flowing(flowing) => ready!(flowing.poll_piece(cx)),
                Rest::Stored(stored) => ready!(stored.poll_piece(cx)),
            };
            match (next, &mut self.patch) {
                (Some(Ok(piece)), Some(patch)) => patch.pass(&piece, &mut self.ready),
                (Some(Ok(piece)), None) => self.ready.push_back(piece),
                (Some(Err(fault)), _) => {
                    self.rest = Rest::Nothing;
                    self.passage.halt(fault);
                    return Poll::Ready(Some(Err(BrokenOff)));
                }
                (None, _) => return Poll::Ready(None),
            }
        }
    }
}

impl Rest {
    /// Whether the form's last boundary was among what was given out.
    fn has_told_all(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Flowing(flowing) => flowing.scanner.form().is_closed(),
            Self::Stored(stored) => stored.is_empty(),
        }
    }
}

impl Flowing {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let piece = match ready!(self.inflow.poll_piece(cx)) {
            Some(Ok(piece)) => piece,
            Some(Err(fault)) => return Poll::Ready(Some(Err(fault))),
            // Less than was said, whatever the server took for its end.
            None => return Poll::Ready(Some(Err(Fault::Gone))),
        };
        Poll::Ready(Some(self.look_at(&piece).map(|()| piece)))
    }

    /// Breaks off where the form says what does not fit with what was decided on.
    fn look_at(&mut self, piece: &Bytes) -> Result<(), Fault> {
        self.scanner.push(piece)?;
        if self.scanner.form().text_bytes() > self.text_bytes_max {
            return Err(LATE_FIELDS.into());
        }
        let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        self.left = self.left.saturating_sub(bytes);
        if self.left == 0 {
            self.scanner.finish()?;
        }
        Ok(())
    }
}

/// Other bytes in the place of a few, in a body that passes in pieces.
#[derive(Debug)]
struct Patch {
    /// Bytes that have passed.
    at: u64,
    place: Range<u64>,
    with: Bytes,
}

impl Patch {
    /// Passes a piece on, but for what of it is replaced.
    fn pass(&mut self, piece: &Bytes, out: &mut VecDeque<Bytes>) {
        let length = u64::try_from(piece.len()).unwrap_or(u64::MAX);
        let from = self.at;
        self.at = from.saturating_add(length);
        let within = |place: u64| {
            let offset = place.saturating_sub(from).min(length);
            usize::try_from(offset).unwrap_or(piece.len())
        };
        let (start, end) = (within(self.place.start), within(self.place.end));
        let mut push = |piece: Bytes| {
            if !piece.is_empty() {
                out.push_back(piece);
            }
        };
        push(piece.slice(..start));
        if self.at >= self.place.start {
            push(std::mem::take(&mut self.with));
        }
        push(piece.slice(end..));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn patched(body: &[u8], cuts: &[usize], place: Range<u64>, with: &'static str) -> Vec<u8> {
        let mut patch = Patch {
            at: 0,
            place,
            with: Bytes::from_static(with.as_bytes()),
        };
        let mut out = VecDeque::new();
        for pair in cuts.windows(2) {
            patch.pass(&Bytes::copy_from_slice(&body[pair[0]..pair[1]]), &mut out);
        }
        Vec::from(out).concat()
    }

    #[test]
    fn a_few_bytes_are_replaced_wherever_the_pieces_are_cut() {
        let body = b"0123456789";
        for first in 0..=10 {
            for second in first..=10 {
                let cuts = [0, first, second, 10];
                for (place, with, expected) in [
                    (3..5, "abc", "012abc56789"),
                    (0..1, "", "123456789"),
                    (9..10, "z", "012345678z"),
                    (4..4, "x", "0123x456789"),
                ] {
                    let found = patched(body, &cuts, place.clone(), with);
                    let found = String::from_utf8(found).unwrap();
                    assert_eq!(found, expected, "{cuts:?} {place:?}");
                }
            }
        }
    }
}
