//! Torn ends are cut off; everything else that is wrong is named.

use super::*;

/// A crashed journal of several segments with nothing sealed, and its segments.
fn crashed(calls: usize) -> (TempDir, Vec<PathBuf>) {
    let dir = TempDir::new().unwrap();
    let (journal, _) = Journal::open(config(dir.path(), 1_500)).unwrap();
    for n in 0..calls {
        drop(whole(&journal, &format!("call-{n}")));
    }
    let left = crash(&journal, dir.path());
    let files = segments(left.path());
    (left, files)
}

/// A journal that was closed in good order: every segment but the last is sealed.
fn sealed(calls: usize) -> (TempDir, Vec<PathBuf>) {
    let (dir, _) = crashed(calls);
    drop(open(dir.path()));
    let files = segments(dir.path());
    (dir, files)
}

fn damage(dir: &Path) -> (PathBuf, u64, &'static str) {
    match Journal::open(config(dir, 1 << 20)) {
        Err(JournalError::Corrupt { file, offset, what }) => (file, offset, what),
        other => panic!("not named: {other:?}"),
    }
}

#[test]
fn the_last_segment_cut_at_any_byte_has_a_record_or_has_it_not() {
    let dir = TempDir::new().unwrap();
    let (journal, _) = open(dir.path());
    let length = || fs::metadata(&segments(dir.path())[0]).unwrap().len();
    let mut steps = vec![(0, Books::default())];
    let first = worst(&journal, "first");
    steps.push((length(), Books::with(&[], &["first"])));
    let second = worst(&journal, "second");
    steps.push((length(), Books::with(&[], &["first", "second"])));
    drop(journal.settled(first, &entry("first", ACTUAL)).unwrap());
    steps.push((length(), Books::with(&["first"], &["second"])));
    journal.released(second).unwrap();
    steps.push((length(), Books::with(&["first"], &[])));

    for cut in 0..=length() {
        let left = crash(&journal, dir.path());
        let file = fs::OpenOptions::new()
            .write(true)
            .open(&segments(left.path())[0])
            .unwrap();
        file.set_len(cut).unwrap();
        let (at, expected) = steps.iter().rfind(|(at, _)| *at <= cut).unwrap();
        let (reopened, recovery) = open(left.path());
        assert_eq!(Books::of(&reopened, &recovery), *expected, "cut at {cut}");
        assert!(recovery.torn_bytes <= cut - at);
        drop(reopened);
        let (reopened, recovery) = open(left.path());
        assert_eq!(
            Books::of(&reopened, &recovery),
            *expected,
            "cut at {cut}, second start"
        );
        assert_eq!(recovery.torn_bytes, 0, "a torn end is cut off once");
    }
}

#[test]
fn zeros_at_the_end_of_the_last_segment_are_a_torn_end() {
    let (dir, files) = crashed(3);
    let last = files.last().unwrap();
    let length = fs::metadata(last).unwrap().len();
    let file = fs::OpenOptions::new().write(true).open(last).unwrap();
    file.set_len(length + 4_096).unwrap();
    let (_journal, recovery) = open(dir.path());
    assert_eq!(recovery.torn_bytes, 4_096);
    assert_eq!(recovery.unposted.len(), 3);
}

#[test]
fn a_segment_whose_header_was_torn_is_as_good_as_none() {
    for length in 0..32 {
        let (dir, files) = crashed(3);
        let next = dir.path().join(format!("journal-{:016x}.seg", files.len()));
        fs::write(&next, &fs::read(&files[0]).unwrap()[..length]).unwrap();
        for _ in 0..3 {
            let (_journal, recovery) = open(dir.path());
            assert_eq!(recovery.unposted.len(), 3);
        }
    }
}

#[test]
fn any_flipped_bit_of_a_sealed_segment_is_named_and_changes_nothing() {
    let (dir, files) = sealed(12);
    for file in [&files[0], &files[1]] {
        let good = fs::read(file).unwrap();
        for (at, byte) in good.iter().enumerate() {
            let mut bad = good.clone();
            bad[at] = byte ^ 0x10;
            fs::write(file, &bad).unwrap();
            let (named, offset, what) = damage(dir.path());
            assert_eq!((&named, what.is_empty()), (file, false));
            let at = u64::try_from(at).unwrap();
            assert!(offset <= at && at < offset + 400, "{offset} for {at}");
            assert_eq!(fs::read(file).unwrap(), bad, "damage is not touched");
        }
        fs::write(file, &good).unwrap();
    }
    let (_journal, recovery) = open(dir.path());
    assert_eq!(recovery.unposted.len(), 12);
}

