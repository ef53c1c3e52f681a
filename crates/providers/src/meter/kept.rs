//! Bytes that are kept until they can be read or handed on.
//!
//! One piece is kept as it came. Several are copied together, because a piece is a handle on a
//! larger buffer: a sender of single bytes would make us keep many times what it sent.

use bytes::Bytes;

/// The most that is kept, in bytes.
pub(super) const KEPT_MAX: usize = 8 << 20;

/// Bytes in the order in which they came.
#[derive(Debug)]
pub(super) enum Kept {
    One(Bytes),
    Several(Vec<u8>),
}

impl Default for Kept {
    fn default() -> Self {
        Self::One(Bytes::new())
    }
}

impl Kept {
    /// Adds a piece; false, and nothing is added, when it would be more than may be kept.
    #[must_use]
    pub(super) fn push(&mut self, piece: Bytes) -> bool {
        let length = match self {
            Self::One(first) => first.len(),
            Self::Several(all) => all.len(),
        };
        let total = length.saturating_add(piece.len());
        if total > KEPT_MAX {
            return false;
        }
        match self {
            Self::One(first) if first.is_empty() => *first = piece,
            Self::One(_) if piece.is_empty() => {}
            Self::One(first) => {
                let mut all = Vec::with_capacity(total);
                all.extend_from_slice(first);
                all.extend_from_slice(&piece);
                *self = Self::Several(all);
            }
            Self::Several(all) => {
                if total > all.capacity() {
                    let room = all.capacity().saturating_mul(2).min(KEPT_MAX).max(total);
                    all.reserve_exact(room.saturating_sub(length));
                }
                all.extend_from_slice(&piece);
            }
        }
        true
    }

    /// Takes everything out.
    pub(super) fn take(&mut self) -> Bytes {
        match std::mem::take(self) {
            Self::One(first) => first,
            Self::Several(all) => all.into(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_sender_of_single_bytes_makes_us_keep_is_what_it_sent() {
        let mut kept = Kept::default();
        assert!(kept.push(Bytes::from_static(b"xxxxx")));
        for _ in 5..KEPT_MAX {
            assert!(kept.push(Bytes::from_static(b"x")));
        }
        assert!(!kept.push(Bytes::from_static(b"x")));
        assert!(kept.push(Bytes::new()));
        match &kept {
            Kept::Several(all) => assert_eq!((all.len(), all.capacity()), (KEPT_MAX, KEPT_MAX)),
            Kept::One(_) => panic!("one piece"),
        }
        assert_eq!(kept.take().len(), KEPT_MAX);
        assert!(kept.take().is_empty());
    }
}
