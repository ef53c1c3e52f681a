//! Enforcement for calls that do not go through the gateway, as the control plane shows it.

pub(crate) mod batch;
pub(crate) mod check;
pub(crate) mod create_hold;
pub(crate) mod release_hold;
pub(crate) mod status;

use http::StatusCode;
use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::enforcement::{Check, Estimate, Outcome};
use tollgate_app::refusal::status_of;
use tollgate_core::Nanos;
use tollgate_core::limit::LimitKind;
use tollgate_core::tokens::TOKENS_MAX;
use tollgate_core::verdict::{LimitFigures, ReasonCode, Refusal, Warning};
use utoipa::ToSchema;

use crate::problem::Problem;

const MODEL_CHARS_MAX: usize = 100;

/// What is known of a call before it is made.
#[derive(Debug, Default)]
pub(crate) struct Estimating {
    pub(crate) cost_cents: Option<u64>,
    pub(crate) cost_usd: Option<String>,
    pub(crate) tokens: Option<u64>,
    pub(crate) model: Option<String>,
}

impl Estimating {
    /// Reads it; `place` is the pointer of the object that it stands in.
    pub(crate) fn read(self, place: &str) -> Result<Estimate, Problem> {
        let wrong = |field: &str, detail: &str| {
            let pointer = format!("{place}/{field}");
            Problem::at(StatusCode::UNPROCESSABLE_ENTITY, "invalid", pointer, detail)
        };
        let too_much = "give less: more than 9.2 billion dollars cannot be booked";
        let cost = match (self.cost_cents, self.cost_usd) {
            (Some(_), Some(_)) => {
                let detail = "give estimated_cost_cents or estimated_cost_usd, not both";
                return Err(wrong("estimated_cost_usd", detail));
            }
            (Some(cents), None) => {
                let nanos = i64::try_from(cents)
                    .ok()
                    .and_then(|cents| Nanos::from_cents(cents).ok());
                Some(nanos.ok_or_else(|| wrong("estimated_cost_cents", too_much))?)
            }
            (None, Some(dollars)) => {
                let read = dollars.parse().ok().filter(|cost| *cost >= Nanos::ZERO);
                let detail = "give dollars as a decimal text with at most nine places: \"0.0125\"";
                Some(read.ok_or_else(|| wrong("estimated_cost_usd", detail))?)
            }
            (None, None) => None,
        };
        if self.tokens.is_some_and(|tokens| tokens > TOKENS_MAX) {
            let detail = format!("give at most {TOKENS_MAX}");
            return Err(wrong("estimated_tokens", &detail));
        }
        let is_name =
            |model: &String| !model.is_empty() && model.chars().nth(MODEL_CHARS_MAX).is_none();
        if !self.model.as_ref().is_none_or(is_name) {
            return Err(wrong("model", "a model's name has 1 to 100 characters"));
        }
        Ok(Estimate {
            cost,
            tokens: self.tokens,
            model: self.model,
        })
    }
}

/// What would become of a call.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnforcementDecision)]
pub(crate) struct DecisionBody {
    /// The integration that was asked about.
    #[schema(format = Uuid)]
    integration_id: String,
    /// Whose it is.
    tenant_id: String,
    /// The decision.
    #[schema(schema_with = crate::openapi::verdict)]
    result: &'static str,
    /// Why: the first rule that refuses alone, or every warning, budget first, or that all is well.
    reasons: Vec<ReasonBody>,
    /// Whether the store could not be asked, so that this node's own figures had to do.
    degraded: bool,
    /// When it was decided.
    evaluated_at: Timestamp,
}

/// Why a decision went as it did.
#[derive(Debug, Clone, Serialize, ToSchema)]
#[schema(as = EnforcementReason)]
pub(crate) struct ReasonBody {
    /// The stable code.
    code: String,
    /// What happened, why, and what to do.
    message: String,
    /// What decided: `status` of the integration, `budget`, `tokens` or `rate`; null where nothing stands against the call.
    limit_type: Option<String>,
    /// The limit: cents, tokens or calls.
    limit_value: Option<i64>,
    /// What is used of it, without what is held and without the call itself.
    current_value: Option<i64>,
    /// What calls in flight hold of it.
    held_value: Option<i64>,
    /// What the call itself may need of it.
    asked_value: Option<i64>,
    /// The part that is used or held, in percent, cut after three places; at most 100 where the limit refuses.
    threshold_percent: Option<f64>,
    /// Seconds until it is worth trying again, where that is soon.
    pub(crate) retry_after_seconds: Option<i64>,
    /// When the limit starts afresh, for those of a month.
    resets_at: Option<Timestamp>,
}

impl DecisionBody {
    /// A decision.
    pub(crate) fn of(check: &Check) -> Self {
        Self {
            integration_id: check.integration.to_string(),
            tenant_id: check.tenant.to_string(),
            result: check.outcome.verdict().as_str(),
            reasons: reasons(&check.outcome),
            degraded: check.is_degraded,
            evaluated_at: check.at,
        }
    }
}

