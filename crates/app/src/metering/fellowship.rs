//! The nodes that share a store, as one of them sees them: how many there are, and whether it is
//! still one of them.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use tollgate_core::Moment;
use tollgate_core::gate::Sharing;

/// How long after its last sign of life a node goes on handing out what it has drawn: half of the
/// time after which the others take it for lost and use it themselves.
const REMEMBERED_MICROS: i64 = 12 * 3_600 * 1_000_000;

/// What one node knows of the others.
#[derive(Debug)]
pub(crate) struct Fellowship {
    sharing: Sharing,
    /// Parts that what is left is divided into: 1 is all of it.
    share: AtomicU32,
    /// When the store last took a sign of life, on the steady clock.
    heard_micros: AtomicI64,
}

impl Fellowship {
    /// A node that has just given a sign of life.
    pub(crate) fn joined(sharing: Sharing, now: Moment) -> Self {
        Self {
            sharing,
            share: AtomicU32::new(1),
            heard_micros: AtomicI64::new(now.steady_micros),
        }
    }

    /// Whether several nodes may share the store.
    pub(crate) const fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Takes in that the store heard of this node, and that so many nodes live.
    pub(crate) fn heard(&self, nodes: u32, now: Moment) {
        // Half of a fair part: what is left then is for those who need it sooner.
        let share = if nodes > 1 {
            nodes.saturating_mul(2)
        } else {
            1
        };
        self.share.store(share, Ordering::Relaxed);
        self.heard_micros
            .store(now.steady_micros, Ordering::Relaxed);
    }

    /// A draw may take one part in so many of what is left.
    pub(crate) fn share(&self) -> u32 {
        self.share.load(Ordering::Relaxed)
    }

    /// Whether the others may soon take this node for lost, so that it must hand out nothing more.
    pub(crate) fn is_forgotten(&self, now: Moment) -> bool {
        let heard = self.heard_micros.load(Ordering::Relaxed);
        matches!(self.sharing, Sharing::Shared)
            && now.steady_micros.saturating_sub(heard) > REMEMBERED_MICROS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_micros: i64) -> Moment {
        Moment {
            wall: jiff::Timestamp::UNIX_EPOCH,
            steady_micros,
        }
    }

    #[test]
    fn one_node_takes_all_and_several_leave_something_for_each_other() {
        let fellowship = Fellowship::joined(Sharing::Shared, at(0));
        assert_eq!(fellowship.share(), 1);
        fellowship.heard(3, at(1));
        assert_eq!(fellowship.share(), 6);
        fellowship.heard(1, at(2));
        assert_eq!(fellowship.share(), 1);
    }

    #[test]
    fn a_node_that_the_store_has_not_heard_of_for_long_stops_before_others_take_it_for_lost() {
        let shared = Fellowship::joined(Sharing::Shared, at(0));
        let alone = Fellowship::joined(Sharing::Alone, at(0));
        assert!(!shared.is_forgotten(at(REMEMBERED_MICROS)));
        assert!(shared.is_forgotten(at(REMEMBERED_MICROS + 1)));
        assert!(!alone.is_forgotten(at(REMEMBERED_MICROS + 1)));
        shared.heard(2, at(REMEMBERED_MICROS));
        assert!(!shared.is_forgotten(at(REMEMBERED_MICROS + 1)));
    }
}