#[test]
fn a_sealed_segment_that_lost_its_end_is_named_also_at_the_edge_of_a_record() {
    let (dir, files) = sealed(12);
    let good = fs::read(&files[0]).unwrap();
    for length in 0..good.len() {
        fs::write(&files[0], &good[..length]).unwrap();
        assert_eq!(damage(dir.path()).0, files[0], "cut at {length}");
    }
    let mut longer = good.clone();
    longer.extend_from_slice(&good[32..]);
    fs::write(&files[0], &longer).unwrap();
    assert_eq!(damage(dir.path()).2, "the file is longer than it was");
}

#[test]
fn damage_before_whole_records_is_never_taken_for_a_torn_end() {
    let (dir, files) = crashed(2);
    let file = &files[0];
    let mut bytes = fs::read(file).unwrap();
    bytes[50] ^= 1;
    fs::write(file, &bytes).unwrap();
    let (named, offset, what) = damage(dir.path());
    assert_eq!((&named, offset), (file, 32));
    assert_eq!(what, "the checksum of a record does not match");
    let text = Journal::open(config(dir.path(), 1 << 20))
        .unwrap_err()
        .to_string();
    assert!(
        text.contains("journal-0000000000000000.seg is damaged at byte 32"),
        "{text}"
    );
}

#[test]
fn a_crash_beside_a_rotation_may_have_torn_the_end_of_the_segment_before() {
    let (dir, files) = crashed(12);
    let before = &files[files.len() - 2];
    let bytes = fs::read(before).unwrap();
    fs::write(before, &bytes[..bytes.len() - 10]).unwrap();
    let (journal, recovery) = open(dir.path());
    assert!(recovery.torn_bytes > 0);
    drop(journal);
    let (_journal, recovery) = open(dir.path());
    assert_eq!(recovery.torn_bytes, 0);
}

#[test]
fn a_missing_segment_is_named() {
    let (dir, files) = sealed(12);
    fs::remove_file(&files[1]).unwrap();
    let (named, offset, what) = damage(dir.path());
    assert_eq!(
        (named, offset, what),
        (files[1].clone(), 0, "the file is missing")
    );
}

#[test]
fn a_segment_under_the_name_of_another_is_named() {
    let (dir, files) = sealed(12);
    fs::copy(&files[0], &files[1]).unwrap();
    assert_eq!(damage(dir.path()).0, files[1]);
    let odd = dir.path().join("journal-1.seg");
    fs::write(&odd, "").unwrap();
    assert_eq!(damage(dir.path()).0, odd);
}

#[test]
fn a_segment_of_a_later_format_is_refused_and_kept() {
    let (dir, files) = crashed(2);
    let mut bytes = fs::read(&files[0]).unwrap();
    bytes[8] = u8::MAX;
    let checksum = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&checksum.to_le_bytes());
    fs::write(&files[0], &bytes).unwrap();
    let refused = Journal::open(config(dir.path(), 1 << 20));
    assert!(matches!(
        refused,
        Err(JournalError::Format { found: 255, .. })
    ));
    assert_eq!(fs::read(&files[0]).unwrap(), bytes);
}

