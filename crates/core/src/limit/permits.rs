//! Requests per minute where several nodes share them: permits that the store has counted already.
//!
//! A node draws permits as it draws money. The store counts a permit when it grants it, by its own
//! clock; the node may use it within [`PERMIT_MICROS`], by its steady clock from the moment that it
//! asked. So each call is admitted at most that long after it was counted, and a window of a minute
//! and that long in the store keeps every minute of calls within the limit, whatever the clocks say.
//! What is not used in time goes back with the next draw.

use std::collections::VecDeque;

use crate::limit::rate::WindowFull;

/// How long after asking for a permit a call may use it, in microseconds.
pub const PERMIT_MICROS: i64 = 1_000_000;

/// Demand is measured over at least so long, so that two calls at once do not look like a flood.
const DEMAND_MICROS: i64 = PERMIT_MICROS / 4;

/// What a node asks of the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PermitAsk {
    /// Permits for calls that wait; 0 gets figures only.
    pub need: i64,
    /// Permits for what is expected while they are good.
    pub want: i64,
    /// Permits by slot that were not used and count no more.
    pub unused: Vec<(i64, i64)>,
}

/// The store's answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PermitGrant {
    /// The slot that they are counted in.
    pub slot: i64,
    /// How many; may be fewer than were needed.
    pub calls: i64,
    /// Calls of all nodes in the window, these included.
    pub in_window: i64,
    /// Milliseconds until the oldest calls leave the window, where none was granted.
    pub retry_after_ms: i64,
}

/// What a node may admit without asking.
#[derive(Debug, Clone, Default)]
pub struct Permits {
    lots: VecDeque<Lot>,
    unused: Vec<(i64, i64)>,
    /// Until then the window is known to be full.
    full_until_micros: i64,
    in_window: i64,
    used: i64,
    asked_micros: Option<i64>,
}

#[derive(Debug, Clone, Copy)]
struct Lot {
    slot: i64,
    left: i64,
    until_micros: i64,
}

/// Whether a call may be admitted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Permitted {
    /// There is a permit.
    Yes,
    /// There is none here; the store may have one.
    Unknown,
    /// There is none anywhere.
    No(WindowFull),
}

impl Permits {
    /// Whether a call may be admitted at `steady_micros`.
    pub fn check(&mut self, steady_micros: i64) -> Permitted {
        self.expire(steady_micros);
        if !self.lots.is_empty() {
            return Permitted::Yes;
        }
        if steady_micros < self.full_until_micros {
            return Permitted::No(self.full(steady_micros));
        }
        Permitted::Unknown
    }

    /// Uses one permit; the slot that it is counted in. Call [`Permits::check`] first.
    pub fn take(&mut self) -> i64 {
        let Some(lot) = self.lots.front_mut() else {
            return 0;
        };
        let slot = lot.slot;
        lot.left = lot.left.saturating_sub(1);
        if lot.left == 0 {
            self.lots.pop_front();
        }
        self.used = self.used.saturating_add(1);
        slot
    }

    /// Gives back the permit of a call that never left.
    pub fn put_back(&mut self, slot: i64) {
        self.note_unused(slot, 1);
    }

    /// What to ask of the store for `waiting` calls. What is returned with it is forgotten here:
    /// where the answer is lost, those permits stay counted, which is the safe side.
    pub fn ask(&mut self, waiting: i64, steady_micros: i64) -> PermitAsk {
        self.expire(steady_micros);
        let since = steady_micros.saturating_sub(self.asked_micros.unwrap_or(steady_micros));
        let used = i128::from(self.used).saturating_mul(i128::from(PERMIT_MICROS));
        let expected = used.div_euclid(i128::from(since.max(DEMAND_MICROS)));
        PermitAsk {
            need: waiting,
            want: i64::try_from(expected).unwrap_or(i64::MAX),
            unused: std::mem::take(&mut self.unused),
        }
    }

    /// Takes in the answer to what was asked at `asked_micros`.
    pub fn grant(&mut self, grant: &PermitGrant, asked_micros: i64) {
        self.in_window = grant.in_window;
        self.used = 0;
        self.asked_micros = Some(asked_micros);
        if grant.calls > 0 {
            self.lots.push_back(Lot {
                slot: grant.slot,
                left: grant.calls,
                until_micros: asked_micros.saturating_add(PERMIT_MICROS),
            });
        } else {
            let wait = grant.retry_after_ms.saturating_mul(1_000);
            self.full_until_micros = asked_micros.saturating_add(wait);
        }
    }

    /// Takes every permit out, to be returned.
    pub fn take_all(&mut self) -> Vec<(i64, i64)> {
        while let Some(lot) = self.lots.pop_front() {
            self.note_unused(lot.slot, lot.left);
        }
        std::mem::take(&mut self.unused)
    }

    /// Calls in the window, as last heard and admitted since.
    #[must_use]
    pub const fn in_window(&self) -> i64 {
        self.in_window
    }

    /// What a call is told that finds the window full.
    #[must_use]
    pub fn full(&self, steady_micros: i64) -> WindowFull {
        let wait_micros = self.full_until_micros.saturating_sub(steady_micros).max(0);
        WindowFull {
            calls: self.in_window,
            retry_after_ms: wait_micros.saturating_add(999).div_euclid(1_000),
        }
    }

    fn expire(&mut self, steady_micros: i64) {
        while let Some(lot) = self.lots.front().copied() {
            if steady_micros < lot.until_micros {
                break;
            }
            self.lots.pop_front();
            self.note_unused(lot.slot, lot.left);
        }
    }

