//! The journal under crashes, damage, full disks and many threads.

mod damage;
mod faults;
mod model;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use cus_models::{CusPolicyResult, CusProviderType};
use tempfile::TempDir;
use tollgate_core::money::Nanos;
use tollgate_core::price::{PricePin, Rates};
use tollgate_core::tokens::TokenUsage;
use tollgate_core::usage::{UsageEntry, UsageSource};

use super::*;

/// What a call's worst case costs, so that it is told from its row.
const WORST: i64 = 1_000;
/// What a finished call costs.
const ACTUAL: i64 = 10;

fn entry(call: &str, cost: i64) -> UsageEntry {
    UsageEntry {
        tenant_id: "acme".parse().unwrap(),
        integration_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
        call_id: call.parse().unwrap(),
        session_id: Some("session-1".parse().unwrap()),
        agent_id: None,
        provider: CusProviderType::OpenAi,
        model: "gpt-4o-mini".into(),
        tokens: TokenUsage::plain(1_200, 340),
        cost: Nanos::new(cost),
        held: Nanos::new(WORST),
        source: UsageSource::Provider,
        price: Some(PricePin {
            version: "2026-10-01".into(),
            rates: Rates {
                input: 150_000_000,
                output: 600_000_000,
                ..Rates::default()
            },
        }),
        latency_ms: Some(812),
        policy_result: CusPolicyResult::Allowed,
        error_code: None,
        error_message: None,
        extra: None,
        created_at: "2026-10-02T03:04:05.000006Z".parse().unwrap(),
    }
}

fn config(dir: &Path, segment_bytes: u64) -> JournalConfig {
    JournalConfig {
        sync: SyncPolicy::Never,
        segment_bytes,
        ..JournalConfig::at(dir.to_owned())
    }
}

fn open(dir: &Path) -> (Journal, Recovery) {
    Journal::open(config(dir, 1 << 20)).unwrap()
}

fn worst(journal: &Journal, call: &str) -> Ticket {
    journal.dispatched(&entry(call, WORST)).unwrap()
}

fn whole(journal: &Journal, call: &str) -> Receipt {
    let ticket = worst(journal, call);
    journal.settled(ticket, &entry(call, ACTUAL)).unwrap()
}

/// The segment files in a folder, in order.
fn segments(dir: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).unwrap().map(|file| file.unwrap().path());
    let mut segments: Vec<PathBuf> = files
        .filter(|file| file.extension().is_some_and(|end| end == "seg"))
        .collect();
    segments.sort();
    segments
}

/// What a `kill -9` at this moment leaves: the files as they are.
fn crash(journal: &Journal, dir: &Path) -> TempDir {
    let _still = journal.keeper.pause();
    let left = TempDir::new().unwrap();
    for file in segments(dir) {
        fs::copy(&file, left.path().join(file.file_name().unwrap())).unwrap();
    }
    left
}

/// The worst cases of the calls that a recovery found open.
fn worst_of(journal: &Journal, recovery: &Recovery) -> Vec<UsageEntry> {
    let open = recovery.interrupted.iter();
    let open: Vec<Receipt> = open
        .map(|Ticket { number }| Receipt { number: *number })
        .collect();
    journal.rows(&open).unwrap()
}

/// What a recovery found: cost by call, rows and interrupted calls apart.
#[derive(Debug, Default, PartialEq, Eq, Clone)]
struct Books {
    rows: BTreeMap<String, i64>,
    interrupted: BTreeMap<String, i64>,
}

impl Books {
    fn of(journal: &Journal, recovery: &Recovery) -> Self {
        let facts = |entries: Vec<UsageEntry>| -> BTreeMap<String, i64> {
            let facts = entries.iter();
            facts
                .map(|e| (e.call_id.to_string(), e.cost.get()))
                .collect()
        };
        let books = Self {
            rows: facts(journal.rows(&recovery.unposted).unwrap()),
            interrupted: facts(worst_of(journal, recovery)),
        };
        assert_eq!(books.rows.len(), recovery.unposted.len(), "a row twice");
        assert_eq!(books.interrupted.len(), recovery.interrupted.len());
        books
    }

