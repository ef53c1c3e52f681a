//! What was decided about a call, and why.

mod message;

use cus_models::CusPolicyResult;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::limit::LimitKind;

/// How a decision went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Within every limit.
    Allowed,
    /// Within every limit, and near one.
    Warned,
    /// Over the requests per minute: wait and it passes.
    Throttled,
    /// Over the month's budget or tokens.
    Blocked,
    /// The integration itself may not be used.
    HardBlocked,
}

impl Verdict {
    /// The name that stands in headers and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Allowed => "allowed",
            Self::Warned => "warned",
            Self::Throttled => "throttled",
            Self::Blocked => "blocked",
            Self::HardBlocked => "hard_blocked",
        }
    }

    /// How the ledger stores it: it knows allowed, warned and blocked.
    #[must_use]
    pub const fn policy_result(self) -> CusPolicyResult {
        match self {
            Self::Allowed => CusPolicyResult::Allowed,
            Self::Warned => CusPolicyResult::Warned,
            Self::Throttled | Self::Blocked | Self::HardBlocked => CusPolicyResult::Blocked,
        }
    }
}

/// Why: the stable codes of every decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReasonCode {
    /// No living integration of that id in the tenant.
    IntegrationNotFound,
    /// Created, and never enabled.
    IntegrationNotEnabled,
    /// Disabled by an admin.
    IntegrationDisabled,
    /// Taken out of service by the system.
    IntegrationError,
    /// The provider refuses the stored credential.
    CredentialsInvalid,
    /// The provider does not answer.
    ProviderUnreachable,
    /// A budget is set and the model has no price, so its cost cannot be held.
    PriceUnknown,
    /// The month's budget is spent, or what is left is less than the call may cost.
    BudgetExceeded,
    /// The month's tokens are used, or what is left is less than the call may use.
    TokenLimitExceeded,
    /// The budget or tokens are held by calls in flight and may be free again soon.
    BudgetHeld,
    /// The requests of this minute are used.
    RateLimitExceeded,
    /// The store that keeps the limits cannot be reached, and nothing drawn from it is left.
    LimitsUnavailable,
    /// 80 % of the budget is spent or held.
    BudgetWarning,
    /// 80 % of the tokens are used or held.
    TokenWarning,
    /// Nothing stands against the call.
    AllChecksPassed,
}

impl ReasonCode {
    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::IntegrationNotFound => "integration_not_found",
            Self::IntegrationNotEnabled => "integration_not_enabled",
            Self::IntegrationDisabled => "integration_disabled",
            Self::IntegrationError => "integration_error",
            Self::CredentialsInvalid => "credentials_invalid",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::PriceUnknown => "price_unknown",
            Self::BudgetExceeded => "budget_exceeded",
            Self::TokenLimitExceeded => "token_limit_exceeded",
            Self::BudgetHeld => "budget_held",
            Self::RateLimitExceeded => "rate_limit_exceeded",
            Self::LimitsUnavailable => "limits_unavailable",
            Self::BudgetWarning => "budget_warning",
            Self::TokenWarning => "token_warning",
            Self::AllChecksPassed => "all_checks_passed",
        }
    }

    /// The verdict that a decision with this reason has.
    #[must_use]
    pub const fn verdict(self) -> Verdict {
        match self {
            Self::IntegrationNotFound
            | Self::IntegrationNotEnabled
            | Self::IntegrationDisabled
            | Self::IntegrationError
            | Self::CredentialsInvalid
            | Self::ProviderUnreachable => Verdict::HardBlocked,
            Self::PriceUnknown
            | Self::BudgetExceeded
            | Self::TokenLimitExceeded
            | Self::BudgetHeld
            | Self::LimitsUnavailable => Verdict::Blocked,
            Self::RateLimitExceeded => Verdict::Throttled,
            Self::BudgetWarning | Self::TokenWarning => Verdict::Warned,
            Self::AllChecksPassed => Verdict::Allowed,
        }
    }
}

/// The figures of a limit at the moment of a decision, in the limit's own unit:
/// nano-dollars, tokens, or calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LimitFigures {
    /// Which limit.
    pub kind: LimitKind,
    /// The limit.
    pub limit: i64,
    /// What has been spent of it.
    pub spent: i64,
    /// What calls in flight hold of it.
    pub held: i64,
    /// What the call asked for.
    pub asked: i64,
}

impl LimitFigures {
    /// The share of the limit that is spent or held, in whole percent, rounded down.
    #[must_use]
    pub fn percent(&self) -> i64 {
        let used = i128::from(self.spent).saturating_add(i128::from(self.held));
        let percent = used
            .saturating_mul(100)
            .checked_div(i128::from(self.limit))
            .unwrap_or(0);
        i64::try_from(percent).unwrap_or(i64::MAX)
    }
}

/// Why a call may not pass; making one changes nothing, counts nothing, holds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refusal {
    /// The first rule that refused.
    pub code: ReasonCode,
    /// The limit that refused, if it was one.
    pub figures: Option<LimitFigures>,
    /// Milliseconds until it is worth trying again, where that is soon.
    pub retry_after_ms: Option<i64>,
    /// When the limit starts afresh, for those of a month.
    pub resets_at: Option<Timestamp>,
}

impl Refusal {
    /// A refusal for a reason that has no figures.
    #[must_use]
    pub const fn plain(code: ReasonCode) -> Self {
        Self {
            code,
            figures: None,
            retry_after_ms: None,
            resets_at: None,
        }
    }

    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        self.code.verdict()
    }
}

/// A limit that a call came near to, and passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Warning {
    /// Which warning.
    pub code: ReasonCode,
    /// The limit's figures before the call's own hold.
    pub figures: LimitFigures,
}

/// The share of a monthly limit, in percent, from which on a call is warned.
pub const WARNING_PERCENT: i64 = 80;

/// The warnings of an admitted call: budget first, then tokens.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Warnings {
    /// The budget is nearly spent.
    pub budget: Option<Warning>,
    /// The tokens are nearly used.
    pub tokens: Option<Warning>,
}

impl Warnings {
    /// Allowed without warnings, warned with one.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        if self.budget.is_some() || self.tokens.is_some() {
            Verdict::Warned
        } else {
            Verdict::Allowed
        }
    }

    /// Each warning, budget first.
    pub fn iter(&self) -> impl Iterator<Item = &Warning> {
        self.budget.iter().chain(self.tokens.iter())
    }
}
