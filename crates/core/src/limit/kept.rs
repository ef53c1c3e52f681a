//! The calls of a last minute as a node that counts them itself keeps them for its next run.
//!
//! By tenths of a second of the machine's clock, which a program that starts anew finds running and which nobody sets.

use std::collections::BTreeMap;

use super::rate::RateWindow;

/// Calls that were admitted in a last minute, by slot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeptMinute {
    slots: BTreeMap<i64, i64>,
}

impl KeptMinute {
    /// What was kept, as it is to be counted at `steady_micros`.
    ///
    /// A slot that is yet to come was counted before the machine started anew: its calls count as made now. One from
    /// before a start that is not, counts for longer than it must.
    #[must_use]
    pub fn of(slots: impl IntoIterator<Item = (i64, i64)>, steady_micros: i64) -> Self {
        let present = RateWindow::slot_of(steady_micros);
        let mut kept = Self::default();
        for (slot, calls) in slots {
            kept.add(slot.min(present), calls);
        }
        let first = RateWindow::first_slot_at(steady_micros);
        kept.slots = kept.slots.split_off(&first);
        kept
    }

    /// Counts a call that was admitted at `steady_micros`.
    pub fn count(&mut self, steady_micros: i64) {
        self.add(RateWindow::slot_of(steady_micros), 1);
    }

    /// Slot numbers with the calls in them, oldest first.
    pub fn slots(&self) -> impl Iterator<Item = (i64, i64)> {
        self.slots.iter().map(|(slot, calls)| (*slot, *calls))
    }

    fn add(&mut self, slot: i64, calls: i64) {
        let count = self.slots.entry(slot).or_default();
        *count = count.saturating_add(calls);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000;

    fn slots(kept: &KeptMinute) -> Vec<(i64, i64)> {
        kept.slots().collect()
    }

    #[test]
    fn calls_are_kept_by_tenths_of_a_second_in_any_order_until_they_are_a_minute_old() {
        let mut kept = KeptMinute::default();
        for at in [70 * SECOND, 5 * SECOND, 5 * SECOND + 99_999, 9 * SECOND] {
            kept.count(at);
        }
        assert_eq!(slots(&kept), [(50, 2), (90, 1), (700, 1)]);
        let later = KeptMinute::of(kept.slots(), 65 * SECOND + 99_999);
        assert_eq!(slots(&later), [(50, 2), (90, 1), (650, 1)]);
        let later = KeptMinute::of(kept.slots(), 65 * SECOND + 100_000);
        assert_eq!(slots(&later), [(90, 1), (651, 1)]);
    }

    #[test]
    fn what_was_counted_before_the_machine_started_anew_counts_as_made_now() {
        let kept = KeptMinute::of([(9_000_000, 3), (9_000_400, 4)], 2 * SECOND);
        assert_eq!(slots(&kept), [(20, 7)]);
    }
}
