//! Letting calls go at a fixed rate, whatever becomes of those before them.
//!
//! A load generator that waits for an answer before it sends the next call leaves out the calls that would have met a
//! slow moment. Here a thread of its own lets calls go by the clock, and a call that finds no free connection counts
//! its waiting.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{Mutex, mpsc};
use tokio::time::Instant;

use super::sample::nanos;

/// Calls that are let go, each with its moment, for whichever connection is free.
#[derive(Debug, Clone)]
pub(super) struct Releases(Arc<Mutex<mpsc::UnboundedReceiver<Instant>>>);

/// The thread that lets calls go; it ends with how late each was.
pub(super) type Pacing = tokio::task::JoinHandle<Vec<u64>>;

/// Lets calls go for some time, evenly.
///
/// The thread sleeps by itself, because the runtime's timers only know whole milliseconds.
pub(super) fn start(rate: NonZeroU32, time: Duration) -> (Releases, Pacing) {
    let (release, released) = mpsc::unbounded_channel();
    let pacing = tokio::task::spawn_blocking(move || {
        let began = Instant::now();
        let mut late = Vec::new();
        for number in 0_u64.. {
            let due = due(number, rate);
            if due >= time {
                break;
            }
            let wait = due.saturating_sub(began.elapsed());
            if !wait.is_zero() {
                std::thread::sleep(wait);
            }
            late.push(nanos(began.elapsed().saturating_sub(due)));
            if release.send(Instant::now()).is_err() {
                break;
            }
        }
        late
    });
    (Releases(Arc::new(Mutex::new(released))), pacing)
}

impl Releases {
    /// The moment of the next call; nothing after the last.
    pub(super) async fn next(&self) -> Option<Instant> {
        self.0.lock().await.recv().await
    }

    /// How many calls were let go that nobody took; no more are let go.
    pub(super) async fn leftover(&self) -> u64 {
        let mut released = self.0.lock().await;
        released.close();
        let mut count = 0;
        while released.try_recv().is_ok() {
            count += 1;
        }
        count
    }
}

/// When a call is due after the start.
fn due(number: u64, rate: NonZeroU32) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate.get());
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_due_evenly_and_without_drift() {
        let rate = NonZeroU32::new(3).unwrap();
        assert_eq!(due(0, rate), Duration::ZERO);
        assert_eq!(due(1, rate), Duration::from_nanos(333_333_333));
        assert_eq!(due(3_000_000, rate), Duration::from_secs(1_000_000));
    }

    #[tokio::test]
    async fn every_call_of_the_time_is_let_go_though_nobody_takes_one() {
        let rate = NonZeroU32::new(1_000).unwrap();
        let (releases, pacing) = start(rate, Duration::from_millis(20));
        assert_eq!(pacing.await.unwrap().len(), 20);
        assert!(releases.next().await.is_some());
        assert_eq!(releases.leftover().await, 19);
        assert!(releases.next().await.is_none());
    }
}
