//! Time: one truth, and a clock a node that may show something else.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;
use tollgate_core::{Clock, Moment};

/// The true time, in microseconds since 1970.
#[derive(Debug, Clone)]
pub(super) struct Truth(Arc<AtomicI64>);

impl Truth {
    pub(super) fn at(beginning: &str) -> Self {
        let beginning: Timestamp = beginning.parse().unwrap();
        Self(Arc::new(AtomicI64::new(beginning.as_microsecond())))
    }

    pub(super) fn micros(&self) -> i64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(super) fn advance(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

/// The clocks of one run of a node: its wall clock may be wrong and be set, its steady clock is the machine's and runs on.
#[derive(Debug)]
pub(super) struct NodeClock {
    truth: Truth,
    booted: i64,
    wall_ahead: Arc<AtomicI64>,
}

impl NodeClock {
    pub(super) fn new(truth: &Truth, booted: i64, wall_ahead: &Arc<AtomicI64>) -> Self {
        Self {
            truth: truth.clone(),
            booted,
            wall_ahead: Arc::clone(wall_ahead),
        }
    }
}

impl Clock for NodeClock {
    fn now(&self) -> Moment {
        let now = self.truth.micros();
        let wall = now + self.wall_ahead.load(Ordering::SeqCst);
        Moment {
            wall: Timestamp::from_microsecond(wall).unwrap(),
            steady_micros: now - self.booted,
        }
    }
}
