//! Calls that leave while the journal's disk takes its time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Wake, Waker};

use super::*;
use crate::journal::{JournalConfig, Platter, SyncPolicy};
use crate::testing::rows::finished;

/// Counts how often it is woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// A journal on a disk whose chores nobody does but the test, and calls that are about to leave.
fn scene(sync: SyncPolicy, calls: usize) -> (Platter, Arc<Journal>, Vec<Dispatch>) {
    let platter = Platter::default();
    let config = JournalConfig {
        sync,
        ..JournalConfig::at("simulated".into())
    };
    let (journal, _) = Journal::simulated(&platter, &config).unwrap();
    let journal = Arc::new(journal);
    let tenant = "acme".parse().unwrap();
    let integration = "00000000-0000-4000-8000-000000000001".parse().unwrap();
    let dispatches = (0..calls).map(|_| Dispatch {
        journal: Arc::clone(&journal),
        worst: finished(&tenant, integration, CallId::generate(), Nanos::new(1)),
        stage: Mutex::new(Stage::Held),
    });
    let dispatches = dispatches.collect();
    (platter, journal, dispatches)
}

#[test]
fn calls_that_leave_together_wait_for_one_sync_and_no_thread_waits_with_them() {
    let (_platter, journal, calls) = scene(SyncPolicy::Always, 50);
    let woken = Arc::new(Woken::default());
    let waker = Waker::from(Arc::clone(&woken));
    let mut context = Context::from_waker(&waker);
    for _look in 0..2 {
        for call in &calls {
            assert!(call.poll_leave(&mut context).is_pending());
        }
    }
    assert_eq!(journal.status().unsynced, 50);
    assert_eq!(woken.0.load(Ordering::SeqCst), 0);
    journal.do_chores(SyncPolicy::Always).unwrap();
    assert_eq!(woken.0.load(Ordering::SeqCst), 50, "each once");
    for call in &calls {
        assert!(matches!(call.poll_leave(&mut context), Poll::Ready(Ok(()))));
        assert!(matches!(*call.stage.lock(), Stage::Dispatched(_)));
    }
    assert_eq!(journal.status().open_calls, 50);
}

#[test]
fn where_syncs_are_grouped_or_left_to_the_system_a_call_leaves_at_once() {
    for sync in [SyncPolicy::Grouped { millis: 5 }, SyncPolicy::Never] {
        let (_platter, journal, calls) = scene(sync, 3);
        let mut context = Context::from_waker(Waker::noop());
        for call in &calls {
            for _again in 0..2 {
                assert!(matches!(call.poll_leave(&mut context), Poll::Ready(Ok(()))));
            }
        }
        let status = journal.status();
        assert_eq!((status.open_calls, status.unsynced), (3, 3));
    }
}

#[test]
fn a_call_whose_record_does_not_reach_the_disk_does_not_leave_and_later_ones_do() {
    let (platter, journal, calls) = scene(SyncPolicy::Always, 2);
    let mut context = Context::from_waker(Waker::noop());
    let [first, second] = calls.as_slice() else {
        unreachable!()
    };
    platter.refuse_syncs();
    assert!(first.poll_leave(&mut context).is_pending());
    assert!(journal.do_chores(SyncPolicy::Always).is_err());
    let refused = first.poll_leave(&mut context);
    let is_refused = matches!(
        refused,
        Poll::Ready(Err(DispatchError::Journal(JournalError::NotSynced)))
    );
    assert!(is_refused, "{refused:?}");
    assert!(matches!(*first.stage.lock(), Stage::Refused));
    assert_eq!(journal.status().open_calls, 0);
    platter.mend();
    assert!(second.poll_leave(&mut context).is_pending());
    journal.do_chores(SyncPolicy::Always).unwrap();
    assert!(matches!(
        second.poll_leave(&mut context),
        Poll::Ready(Ok(()))
    ));
    assert_eq!(journal.status().open_calls, 1);
}

#[test]
fn a_call_that_is_given_up_while_it_waits_for_the_disk_never_leaves() {
    let (_platter, journal, calls) = scene(SyncPolicy::Always, 1);
    let mut context = Context::from_waker(Waker::noop());
    let [call] = calls.as_slice() else {
        unreachable!()
    };
    assert!(call.poll_leave(&mut context).is_pending());
    let Stage::Leaving(ticket, _) = call.close() else {
        panic!("it is not on its way")
    };
    journal.take_back(ticket);
    journal.do_chores(SyncPolicy::Always).unwrap();
    assert_eq!(journal.status().open_calls, 0);
    let late = call.poll_leave(&mut context);
    assert!(
        matches!(late, Poll::Ready(Err(DispatchError::Closed))),
        "{late:?}"
    );
}
