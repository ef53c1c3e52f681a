//! A disk that is full, and a disk that does not sync.

use std::sync::atomic::Ordering;

use super::*;

fn leave_room(journal: &Journal, bytes: usize) {
    journal
        .keeper
        .disk
        .faults
        .room
        .store(bytes, Ordering::SeqCst);
}

fn break_syncs(journal: &Journal) {
    let faults = &journal.keeper.disk.faults;
    faults.no_sync.store(true, Ordering::SeqCst);
}

fn mend_syncs(journal: &Journal) {
    let faults = &journal.keeper.disk.faults;
    faults.no_sync.store(false, Ordering::SeqCst);
}

#[test]
fn a_disk_that_fills_within_a_record_loses_nothing_before_and_takes_what_comes_after() {
    for room in 0..120 {
        let dir = TempDir::new().unwrap();
        let (journal, _) = open(dir.path());
        let _before = whole(&journal, "before");
        leave_room(&journal, room);
        let refused = journal.dispatched(&entry("refused", WORST));
        assert!(
            matches!(refused, Err(JournalError::DiskFull { .. })),
            "{refused:?}"
        );
        let left = crash(&journal, dir.path());
        let (crashed, recovery) = open(left.path());
        assert_eq!(
            Books::of(&crashed, &recovery),
            Books::with(&["before"], &[])
        );
        assert_eq!(
            recovery.torn_bytes, 0,
            "the half-written record is cut off at once"
        );

        leave_room(&journal, usize::MAX);
        let _after = whole(&journal, "after");
        let left = crash(&journal, dir.path());
        let (crashed, recovery) = open(left.path());
        assert_eq!(
            Books::of(&crashed, &recovery),
            Books::with(&["before", "after"], &[])
        );
    }
}

#[test]
fn a_row_that_found_no_room_is_settled_with_the_ticket_that_came_back() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let ticket = worst(&journal, "call");
    leave_room(&journal, 20);
    let refused = journal.settled(ticket, &entry("call", ACTUAL)).unwrap_err();
    assert!(
        refused.to_string().contains("the disk is full"),
        "{refused}"
    );
    let ticket = refused.into_ticket().unwrap();
    assert_eq!(journal.status().open_calls, 1);
    leave_room(&journal, usize::MAX);
    let _row = journal.settled(ticket, &entry("call", ACTUAL)).unwrap();
    assert_eq!(journal.status().open_calls, 0);
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(Books::of(&crashed, &recovery), Books::with(&["call"], &[]));
}

#[test]
fn a_segment_that_cannot_be_made_leaves_no_trace_and_no_gap() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 600)).unwrap();
    let _first = whole(&journal, "first");
    let segments_before = segments(dir.path()).len();
    for room in 0..40 {
        leave_room(&journal, room);
        assert!(journal.dispatched(&entry("refused", WORST)).is_err());
        assert_eq!(segments(dir.path()).len(), segments_before);
    }
    leave_room(&journal, usize::MAX);
    let _second = whole(&journal, "second");
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(
        Books::of(&crashed, &recovery),
        Books::with(&["first", "second"], &[])
    );
}

#[test]
fn a_call_whose_opening_did_not_reach_the_disk_is_not_open() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 1 << 20);
    config.sync = SyncPolicy::Always;
    let (journal, _) = Journal::open(config).unwrap();
    let kept = worst(&journal, "kept");
    assert_eq!(
        journal.status().unsynced,
        0,
        "always: on the disk when it returns"
    );
    break_syncs(&journal);
    assert!(journal.dispatched(&entry("refused", WORST)).is_err());
    assert_eq!(journal.status().open_calls, 1);
    assert!(journal.status().sync_failures > 0);
    let _row = journal.settled(kept, &entry("kept", ACTUAL)).unwrap();
    assert!(
        journal.status().unsynced > 0,
        "the end of a call waits for nothing"
    );
    mend_syncs(&journal);
    journal.sync().unwrap();
    assert_eq!(journal.status().unsynced, 0);
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(Books::of(&crashed, &recovery), Books::with(&["kept"], &[]));
}

