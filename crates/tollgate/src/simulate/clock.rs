//! The simulated provider's clock, in one place: what it stamps on its answers and on its journal.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;

/// A moment of the simulated provider, as its answers and its journal write it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    /// For the journal: RFC 3339 with nanoseconds.
    pub(super) time: Timestamp,
    /// For `created` members: whole seconds since 1970.
    pub(super) unix_seconds: u64,
}

/// The present moment; a clock set before 1970 or past the year 9999 reads as 1970.
#[expect(
    clippy::disallowed_methods,
    reason = "the simulated provider is the outside world: it has its own clock"
)]
pub(super) fn now() -> Moment {
    let now = SystemTime::now();
    Moment {
        time: Timestamp::try_from(now).unwrap_or(Timestamp::UNIX_EPOCH),
        unix_seconds: now
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_secs()),
    }
}