/// Every reason of a decision.
pub(crate) fn reasons(outcome: &Outcome) -> Vec<ReasonBody> {
    match outcome {
        Outcome::Refused(refusal) => vec![ReasonBody::of_refusal(refusal)],
        Outcome::Passes(warnings) => {
            let warned: Vec<_> = warnings.iter().map(ReasonBody::of_warning).collect();
            if warned.is_empty() {
                vec![ReasonBody::plain(ReasonCode::AllChecksPassed)]
            } else {
                warned
            }
        }
    }
}

impl ReasonBody {
    fn plain(code: ReasonCode) -> Self {
        Self {
            code: code.as_str().to_owned(),
            message: code.message().to_owned(),
            limit_type: None,
            limit_value: None,
            current_value: None,
            held_value: None,
            asked_value: None,
            threshold_percent: None,
            retry_after_seconds: None,
            resets_at: None,
        }
    }

    fn of_warning(warning: &Warning) -> Self {
        Self {
            message: warning.message(),
            ..Self::plain(warning.code)
        }
        .with(&warning.figures)
    }

    pub(crate) fn of_refusal(refusal: &Refusal) -> Self {
        // The window frees a tenth of a second after the minute at the latest.
        let seconds = |millis: i64| millis.saturating_add(999).div_euclid(1_000).min(60);
        let body = Self {
            message: refusal.message(),
            limit_type: kind_without_figures(refusal.code).map(str::to_owned),
            retry_after_seconds: refusal.retry_after_ms.map(seconds),
            resets_at: refusal.resets_at,
            ..Self::plain(refusal.code)
        };
        let Some(figures) = &refusal.figures else {
            return body;
        };
        let body = body.with(figures);
        Self {
            threshold_percent: body.threshold_percent.map(|percent| percent.min(100.0)),
            ..body
        }
    }

    fn with(self, figures: &LimitFigures) -> Self {
        let value = |value: i64| match figures.kind {
            LimitKind::Budget => Nanos::new(value).cents(),
            LimitKind::Tokens | LimitKind::Rate => value,
        };
        let used = figures.spent.saturating_add(figures.held);
        Self {
            limit_type: Some(figures.kind.as_str().to_owned()),
            limit_value: Some(value(figures.limit)),
            current_value: Some(value(figures.spent)),
            held_value: Some(value(figures.held)),
            asked_value: Some(value(figures.asked)),
            threshold_percent: Some(percent(used, figures.limit)),
            ..self
        }
    }
}

/// A refusal as an error, with the status that the gateway gives it.
pub(crate) fn refused(refusal: &Refusal) -> Problem {
    Problem::new(
        status_of(refusal.code),
        refusal.code.as_str(),
        refusal.message(),
    )
    .because(ReasonBody::of_refusal(refusal))
}

/// What a refusal is about that no limit's figures explain.
const fn kind_without_figures(code: ReasonCode) -> Option<&'static str> {
    match code {
        ReasonCode::PriceUnknown => Some("budget"),
        ReasonCode::IntegrationNotFound
        | ReasonCode::IntegrationNotEnabled
        | ReasonCode::IntegrationDisabled
        | ReasonCode::IntegrationError
        | ReasonCode::CredentialsInvalid
        | ReasonCode::ProviderUnreachable => Some("status"),
        ReasonCode::BudgetExceeded
        | ReasonCode::TokenLimitExceeded
        | ReasonCode::BudgetHeld
        | ReasonCode::RateLimitExceeded
        | ReasonCode::LimitsUnavailable
        | ReasonCode::BudgetWarning
        | ReasonCode::TokenWarning
        | ReasonCode::AllChecksPassed => None,
    }
}

/// The part of a limit that is used, in percent, cut after three places and not at a hundred; 0
/// where nothing is limited.
pub(crate) fn percent(used: i64, limit: i64) -> f64 {
    if limit <= 0 {
        return 0.0;
    }
    let thousandths = i128::from(used.max(0)).saturating_mul(100_000) / i128::from(limit);
    f64::from(u32::try_from(thousandths).unwrap_or(u32::MAX)) / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_has_three_places_and_no_end() {
        let text = |used, limit| serde_json::json!(percent(used, limit)).to_string();
        assert_eq!(text(5, 0), "0.0");
        assert_eq!(text(6, 7), "85.714");
        assert_eq!(text(150, 100), "150.0");
        assert_eq!(text(-1, 100), "0.0");
        assert_eq!(text(i64::MAX, 1), "4294967.295");
    }

    #[test]
    fn an_estimate_is_read_or_its_place_is_named() {
        let read = |estimating: Estimating| {
            estimating
                .read("/requests/3")
                .map_err(|problem| format!("{problem:?}"))
        };
        let cost = |text: &str| {
            read(Estimating {
                cost_usd: Some(text.to_owned()),
                ..Estimating::default()
            })
        };
        assert_eq!(cost("0.0125").unwrap().cost, Some(Nanos::new(12_500_000)));
        for wrong in ["-1", "x", "1e3", "0.0000000001"] {
            assert!(
                cost(wrong)
                    .unwrap_err()
                    .contains("/requests/3/estimated_cost_usd")
            );
        }
        let cents = |cents| {
            read(Estimating {
                cost_cents: Some(cents),
                ..Estimating::default()
            })
        };
        assert_eq!(cents(1).unwrap().cost, Some(Nanos::new(10_000_000)));
        assert!(
            cents(u64::MAX)
                .unwrap_err()
                .contains("estimated_cost_cents")
        );
    }
}
