//! What nodes have drawn of an integration's month, as the store has it and one of them sees it:
//! what it may draw, what goes back.
//!
//! Pure arithmetic on rows that a transaction has locked. Always
//! `settled(all) + Σ over nodes max(0, drawn − settled) ≤ limit`, unless calls have cost more than
//! was held for them.

use crate::account::{Draw, Grant, Granted};
use crate::limit::Limits;
use crate::money::Nanos;
use crate::period::Period;

/// One node's part in one quantity of a month, in nano-dollars or tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Part {
    /// Drawn in this month, all told.
    pub drawn: i64,
    /// Settled in this month, all told.
    pub settled: i64,
}

/// One quantity of an integration's month, seen from one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Share {
    /// The node's own part.
    pub own: Part,
    /// What all nodes together have drawn and not settled.
    outstanding: i128,
}

/// What all nodes together have settled of a month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SettledByAll {
    /// Nano-dollars.
    pub nanos: i64,
    /// Tokens.
    pub tokens: i64,
}

/// An integration's month, seen from one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Allowances {
    /// Money, in nano-dollars.
    pub nanos: Share,
    /// Tokens.
    pub tokens: Share,
}

/// What a draw has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Drawn {
    /// Whether the node's parts have changed.
    pub is_changed: bool,
    /// Whether it brought less than was needed while others have what they drew.
    pub is_lacking: bool,
}

impl Part {
    fn outstanding(self) -> i128 {
        i128::from(self.drawn)
            .saturating_sub(i128::from(self.settled))
            .max(0)
    }
}

impl Share {
    /// Counts the part of some node.
    pub fn add(&mut self, part: Part) {
        self.outstanding = self.outstanding.saturating_add(part.outstanding());
    }

    /// What all nodes together have drawn and not settled.
    #[must_use]
    pub fn outstanding(&self) -> i64 {
        i64::try_from(self.outstanding).unwrap_or(i64::MAX)
    }

    /// Draws what is needed or one part in `share` of what is left, whichever is more, as far as
    /// there is so much. Tells whether it did.
    pub fn draw(&mut self, limit: Option<i64>, settled_by_all: i64, need: i64, share: u32) -> bool {
        let Some(limit) = limit else { return false };
        if need <= 0 {
            return false;
        }
        let left = i128::from(limit)
            .saturating_sub(i128::from(settled_by_all))
            .saturating_sub(self.outstanding);
        let part = left.checked_div(i128::from(share)).unwrap_or(left);
        let granted = left.min(i128::from(need).max(part));
        // A node that has settled more than it drew begins again at what it has settled.
        let from = i128::from(self.own.drawn.max(self.own.settled));
        match i64::try_from(from.saturating_add(granted)) {
            Ok(drawn) if granted > 0 => {
                self.own.drawn = drawn;
                true
            }
            _ => false,
        }
    }

    /// What the other nodes have drawn and not settled.
    #[must_use]
    pub fn elsewhere(&self) -> i64 {
        let elsewhere = self.outstanding.saturating_sub(self.own.outstanding());
        i64::try_from(elsewhere.max(0)).unwrap_or(i64::MAX)
    }

    /// Whether a draw brought less than was needed while others have what they drew.
    fn lacks(&self, limit: Option<i64>, before: Self, need: i64) -> bool {
        let from = before.own.drawn.max(before.own.settled);
        let gained = self.own.drawn.saturating_sub(from);
        limit.is_some() && gained.max(0) < need && before.elsewhere() > 0
    }

    /// Gives back what the node will not hand out, as far as it has so much left. Tells whether it did.
    pub fn give_back(&mut self, unused: i64) -> bool {
        let has = self.own.drawn.saturating_sub(self.own.settled);
        let unused = unused.min(has).max(0);
        self.own.drawn = self.own.drawn.saturating_sub(unused);
        unused > 0
    }

    const fn granted(&self, settled_by_all: i64) -> Granted {
        Granted {
            drawn: self.own.drawn,
            own: self.own.settled,
            elsewhere: settled_by_all.saturating_sub(self.own.settled),
        }
    }
}

impl Allowances {
    /// Draws of both quantities, within the limits in force, one part in `share` of what is left
    /// where that is more than is needed; 0 counts as 1.
    pub fn draw(
        &mut self,
        limits: &Limits,
        settled: &SettledByAll,
        need: &Draw,
        share: u32,
    ) -> Drawn {
        let before = *self;
        let budget = limits.budget.map(Nanos::get);
        let share = share.max(1);
        let changed = [
            self.nanos.draw(budget, settled.nanos, need.budget, share),
            self.tokens
                .draw(limits.tokens, settled.tokens, need.tokens, share),
        ];
        let lacks = [
            self.nanos.lacks(budget, before.nanos, need.budget),
            self.tokens.lacks(limits.tokens, before.tokens, need.tokens),
        ];
        Drawn {
            is_changed: changed.contains(&true),
            is_lacking: lacks.contains(&true),
        }
    }

    /// Gives back of both quantities. Tells whether the node's parts have changed.
    pub fn give_back(&mut self, unused: &Draw) -> bool {
        let changed = [
            self.nanos.give_back(unused.budget),
            self.tokens.give_back(unused.tokens),
        ];
        changed.contains(&true)
    }

    /// What the node is told.
    #[must_use]
    pub const fn grant(&self, period: Period, settled: &SettledByAll) -> Grant {
        Grant {
            period,
            budget: self.nanos.granted(settled.nanos),
            tokens: self.tokens.granted(settled.tokens),
        }
    }
}