#[test]
fn what_a_failed_sync_left_in_doubt_is_written_again_elsewhere() {
    for segment_bytes in [200, 1 << 20] {
        let dir = TempDir::new().unwrap();
        let (journal, _) = Journal::open(config(dir.path(), segment_bytes)).unwrap();
        let _open = worst(&journal, "open");
        let _row = whole(&journal, "row");
        let doubted = segments(dir.path());
        break_syncs(&journal);
        assert!(journal.sync().is_err());
        mend_syncs(&journal);
        journal.sync().unwrap();
        let now = segments(dir.path());
        assert!(!doubted.iter().any(|file| now.contains(file)), "{now:?}");
        let left = crash(&journal, dir.path());
        let (crashed, recovery) = open(left.path());
        assert_eq!(
            Books::of(&crashed, &recovery),
            Books::with(&["row"], &["open"])
        );
    }
}

#[test]
fn no_segment_goes_before_what_made_it_needless_is_on_the_disk() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 200)).unwrap();
    let ticket = worst(&journal, "call");
    let opening = segments(dir.path());
    break_syncs(&journal);
    let _row = journal.settled(ticket, &entry("call", ACTUAL)).unwrap();
    assert!(journal.keeper.do_chores(SyncPolicy::Never).is_err());
    assert!(segments(dir.path()).contains(&opening[0]));
    mend_syncs(&journal);
    journal.sync().unwrap();
    assert!(!segments(dir.path()).contains(&opening[0]));
}

#[test]
fn grouped_appends_reach_the_disk_without_being_told() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 1_000);
    config.sync = SyncPolicy::Grouped { millis: 1 };
    let (journal, _) = Journal::open(config).unwrap();
    for n in 0..20 {
        drop(whole(&journal, &format!("call-{n}")));
    }
    while journal.status().unsynced > 0 {
        std::thread::yield_now();
    }
    assert!(journal.keeper.disk.faults.syncs.load(Ordering::SeqCst) > 0);
}

#[test]
fn appends_that_wait_for_the_disk_at_the_same_time_share_a_sync() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 1 << 20);
    config.sync = SyncPolicy::Always;
    let (journal, _) = Journal::open(config).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..16 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..20 {
                    drop(whole(journal, &format!("{thread}-{n}")));
                }
            });
        }
    });
    journal.sync().unwrap();
    assert_eq!(journal.status().unsynced, 0);
    let syncs = journal.keeper.disk.faults.syncs.load(Ordering::SeqCst);
    assert!(syncs < 640, "{syncs} syncs for 640 appends");
}

#[test]
fn before_the_disk_is_full_nothing_new_is_begun_and_what_is_in_flight_is_settled() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 1 << 20);
    config.free_bytes_min = 1_000_000;
    let (journal, _) = Journal::open(config).unwrap();
    let in_flight = worst(&journal, "in-flight");
    assert!(journal.status().has_room);
    let free = &journal.keeper.disk.faults.free;
    free.store(999_999, Ordering::SeqCst);
    journal.sync().unwrap();
    let refused = journal.dispatched(&entry("new", WORST));
    let expected = (999_999, 1_000_000);
    assert!(
        matches!(refused, Err(JournalError::NoRoom { free_bytes, free_bytes_min }) if (free_bytes, free_bytes_min) == expected),
        "{refused:?}"
    );
    assert!(journal.recorded(&entry("refused", ACTUAL)).is_err());
    let status = journal.status();
    assert_eq!((status.free_bytes, status.has_room), (999_999, false));
    let _row = journal
        .settled(in_flight, &entry("in-flight", ACTUAL))
        .unwrap();
    free.store(1_000_000, Ordering::SeqCst);
    // The refusals have the disk looked at again, without being told.
    while journal.dispatched(&entry("later", WORST)).is_err() {
        std::thread::yield_now();
    }
}
