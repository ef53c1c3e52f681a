//! Decisions in words: what happened, why, and what to do. The same in every dialect.

use super::{LimitFigures, ReasonCode, Refusal, Warning};
use crate::limit::LimitKind;
use crate::money::Nanos;

impl Refusal {
    /// The refusal for people.
    #[must_use]
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the other codes have no figures to tell"
    )]
    pub fn message(&self) -> String {
        let spent = self.figures.as_ref().map(spent).unwrap_or_default();
        let resets = self
            .resets_at
            .map(|at| format!(" The limit starts afresh at {at}."))
            .unwrap_or_default();
        match self.code {
            ReasonCode::BudgetExceeded => {
                format!("the month's budget does not allow it: {spent}.{resets}")
            }
            ReasonCode::TokenLimitExceeded => {
                format!("the month's tokens do not allow it: {spent}.{resets}")
            }
            ReasonCode::BudgetHeld => {
                format!("calls in flight hold what is left: {spent}. Try again in a moment.")
            }
            ReasonCode::RateLimitExceeded => {
                let rpm = self.figures.map_or(0, |figures| figures.limit);
                format!("more than {rpm} requests in 60 seconds: wait as long as Retry-After says")
            }
            code => code.message().to_owned(),
        }
    }
}

impl Warning {
    /// The warning for people.
    #[must_use]
    pub fn message(&self) -> String {
        let figures = &self.figures;
        let of = |value| amount(figures.kind, value);
        format!(
            "{} of {} is used and {} held: {} percent",
            of(figures.spent),
            of(figures.limit),
            of(figures.held),
            figures.percent()
        )
    }
}

impl ReasonCode {
    /// What the code means where it needs no figures; empty where it does.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::LimitsUnavailable => {
                "the limits cannot be checked now, and nothing is let through unchecked: try again"
            }
            Self::PriceUnknown => {
                "a budget is set and this model has no price: an admin can set one \
                 in the integration's config under prices"
            }
            Self::IntegrationNotFound => "there is no such integration",
            Self::IntegrationNotEnabled => {
                "the integration was never enabled: an admin must enable it"
            }
            Self::IntegrationDisabled => "the integration is disabled by its admin",
            Self::IntegrationError => {
                "the integration is out of service: its admin must look at it"
            }
            Self::CredentialsInvalid => {
                "the provider refuses the integration's credential: its admin must set it up anew"
            }
            Self::ProviderUnreachable => "the provider cannot be reached",
            Self::AllChecksPassed => "nothing stands against the call",
            Self::BudgetExceeded
            | Self::TokenLimitExceeded
            | Self::BudgetHeld
            | Self::RateLimitExceeded
            | Self::BudgetWarning
            | Self::TokenWarning => "",
        }
    }
}

fn spent(figures: &LimitFigures) -> String {
    let of = |value| amount(figures.kind, value);
    format!(
        "{} of {} is used and {} held by calls in flight; this call may need {}",
        of(figures.spent),
        of(figures.limit),
        of(figures.held),
        of(figures.asked)
    )
}

/// A figure in the unit that people read.
fn amount(kind: LimitKind, value: i64) -> String {
    match kind {
        LimitKind::Budget => format!("${}", Nanos::new(value)),
        LimitKind::Tokens => format!("{value} tokens"),
        LimitKind::Rate => format!("{value} requests"),
    }
}
