//! Elapsed time of a replay and of a chat, in one place: it measures how long real calls take.

use std::time::{Duration, Instant};

/// Time since a start.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopwatch(Instant);

impl Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "this measures the outside world: how long its calls take is not an input"
    )]
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn elapsed(self) -> Duration {
        self.0.elapsed()
    }

    /// Wait until so much time has passed since the start; not at all if it has.
    pub(super) async fn wait_until(self, moment: Duration) {
        tokio::time::sleep(moment.saturating_sub(self.elapsed())).await;
    }
}
