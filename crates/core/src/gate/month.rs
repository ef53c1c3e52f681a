//! The monthly limits at a gate: whether a call's money and tokens fit, and what must be drawn first.

use super::{Attempt, UNAVAILABLE_RETRY_MS};
use crate::account::Account;
use crate::limit::LimitKind;
use crate::limit::pot::{Fit, Pot};
use crate::verdict::{ReasonCode, Refusal};

/// Milliseconds after which a call that other calls' holds keep out is worth trying again.
const HELD_RETRY_MS: i64 = 1_000;

/// The monthly limits at the moment of one decision.
pub(super) struct Month<'a> {
    pub(super) account: &'a Account,
    pub(super) attempt: Attempt,
}

impl Month<'_> {
    /// Whether nothing is known of the month yet.
    pub(super) const fn must_load(&self) -> bool {
        !self.account.is_loaded && matches!(self.attempt, Attempt::First)
    }

    /// How much must be drawn before `asked` fits, or the refusal.
    pub(super) fn check(
        &self,
        kind: LimitKind,
        limit: Option<i64>,
        asked: i64,
    ) -> Result<i64, Refusal> {
        let Some(ceiling) = limit else { return Ok(0) };
        let pot: &Pot = match kind {
            LimitKind::Budget => &self.account.budget,
            LimitKind::Tokens | LimitKind::Rate => &self.account.tokens,
        };
        let refuse = |code, retry_after_ms| Refusal {
            code,
            figures: Some(pot.figures(kind, ceiling, asked)),
            retry_after_ms,
            resets_at: Some(self.account.period.end()),
        };
        match (pot.fit(limit, asked), self.attempt) {
            (Fit::Fits, _) => Ok(0),
            (Fit::Exceeded, _) => Err(refuse(kind.exceeded(), None)),
            (Fit::Short(missing), Attempt::First) => Ok(missing),
            (Fit::Held, _) | (Fit::Short(_), Attempt::AfterDraw) => {
                Err(refuse(ReasonCode::BudgetHeld, Some(HELD_RETRY_MS)))
            }
            (Fit::Short(_), Attempt::StoreUnreachable) => Err(refuse(
                ReasonCode::LimitsUnavailable,
                Some(UNAVAILABLE_RETRY_MS),
            )),
        }
    }
}
