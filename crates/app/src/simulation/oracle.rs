//! What must be true: every call's fate, every limit's use, kept apart from everything that is tested.

use std::collections::{BTreeMap, VecDeque};

use tollgate_core::usage::UsageSource;
use tollgate_core::{CallId, Period, TokenUsage};

use super::model::Row;
use super::plan::Subject;

const MINUTE_MICROS: i64 = 60_000_000;

/// A promise that was broken, in words.
pub(super) type Broken = String;

/// Money and tokens.
pub(super) type Amount = (i64, i64);

/// One integration's month: what calls have used or may still use, and what they may.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Purse {
    pub(super) spent: Amount,
    pub(super) ceiling: Amount,
}

/// How far a call has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Admitted.
    Held,
    /// Its first byte may be with the provider.
    Left,
    /// It ended, and this is what it used.
    Ended(Amount),
    /// Its node died while it was away.
    Interrupted,
    /// Nothing of it ever left.
    Void,
}

/// A call that was admitted.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) machine: usize,
    pub(super) subject: usize,
    pub(super) period: Period,
    pub(super) asked: TokenUsage,
    pub(super) worst: Amount,
    pub(super) admitted_micros: i64,
    pub(super) stage: Stage,
    /// What was written last of it may be lost, so that what was written before counts.
    pub(super) is_doubtful: bool,
    /// It may have no row: a loss of power took it, or its node never returned.
    pub(super) may_be_missing: bool,
    /// It may have a row although it never left: the disk kept its opening and lost its end.
    pub(super) may_appear: bool,
}

/// The minute of one integration.
#[derive(Debug, Default)]
struct Minute {
    admitted: VecDeque<(i64, usize)>,
    ceiling: i64,
    lowered_micros: Option<i64>,
}

/// What is known of everything.
#[derive(Debug, Default)]
pub(super) struct Oracle {
    pub(super) calls: BTreeMap<usize, Call>,
    pub(super) purses: BTreeMap<(usize, Period), Purse>,
    minutes: Vec<Minute>,
    /// The most that each integration's month was allowed since the last rest.
    ceilings: Vec<Amount>,
    /// Whether no more than was held may be charged.
    capped: Vec<bool>,
    /// Rows that were found right.
    pub(super) settled_rows: usize,
    pub(super) refusals: Vec<CallId>,
}

/// A limit as a number: none is as good as endless.
const fn ceiling(limit: i64) -> i64 {
    if limit > 0 { limit } else { i64::MAX }
}

fn ceilings(subject: &Subject) -> Amount {
    let cents = subject.record.budget_limit_cents;
    (
        ceiling(cents.saturating_mul(10_000_000)),
        ceiling(subject.record.token_limit_month),
    )
}

fn plus(a: Amount, b: Amount) -> Amount {
    (a.0.saturating_add(b.0), a.1.saturating_add(b.1))
}

fn minus(a: Amount, b: Amount) -> Amount {
    (a.0 - b.0, a.1 - b.1)
}

fn greater(a: Amount, b: Amount) -> Amount {
    (a.0.max(b.0), a.1.max(b.1))
}

impl Call {
    /// What it counts for now.
    fn counts(&self) -> Amount {
        match self.stage {
            Stage::Held | Stage::Left | Stage::Interrupted => self.worst,
            Stage::Ended(used) => used,
            Stage::Void => (0, 0),
        }
    }
}

impl Oracle {
    pub(super) fn new(subjects: &[Subject]) -> Self {
        Self {
            ceilings: subjects.iter().map(ceilings).collect(),
            capped: subjects.iter().map(|subject| subject.is_capped).collect(),
            minutes: subjects
                .iter()
                .map(|subject| Minute {
                    ceiling: ceiling(subject.record.rate_limit_rpm),
                    ..Minute::default()
                })
                .collect(),
            ..Self::default()
        }
    }

    fn purse(&mut self, subject: usize, period: Period) -> &mut Purse {
        let ceiling = self.ceilings[subject];
        self.purses
            .entry((subject, period))
            .or_insert_with(|| Purse {
                spent: (0, 0),
                ceiling,
            })
    }

