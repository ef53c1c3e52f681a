//! A monthly quantity that calls hold, spend and give back: money or tokens.
//!
//! What this node may hand out was drawn from the store before: `drawn − own` is left of it.
//! So `own + elsewhere + held` stays within the limit whatever other nodes do.

use crate::limit::LimitKind;
use crate::verdict::{LimitFigures, ReasonCode, WARNING_PERCENT, Warning};

/// The month-to-date state of one limited quantity on this node, in nano-dollars or tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pot {
    /// Drawn from the store by this node in this month, all told.
    pub drawn: i64,
    /// Spent through this node in this month, all told.
    pub own: i64,
    /// Spent through others in this month, as last heard.
    pub elsewhere: i64,
    /// Held by this node's calls in flight.
    pub held: i64,
}

/// How an amount fits into a pot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// Within the limit, and within what this node has drawn.
    Fits,
    /// Within the limit, but this node must draw so much more first.
    Short(i64),
    /// It would fit if calls in flight used less than they hold.
    Held,
    /// It does not fit this month.
    Exceeded,
}

impl Pot {
    /// Spent by everybody, as far as this node knows.
    #[must_use]
    pub const fn spent(&self) -> i64 {
        self.own.saturating_add(self.elsewhere)
    }

    /// How `asked` fits under `limit`. A limit already reached refuses everything, also nothing.
    #[must_use]
    pub fn fit(&self, limit: Option<i64>, asked: i64) -> Fit {
        let Some(limit) = limit else { return Fit::Fits };
        let with = |amount: i64| self.spent().saturating_add(amount);
        if self.spent() >= limit || with(asked) > limit {
            return Fit::Exceeded;
        }
        if with(self.held).saturating_add(asked) > limit {
            return Fit::Held;
        }
        let allowance = self.drawn.saturating_sub(self.own);
        let missing = self.held.saturating_add(asked).saturating_sub(allowance);
        if missing > 0 {
            Fit::Short(missing)
        } else {
            Fit::Fits
        }
    }

    /// Takes a hold.
    pub fn hold(&mut self, amount: i64) {
        self.held = self.held.saturating_add(amount);
    }

    /// Replaces a hold by what was really used.
    pub fn settle(&mut self, held: i64, used: i64) {
        self.release(held);
        self.own = self.own.saturating_add(used);
    }

    /// Gives a hold back.
    pub fn release(&mut self, held: i64) {
        self.held = self.held.saturating_sub(held).max(0);
    }

    /// Takes out what was drawn and is neither spent nor held.
    pub fn take_spare(&mut self) -> i64 {
        let spare = self
            .drawn
            .saturating_sub(self.own.saturating_add(self.held));
        let spare = spare.max(0);
        self.drawn = self.drawn.saturating_sub(spare);
        spare
    }

    /// The figures to show with a decision.
    #[must_use]
    pub const fn figures(&self, kind: LimitKind, limit: i64, asked: i64) -> LimitFigures {
        LimitFigures {
            kind,
            limit,
            spent: self.spent(),
            held: self.held,
            asked,
        }
    }

    /// The warning that a call gets when the pot is nearly used.
    #[must_use]
    pub fn warning(&self, kind: LimitKind, limit: Option<i64>) -> Option<Warning> {
        let figures = self.figures(kind, limit?, 0);
        let code = match kind {
            LimitKind::Budget => ReasonCode::BudgetWarning,
            LimitKind::Tokens | LimitKind::Rate => ReasonCode::TokenWarning,
        };
        (figures.percent() >= WARNING_PERCENT).then_some(Warning { code, figures })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One row an event: spent, held, asked, and how it fits under a limit of 100 with all of it drawn.
    #[test]
    fn a_call_fits_when_spent_and_held_and_its_own_hold_stay_within_the_limit() {
        let table = "
            0    0    0   fits
            0    0    100 fits
            0    0    101 exceeded
            99   0    1   fits
            99   0    2   exceeded
            100  0    0   exceeded
            150  0    1   exceeded
            0    60   40  fits
            0    60   41  held
            50   30   21  held
            50   30   51  exceeded
        ";
        for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
            let cells: Vec<&str> = row.split_whitespace().collect();
            let [spent, held, asked, expected] = cells.as_slice() else {
                panic!("{row}")
            };
            let [own, held, asked] = [spent, held, asked].map(|cell| cell.parse().unwrap());
            let pot = Pot {
                drawn: 100,
                own,
                elsewhere: 0,
                held,
            };
            let fit = match pot.fit(Some(100), asked) {
                Fit::Fits => "fits",
                Fit::Short(_) => "short",
                Fit::Held => "held",
                Fit::Exceeded => "exceeded",
            };
            assert_eq!(&fit, expected, "{row}");
        }
    }

    #[test]
    fn a_node_hands_out_only_what_it_has_drawn() {
        let mut pot = Pot {
            drawn: 30,
            own: 10,
            elsewhere: 40,
            held: 15,
        };
        assert_eq!(pot.fit(Some(100), 5), Fit::Fits);
        assert_eq!(pot.fit(Some(100), 6), Fit::Short(1));
        pot.drawn = 31;
        assert_eq!(pot.fit(Some(100), 6), Fit::Fits);
    }

    #[test]
    fn what_is_unlimited_always_fits() {
        let pot = Pot {
            drawn: 0,
            own: i64::MAX,
            elsewhere: i64::MAX,
            held: i64::MAX,
        };
        assert_eq!(pot.fit(None, i64::MAX), Fit::Fits);
    }

    #[test]
    fn a_warning_starts_at_eighty_percent() {
        let pot = |own| Pot {
            drawn: 100,
            own,
            elsewhere: 0,
            held: 0,
        };
        assert!(pot(79).warning(LimitKind::Budget, Some(100)).is_none());
        assert!(pot(80).warning(LimitKind::Budget, Some(100)).is_some());
        assert!(pot(5).warning(LimitKind::Budget, Some(7)).is_none());
        assert!(pot(6).warning(LimitKind::Budget, Some(7)).is_some());
    }
}
