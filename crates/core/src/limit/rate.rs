//! Calls in any 60 seconds: a sliding window, counted in tenths of a second.
//!
//! A tenth leaves the window only when all of it is 60 seconds old. So no more than the limit is
//! ever admitted in any 60 seconds, and at most a tenth of a second in 60 is lost to rounding.
//! A window of permits that nodes draw and use a little later (`permits.rs`) is longer by as much
//! as a permit stays good.

use std::collections::VecDeque;

use super::permits::{PERMIT_MICROS, PermitAsk, PermitGrant};

const SLOT_MICROS: i64 = 100_000;
const SLOTS_IN_MINUTE: i64 = 600;

/// The calls admitted in the last minute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RateWindow {
    /// Slot number and calls in it, oldest first.
    slots: VecDeque<(i64, i64)>,
    calls: i64,
    /// How many slots back still count.
    reach: i64,
}

impl Default for RateWindow {
    fn default() -> Self {
        Self {
            slots: VecDeque::new(),
            calls: 0,
            reach: SLOTS_IN_MINUTE,
        }
    }
}

/// The window is full.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowFull {
    /// Calls in the window.
    pub calls: i64,
    /// Milliseconds until the oldest leave it: at most a minute and a tenth of a second.
    pub retry_after_ms: i64,
}

impl RateWindow {
    /// The window of permits: a call that uses one may be admitted [`PERMIT_MICROS`] later.
    #[must_use]
    pub fn of_permits(slots: impl IntoIterator<Item = (i64, i64)>) -> Self {
        let slots: VecDeque<(i64, i64)> = slots.into_iter().collect();
        let calls = slots
            .iter()
            .fold(0_i64, |sum, (_, calls)| sum.saturating_add(*calls));
        Self {
            slots,
            calls,
            reach: SLOTS_IN_MINUTE.saturating_add(PERMIT_MICROS / SLOT_MICROS),
        }
    }

    /// Slot numbers with the calls in them, oldest first.
    pub fn slots(&self) -> impl Iterator<Item = (i64, i64)> {
        self.slots.iter().copied()
    }

    /// The slot that a moment is in.
    #[must_use]
    pub const fn slot_of(micros: i64) -> i64 {
        micros.div_euclid(SLOT_MICROS)
    }

    /// The first moment of a slot.
    #[must_use]
    pub const fn start_of(slot: i64) -> i64 {
        slot.saturating_mul(SLOT_MICROS)
    }

    /// The oldest slot whose calls count at a moment where one node counts them itself.
    #[must_use]
    pub const fn first_slot_at(steady_micros: i64) -> i64 {
        Self::slot_of(steady_micros).saturating_sub(SLOTS_IN_MINUTE)
    }

    /// Whether one more call fits under `rpm` at `steady_micros`; counts nothing.
    pub fn check(&mut self, rpm: i64, steady_micros: i64) -> Result<(), WindowFull> {
        self.expire(steady_micros);
        if self.calls < rpm {
            return Ok(());
        }
        let oldest = self.slots.front().map_or(0, |&(slot, _)| slot);
        let free_at = oldest
            .saturating_add(self.reach)
            .saturating_add(1)
            .saturating_mul(SLOT_MICROS);
        let wait_micros = free_at.saturating_sub(steady_micros).max(0);
        let retry_after_ms = wait_micros.saturating_add(999).div_euclid(1_000);
        Err(WindowFull {
            calls: self.calls,
            retry_after_ms,
        })
    }

    /// Counts a call admitted at `steady_micros`.
    pub fn count(&mut self, steady_micros: i64) {
        self.count_many(steady_micros, 1);
    }

    /// Counts calls that were admitted at `steady_micros` by an earlier run of this node.
    /// They must be given oldest first.
    pub fn count_many(&mut self, steady_micros: i64, calls: i64) {
        let slot = Self::slot_of(steady_micros);
        match self.slots.back_mut() {
            Some((last, count)) if *last >= slot => *count = count.saturating_add(calls),
            _ => self.slots.push_back((slot, calls)),
        }
        self.calls = self.calls.saturating_add(calls);
    }

    /// Takes back a call counted at `steady_micros` that never reached its provider.
    pub fn take_back(&mut self, steady_micros: i64) {
        self.take_back_many(Self::slot_of(steady_micros), 1);
    }

