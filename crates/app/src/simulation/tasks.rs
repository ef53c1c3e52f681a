//! The tasks of one node, run one at a time in an order from the seed.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_core::Clock;

use super::dice::Dice;

type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Tasks that are under way.
#[derive(Default)]
pub(super) struct Tasks {
    next: u64,
    running: BTreeMap<u64, Task>,
}

struct Task {
    work: Work,
    woken: Arc<Woken>,
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Tasks {
    /// Begins a task; it runs at the next turn.
    pub(super) fn begin(&mut self, work: impl Future<Output = ()> + Send + 'static) -> u64 {
        self.next += 1;
        let task = Task {
            work: Box::pin(work),
            woken: Arc::new(Woken(AtomicBool::new(true))),
        };
        self.running.insert(self.next, task);
        self.next
    }

    /// Drops a task wherever it is.
    pub(super) fn cancel(&mut self, task: u64) {
        self.running.remove(&task);
    }

    pub(super) fn count(&self) -> usize {
        self.running.len()
    }

    /// Runs whatever can run until nothing can.
    pub(super) fn turn(&mut self, dice: &mut Dice) {
        loop {
            let ready: Vec<u64> = self
                .running
                .iter()
                .filter(|(_, task)| task.woken.0.load(Ordering::SeqCst))
                .map(|(id, _)| *id)
                .collect();
            if ready.is_empty() {
                return;
            }
            let id = dice.one_of(&ready);
            let Some(task) = self.running.get_mut(&id) else {
                continue;
            };
            task.woken.0.store(false, Ordering::SeqCst);
            let waker = Waker::from(Arc::clone(&task.woken));
            let polled = task.work.as_mut().poll(&mut Context::from_waker(&waker));
            if polled.is_ready() {
                self.running.remove(&id);
            }
        }
    }
}

/// Waits that end when the simulated time has come.
#[derive(Debug, Clone, Default)]
pub(super) struct Timers(Arc<Mutex<Vec<(i64, Waker)>>>);

impl Timers {
    /// A wait by a node's steady clock.
    pub(super) fn pause(&self, clock: &Arc<dyn Clock>, length: Duration) -> Wait {
        let micros = i64::try_from(length.as_micros()).unwrap();
        Wait {
            timers: self.clone(),
            clock: Arc::clone(clock),
            until_micros: clock.now().steady_micros + micros,
        }
    }

    /// Wakes whoever has waited long enough.
    pub(super) fn ring(&self, steady_micros: i64) {
        let mut waiting = self.0.lock();
        let due: Vec<(i64, Waker)> = waiting
            .extract_if(.., |(until, _)| *until <= steady_micros)
            .collect();
        drop(waiting);
        for (_, waker) in due {
            waker.wake();
        }
    }
}

/// One wait.
pub(super) struct Wait {
    timers: Timers,
    clock: Arc<dyn Clock>,
    until_micros: i64,
}

impl Future for Wait {
    type Output = ();

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.clock.now().steady_micros >= self.until_micros {
            return Poll::Ready(());
        }
        let waiting = (self.until_micros, context.waker().clone());
        self.timers.0.lock().push(waiting);
        Poll::Pending
    }
}
