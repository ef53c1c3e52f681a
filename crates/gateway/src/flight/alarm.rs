//! A timer that costs nothing while something else wakes its task.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep_until};

/// Goes off at a moment that may be moved. A stream is polled a few times for every event, and
/// hardly ever is it the timer that has something to say: while the timer knows whom to wake and has
/// not gone off, polling it again would tell nothing.
#[derive(Debug)]
pub(super) struct Alarm {
    sleep: Pin<Box<Sleep>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl Alarm {
    pub(super) fn at(moment: Instant) -> Self {
        Self {
            sleep: Box::pin(sleep_until(moment)),
            waker: None,
        }
    }

    /// When it goes off.
    pub(super) fn moment(&self) -> Instant {
        self.sleep.deadline()
    }

    /// Has it go off at another moment.
    pub(super) fn set(&mut self, moment: Instant) {
        self.waker = None;
        self.sleep.as_mut().reset(moment);
    }

    /// Is ready once it has gone off.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let knows = |waker: &Waker| waker.will_wake(cx.waker());
        if self.waker.as_ref().is_some_and(knows) && !self.sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.waker = None;
        // A task that has had its share of time would be told to come again, and the timer nothing.
        let rung = Pin::new(&mut unconstrained(self.sleep.as_mut())).poll(cx);
        if rung.is_pending() {
            self.waker = Some(cx.waker().clone());
        }
        rung
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;
    use std::time::Duration;

    use tokio::task::consume_budget;

    use super::*;

    fn soon() -> Instant {
        Instant::now() + Duration::from_millis(20)
    }

    #[tokio::test]
    async fn it_goes_off_for_a_task_that_something_else_wakes() {
        let moment = soon();
        let (mut alarm, mut asked) = (Alarm::at(moment), 0);
        poll_fn(|cx| {
            asked += 1;
            if asked < 100 {
                cx.waker().wake_by_ref();
            }
            alarm.poll(cx)
        })
        .await;
        assert!(asked >= 100 && Instant::now() >= moment);
        // It stays so until it is set anew.
        poll_fn(|cx| alarm.poll(cx)).await;
        alarm.set(Instant::now() + Duration::from_hours(1));
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        alarm.set(soon());
        poll_fn(|cx| alarm.poll(cx)).await;
    }

    #[tokio::test]
    async fn it_goes_off_for_a_task_that_has_had_its_share_of_time() {
        let (mut alarm, mut has_time) = (Alarm::at(soon()), true);
        poll_fn(|cx| {
            while has_time {
                has_time = pin!(consume_budget()).poll(cx).is_ready();
            }
            alarm.poll(cx)
        })
        .await;
    }

    #[expect(clippy::disallowed_methods, reason = "another task, as a drain is one")]
    #[tokio::test]
    async fn it_goes_off_for_the_task_that_asked_last() {
        let mut alarm = Alarm::at(soon());
        assert!(poll_fn(|cx| Poll::Ready(alarm.poll(cx))).await.is_pending());
        let other = tokio::spawn(async move { poll_fn(|cx| alarm.poll(cx)).await });
        assert!(other.await.is_ok());
    }
}
