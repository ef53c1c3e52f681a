//! Coming to rest: faults end, everybody finishes what it is at, and then the books must be right.

use tollgate_core::Nanos;

use super::machine::Machine;
use super::oracle::Broken;
use super::world::{World, of};

/// So many rounds are enough for everything to end.
const ROUNDS_MAX: usize = 3_000;

impl World {
    /// Lets everything come to rest and compares all books.
    pub(super) fn rest(&mut self) -> Result<(), Broken> {
        self.calm()?;
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

    /// Lets everything come to rest.
    pub(super) fn calm(&mut self) -> Result<(), Broken> {
        self.trace.note("comes to rest", [0; 4]);
        self.end_faults();
        for _round in 0..ROUNDS_MAX {
            self.go_on()?;
            if self.is_at_rest() {
                return Ok(());
            }
        }
        let unrest = self.unrest();
        Err(format!(
            "after {ROUNDS_MAX} rounds it is not at rest: {unrest}"
        ))
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
        self.end_calls()?;
        self.truth.advance(20_000);
        self.turn()
    }

    /// Ends every call that was admitted.
    pub(super) fn end_calls(&mut self) -> Result<(), Broken> {
        while let Some((number, call, hold)) = self.any_hold() {
            if hold.has_left() {
                self.finish(number, call, hold)?;
            } else {
                self.leave(number, call, hold);
            }
        }
        Ok(())
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
                        && life.ledger.earlier_left() == 0
                })
        };
        self.wire.lock().letters.is_empty() && self.machines.iter().all(rests)
    }

    fn unrest(&self) -> String {
        let letters = format!("{} letters", self.wire.lock().letters.len());
        let nodes = self.machines.iter().map(|machine| match &machine.life {
            None => format!("node {} is dead", machine.number),
            Some(life) => format!(
                "node {}: serving {}, {} holds, {} tasks, {} rows and {} of an earlier run",
                machine.number,
                machine.is_serving(),
                life.holds.len(),
                life.tasks.count(),
                life.ledger.backlog_rows(),
                life.ledger.earlier_left()
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
}