    fn with(rows: &[&str], interrupted: &[&str]) -> Self {
        let all = |calls: &[&str], cost| calls.iter().map(|c| ((*c).to_owned(), cost)).collect();
        Self {
            rows: all(rows, ACTUAL),
            interrupted: all(interrupted, WORST),
        }
    }
}

#[test]
fn a_restart_finds_rows_that_were_not_posted_and_calls_that_were_not_closed() {
    let dir = TempDir::new().unwrap();
    let (journal, empty) = open(dir.path());
    assert_eq!(Books::of(&journal, &empty), Books::default());
    let _open = worst(&journal, "open");
    let _row = whole(&journal, "row");
    let _refused = journal.recorded(&entry("refused", ACTUAL)).unwrap();
    journal.released(worst(&journal, "released")).unwrap();
    journal.posted([whole(&journal, "posted")]);
    let status = journal.status();
    assert_eq!((status.open_calls, status.unposted), (1, 2));
    drop(journal);

    let (journal, recovery) = open(dir.path());
    assert_eq!(
        Books::of(&journal, &recovery),
        Books::with(&["row", "refused"], &["open"])
    );
    assert_eq!(worst_of(&journal, &recovery), [entry("open", WORST)]);
    let rows = journal.rows(&recovery.unposted).unwrap();
    assert_eq!(rows, [entry("row", ACTUAL), entry("refused", ACTUAL)]);
    assert_eq!(recovery.torn_bytes, 0);
}

#[test]
fn reopening_again_and_again_finds_the_same() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let _open = worst(&journal, "open");
    let _row = whole(&journal, "row");
    drop(journal);
    for _ in 0..5 {
        let (journal, recovery) = open(dir.path());
        assert_eq!(
            Books::of(&journal, &recovery),
            Books::with(&["row"], &["open"])
        );
    }
}

#[test]
fn a_recovered_call_is_closed_with_its_old_ticket_and_new_calls_are_not_mixed_up_with_it() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let _lost = worst(&journal, "lost");
    drop(journal);
    let (journal, mut recovery) = open(dir.path());
    let _new = worst(&journal, "new");
    let worst = worst_of(&journal, &recovery);
    let ticket = recovery.interrupted.pop().unwrap();
    let receipt = journal.settled(ticket, &worst[0]).unwrap();
    assert_eq!(journal.status().open_calls, 1);
    journal.posted([receipt]);
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!(Books::of(&journal, &recovery), Books::with(&[], &["new"]));
}

#[test]
fn a_call_that_is_given_up_has_its_worst_case_for_a_row_and_is_gone_once_that_is_posted() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let _lost = worst(&journal, "lost");
    drop(journal);
    let (journal, mut recovery) = open(dir.path());
    let bytes = journal.status().bytes;
    let receipt = journal.give_up(recovery.interrupted.pop().unwrap());
    let status = journal.status();
    assert_eq!((status.open_calls, status.unposted), (0, 1));
    assert_eq!(status.bytes, bytes, "nothing had to be written for it");
    let rows = journal.rows(std::slice::from_ref(&receipt)).unwrap();
    assert_eq!(rows, [entry("lost", WORST)]);
    let left = crash(&journal, dir.path());
    let (crashed, found) = open(left.path());
    assert_eq!(Books::of(&crashed, &found), Books::with(&[], &["lost"]));
    journal.posted([receipt]);
    drop(journal);
    let (journal, recovery) = open(dir.path());
    assert_eq!(Books::of(&journal, &recovery), Books::default());
}

