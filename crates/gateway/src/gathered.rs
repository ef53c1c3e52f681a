//! A body while it is gathered. What it costs to hold is what was sent: a piece is a handle on a
//! larger buffer, so a sender of single bytes would otherwise make us hold a hundred times that.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Bytes from which on a piece is held as it came; smaller ones are copied together.
const LARGE_BYTES: usize = 4 << 10;

/// Bytes that are copied together at most.
const TOGETHER_BYTES_MAX: usize = 64 << 10;

/// Pieces in order.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    /// Mostly all there is.
    first: Bytes,
    /// What comes after it.
    pieces: VecDeque<Bytes>,
    small: BytesMut,
    bytes: usize,
}

impl Gathered {
    /// Adds the next piece. The first is held as it came, since most bodies have no second.
    pub(crate) fn push(&mut self, piece: Bytes) {
        if piece.is_empty() {
            return;
        }
        self.bytes = self.bytes.saturating_add(piece.len());
        if self.first.is_empty() {
            self.first = piece;
        } else if piece.len() >= LARGE_BYTES {
            self.close_small();
            self.pieces.push_back(piece);
        } else {
            self.small.extend_from_slice(&piece);
            if self.small.len() >= TOGETHER_BYTES_MAX {
                self.close_small();
            }
        }
    }

    /// How many bytes there are.
    pub(crate) const fn len(&self) -> usize {
        self.bytes
    }

    /// The pieces in order.
    pub(crate) fn into_pieces(mut self) -> VecDeque<Bytes> {
        self.close_small();
        if !self.first.is_empty() {
            self.pieces.push_front(self.first);
        }
        self.pieces
    }

    /// All of it in one piece; copied only where there are several.
    pub(crate) fn into_bytes(mut self) -> Bytes {
        self.close_small();
        if self.pieces.is_empty() {
            return self.first;
        }
        let mut all = BytesMut::with_capacity(self.bytes);
        all.extend_from_slice(&self.first);
        for piece in self.pieces {
            all.extend_from_slice(&piece);
        }
        all.freeze()
    }

    fn close_small(&mut self) {
        if !self.small.is_empty() {
            self.pieces
                .push_back(std::mem::take(&mut self.small).freeze());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gathered(pieces: &[&'static [u8]]) -> Gathered {
        let mut gathered = Gathered::default();
        for piece in pieces {
            gathered.push(Bytes::from_static(piece));
        }
        gathered
    }

    #[test]
    fn a_body_is_the_same_however_it_came() {
        const LARGE: &[u8] = &[b'x'; 5_000];
        let table: [&[&'static [u8]]; 6] = [
            &[],
            &[b"", b""],
            &[b"one"],
            &[b"one", b" two", b"", b" three"],
            &[LARGE, b"a", LARGE, b"b", b"c", LARGE],
            &[b"a", LARGE, LARGE, b"b"],
        ];
        for pieces in table {
            let expected = pieces.concat();
            assert_eq!(gathered(pieces).len(), expected.len());
            assert_eq!(gathered(pieces).into_bytes(), expected);
            let again: Vec<_> = gathered(pieces).into_pieces().into();
            assert_eq!(again.concat(), expected);
        }
    }

    #[test]
    fn a_body_of_one_piece_is_not_copied() {
        let piece = Bytes::from(vec![b'x'; 10_000]);
        let mut gathered = Gathered::default();
        gathered.push(piece.clone());
        assert_eq!(gathered.into_bytes().as_ptr(), piece.as_ptr());
    }

    #[test]
    fn a_sender_of_single_bytes_makes_us_hold_few_pieces() {
        let buffer = Bytes::from(vec![b'x'; 1_000_000]);
        let mut gathered = Gathered::default();
        for at in 0..buffer.len() {
            gathered.push(buffer.slice(at..=at));
        }
        let pieces = gathered.into_pieces();
        assert!(pieces.len() < 20, "{} pieces", pieces.len());
        // All but the first are copies, so that the sender's buffers are free again.
        let rest: usize = pieces.iter().skip(1).map(Bytes::len).sum();
        assert_eq!(rest, buffer.len() - 1);
    }
}
