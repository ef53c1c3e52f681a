//! The limits of an integration, one kind a file. Nothing, or 0, means unlimited.

pub mod kept;
pub mod permits;
pub mod pot;
pub mod rate;

use cus_models::CusIntegration;
use serde::{Deserialize, Serialize};

use crate::money::Nanos;
use crate::verdict::ReasonCode;

/// A kind of limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LimitKind {
    /// Money a month, in nano-dollars.
    Budget,
    /// Tokens a month.
    Tokens,
    /// Calls in any 60 seconds.
    Rate,
}

impl LimitKind {
    /// The name that stands in errors and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Budget => "budget",
            Self::Tokens => "tokens",
            Self::Rate => "rate",
        }
    }

    /// The reason given when the limit is reached.
    #[must_use]
    pub const fn exceeded(self) -> ReasonCode {
        match self {
            Self::Budget => ReasonCode::BudgetExceeded,
            Self::Tokens => ReasonCode::TokenLimitExceeded,
            Self::Rate => ReasonCode::RateLimitExceeded,
        }
    }
}

/// The limits of one integration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Money a month.
    pub budget: Option<Nanos>,
    /// Tokens a month.
    pub tokens: Option<i64>,
    /// Calls in any 60 seconds.
    pub rate_rpm: Option<i64>,
}

impl Limits {
    /// Whether a month allows less than it did under `before`.
    #[must_use]
    pub fn allow_less_than(&self, before: &Self) -> bool {
        let less = |now: Option<i64>, before: Option<i64>| {
            now.is_some_and(|now| before.is_none_or(|before| now < before))
        };
        less(self.tokens, before.tokens)
            || less(self.budget.map(Nanos::get), before.budget.map(Nanos::get))
    }

    /// The limits that an integration carries. A budget beyond what can be booked limits at the
    /// greatest amount that can.
    #[must_use]
    pub fn of(integration: &CusIntegration) -> Self {
        let some = |limit: i64| (limit > 0).then_some(limit);
        Self {
            budget: some(integration.budget_limit_cents)
                .map(|cents| Nanos::from_cents(cents).unwrap_or(Nanos::MAX)),
            tokens: some(integration.token_limit_month),
            rate_rpm: some(integration.rate_limit_rpm),
        }
    }
}
