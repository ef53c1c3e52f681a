//! One integration's month on this node: how much was drawn, spent and held.

use crate::hold::{Actual, HoldAmount};
use crate::limit::pot::Pot;
use crate::money::Nanos;
use crate::period::Period;

/// The month-to-date state of an integration on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account {
    /// Which month.
    pub period: Period,
    /// Whether the store's figures have been heard yet.
    pub is_loaded: bool,
    /// Whether the store may count more as drawn than this does, because it was not heard whether
    /// something went back. Until it is asked, nobody can use what that is.
    pub is_doubtful: bool,
    /// Money, in nano-dollars.
    pub budget: Pot,
    /// Tokens.
    pub tokens: Pot,
}

/// What a node still lacks to admit a call, to be asked of the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Draw {
    /// For which month.
    pub period: Period,
    /// Nano-dollars that are missing; may be 0 when only the figures are.
    pub budget: i64,
    /// Tokens that are missing.
    pub tokens: i64,
}

/// What a call lacks before it can be decided on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// The month's figures, and the money and tokens that are missing.
    pub draw: Option<Draw>,
    /// Whether a permit of this minute is missing.
    pub permit: bool,
}

/// The store's answer to a draw: the node's and everybody's figures after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grant {
    /// For which month.
    pub period: Period,
    /// Money.
    pub budget: Granted,
    /// Tokens.
    pub tokens: Granted,
}

/// One quantity of a grant, in nano-dollars or tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Granted {
    /// Drawn by this node in this month, all told, this draw included.
    pub drawn: i64,
    /// Of all that is in the ledger, what came through this node.
    pub own: i64,
    /// Of all that is in the ledger, what came through others.
    pub elsewhere: i64,
}

impl Account {
    /// A month of which nothing is known yet.
    #[must_use]
    pub fn unknown(period: Period) -> Self {
        Self {
            period,
            is_loaded: false,
            is_doubtful: false,
            budget: Pot::default(),
            tokens: Pot::default(),
        }
    }

    /// Takes in the store's figures. What this node has spent is taken from the store once, when
    /// the month is first heard of; from then on the node itself knows best.
    pub fn grant(&mut self, grant: &Grant) {
        let first = !self.is_loaded;
        for (pot, granted) in [
            (&mut self.budget, grant.budget),
            (&mut self.tokens, grant.tokens),
        ] {
            pot.drawn = granted.drawn;
            pot.elsewhere = granted.elsewhere;
            if first {
                pot.own = pot.own.saturating_add(granted.own);
            }
        }
        self.is_loaded = true;
        self.is_doubtful = false;
    }

    /// Takes in the store's figures, and what this node has used that is not in them.
    pub fn resume(&mut self, figures: &Grant, owed: &Actual) {
        self.grant(figures);
        self.budget.own = self.budget.own.saturating_add(owed.cost.get());
        self.tokens.own = self.tokens.own.saturating_add(owed.tokens);
    }

    /// Takes a hold.
    pub fn hold(&mut self, hold: &HoldAmount) {
        self.budget.hold(hold.cost.get());
        self.tokens.hold(hold.tokens);
    }

    /// Replaces a hold by what was used.
    pub fn settle(&mut self, hold: &HoldAmount, actual: &Actual) {
        self.budget.settle(hold.cost.get(), actual.cost.get());
        self.tokens.settle(hold.tokens, actual.tokens);
    }

    /// Counts what was used elsewhere and reported to this node. Nothing where the store's figures have not been heard yet:
    /// they will have it.
    pub const fn report(&mut self, actual: &Actual) {
        if self.is_loaded {
            self.budget.own = self.budget.own.saturating_add(actual.cost.get());
            self.tokens.own = self.tokens.own.saturating_add(actual.tokens);
        }
    }

    /// Gives a hold back.
    pub fn release(&mut self, hold: &HoldAmount) {
        self.budget.release(hold.cost.get());
        self.tokens.release(hold.tokens);
    }

    /// Takes back what was drawn and is neither spent nor held, so that it can be given back to the
    /// store; nothing where there is nothing, unless the store has to be asked what it counts.
    pub fn take_spare(&mut self) -> Option<Draw> {
        if !self.is_loaded {
            return None;
        }
        let spare = Draw {
            period: self.period,
            budget: self.budget.take_spare(),
            tokens: self.tokens.take_spare(),
        };
        (spare.budget > 0 || spare.tokens > 0 || self.is_doubtful).then_some(spare)
    }

    /// Whether calls in flight hold anything.
    #[must_use]
    pub const fn is_idle(&self) -> bool {
        self.budget.held == 0 && self.tokens.held == 0
    }

    /// Money spent this month, as far as this node knows.
    #[must_use]
    pub const fn spent(&self) -> Nanos {
        Nanos::new(self.budget.spent())
    }
}
