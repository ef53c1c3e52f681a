//! What goes back from a gate to the store: what nobody needs now, and what was drawn under a limit that is no more.

use super::Gate;
use super::minute::Minute;
use crate::account::{Account, Draw};
use crate::clock::Moment;
use crate::period::Period;

/// What a node has drawn and does not need.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Spare {
    /// Money and tokens, by month.
    pub draws: Vec<Draw>,
    /// Permits, by slot.
    pub permits: Vec<(i64, i64)>,
}

impl Spare {
    /// Whether there is nothing to give back.
    #[must_use]
    pub const fn is_nothing(&self) -> bool {
        self.draws.is_empty() && self.permits.is_empty()
    }
}

impl Gate {
    /// Takes out what was drawn and nobody here needs now, to be given back to the store: what is
    /// neither spent nor held, where no call came for so many microseconds.
    pub fn take_spare(&mut self, idle_micros: i64, now: Moment) -> Spare {
        let active = self.active_micros.saturating_add(idle_micros);
        if active > now.steady_micros {
            return Spare {
                draws: self.take_overdrawn(),
                permits: Vec::new(),
            };
        }
        Spare {
            draws: self.take_unheld(),
            permits: match &mut self.minute {
                Minute::Counted(_) => Vec::new(),
                Minute::Drawn(permits) => permits.take_all(),
            },
        }
    }

    /// Whether a limit was lowered, or the store did not hear what went back, since something was drawn.
    #[must_use]
    pub const fn is_overdrawn(&self) -> bool {
        self.is_overdrawn
    }

    /// Takes out what was drawn under a limit that was lowered since, and no call holds, to be
    /// given back before anything is drawn under the new one.
    pub fn take_overdrawn(&mut self) -> Vec<Draw> {
        if self.is_overdrawn {
            self.take_unheld()
        } else {
            Vec::new()
        }
    }

    /// Has everything that is drawn given back before it is used: the store did not hear of it.
    pub fn distrust(&mut self, period: Period) {
        self.is_overdrawn = true;
        self.doubt(period);
    }

    /// Has the store asked what it counts as drawn: it was not heard whether something went back.
    pub fn doubt(&mut self, period: Period) {
        if let Some(account) = self.account_of(period) {
            account.is_doubtful = true;
        }
    }

    fn take_unheld(&mut self) -> Vec<Draw> {
        self.is_overdrawn = false;
        let months = [self.current.as_mut(), self.earlier.as_mut()];
        let months = months.into_iter().flatten();
        months.filter_map(Account::take_spare).collect()
    }
}
