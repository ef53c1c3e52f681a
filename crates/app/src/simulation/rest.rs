//! Coming to rest: faults end, everybody finishes what it is at, and then the books must be right.

use tollgate_core::{Nanos, TokenUsage};

use super::machine::Machine;
use super::oracle::Broken;
use super::world::{World, of};

/// So many rounds are enough for everything to end.
const ROUNDS_MAX: usize = 3_000;

impl World {
    /// Lets everything come to rest and compares all books.
    pub(super) fn rest(&mut self) -> Result<(), Broken> {
        self.trace.note("comes to rest", [0; 4]);
        self.end_faults();
        let mut rounds = 0;
        loop {
            self.go_on()?;
            if self.is_at_rest() {
                break;
            }
            rounds += 1;
            if rounds > ROUNDS_MAX {
                return Err(format!(
                    "after {rounds} rounds it is not at rest: {}",
                    self.unrest()
                ));
            }
        }
        self.check_books()?;
        for number in 0..self.machines.len() {
            self.chores_of(number);
        }
        let model = &self.shelf.model;
        let subjects = &self.subjects;
        self.oracle
            .rested(subjects, self.truth.micros(), |subject, period| {
                model.committed(&(subjects[subject].id, period))
            });
        self.trace
            .note("is at rest", [of(model.rows.len()), 0, 0, 0]);
        Ok(())
    }

    fn end_faults(&mut self) {
        self.is_out = false;
        for number in 0..self.machines.len() {
            self.machines[number].is_cut = false;
            self.mend_disk(number);
        }
    }

    /// A round in which nothing new begins.
    fn go_on(&mut self) -> Result<(), Broken> {
        for number in 0..self.machines.len() {
            if self.machines[number].life.is_none() {
                self.start(number)?;
            }
            self.chores_of(number);
            for subject in 0..self.subjects.len() {
                self.tell_change(number, subject);
            }
        }
        self.turn()?;
        self.serve_all()?;
        self.turn()?;
        for number in 0..self.machines.len() {
            self.beat(number);
        }
        while let Some((number, call, hold)) = self.any_hold() {
            if hold.has_left() {
                self.finish(number, call, hold)?;
            } else {
                self.leave(number, call, hold);
            }
        }
        self.truth.advance(20_000);
        self.turn()
    }

    fn any_hold(&mut self) -> Option<(usize, usize, crate::metering::Hold)> {
        let number = self.machines.iter().position(|machine| {
            let life = machine.life.as_ref();
            life.is_some_and(|life| !life.holds.is_empty())
        })?;
        let life = self.machines[number].life.as_mut()?;
        let (call, hold) = life.holds.pop_first()?;
        Some((number, call, hold))
    }

    fn is_at_rest(&self) -> bool {
        let rests = |machine: &Machine| {
            let life = machine.life.as_ref();
            machine.is_serving()
                && life.is_some_and(|life| {
                    // The writer is always there.
                    life.holds.is_empty()
                        && life.tasks.count() == 1
                        && life.ledger.backlog_rows() == 0
                })
        };
        self.wire.lock().letters.is_empty() && self.machines.iter().all(rests)
    }

    fn unrest(&self) -> String {
        let letters = format!("{} letters", self.wire.lock().letters.len());
        let nodes = self.machines.iter().map(|machine| match &machine.life {
            None => format!("node {} is dead", machine.number),
            Some(life) => format!(
                "node {}: serving {}, {} holds, {} tasks, {} rows",
                machine.number,
                machine.is_serving(),
                life.holds.len(),
                life.tasks.count(),
                life.ledger.backlog_rows()
            ),
        });
        std::iter::once(letters)
            .chain(nodes)
            .collect::<Vec<_>>()
            .join("; ")
    }

    fn check_books(&mut self) -> Result<(), Broken> {
        self.shelf.model.verify()?;
        if let Some(real) = &mut self.shelf.real {
            real.verify(of(self.shelf.model.rows.len()))?;
        }
        let calls: Vec<usize> = self.oracle.calls.keys().copied().collect();
        for call in calls {
            let id = self.oracle.calls[&call].id.clone();
            self.oracle.check(call, self.shelf.model.row_of(&id))?;
        }
        let rows = self.shelf.model.rows.iter();
        let of_calls = rows.filter(|row| !row.entry.is_refusal()).count();
        if of_calls != self.oracle.settled_rows {
            let known = self.oracle.settled_rows;
            return Err(format!(
                "{of_calls} rows of calls, and {known} calls that have one"
            ));
        }
        let mut refusals = self
            .shelf
            .model
            .rows
            .iter()
            .filter(|row| row.entry.is_refusal());
        if let Some(row) = refusals.find(|row| row.entry.cost != Nanos::ZERO) {
            return Err(format!("a refusal costs something: {row:?}"));
        }
        for ((subject, period), purse) in &self.oracle.purses {
            let key = (self.subjects[*subject].id, *period);
            let month = self.shelf.model.books.months.get(&key);
            let booked = month.map_or((0, 0), |month| (month.nanos, month.tokens));
            if booked != purse.spent {
                return Err(format!(
                    "{key:?}: {booked:?} is booked, {:?} was used",
                    purse.spent
                ));
            }
        }
        self.check_gates()
    }

