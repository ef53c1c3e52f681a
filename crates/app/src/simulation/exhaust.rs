//! The end of a budget: what is left when every node is idle is less than one call's hold, and a call
//! that fits to the nano-dollar is admitted, and none beyond.

use tollgate_core::{Period, TokenUsage};

use super::oracle::Broken;
use super::world::World;

/// What an output token costs, rounded up, in nano-dollars. An input token costs one.
const OUTPUT_NANOS: i64 = 7_778;

/// No budget beyond this is used up: it would take too many calls.
const BUDGET_NANOS_MAX: i64 = 300_000_000;

impl World {
    /// Uses up every capped budget that is not too great.
    pub(super) fn exhaust(&mut self) -> Result<(), Broken> {
        for subject in 0..self.subjects.len() {
            let known = &mut self.subjects[subject];
            let record = &mut known.record;
            let limit = record.budget_limit_cents.saturating_mul(10_000_000);
            let is_open = record.status == cus_models::CusIntegrationStatus::Enabled;
            if limit == 0 || limit > BUDGET_NANOS_MAX || !is_open || !known.is_capped {
                continue;
            }
            (record.rate_limit_rpm, record.token_limit_month) = (0, 0);
            known.version += 1;
            let changed = known.clone();
            self.oracle.limits_changed(subject, &changed);
            self.rest()?;
            // A month may end meanwhile, and the next is to be used up too.
            let mut months = None;
            while months != Some(self.months(subject)) {
                months = Some(self.months(subject));
                self.use_up(subject, limit)?;
            }
            self.check_rest(subject, limit)?;
            self.fill(subject, limit)?;
            self.rest()?;
        }
        Ok(())
    }

    fn used(&self, subject: usize, period: Period) -> i64 {
        let key = (self.subjects[subject].id, period);
        let month = self.shelf.model.books.months.get(&key);
        month.map_or(0, |month| month.nanos)
    }

    /// The month that a node's gate is in.
    fn month(&self, number: usize, subject: usize) -> Option<Period> {
        let life = self.machines[number].life.as_ref()?;
        let mut gate = life.integrations[subject].gate.lock();
        Some(gate.snapshot(life.clock.now()).0.period)
    }

    fn months(&self, subject: usize) -> Vec<Option<Period>> {
        let numbers = 0..self.machines.len();
        numbers.map(|number| self.month(number, subject)).collect()
    }

    /// What all that was asked for leads to.
    fn see_through(&mut self) -> Result<(), Broken> {
        for _ in 0..6 {
            self.turn()?;
            self.serve_all()?;
            for (number, subject) in std::mem::take(&mut self.wants) {
                self.tell_want(number, subject);
            }
        }
        self.truth.advance(100_000);
        self.calm()
    }

    /// Asks until no node admits a call of a fortieth of the limit.
    fn use_up(&mut self, subject: usize, limit: i64) -> Result<(), Broken> {
        let tokens = limit / 40 / OUTPUT_NANOS;
        let worst = TokenUsage::plain(0, tokens.unsigned_abs());
        // At first all nodes at once, which may keep from each other what is left; then each by
        // itself, three times: the others give back when they hear that it lacks something.
        let nodes = self.machines.len();
        let mut idle_rounds = 0;
        while idle_rounds < 2 + 3 * nodes {
            let before = self.shelf.model.committed_in(self.subjects[subject].id);
            for number in 0..nodes {
                if idle_rounds < 2 || number == (idle_rounds - 2) / 3 {
                    self.ask_for(number, subject, worst);
                }
            }
            self.see_through()?;
            let after = self.shelf.model.committed_in(self.subjects[subject].id);
            idle_rounds = if before == after { idle_rounds + 1 } else { 0 };
        }
        Ok(())
    }

    /// What is left on every node is less than what a call was refused for.
    fn check_rest(&self, subject: usize, limit: i64) -> Result<(), Broken> {
        let tokens = limit / 40 / OUTPUT_NANOS;
        for month in self.months(subject).into_iter().flatten() {
            let used = self.used(subject, month);
            if limit - used >= tokens * OUTPUT_NANOS {
                let key = (self.subjects[subject].id, month);
                let parts = self.shelf.model.parts.get(&key);
                return Err(format!(
                    "{used} of {limit} used in {month}, and no node admits a call of {tokens} tokens: {parts:?}"
                ));
            }
        }
        Ok(())
    }

    /// Asks for one nano-dollar more than is left, and then for what is left.
    fn fill(&mut self, subject: usize, limit: i64) -> Result<(), Broken> {
        let number = self.dice.below(self.machines.len());
        let Some(month) = self.month(number, subject) else {
            return Ok(());
        };
        let left = limit - self.used(subject, month);
        if left <= 0 {
            return Ok(());
        }
        self.uses_all = true;
        for asked in [left + 1, left] {
            for _try in 0..4 {
                if self.used(subject, month) == limit {
                    break;
                }
                let worst = TokenUsage::plain(asked.unsigned_abs(), 0);
                self.ask_for(number, subject, worst);
                self.see_through()?;
            }
        }
        self.uses_all = false;
        let used = self.used(subject, month);
        if used != limit && self.month(number, subject) == Some(month) {
            return Err(format!(
                "{left} of {limit} were left, a call that needs just that was not admitted, and {used} is used"
            ));
        }
        Ok(())
    }
}
