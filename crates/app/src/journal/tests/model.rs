//! Any sequence of steps, with a crash at any point, equals a model that has only sets.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

#[derive(Debug, Clone)]
enum Step {
    Dispatch,
    Settle(prop::sample::Index),
    Release(prop::sample::Index),
    Record,
    Post(prop::sample::Index),
    Sync,
    Crash,
    Restart,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Dispatch),
        4 => any::<prop::sample::Index>().prop_map(Step::Settle),
        1 => any::<prop::sample::Index>().prop_map(Step::Release),
        1 => Just(Step::Record),
        4 => any::<prop::sample::Index>().prop_map(Step::Post),
        1 => Just(Step::Sync),
        1 => Just(Step::Crash),
        1 => Just(Step::Restart),
    ]
}

struct World {
    dir: TempDir,
    segment_bytes: u64,
    journal: Option<Journal>,
    calls: usize,
    open: Vec<(String, Ticket)>,
    rows: Vec<(String, Receipt)>,
    /// Posted, and perhaps not yet written down.
    posted: BTreeSet<String>,
}

impl World {
    fn new(segment_bytes: u64) -> Self {
        let dir = TempDir::new().unwrap();
        let (journal, _) = Journal::open(config(dir.path(), segment_bytes)).unwrap();
        Self {
            dir,
            segment_bytes,
            journal: Some(journal),
            calls: 0,
            open: Vec::new(),
            rows: Vec::new(),
            posted: BTreeSet::new(),
        }
    }

    fn journal(&self) -> &Journal {
        self.journal.as_ref().unwrap()
    }

    fn next_call(&mut self) -> String {
        self.calls += 1;
        format!("call-{}", self.calls)
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Dispatch => {
                let call = self.next_call();
                let ticket = worst(self.journal(), &call);
                self.open.push((call, ticket));
            }
            Step::Settle(index) if !self.open.is_empty() => {
                let (call, ticket) = self.open.swap_remove(index.index(self.open.len()));
                let row = entry(&call, ACTUAL);
                let receipt = self.journal().settled(ticket, &row).unwrap();
                self.rows.push((call, receipt));
            }
            Step::Release(index) if !self.open.is_empty() => {
                let (_, ticket) = self.open.swap_remove(index.index(self.open.len()));
                self.journal().released(ticket).unwrap();
            }
            Step::Record => {
                let call = self.next_call();
                let receipt = self.journal().recorded(&entry(&call, ACTUAL)).unwrap();
                self.rows.push((call, receipt));
            }
            Step::Post(index) if !self.rows.is_empty() => {
                let upto = index.index(self.rows.len()) + 1;
                let (calls, receipts): (Vec<_>, Vec<_>) = self.rows.drain(..upto).unzip();
                self.journal().posted(receipts);
                self.posted.extend(calls);
            }
            Step::Sync => {
                self.journal().sync().unwrap();
                self.posted.clear();
            }
            Step::Crash => {
                let left = crash(self.journal(), self.dir.path());
                let (journal, recovery) = open(left.path());
                self.check(&journal, &recovery);
            }
            Step::Restart => self.restart(),
            Step::Settle(_) | Step::Release(_) | Step::Post(_) => {}
        }
    }

    fn restart(&mut self) {
        self.journal = None;
        self.posted.clear();
        let (journal, recovery) =
            Journal::open(config(self.dir.path(), self.segment_bytes)).unwrap();
        self.check(&journal, &recovery);
        let called = |entries: Vec<UsageEntry>| {
            let calls = entries.into_iter();
            calls
                .map(|entry| entry.call_id.to_string())
                .collect::<Vec<_>>()
        };
        let open = called(worst_of(&journal, &recovery));
        let rows = called(journal.rows(&recovery.unposted).unwrap());
        self.open = open.into_iter().zip(recovery.interrupted).collect();
        self.rows = rows.into_iter().zip(recovery.unposted).collect();
        self.journal = Some(journal);
    }

    fn check(&self, journal: &Journal, recovery: &Recovery) {
        let mut found = Books::of(journal, recovery);
        found.rows.retain(|call, cost| {
            let expected = self.rows.iter().any(|(row, _)| row == call);
            assert!(expected || self.posted.contains(call), "{call} came back");
            assert_eq!(*cost, ACTUAL);
            expected
        });
        let rows: BTreeSet<&String> = self.rows.iter().map(|(call, _)| call).collect();
        let open: BTreeSet<&String> = self.open.iter().map(|(call, _)| call).collect();
        assert!(found.rows.keys().eq(rows), "rows");
        assert!(found.interrupted.keys().eq(open), "interrupted");
        assert!(found.interrupted.values().all(|cost| *cost == WORST));
        assert_eq!(recovery.torn_bytes, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn any_steps_with_crashes_between_them_equal_the_model(
        steps in prop::collection::vec(step(), 1..160),
        segment_bytes in 300_u64..6_000,
    ) {
        let mut world = World::new(segment_bytes);
        for step in &steps {
            world.take(step);
            let status = world.journal().status();
            prop_assert_eq!(status.open_calls, u64::try_from(world.open.len()).unwrap());
            prop_assert_eq!(status.unposted, u64::try_from(world.rows.len()).unwrap());
        }
        world.restart();
    }
}