#[test]
fn a_long_backlog_is_read_piece_by_piece_while_its_segments_go() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 4_000)).unwrap();
    let receipts: Vec<Receipt> = (0..200)
        .map(|n| whole(&journal, &format!("call-{n}")))
        .collect();
    drop((journal, receipts));
    let (journal, recovery) = Journal::open(config(dir.path(), 4_000)).unwrap();
    let before = journal.status().segments;
    assert!(before > 10, "{before} segments");
    let mut rest = recovery.unposted;
    let mut found = 0;
    while !rest.is_empty() {
        let piece: Vec<Receipt> = rest.drain(..rest.len().min(7)).collect();
        for row in journal.rows(&piece).unwrap() {
            assert_eq!(row, entry(&format!("call-{found}"), ACTUAL));
            found += 1;
        }
        journal.posted(piece);
        journal.sync().unwrap();
        let left = before * rest.len() / 200;
        let segments = journal.status().segments;
        assert!(
            segments <= left + 4,
            "{segments} segments, {} rows",
            rest.len()
        );
    }
    assert_eq!(found, 200);
    assert_eq!(journal.status().unposted, 0);
}

#[test]
fn a_second_process_is_refused_until_the_first_has_ended() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let second = Journal::open(config(dir.path(), 1 << 20));
    assert!(matches!(second, Err(JournalError::InUse { .. })));
    drop(journal);
    assert!(Journal::open(config(dir.path(), 1 << 20)).is_ok());
}

#[test]
fn nobody_else_may_read_the_journal() {
    let dir = TempDir::new().unwrap();
    let folder = dir.path().join("a").join("journal");
    let (_journal, _) = open(&folder);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&folder), 0o700);
    assert_eq!(mode(&segments(&folder)[0]), 0o600);
    assert_eq!(mode(&folder.join("journal.lock")), 0o600);
}

#[test]
fn segments_vanish_once_all_of_their_rows_are_posted() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 2_000)).unwrap();
    let receipts: Vec<Receipt> = (0..50)
        .map(|n| whole(&journal, &format!("call-{n}")))
        .collect();
    assert!(journal.status().segments > 5);
    journal.sync().unwrap();
    assert!(journal.status().segments > 5, "rows that are needed stay");
    journal.posted(receipts);
    journal.sync().unwrap();
    assert_eq!(journal.status().segments, 1);
    assert_eq!(segments(dir.path()).len(), 1);
    let length = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    assert_eq!(journal.status().bytes, length);
}

#[test]
fn a_call_settled_in_a_later_segment_never_comes_back_as_interrupted() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 2_000)).unwrap();
    let ticket = worst(&journal, "slow");
    let _pin = worst(&journal, "pin");
    let fill = |journal: &Journal, from: usize| {
        let calls = from..from + 20;
        let receipts = calls.map(|n| whole(journal, &format!("call-{n}")));
        journal.posted(receipts.collect::<Vec<_>>());
    };
    fill(&journal, 0);
    let receipt = journal.settled(ticket, &entry("slow", ACTUAL)).unwrap();
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(
        Books::of(&crashed, &recovery).interrupted,
        Books::with(&[], &["pin"]).interrupted
    );
    assert_eq!(
        Books::of(&crashed, &recovery).rows.get("slow"),
        Some(&ACTUAL)
    );
    journal.posted([receipt]);
    fill(&journal, 20);
    journal.sync().unwrap();
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(Books::of(&crashed, &recovery), Books::with(&[], &["pin"]));
}

#[test]
fn one_endless_call_does_not_keep_the_journal_growing() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 4_000)).unwrap();
    let endless = worst(&journal, "endless");
    let mut most = 0;
    for round in 0..40 {
        let receipts = (0..20).map(|n| whole(&journal, &format!("call-{round}-{n}")));
        journal.posted(receipts.collect::<Vec<_>>());
        journal.sync().unwrap();
        most = most.max(journal.status().segments);
    }
    assert!(most <= 8, "{most} segments for one living record");
    let left = crash(&journal, dir.path());
    let (crashed, recovery) = open(left.path());
    assert_eq!(
        Books::of(&crashed, &recovery),
        Books::with(&[], &["endless"])
    );
    journal.released(endless).unwrap();
    assert_eq!(journal.status().open_calls, 0);
}