    /// Takes back calls of one slot that were counted and not used; never more than it has.
    pub fn take_back_many(&mut self, slot: i64, calls: i64) {
        if let Some((_, count)) = self.slots.iter_mut().find(|(at, _)| *at == slot) {
            let back = calls.clamp(0, *count);
            *count = count.saturating_sub(back);
            self.calls = self.calls.saturating_sub(back);
        }
    }

    /// Grants permits at a moment of the store's clock: what is needed as far as there is so much,
    /// and what is wanted as far as one part in `share` of what is left reaches, and no further
    /// than two seconds of the limit.
    pub fn permit(&mut self, rpm: i64, micros: i64, ask: &PermitAsk, share: u32) -> PermitGrant {
        for &(slot, calls) in &ask.unused {
            self.take_back_many(slot, calls);
        }
        let in_window = self.calls(micros);
        let left = rpm.saturating_sub(in_window).max(0);
        // What is drawn ahead and lost with its node is at most two seconds of the limit.
        let ahead = rpm.div_euclid(30);
        let part = left
            .checked_div(i64::from(share))
            .unwrap_or(left)
            .min(ahead);
        let calls = if ask.need > 0 {
            left.min(ask.need.max(ask.want.min(part)))
        } else {
            0
        };
        if calls > 0 {
            self.count_many(micros, calls);
        }
        let full = self.check(rpm, micros).err();
        PermitGrant {
            // A clock that was set back counts in the latest slot there is.
            slot: self
                .slots
                .back()
                .map_or_else(|| Self::slot_of(micros), |&(slot, _)| slot),
            calls,
            in_window: in_window.saturating_add(calls),
            retry_after_ms: full.map_or(0, |full| full.retry_after_ms),
        }
    }

    /// Calls in the window at `steady_micros`.
    pub fn calls(&mut self, steady_micros: i64) -> i64 {
        self.expire(steady_micros);
        self.calls
    }

    fn expire(&mut self, steady_micros: i64) {
        let now = Self::slot_of(steady_micros);
        while let Some(&(slot, count)) = self.slots.front() {
            if now.saturating_sub(slot) <= self.reach {
                break;
            }
            self.calls = self.calls.saturating_sub(count);
            self.slots.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECOND: i64 = 1_000_000;

    #[test]
    fn the_eleventh_call_waits_until_the_first_is_a_minute_old() {
        let mut window = RateWindow::default();
        for tenth in 0..10 {
            assert_eq!(window.check(10, tenth * 10_000), Ok(()));
            window.count(tenth * 10_000);
        }
        let full = window.check(10, SECOND).unwrap_err();
        assert_eq!(
            full,
            WindowFull {
                calls: 10,
                retry_after_ms: 59_100
            }
        );
        assert!(window.check(10, SECOND + 59_100 * 1_000 - 1).is_err());
        assert_eq!(window.check(10, SECOND + 59_100 * 1_000), Ok(()));
    }

    #[test]
    fn a_call_that_never_left_gives_its_place_back() {
        let mut window = RateWindow::default();
        window.count(0);
        assert!(window.check(1, SECOND).is_err());
        window.take_back(0);
        assert_eq!(window.check(1, SECOND), Ok(()));
    }

    proptest! {
        #[test]
        fn in_no_sixty_seconds_more_than_the_limit_is_admitted(
            rpm in 1_i64..50,
            gaps in prop::collection::vec(0_i64..5 * SECOND, 1..400),
        ) {
            let mut window = RateWindow::default();
            let mut now = 0;
            let mut admitted: Vec<i64> = Vec::new();
            for gap in gaps {
                now += gap;
                if window.check(rpm, now).is_ok() {
                    window.count(now);
                    admitted.push(now);
                }
            }
            for &start in &admitted {
                let inside = admitted.iter().filter(|&&at| at >= start && at < start + 60 * SECOND).count();
                prop_assert!(i64::try_from(inside).unwrap() <= rpm);
            }
        }

        #[test]
        fn at_steady_overload_ninety_five_percent_of_the_limit_is_used(rpm in 1_i64..2_000) {
            let mut window = RateWindow::default();
            let mut admitted = 0;
            for slot in 0..(10 * 600) {
                let now = slot * 100_000 + 1;
                while window.check(rpm, now).is_ok() {
                    window.count(now);
                    admitted += 1;
                }
            }
            prop_assert!(admitted * 100 >= rpm * 10 * 95, "{admitted} of {}", rpm * 10);
        }
    }
}