    /// A call was admitted: what is held for it and all others must be within every limit.
    pub(super) fn admitted(&mut self, number: usize, call: Call) -> Result<(), Broken> {
        let (subject, at) = (call.subject, call.admitted_micros);
        let purse = self.purse(subject, call.period);
        purse.spent = plus(purse.spent, call.worst);
        let Purse { spent, ceiling } = *purse;
        if self.capped[subject] && (spent.0 > ceiling.0 || spent.1 > ceiling.1) {
            return Err(format!(
                "call {number}: {spent:?} nano-dollars and tokens used and held of integration {subject} in {}, {ceiling:?} allowed",
                call.period
            ));
        }
        self.calls.insert(number, call);
        let minute = &mut self.minutes[subject];
        minute.admitted.push_back((at, number));
        while minute
            .admitted
            .front()
            .is_some_and(|(first, _)| *first <= at - MINUTE_MICROS)
        {
            minute.admitted.pop_front();
        }
        if minute
            .lowered_micros
            .is_some_and(|lowered| at > lowered + MINUTE_MICROS + 2_000_000)
        {
            minute.ceiling = 0;
            minute.lowered_micros = None;
        }
        let calls = i64::try_from(minute.admitted.len()).unwrap();
        if minute.ceiling > 0 && calls > minute.ceiling {
            return Err(format!(
                "call {number}: {calls} calls of integration {subject} within 60 seconds, {} allowed",
                minute.ceiling
            ));
        }
        Ok(())
    }

    /// The limit that holds for calls of the last minute, where it was lowered a while ago.
    pub(super) fn mind_minute(&mut self, subjects: &[Subject]) {
        for (minute, subject) in self.minutes.iter_mut().zip(subjects) {
            if minute.ceiling == 0 {
                minute.ceiling = ceiling(subject.record.rate_limit_rpm);
            }
        }
    }

