//! A call's life: asked for, admitted, sent, ended.

use tollgate_core::hold::Ask;
use tollgate_core::usage::UsageSource;
use tollgate_core::{Nanos, Period, TokenUsage};

use super::acts::End;
use super::machine::Machine;
use super::oracle::{Broken, Call, Stage};
use super::plan::MODEL;
use super::world::{World, of};
use crate::journal::SyncPolicy;
use crate::metering::{CallFacts, Ending, Hold, NotAdmitted};

/// Where an admitted call is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whereabouts {
    Here,
    Away,
}

impl World {
    /// A call comes in.
    pub(super) fn ask(&mut self) {
        if let Some(number) = self.one_machine(Machine::is_serving) {
            let subject = self.dice.below(self.subjects.len());
            let most = self.subjects[subject].call_tokens_max;
            let input = self.dice.between(0, most).unsigned_abs();
            let output = self.dice.between(0, most).unsigned_abs();
            self.ask_for(number, subject, TokenUsage::plain(input, output));
        }
    }

    /// A call comes in to a node that may use so much; its number.
    pub(super) fn ask_for(&mut self, number: usize, subject: usize, worst: TokenUsage) -> usize {
        let call = self.calls_asked;
        self.calls_asked += 1;
        let has_id = self.dice.per_mille(200);
        let Some(life) = &mut self.machines[number].life else {
            return call;
        };
        let prices = life.integrations[subject].snapshot().own_prices(MODEL);
        let cost = prices
            .as_ref()
            .map(|prices| prices.rates.cost(&worst).unwrap());
        let facts = CallFacts {
            call_id: has_id.then(|| format!("call-{call}").parse().unwrap()),
            session_id: None,
            agent_id: None,
            model: MODEL.into(),
            ask: Ask { worst, cost },
            prices,
        };
        life.ask(call, subject, facts);
        let figures = [
            of(number),
            of(subject),
            cost.map_or(0, Nanos::get),
            of(call),
        ];
        self.trace.note("asks", figures);
        call
    }

    /// The caller goes away before it is answered.
    pub(super) fn hang_up(&mut self) {
        let asks = |machine: &Machine| {
            let life = machine.life.as_ref();
            life.is_some_and(|life| !life.asking.is_empty())
        };
        let Some(number) = self.one_machine(asks) else {
            return;
        };
        let Some(life) = &mut self.machines[number].life else {
            return;
        };
        let calls: Vec<usize> = life.asking.keys().copied().collect();
        let call = self.dice.one_of(&calls);
        if let Some((task, _)) = life.asking.remove(&call) {
            life.tasks.cancel(task);
        }
        self.trace.note("hangs up", [of(number), of(call), 0, 0]);
    }

    /// Takes in what came of a node's start, its admissions and its stop.
    pub(super) fn take_outcomes(&mut self, number: usize) -> Result<(), Broken> {
        let Some(life) = &mut self.machines[number].life else {
            return Ok(());
        };
        let started = life.start.lock().take();
        let has_stopped = life.stop.as_ref().is_some_and(|stop| stop.lock().is_some());
        let done: Vec<(usize, Result<Hold, NotAdmitted>)> = life
            .asking
            .iter()
            .filter_map(|(call, (_, outcome))| Some((*call, outcome.lock().take()?)))
            .collect();
        for (call, _) in &done {
            life.asking.remove(call);
        }
        match started {
            Some(Ok(())) => life.is_serving = true,
            Some(Err(_unreachable)) => self.crash(number, End::Killed),
            None => {}
        }
        for (call, outcome) in done {
            self.take_admission(number, call, outcome)?;
        }
        if has_stopped && let Some(life) = self.machines[number].life.take() {
            self.trace.note("has stopped", [of(number), 0, 0, 0]);
            self.oracle.died(number);
            life.die();
            self.settle_wire(number)?;
        }
        Ok(())
    }

    fn take_admission(
        &mut self,
        number: usize,
        call: usize,
        outcome: Result<Hold, NotAdmitted>,
    ) -> Result<(), Broken> {
        let hold = match outcome {
            Ok(hold) => hold,
            Err(refused) => {
                self.trace
                    .note("is refused", [of(number), of(call), refusal(&refused), 0]);
                if let NotAdmitted::Refused { call_id, .. } = refused {
                    self.oracle.refusals.push(call_id);
                }
                return Ok(());
            }
        };
        let amount = *hold.amount();
        self.trace.note(
            "is admitted",
            [of(number), of(call), amount.cost.get(), amount.tokens],
        );
        let Some(life) = &mut self.machines[number].life else {
            return Ok(());
        };
        let month = Period::of(life.clock.now().wall);
        if amount.period < month {
            return Err(format!(
                "call {call} is held in {}, and it is {month}",
                amount.period
            ));
        }
        let subject = life
            .integrations
            .iter()
            .position(|one| one.id == hold.integration_id())
            .unwrap();
        let admitted = Call {
            id: hold.call_id().clone(),
            machine: number,
            subject,
            period: amount.period,
            asked: *hold.asked(),
            worst: (amount.cost.get(), amount.tokens),
            admitted_micros: self.truth.micros(),
            stage: Stage::Held,
            is_doubtful: false,
            may_be_missing: false,
            may_appear: false,
        };
        life.holds.insert(call, hold);
        self.oracle.admitted(call, admitted)?;
        self.oracle.mind_minute(&self.subjects);
        Ok(())
    }

