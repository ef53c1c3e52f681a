//! One timer for one wait after another. Nearly every wait ends before its time is up, and a timer
//! that is set and taken back for each costs more than one that sometimes fires too early.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::rt::Timer;
use parking_lot::Mutex;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep};

/// A timer that is made when it is first needed, and set anew only when it fires too early. A task is
/// polled often for other reasons: while the timer knows whom to wake and has not fired, it is not
/// asked again.
#[derive(Debug, Default)]
pub(crate) struct Alarm {
    sleep: Option<Pin<Box<Sleep>>>,
    /// Whom it wakes.
    waker: Option<Waker>,
}

impl Alarm {
    /// Is ready once the deadline has passed. A task that has had its share of time, and would be
    /// told to come again, gets to know it too.
    pub(crate) fn poll_at(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self
            .sleep
            .get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            self.waker = None;
            sleep.as_mut().reset(deadline);
        }
        let knows = |waker: &Waker| waker.will_wake(cx.waker());
        if self.waker.as_ref().is_some_and(knows) && !sleep.is_elapsed() {
            return Poll::Pending;
        }
        self.waker = None;
        while Pin::new(&mut unconstrained(sleep.as_mut()))
            .poll(cx)
            .is_ready()
        {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        self.waker = Some(cx.waker().clone());
        Poll::Pending
    }
}

/// The timer for the heads of all requests on a caller's connection.
#[derive(Debug, Default)]
pub(crate) struct HeadTimer(Arc<Mutex<Alarm>>);

/// The wait for one head.
struct Head {
    alarm: Arc<Mutex<Alarm>>,
    deadline: Instant,
}

impl Future for Head {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.alarm.lock().poll_at(self.deadline, cx)
    }
}

impl hyper::rt::Sleep for Head {}

impl Timer for HeadTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn hyper::rt::Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: std::time::Instant) -> Pin<Box<dyn hyper::rt::Sleep>> {
        Box::pin(Head {
            alarm: Arc::clone(&self.0),
            deadline: deadline.into(),
        })
    }

    fn now(&self) -> std::time::Instant {
        Instant::now().into()
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Head").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::pin::pin;

    use tokio::task::consume_budget;

    use super::*;

    const LONG: Duration = Duration::from_mins(10);
    const SHORT: Duration = Duration::from_millis(20);

    /// Waits for the alarm, and looks that it does not go off before its deadline.
    async fn goes_off(alarm: &mut Alarm, after: Duration) {
        let deadline = Instant::now() + after;
        let off = poll_fn(|cx| alarm.poll_at(deadline, cx));
        tokio::time::timeout(LONG / 10, off)
            .await
            .expect("it goes off");
        assert!(Instant::now() >= deadline, "it went off early");
    }

    fn is_quiet(alarm: &mut Alarm, after: Duration) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        alarm.poll_at(Instant::now() + after, &mut cx).is_pending()
    }

    #[tokio::test]
    async fn an_alarm_goes_off_at_each_deadline_whatever_was_waited_for_before() {
        let mut alarm = Alarm::default();
        goes_off(&mut alarm, SHORT).await;
        goes_off(&mut alarm, SHORT).await;
        assert!(is_quiet(&mut alarm, LONG), "after one that went off");
        goes_off(&mut alarm, SHORT).await;
        assert!(is_quiet(&mut alarm, SHORT * 10), "it is set to go off soon");
        goes_off(&mut alarm, SHORT * 20).await;
        goes_off(&mut alarm, Duration::ZERO).await;
    }

    #[tokio::test]
    async fn it_goes_off_for_a_task_that_something_else_wakes() {
        let deadline = Instant::now() + SHORT;
        let (mut alarm, mut asked) = (Alarm::default(), 0);
        poll_fn(|cx| {
            asked += 1;
            if asked < 100 {
                cx.waker().wake_by_ref();
            }
            alarm.poll_at(deadline, cx)
        })
        .await;
        assert!(asked >= 100 && Instant::now() >= deadline);
        // It stays so.
        poll_fn(|cx| alarm.poll_at(deadline, cx)).await;
    }

    #[tokio::test]
    async fn it_goes_off_for_a_task_that_has_had_its_share_of_time() {
        let deadline = Instant::now() + SHORT;
        let (mut alarm, mut has_time) = (Alarm::default(), true);
        poll_fn(|cx| {
            while has_time {
                has_time = pin!(consume_budget()).poll(cx).is_ready();
            }
            alarm.poll_at(deadline, cx)
        })
        .await;
    }

    #[expect(clippy::disallowed_methods, reason = "another task, as a drain is one")]
    #[tokio::test]
    async fn it_goes_off_for_the_task_that_asked_last() {
        let deadline = Instant::now() + SHORT * 10;
        let mut alarm = Alarm::default();
        let asked = poll_fn(|cx| Poll::Ready(alarm.poll_at(deadline, cx))).await;
        assert!(asked.is_pending());
        let other = tokio::spawn(async move { poll_fn(|cx| alarm.poll_at(deadline, cx)).await });
        assert!(other.await.is_ok());
    }

    #[tokio::test]
    async fn each_head_on_a_connection_has_its_whole_time() {
        let timer = HeadTimer::default();
        for after in [SHORT, SHORT * 4, SHORT] {
            let given_up = timer.sleep(SHORT * 2);
            let mut cx = Context::from_waker(Waker::noop());
            assert!(Box::pin(given_up).as_mut().poll(&mut cx).is_pending());
            let deadline = timer.now() + after;
            timer.sleep_until(deadline).await;
            assert!(timer.now() >= deadline);
        }
    }
}