#[test]
fn a_call_that_was_closed_while_it_was_to_be_carried_stays_closed() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 200)).unwrap();
    let ticket = worst(&journal, "call");
    let number = ticket.number;
    let _row = journal.settled(ticket, &entry("call", ACTUAL)).unwrap();
    let before = journal.status();
    assert_eq!(before.segments, 2, "opening and row have a segment each");
    let opened_in = journal.keeper.log.lock().removable().unwrap();
    journal
        .keeper
        .log
        .lock()
        .carry(opened_in, &[number])
        .unwrap();
    assert_eq!(journal.status(), before);
}

#[test]
fn a_number_is_not_used_again_after_its_segments_are_gone() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 400)).unwrap();
    let receipts = [whole(&journal, "one"), whole(&journal, "two")];
    let last = receipts[1].number;
    journal.posted(receipts);
    journal.sync().unwrap();
    drop(journal);
    for _ in 0..2 {
        drop(open(dir.path()));
    }
    let (journal, _) = open(dir.path());
    assert!(worst(&journal, "three").number > last);
}

/// A call that stays open, is released, becomes a row, or is posted.
fn one_of_four(journal: &Journal, call: &str, way: usize) {
    let ticket = worst(journal, call);
    let row = entry(call, ACTUAL);
    match way {
        0 => drop(ticket),
        1 => journal.released(ticket).unwrap(),
        2 => drop(journal.settled(ticket, &row).unwrap()),
        _ => journal.posted([journal.settled(ticket, &row).unwrap()]),
    }
}

#[test]
fn calls_of_eight_threads_are_all_kept_each_thread_in_its_order() {
    const CALLS: usize = 300;
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 20_000);
    config.sync = SyncPolicy::Grouped { millis: 1 };
    let (journal, _) = Journal::open(config).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let journal = &journal;
            scope.spawn(move || {
                (0..CALLS).for_each(|n| one_of_four(journal, &format!("{thread}-{n:04}"), n % 4));
            });
        }
    });
    drop(journal);
    let (journal, recovery) = open(dir.path());
    let books = Books::of(&journal, &recovery);
    let expected = |rest: usize| {
        let calls = (0..8).flat_map(|thread| (0..CALLS).map(move |n| (thread, n)));
        let calls = calls.filter(move |(_, n)| n % 4 == rest);
        calls
            .map(|(thread, n)| format!("{thread}-{n:04}"))
            .collect::<Vec<_>>()
    };
    assert!(books.interrupted.keys().eq(&expected(0)));
    assert!(books.rows.keys().eq(&expected(2)));
    let rows = journal.rows(&recovery.unposted).unwrap();
    for thread in 0..8 {
        let prefix = format!("{thread}-");
        let calls = rows.iter().map(|entry| entry.call_id.as_str());
        assert!(calls.filter(|call| call.starts_with(&prefix)).is_sorted());
    }
}

#[test]
fn a_full_journal_begins_nothing_and_still_closes_what_is_open() {
    let dir = TempDir::new().unwrap();
    let mut config = config(dir.path(), 2_000);
    config.bytes_max = 5_000;
    let (journal, _) = Journal::open(config).unwrap();
    let mut tickets = Vec::new();
    let refusal = loop {
        match journal.dispatched(&entry(&format!("call-{}", tickets.len()), WORST)) {
            Ok(ticket) => tickets.push(ticket),
            Err(refusal) => break refusal,
        }
    };
    assert!(matches!(refusal, JournalError::Full { bytes_max: 5_000 }));
    assert!(matches!(
        journal.recorded(&entry("refused", ACTUAL)),
        Err(JournalError::Full { .. })
    ));
    assert!(journal.status().bytes <= 5_000);
    journal.released(tickets.pop().unwrap()).unwrap();
    let calls = tickets.into_iter().enumerate();
    let receipts: Vec<Receipt> = calls
        .map(|(n, ticket)| {
            journal
                .settled(ticket, &entry(&format!("call-{n}"), ACTUAL))
                .unwrap()
        })
        .collect();
    assert!(journal.dispatched(&entry("early", WORST)).is_err());
    journal.posted(receipts);
    journal.sync().unwrap();
    assert!(journal.dispatched(&entry("later", WORST)).is_ok());
}
