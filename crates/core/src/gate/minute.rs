//! The requests per minute at a gate: counted here where one node has them, drawn where several share them.

use crate::clock::Moment;
use crate::gate::{Attempt, Gate};
use crate::limit::LimitKind;
use crate::limit::kept::KeptMinute;
use crate::limit::permits::{Permits, Permitted};
use crate::limit::rate::{RateWindow, WindowFull};
use crate::verdict::{LimitFigures, ReasonCode, Refusal};

use super::UNAVAILABLE_RETRY_MS;

/// The longest that a caller is told to wait for a place, in milliseconds.
const RETRY_MS_MAX: i64 = 60_000;

/// How the calls of a minute are counted.
#[derive(Debug, Clone)]
pub(super) enum Minute {
    /// By this node.
    Counted(RateWindow),
    /// By the store.
    Drawn(Permits),
}

impl Gate {
    /// Counts calls that an earlier run of this node admitted at `steady_micros`. They must be given oldest first.
    pub fn remember_calls(&mut self, steady_micros: i64, calls: i64) {
        if let Minute::Counted(window) = &mut self.minute {
            window.count_many(steady_micros, calls);
        }
    }

    /// Counts the calls that an earlier run of this node has kept, before any of this one.
    pub fn remember_minute(&mut self, kept: &KeptMinute) {
        for (slot, calls) in kept.slots() {
            self.remember_calls(RateWindow::start_of(slot), calls);
        }
    }
}

impl Minute {
    /// Whether a permit must be drawn before one more call is admitted; or the refusal.
    pub(super) fn check(
        &mut self,
        rpm: i64,
        now: Moment,
        attempt: Attempt,
    ) -> Result<bool, Refusal> {
        match (self.permitted(rpm, now), attempt) {
            (Permitted::Yes, _) => Ok(false),
            (Permitted::No(full), _) => Err(throttled(rpm, full)),
            (Permitted::Unknown, Attempt::First) => Ok(true),
            (Permitted::Unknown, Attempt::AfterDraw) => Err(throttled(rpm, self.full(now))),
            (Permitted::Unknown, Attempt::StoreUnreachable) => Err(unavailable(rpm)),
        }
    }

    /// Whether it is known that no further call fits now.
    pub(super) fn is_full(&mut self, rpm: i64, now: Moment) -> bool {
        matches!(self.permitted(rpm, now), Permitted::No(_))
    }

    /// Counts an admitted call; what [`Minute::take_back`] needs to know of it.
    pub(super) fn count(&mut self, steady_micros: i64) -> i64 {
        match self {
            Self::Counted(window) => {
                window.count(steady_micros);
                steady_micros
            }
            Self::Drawn(permits) => permits.take(),
        }
    }

    /// Takes back a call that never left.
    pub(super) fn take_back(&mut self, rate_mark: i64) {
        match self {
            Self::Counted(window) => window.take_back(rate_mark),
            Self::Drawn(permits) => permits.put_back(rate_mark),
        }
    }

    /// Calls of the last minute, as far as they are known here.
    pub(super) fn calls(&mut self, now: Moment) -> i64 {
        match self {
            Self::Counted(window) => window.calls(now.steady_micros),
            Self::Drawn(permits) => permits.in_window(),
        }
    }

    fn permitted(&mut self, rpm: i64, now: Moment) -> Permitted {
        match self {
            Self::Counted(window) => window
                .check(rpm, now.steady_micros)
                .map_or_else(Permitted::No, |()| Permitted::Yes),
            Self::Drawn(permits) => permits.check(now.steady_micros),
        }
    }

    fn full(&mut self, now: Moment) -> WindowFull {
        match self {
            Self::Counted(window) => WindowFull {
                calls: window.calls(now.steady_micros),
                retry_after_ms: 0,
            },
            Self::Drawn(permits) => permits.full(now.steady_micros),
        }
    }
}

fn throttled(rpm: i64, full: WindowFull) -> Refusal {
    Refusal {
        code: ReasonCode::RateLimitExceeded,
        figures: Some(figures(rpm, full.calls)),
        // A place may be free at once, and gone again before one asks.
        retry_after_ms: Some(full.retry_after_ms.clamp(1, RETRY_MS_MAX)),
        resets_at: None,
    }
}

fn unavailable(rpm: i64) -> Refusal {
    Refusal {
        code: ReasonCode::LimitsUnavailable,
        figures: Some(figures(rpm, 0)),
        retry_after_ms: Some(UNAVAILABLE_RETRY_MS),
        resets_at: None,
    }
}

const fn figures(rpm: i64, calls: i64) -> LimitFigures {
    LimitFigures {
        kind: LimitKind::Rate,
        limit: rpm,
        spent: calls,
        held: 0,
        asked: 1,
    }
}