    /// No gate holds anything, and none would hand out what the store does not count as drawn.
    fn check_gates(&self) -> Result<(), Broken> {
        for machine in &self.machines {
            let Some(life) = &machine.life else { continue };
            for integration in &life.integrations {
                let (account, _) = integration.gate.lock().snapshot(life.clock.now());
                let (budget, tokens) = (account.budget, account.tokens);
                if (budget.held, tokens.held) != (0, 0) {
                    return Err(format!("node {} holds {account:?} at rest", machine.number));
                }
                let key = (integration.id, account.period);
                let parts = self.shelf.model.parts.get(&key);
                let part = parts.and_then(|parts| parts.get(&machine.node)).copied();
                let (nanos, counted) = part.unwrap_or_default();
                let has = (budget.drawn - budget.own, tokens.drawn - tokens.own);
                let left = (nanos.drawn - nanos.settled, counted.drawn - counted.settled);
                if account.is_loaded && (has.0 > left.0.max(0) || has.1 > left.1.max(0)) {
                    let number = machine.number;
                    return Err(format!(
                        "node {number} would hand out {has:?} of {left:?}: {account:?}"
                    ));
                }
            }
        }
        Ok(())
    }

    /// Uses up a capped budget on all nodes: what is left at the end is less than one call's hold.
    pub(super) fn exhaust(&mut self) -> Result<(), Broken> {
        for subject in 0..self.subjects.len() {
            let record = &mut self.subjects[subject].record;
            let limit = record.budget_limit_cents.saturating_mul(10_000_000);
            let is_open = record.status == cus_models::CusIntegrationStatus::Enabled;
            if limit == 0 || limit > 300_000_000 || !is_open || !self.subjects[subject].is_capped {
                continue;
            }
            let record = &mut self.subjects[subject].record;
            (record.rate_limit_rpm, record.token_limit_month) = (0, 0);
            self.subjects[subject].version += 1;
            let changed = self.subjects[subject].clone();
            self.oracle.limits_changed(subject, &changed);
            self.rest()?;
            self.exhaust_one(subject, limit)?;
        }
        Ok(())
    }

    fn exhaust_one(&mut self, subject: usize, limit: i64) -> Result<(), Broken> {
        let tokens = u64::try_from(limit / 40 / 7_778).unwrap();
        let worst = TokenUsage::plain(0, tokens);
        let mut idle_rounds = 0;
        // At first all nodes at once, which may keep from each other what is left; then each by
        // itself, three times: the others give back when they hear that it lacks something.
        let nodes = self.machines.len();
        while idle_rounds < 2 + 3 * nodes {
            let before = self.oracle.settled_rows;
            for number in 0..nodes {
                if idle_rounds < 2 || number == (idle_rounds - 2) / 3 {
                    self.ask_for(number, subject, worst);
                }
            }
            for _ in 0..6 {
                self.turn()?;
                self.serve_all()?;
                for (number, subject) in std::mem::take(&mut self.wants) {
                    self.tell_want(number, subject);
                }
            }
            self.truth.advance(100_000);
            self.rest()?;
            idle_rounds = if self.oracle.settled_rows == before {
                idle_rounds + 1
            } else {
                0
            };
        }
        // All that is idle goes back, so that the latest figures are everybody's.
        let wall = self
            .machines
            .iter()
            .filter_map(|machine| machine.life.as_ref());
        let periods: Vec<_> = wall
            .map(|life| {
                let mut gate = life.integrations[subject].gate.lock();
                gate.snapshot(life.clock.now()).0.period
            })
            .collect();
        let hold = i64::try_from(tokens).unwrap() * 7_778;
        for period in periods {
            let key = (self.subjects[subject].id, period);
            let spent = self
                .shelf
                .model
                .books
                .months
                .get(&key)
                .map_or(0, |month| month.nanos);
            if limit - spent >= hold {
                let parts = &self.shelf.model.parts.get(&key);
                return Err(format!(
                    "{spent} of {limit} used in {key:?}, and no node admits a call of {hold}: {parts:?}"
                ));
            }
        }
        Ok(())
    }
}