    fn note_unused(&mut self, slot: i64, calls: i64) {
        match self.unused.iter_mut().find(|(at, _)| *at == slot) {
            Some((_, count)) => *count = count.saturating_add(calls),
            None => self.unused.push((slot, calls)),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::limit::rate::RateWindow;

    const SECOND: i64 = 1_000_000;

    fn granted(slot: i64, calls: i64) -> PermitGrant {
        PermitGrant {
            slot,
            calls,
            in_window: calls,
            retry_after_ms: 0,
        }
    }

    #[test]
    fn a_permit_is_good_for_a_second_from_when_it_was_asked_for() {
        let mut permits = Permits::default();
        assert_eq!(permits.check(0), Permitted::Unknown);
        permits.grant(&granted(7, 2), 0);
        assert_eq!(permits.check(SECOND - 1), Permitted::Yes);
        assert_eq!(permits.take(), 7);
        assert_eq!(permits.check(SECOND), Permitted::Unknown);
        let ask = permits.ask(1, SECOND);
        assert_eq!((ask.need, ask.unused), (1, vec![(7, 1)]));
        assert_eq!(permits.ask(1, SECOND).unused, vec![], "given back once");
    }

    #[test]
    fn a_full_window_is_not_asked_again_before_it_frees() {
        let mut permits = Permits::default();
        let none = PermitGrant {
            slot: 7,
            calls: 0,
            in_window: 10,
            retry_after_ms: 300,
        };
        permits.grant(&none, 0);
        let full = |retry_after_ms| WindowFull {
            calls: 10,
            retry_after_ms,
        };
        assert_eq!(permits.check(100_000), Permitted::No(full(200)));
        assert_eq!(permits.check(300_000), Permitted::Unknown);
    }

    #[test]
    fn what_is_wanted_follows_what_was_used() {
        let mut permits = Permits::default();
        permits.grant(&granted(1, 50), 0);
        for _ in 0..50 {
            permits.take();
        }
        assert_eq!(permits.ask(3, SECOND / 2).want, 100);
        permits.grant(&granted(2, 1), SECOND / 2);
        assert_eq!(permits.ask(3, 5 * SECOND).want, 0);
    }

    #[test]
    fn a_call_that_never_left_gives_its_permit_back() {
        let mut permits = Permits::default();
        permits.grant(&granted(3, 2), 0);
        let slot = permits.take();
        permits.put_back(slot);
        assert_eq!(permits.take_all(), vec![(3, 2)]);
    }

    /// Nodes and a store, as far as permits go: when each node asks, how long the answer takes,
    /// and what is used when.
    #[derive(Debug, Clone)]
    struct Step {
        node: usize,
        gap: i64,
        store_ahead: i64,
        want: i64,
    }

    fn step() -> impl Strategy<Value = Step> {
        (0_usize..3, 0_i64..2 * SECOND, 0_i64..SECOND / 2, 0_i64..20).prop_map(
            |(node, gap, store_ahead, want)| Step {
                node,
                gap,
                store_ahead,
                want,
            },
        )
    }

    proptest! {
        #[test]
        fn in_no_sixty_seconds_nodes_admit_more_than_the_limit_together(
            rpm in 1_i64..40,
            steps in prop::collection::vec(step(), 1..400),
        ) {
            let mut window = RateWindow::of_permits([]);
            let mut nodes = [Permits::default(), Permits::default(), Permits::default()];
            let mut now = 0;
            let mut admitted: Vec<i64> = Vec::new();
            for Step { node, gap, store_ahead, want } in steps {
                now += gap;
                let permits = &mut nodes[node];
                if permits.check(now) == Permitted::Unknown {
                    let ask = permits.ask(1, now);
                    let at = now + store_ahead;
                    let grant = window.permit(rpm, at, &PermitAsk { want, ..ask }, 1);
                    permits.grant(&grant, now);
                    now = at;
                }
                if nodes[node].check(now) == Permitted::Yes {
                    nodes[node].take();
                    admitted.push(now);
                }
            }
            for &start in &admitted {
                let inside = admitted.iter().filter(|&&at| at >= start && at < start + 60 * SECOND).count();
                prop_assert!(i64::try_from(inside).unwrap() <= rpm);
            }
        }

        #[test]
        fn at_steady_overload_of_several_nodes_ninety_five_percent_of_the_limit_is_used(
            rpm in 10_i64..2_000,
            count in 1_usize..6,
        ) {
            let mut window = RateWindow::of_permits([]);
            let mut nodes = vec![Permits::default(); count];
            let mut admitted = 0;
            for tenth in 0..(10 * 600_i64) {
                let now = tenth * 100_000 + 1;
                for permits in &mut nodes {
                    // Twice the limit comes, spread over the nodes.
                    for _ in 0..=(rpm / 300 / i64::try_from(count).unwrap()) {
                        if permits.check(now) == Permitted::Unknown {
                            let ask = permits.ask(1, now);
                            let grant = window.permit(rpm, now, &ask, u32::try_from(count).unwrap());
                            permits.grant(&grant, now);
                        }
                        if permits.check(now) == Permitted::Yes {
                            permits.take();
                            admitted += 1;
                        }
                    }
                }
            }
            prop_assert!(admitted * 100 >= rpm * 10 * 95, "{admitted} of {}", rpm * 10);
        }
    }
}