    /// Moves a call to another stage; what it counts for follows.
    pub(super) fn moved(&mut self, number: usize, stage: Stage) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let before = call.counts();
        call.stage = stage;
        let (after, subject, period) = (call.counts(), call.subject, call.period);
        let purse = self.purse(subject, period);
        purse.spent = plus(minus(purse.spent, before), after);
        if stage == Stage::Void {
            self.forget_minute_of(number);
        }
    }

    /// A call does not count in its minute any more.
    pub(super) fn forget_minute_of(&mut self, number: usize) {
        for minute in &mut self.minutes {
            minute.admitted.retain(|(_, other)| *other != number);
        }
    }

    /// The node of these calls died; what has left is charged at its worst, the rest never was.
    pub(super) fn died(&mut self, machine: usize) {
        let of = |call: &Call| call.machine == machine;
        let moved: Vec<(usize, Stage)> = self
            .calls
            .iter()
            .filter(|(_, call)| of(call))
            .filter_map(|(number, call)| match call.stage {
                Stage::Held => Some((*number, Stage::Void)),
                Stage::Left => Some((*number, Stage::Interrupted)),
                Stage::Ended(_) | Stage::Interrupted | Stage::Void => None,
            })
            .collect();
        for (number, stage) in moved {
            self.moved(number, stage);
        }
    }

    /// What was written last of a call may be gone: what it may be charged then is allowed for.
    pub(super) fn doubt(&mut self, number: usize) {
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        let is_new = !call.is_doubtful;
        call.is_doubtful = true;
        call.may_appear |= call.stage == Stage::Void;
        let (worst, counts) = (call.worst, call.counts());
        let (subject, period) = (call.subject, call.period);
        if is_new {
            let more = minus(worst, counts);
            self.allow(subject, period, (more.0.max(0), more.1.max(0)));
        }
    }

    /// All that was written of a call may be gone.
    pub(super) fn may_be_missing(&mut self, number: usize) {
        self.doubt(number);
        let Some(call) = self.calls.get_mut(&number) else {
            return;
        };
        // What it counts for may be free.
        let is_new = !std::mem::replace(&mut call.may_be_missing, true);
        let (subject, period, counts) = (call.subject, call.period, call.counts());
        if is_new {
            self.allow(subject, period, counts);
        }
    }

    /// Calls of a node whose part was freed although their rows may still come.
    pub(super) fn freed(&mut self, machine: usize) {
        let calls: Vec<(usize, Period, Amount)> = self
            .calls
            .values()
            .filter(|call| call.machine == machine)
            .map(|call| (call.subject, call.period, call.counts()))
            .collect();
        for (subject, period, counts) in calls {
            self.allow(subject, period, counts);
        }
    }

    /// A node was given up: its rows may still be on their way, and may never come.
    pub(super) fn gone(&mut self, machine: usize) {
        self.freed(machine);
        for call in self.calls.values_mut() {
            if call.machine == machine {
                call.may_be_missing = true;
                call.is_doubtful = true;
            }
        }
    }

    fn allow(&mut self, subject: usize, period: Period, more: Amount) {
        let purse = self.purse(subject, period);
        purse.ceiling = plus(purse.ceiling, more);
    }

    /// Limits were changed: until everybody has heard of it, the greater ones count.
    pub(super) fn limits_changed(&mut self, at: usize, subject: &Subject) {
        self.ceilings[at] = greater(self.ceilings[at], ceilings(subject));
        let now = self.ceilings[at];
        let purses = self.purses.iter_mut();
        for (_, purse) in purses.filter(|((subject, _), _)| *subject == at) {
            purse.ceiling = greater(purse.ceiling, now);
        }
        let minute = &mut self.minutes[at];
        minute.ceiling = minute.ceiling.max(ceiling(subject.record.rate_limit_rpm));
        minute.lowered_micros = None;
    }

    /// Everything is at rest: limits are what they are, or what was used and drawn before.
    pub(super) fn rested(
        &mut self,
        subjects: &[Subject],
        now_micros: i64,
        committed: impl Fn(usize, Period) -> Amount,
    ) {
        for (at, subject) in subjects.iter().enumerate() {
            self.ceilings[at] = ceilings(subject);
            let minute = &mut self.minutes[at];
            if minute.ceiling > ceiling(subject.record.rate_limit_rpm) {
                minute.lowered_micros.get_or_insert(now_micros);
            }
        }
        for ((subject, period), purse) in &mut self.purses {
            purse.ceiling = greater(self.ceilings[*subject], committed(*subject, *period));
        }
    }

    /// Compares a call with its row, when everything is at rest; then it is over.
    pub(super) fn check(&mut self, number: usize, row: Option<&Row>) -> Result<(), Broken> {
        let Some(call) = self.calls.get(&number).cloned() else {
            return Ok(());
        };
        let broken = |what: &str| Err(format!("call {number} ({call:?}): {what}: {row:?}"));
        let charged = row.map(|row| {
            let tokens = i64::try_from(row.entry.tokens.total()).unwrap();
            (row.entry.cost.get(), tokens)
        });
        let at_worst = charged == Some(call.worst)
            && row.is_some_and(|row| row.entry.source == UsageSource::Estimated);
        let is_right = match (call.stage, charged) {
            (Stage::Held | Stage::Left, _) => return broken("it is still under way"),
            (Stage::Ended(used), Some(charged)) => {
                charged == used || (call.is_doubtful && at_worst)
            }
            (Stage::Interrupted, Some(_)) => at_worst,
            (Stage::Ended(_) | Stage::Interrupted, None) => call.may_be_missing,
            (Stage::Void, Some(_)) => call.may_appear && at_worst,
            (Stage::Void, None) => true,
        };
        if !is_right {
            return broken("its row is not what happened");
        }
        if row.is_some_and(|row| row.entry.period() != call.period) {
            return broken("it is charged to another month than it was admitted in");
        }
        self.settled_rows += usize::from(row.is_some());
        let purse = self.purse(call.subject, call.period);
        purse.spent = plus(
            minus(purse.spent, call.counts()),
            charged.unwrap_or_default(),
        );
        self.calls.remove(&number);
        Ok(())
    }
}