/// Every record of a journal flipped in turn: what is lost is that record alone, and it is named.
#[test]
fn a_salvage_keeps_every_record_but_the_damaged_one_and_names_that() {
    let (whole, files) = sealed(12);
    let copy = copy_of(whole.path());
    let (journal, recovery) = open(copy.path());
    let all = Books::of(&journal, &recovery).rows;
    for (place, file) in files.iter().enumerate().take(2) {
        let length = fs::metadata(file).unwrap().len();
        for at in (0..length).step_by(61) {
            let dir = copy_of(whole.path());
            let file = dir.path().join(file.file_name().unwrap());
            let mut bytes = fs::read(&file).unwrap();
            bytes[usize::try_from(at).unwrap()] ^= 0x10;
            fs::write(&file, &bytes).unwrap();

            let found = inspect(dir.path()).unwrap();
            assert_eq!(found.damages.len(), 1, "{:?}", found.damages);
            let damage = &found.damages[0];
            assert_eq!(damage.file, file);
            assert!(
                damage.offset <= at && at < damage.offset + damage.bytes,
                "{damage:?} {at}"
            );
            assert_eq!(fs::read(&file).unwrap(), bytes, "looking changes nothing");

            let done = salvage(dir.path()).unwrap();
            assert_eq!(done.found, found);
            let aside = done.set_aside.unwrap();
            let kept = aside.join(file.file_name().unwrap());
            assert_eq!(fs::read(kept).unwrap(), bytes, "the evidence stays");

            let (journal, recovery) = open(dir.path());
            let books = Books::of(&journal, &recovery);
            drop(journal);
            let lost: Vec<&String> = all
                .keys()
                .filter(|call| !books.rows.contains_key(*call))
                .collect();
            // The row's record is lost: its call is found open, or, in a journal of rows alone, gone.
            assert!(lost.len() <= 1, "{lost:?} of {place} at {at}");
            assert!(books.interrupted.keys().all(|call| lost.contains(&call)));
            assert_eq!(
                salvage(dir.path()).unwrap().set_aside,
                None,
                "nothing is left to do"
            );
        }
    }
}

fn copy_of(dir: &Path) -> TempDir {
    let copy = TempDir::new().unwrap();
    for file in segments(dir) {
        fs::copy(&file, copy.path().join(file.file_name().unwrap())).unwrap();
    }
    copy
}

#[test]
fn a_salvage_of_a_journal_with_missing_and_foreign_files_keeps_the_rest() {
    let (dir, files) = sealed(12);
    fs::remove_file(&files[1]).unwrap();
    fs::write(dir.path().join("journal-1.seg"), "odd").unwrap();
    let found = inspect(dir.path()).unwrap();
    let what: Vec<&str> = found.damages.iter().map(|damage| damage.what).collect();
    assert_eq!(
        what,
        ["its name is not that of a segment", "the file is missing"]
    );
    let missing = &found.damages[1];
    assert!(
        missing.after.is_some() && missing.before.is_some(),
        "{missing:?}"
    );
    let done = salvage(dir.path()).unwrap();
    assert!(done.set_aside.unwrap().join("journal-1.seg").exists());
    let (_journal, recovery) = open(dir.path());
    let kept = recovery.unposted.len() + recovery.interrupted.len();
    assert_eq!(u64::try_from(kept).unwrap(), found.rows + found.open_calls);
    assert!(kept >= 6, "{kept}");
}

#[test]
fn a_salvage_stopped_in_the_middle_can_be_given_again() {
    let (dir, files) = sealed(12);
    let mut bytes = fs::read(&files[2]).unwrap();
    bytes[60] ^= 1;
    fs::write(&files[2], &bytes).unwrap();
    let before = inspect(dir.path()).unwrap();
    let aside = salvage(dir.path()).unwrap().set_aside.unwrap();
    // As if it had ended before the last files were moved: those, from the damaged one on, are back.
    for file in &files[2..] {
        fs::rename(aside.join(file.file_name().unwrap()), file).unwrap();
    }
    assert!(Journal::open(config(dir.path(), 1 << 20)).is_err());
    salvage(dir.path()).unwrap();
    let (_journal, recovery) = open(dir.path());
    let kept = recovery.unposted.len() + recovery.interrupted.len();
    assert_eq!(
        u64::try_from(kept).unwrap(),
        before.rows + before.open_calls
    );
}

#[test]
fn a_sound_journal_and_a_torn_end_are_no_damage() {
    let (dir, files) = crashed(5);
    let last = files.last().unwrap();
    let bytes = fs::read(last).unwrap();
    fs::write(last, &bytes[..bytes.len() - 10]).unwrap();
    let found = inspect(dir.path()).unwrap();
    assert_eq!(found.damages, []);
    assert!(found.torn_bytes > 0);
    assert_eq!((found.rows, found.open_calls), (4, 1));
    assert_eq!(salvage(dir.path()).unwrap().set_aside, None);
    assert_eq!(segments(dir.path()), files);
}