    /// A call on some node that has, or has not, left.
    fn one_hold(&mut self, whereabouts: Whereabouts) -> Option<(usize, usize, Hold)> {
        let has_left = whereabouts == Whereabouts::Away;
        let holds = |machine: &Machine| {
            let life = machine.life.as_ref();
            life.is_some_and(|life| life.holds.values().any(|hold| hold.has_left() == has_left))
        };
        let number = self.one_machine(holds)?;
        let life = self.machines[number].life.as_mut()?;
        let calls = life.holds.iter();
        let calls: Vec<usize> = calls
            .filter(|(_, hold)| hold.has_left() == has_left)
            .map(|(call, _)| *call)
            .collect();
        let call = self.dice.one_of(&calls);
        Some((number, call, life.holds.remove(&call)?))
    }

    pub(super) fn leave_one(&mut self) {
        if let Some((number, call, hold)) = self.one_hold(Whereabouts::Here) {
            self.leave(number, call, hold);
        }
    }

    /// The first byte of a call is about to leave.
    pub(super) fn leave(&mut self, number: usize, call: usize, hold: Hold) {
        let has_left = hold.dispatch().leave().is_ok();
        let is_dead = self.machines[number].platter.is_cut_off();
        self.trace
            .note("leaves", [of(number), of(call), i64::from(has_left), 0]);
        let syncs = self.plan.journal.sync;
        let is_faulty = self.machines[number].is_disk_faulty;
        let Some(life) = &mut self.machines[number].life else {
            return;
        };
        if has_left {
            self.oracle.moved(call, Stage::Left);
            if syncs != SyncPolicy::Always {
                life.unsynced.insert(call);
            }
            life.holds.insert(call, hold);
            return;
        }
        hold.release();
        if is_dead {
            // Its opening may have come to the disk whole.
            self.oracle.moved(call, Stage::Interrupted);
            self.oracle.may_be_missing(call);
            self.oracle.forget_minute_of(call);
        } else {
            self.oracle.moved(call, Stage::Void);
            if is_faulty {
                self.oracle.may_be_missing(call);
            }
        }
    }

    /// A call ends without having left.
    pub(super) fn release_one(&mut self) {
        if let Some((number, call, hold)) = self.one_hold(Whereabouts::Here) {
            match self.dice.below(3) {
                0 => hold.release(),
                1 => drop(hold),
                _ => drop(hold.settle(Ending::default())),
            }
            self.oracle.moved(call, Stage::Void);
            self.trace
                .note("never leaves", [of(number), of(call), 0, 0]);
        }
    }

    pub(super) fn finish_one(&mut self) -> Result<(), Broken> {
        match self.one_hold(Whereabouts::Away) {
            Some((number, call, hold)) => self.finish(number, call, hold),
            None => Ok(()),
        }
    }

    /// A call that has left ends, in one of the ways in which calls do.
    pub(super) fn finish(&mut self, number: usize, call: usize, hold: Hold) -> Result<(), Broken> {
        let Some(known) = self.oracle.calls.get(&call).cloned() else {
            return Err(format!("call {call} is away and was never admitted"));
        };
        let is_capped = self.subjects[known.subject].is_capped;
        let share = u64::try_from(self.dice.below(101)).unwrap();
        let asked = known.asked;
        let (used, is_told) = match self.dice.below(100) {
            _ if self.uses_all => (asked, true),
            0..80 => (part_of(&asked, share), true),
            80..88 => (part_of(&asked, 200 + share), true),
            _ => (TokenUsage::NONE, false),
        };
        let before = known.worst;
        let ended = if is_told {
            let usage = Some((used, UsageSource::Provider));
            Some(hold.settle(Ending {
                usage,
                ..Ending::default()
            }))
        } else if share < 50 {
            drop(hold);
            None
        } else {
            hold.release();
            None
        };
        let charged = ended.map_or(before, |ended| {
            let tokens = i64::try_from(ended.tokens.total()).unwrap();
            (ended.cost.get(), tokens)
        });
        self.trace
            .note("ends", [of(number), of(call), charged.0, charged.1]);
        if is_capped && (charged.0 > before.0 || charged.1 > before.1) {
            return Err(format!(
                "call {call} is charged {charged:?}, and {before:?} was held"
            ));
        }
        let is_dead = self.machines[number].platter.is_cut_off();
        let is_faulty = is_dead || self.machines[number].is_disk_faulty;
        self.oracle.moved(call, Stage::Ended(charged));
        if is_faulty {
            self.oracle.doubt(call);
        }
        if let Some(life) = &mut self.machines[number].life {
            if self.plan.journal.sync != SyncPolicy::Always || is_faulty {
                life.unsynced.insert(call);
            } else {
                life.unended.insert(call);
            }
        }
        Ok(())
    }
}

/// So many hundredths of a usage, rounded down.
fn part_of(usage: &TokenUsage, hundredths: u64) -> TokenUsage {
    let part = |tokens: u64| tokens * hundredths / 100;
    TokenUsage::plain(part(usage.input), part(usage.output))
}

/// A refusal as a figure of the trace.
fn refusal(refused: &NotAdmitted) -> i64 {
    match refused {
        NotAdmitted::Refused { refusal, .. } => 10 + of(refusal.code.as_str().len()),
        NotAdmitted::CallIdTaken(_) => 1,
        NotAdmitted::StoreUnreachable => 2,
    }
}
