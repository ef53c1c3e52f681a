//! Time is an argument: the one file of the product that reads a clock.

use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// The machine's own clock: nobody sets it, it runs on while the machine sleeps, a program that starts anew finds it
/// running, and it begins anew only with the machine.
#[cfg(target_os = "linux")]
const MACHINE: ClockId = ClockId::Boottime;
#[cfg(not(target_os = "linux"))]
const MACHINE: ClockId = ClockId::Monotonic;

/// One reading of both clocks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// Wall-clock time in UTC, whole microseconds: decides days, months and expiry.
    pub wall: Timestamp,
    /// Microseconds on a clock that never goes back, and that the next run of the program on the same machine goes on
    /// with: decides windows and durations.
    pub steady_micros: i64,
}

impl Moment {
    /// Whole milliseconds from an earlier moment to this one, by the steady clock.
    #[must_use]
    pub fn millis_since(self, earlier: Self) -> i64 {
        let micros = self
            .steady_micros
            .saturating_sub(earlier.steady_micros)
            .max(0);
        micros.div_euclid(1_000)
    }
}

/// Where time comes from.
pub trait Clock: Send + Sync + std::fmt::Debug + 'static {
    /// The present moment.
    fn now(&self) -> Moment;

    /// Takes in what the clock of a store that several nodes share showed between two moments of
    /// this one: from then on the wall is the store's. A clock that somebody sets stays as it is.
    fn follow(&self, _store: Timestamp, _asked: Moment, _answered: Moment) {}
}

/// An answer that took longer than so many microseconds says too little of the time.
const PROMPT_MICROS: i64 = 1_000_000;

/// The wall has been the machine's so far.
const MACHINES: i64 = i64::MIN;

/// The machine's clocks; where several nodes share a store, the store's on the wall, so that they
/// agree on the month whatever their machines say.
#[derive(Debug)]
pub struct SystemClock {
    /// Microseconds since 1970 when the steady clock began, by the clock that is followed.
    began_micros: AtomicI64,
}

impl SystemClock {
    /// A clock whose wall is the machine's.
    #[must_use]
    pub const fn start() -> Self {
        Self {
            began_micros: AtomicI64::new(MACHINES),
        }
    }
}

impl Clock for SystemClock {
    fn now(&self) -> Moment {
        let machine = clock_gettime(MACHINE);
        let micros = machine.tv_nsec.div_euclid(1_000);
        let steady_micros = machine.tv_sec.saturating_mul(1_000_000);
        let steady_micros = steady_micros.saturating_add(micros);
        let followed = match self.began_micros.load(Ordering::Relaxed) {
            MACHINES => None,
            began => Timestamp::from_microsecond(began.saturating_add(steady_micros)).ok(),
        };
        Moment {
            wall: followed.unwrap_or_else(cus_models::utc_now),
            steady_micros,
        }
    }

    fn follow(&self, store: Timestamp, asked: Moment, answered: Moment) {
        let took = answered.steady_micros.saturating_sub(asked.steady_micros);
        let is_first = self.began_micros.load(Ordering::Relaxed) == MACHINES;
        if took > PROMPT_MICROS && !is_first {
            return;
        }
        // Somewhere between the two the store looked at its clock.
        let middle = asked.steady_micros.saturating_add(took.div_euclid(2));
        let began = store.as_microsecond().saturating_sub(middle);
        self.began_micros.store(began, Ordering::Relaxed);
    }
}

/// A clock that stands still until it is told otherwise.
#[derive(Debug)]
pub struct ManualClock {
    wall_micros: AtomicI64,
    steady_micros: AtomicI64,
}

impl ManualClock {
    /// A clock that shows `wall`.
    #[must_use]
    pub fn at(wall: Timestamp) -> Self {
        Self {
            wall_micros: AtomicI64::new(wall.as_microsecond()),
            steady_micros: AtomicI64::new(0),
        }
    }

    /// The same clock on a machine that has run for so many microseconds.
    #[must_use]
    pub fn on_a_machine_up_for(self, steady_micros: i64) -> Self {
        self.steady_micros.store(steady_micros, Ordering::SeqCst);
        self
    }

    /// Lets both clocks run on by so many milliseconds.
    pub fn advance_ms(&self, millis: i64) {
        let micros = millis.saturating_mul(1_000);
        self.wall_micros.fetch_add(micros, Ordering::SeqCst);
        self.steady_micros.fetch_add(micros, Ordering::SeqCst);
    }

    /// Sets the wall clock alone, as an administrator or a time server may.
    pub fn set_wall(&self, wall: Timestamp) {
        self.wall_micros
            .store(wall.as_microsecond(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Moment {
        let micros = self.wall_micros.load(Ordering::SeqCst);
        Moment {
            wall: Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH),
            steady_micros: self.steady_micros.load(Ordering::SeqCst),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_set_back_keeps_its_steady_time() {
        let clock = ManualClock::at("2026-03-01T00:00:00Z".parse().unwrap());
        clock.advance_ms(1_500);
        let before = clock.now();
        clock.set_wall("2020-01-01T00:00:00Z".parse().unwrap());
        assert_eq!(clock.now().steady_micros, before.steady_micros);
        assert_eq!(clock.now().millis_since(before), 0);
    }

    #[test]
    fn a_clock_that_follows_the_stores_shows_its_time_and_runs_on_by_itself() {
        let clock = SystemClock::start();
        let machine = clock.now();
        let steady = |micros: i64| Moment {
            steady_micros: micros,
            ..machine
        };
        let store: Timestamp = "2028-02-29T23:59:59Z".parse().unwrap();
        clock.follow(store, steady(0), steady(2 * PROMPT_MICROS));
        let now = clock.now();
        let shown = now.wall.as_microsecond() - now.steady_micros;
        assert_eq!(shown, store.as_microsecond() - PROMPT_MICROS);
        let late: Timestamp = "2030-01-01T00:00:00Z".parse().unwrap();
        clock.follow(late, steady(0), steady(PROMPT_MICROS + 1));
        let after = clock.now();
        assert_eq!(
            after.wall.as_microsecond() - after.steady_micros,
            shown,
            "too slow an answer"
        );
        clock.follow(late, steady(0), steady(0));
        assert!(clock.now().wall >= late);
    }

    #[test]
    fn the_system_clock_runs_in_whole_microseconds_and_another_one_goes_on_with_it() {
        let moment = SystemClock::start().now();
        assert_eq!(moment.wall.subsec_nanosecond().rem_euclid(1_000), 0);
        let later = SystemClock::start().now();
        assert!(0 < moment.steady_micros && moment.steady_micros <= later.steady_micros);
    }
}
