//! `GET /api/v1/integrations/{id}/limits`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::integrations::IntegrationLimits;
use tollgate_core::{IntegrationId, Nanos};
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::extract::Id;
use crate::problem::Problem;
use crate::state::Api;

/// The limits of an integration in this month, and how much of them is used.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IntegrationLimits)]
pub(crate) struct LimitsBody {
    /// When the month began.
    period_start: Timestamp,
    /// When it ends and the limits start afresh.
    period_end: Timestamp,
    budget: BudgetBody,
    tokens: TokensBody,
    rate: RateBody,
}

/// Money in this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BudgetUse)]
pub(crate) struct BudgetBody {
    /// The most that calls may cost; 0 is no limit.
    limit_cents: i64,
    /// What settled calls cost, in whole cents.
    used_cents: i64,
    /// The same to the nano-dollar.
    used_usd: String,
    /// What is held for calls in flight on this node.
    held_usd: String,
    /// What is neither used nor held; null without a limit.
    remaining_usd: Option<String>,
    /// The part that is used, 0 to 100 with one place; 0 without a limit.
    percent: f64,
}

/// Tokens in this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokensUse)]
pub(crate) struct TokensBody {
    /// The most tokens; 0 is no limit.
    limit: i64,
    /// The tokens of settled calls.
    used: i64,
    /// The tokens held for calls in flight on this node.
    held: i64,
    /// What is neither used nor held; null without a limit.
    remaining: Option<i64>,
    /// The part that is used, 0 to 100 with one place; 0 without a limit.
    percent: f64,
}

/// Calls in the last 60 seconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RateUse)]
pub(crate) struct RateBody {
    /// The most calls in any 60 seconds; 0 is no limit.
    limit_rpm: i64,
    /// Calls admitted on this node in the last 60 seconds.
    current_rpm: i64,
    /// The part that is used, 0 to 100 with one place; 0 without a limit.
    percent: f64,
}

impl From<IntegrationLimits> for LimitsBody {
    fn from(limits: IntegrationLimits) -> Self {
        let budget = Nanos::from_cents(limits.budget_limit_cents).unwrap_or(Nanos::MAX);
        let spent = limits.budget_used.saturating_plus(limits.budget_held);
        let taken = limits.tokens_used.saturating_add(limits.tokens_held);
        let some = |limit: i64| (limit > 0).then_some(limit);
        Self {
            period_start: limits.period.start(),
            period_end: limits.period.end(),
            budget: BudgetBody {
                limit_cents: limits.budget_limit_cents,
                used_cents: limits.budget_used.cents(),
                used_usd: limits.budget_used.to_string(),
                held_usd: limits.budget_held.to_string(),
                remaining_usd: some(limits.budget_limit_cents)
                    .map(|_cents| budget.less_or_zero(spent).to_string()),
                percent: percent(limits.budget_used.get(), budget.get()),
            },
            tokens: TokensBody {
                limit: limits.token_limit,
                used: limits.tokens_used,
                held: limits.tokens_held,
                remaining: some(limits.token_limit).map(|limit| limit.saturating_sub(taken).max(0)),
                percent: percent(limits.tokens_used, limits.token_limit),
            },
            rate: RateBody {
                limit_rpm: limits.rate_limit_rpm,
                current_rpm: limits.current_rpm,
                percent: percent(limits.current_rpm, limits.rate_limit_rpm),
            },
        }
    }
}

/// The part of a limit that is used, 0 to 100, cut after one place; 0 where nothing is limited.
fn percent(used: i64, limit: i64) -> f64 {
    if limit <= 0 {
        return 0.0;
    }
    let tenths = i128::from(used.max(0)).saturating_mul(1_000) / i128::from(limit);
    f64::from(u16::try_from(tenths).unwrap_or(u16::MAX).min(1_000)) / 10.0
}

/// How much of an integration's limits is used now.
#[utoipa::path(get, path = "/api/v1/integrations/{id}/limits", operation_id = "get_limits",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "The limits", body = LimitsBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
) -> Result<Json<LimitsBody>, Problem> {
    Ok(Json(api.app.integration_limits(&context, id).await?.into()))
}

#[cfg(test)]
mod tests {
    use super::percent;

    #[test]
    fn a_percentage_has_one_place_and_ends_at_a_hundred() {
        let text = |used, limit| serde_json::json!(percent(used, limit)).to_string();
        assert_eq!(text(0, 0), "0.0");
        assert_eq!(text(1, 3), "33.3");
        assert_eq!(text(2, 3), "66.6");
        assert_eq!(text(799, 1_000), "79.9");
        assert_eq!(text(150, 100), "100.0");
        assert_eq!(text(i64::MAX, 1), "100.0");
        assert_eq!(text(i64::MAX, i64::MAX), "100.0");
    }
}
