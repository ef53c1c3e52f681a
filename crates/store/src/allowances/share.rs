//! The arithmetic of one quantity of an allowance: what may be drawn, what goes back.

use tollgate_core::account::Granted;

/// One quantity of an integration's month, seen from one node.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) drawn: i64,
    pub(super) settled: i64,
    /// What all nodes together have drawn and not settled.
    outstanding: i128,
}

impl Share {
    pub(super) fn add(&mut self, drawn: i64, settled: i64) {
        self.outstanding += (i128::from(drawn) - i128::from(settled)).max(0);
    }

    /// Draws what is needed or one share of what is left, whichever is more, as far as there is so much. Tells whether it did.
    pub(super) fn draw(
        &mut self,
        limit: Option<i64>,
        settled_by_all: i64,
        need: i64,
        share: u32,
    ) -> bool {
        let Some(limit) = limit else { return false };
        if need <= 0 {
            return false;
        }
        let left = i128::from(limit) - i128::from(settled_by_all) - self.outstanding;
        let granted = left.min(i128::from(need).max(left / i128::from(share)));
        // A node that has settled more than it drew begins again at what it has settled.
        let drawn = i128::from(self.drawn.max(self.settled)) + granted;
        match i64::try_from(drawn) {
            Ok(drawn) if granted > 0 => {
                self.drawn = drawn;
                true
            }
            _ => false,
        }
    }

    /// What the other nodes have drawn and not settled.
    pub(super) fn elsewhere(&self) -> i64 {
        let own = (i128::from(self.drawn) - i128::from(self.settled)).max(0);
        i64::try_from((self.outstanding - own).max(0)).unwrap_or(i64::MAX)
    }

    /// Whether a draw brought less than was needed while others have what they drew.
    pub(super) fn lacks(&self, limit: Option<i64>, before: Self, need: i64) -> bool {
        let gained = self.drawn.saturating_sub(before.drawn.max(before.settled));
        limit.is_some() && gained.max(0) < need && before.elsewhere() > 0
    }

    pub(super) fn give_back(&mut self, unused: i64) -> bool {
        let unused = unused.min(self.drawn.saturating_sub(self.settled)).max(0);
        self.drawn -= unused;
        unused > 0
    }

    pub(super) const fn granted(&self, settled_by_all: i64) -> Granted {
        Granted {
            drawn: self.drawn,
            own: self.settled,
            elsewhere: settled_by_all.saturating_sub(self.settled),
        }
    }
}
