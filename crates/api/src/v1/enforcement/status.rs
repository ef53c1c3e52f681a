//! `GET /api/v1/enforcement/status`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_app::enforcement::EnforcementStatus;
use tollgate_core::Nanos;
use utoipa::{IntoParams, ToSchema};

use super::{ReasonBody, percent, reasons};
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only this integration: the answer is then its status alone.
    integration_id: Option<String>,
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The status of one integration, or a page of them.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
#[schema(as = EnforcementStatusAnswer)]
pub(crate) enum Answer {
    /// Of the integration that was named.
    One(Box<StatusBody>),
    /// Of the tenant's integrations, newest first.
    Page(ListBody<StatusBody>),
}

/// The limits of an integration now, and what the smallest call would meet.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnforcementStatus)]
pub(crate) struct StatusBody {
    /// The integration's id.
    integration_id: String,
    /// Its name.
    name: String,
    /// Where it is in its life.
    #[schema(schema_with = crate::openapi::integration_status)]
    integration_status: &'static str,
    /// How its provider answered when it was last asked.
    #[schema(schema_with = crate::openapi::health_state)]
    health_state: &'static str,
    /// What the smallest call would meet now.
    #[schema(schema_with = crate::openapi::verdict)]
    result: &'static str,
    /// Why.
    reasons: Vec<ReasonBody>,
    /// Whether the store could not be asked, so that this node's own figures had to do.
    degraded: bool,
    /// When the month began.
    period_start: Timestamp,
    /// When it ends and its limits start afresh.
    resets_at: Timestamp,
    budget: BudgetBody,
    tokens: TokensBody,
    rate: RateBody,
    /// When it was decided.
    evaluated_at: Timestamp,
}

/// Money in this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BudgetStatus)]
pub(crate) struct BudgetBody {
    /// Whether there is a budget.
    has_limit: bool,
    /// The most that calls may cost, in cents; 0 is no limit.
    limit_cents: i64,
    /// What settled calls cost, in whole cents.
    used_cents: i64,
    /// The same to the nano-dollar.
    used_usd: String,
    /// What is held for calls in flight: here, and at most on other nodes.
    held_usd: String,
    /// What is neither used nor held, in whole cents; null without a limit.
    remaining_cents: Option<i64>,
    /// The same to the nano-dollar; null without a limit.
    remaining_usd: Option<String>,
    /// The part that is used, in percent, which may be more than 100; 0 without a limit.
    percent: f64,
}

/// Tokens in this month.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TokensStatus)]
pub(crate) struct TokensBody {
    /// Whether tokens are limited.
    has_limit: bool,
    /// The most tokens; 0 is no limit.
    limit: i64,
    /// The tokens of settled calls.
    used: i64,
    /// The tokens held for calls in flight: here, and at most on other nodes.
    held: i64,
    /// What is neither used nor held; null without a limit.
    remaining: Option<i64>,
    /// The part that is used, in percent, which may be more than 100; 0 without a limit.
    percent: f64,
}

/// Calls in the last 60 seconds.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RateStatus)]
pub(crate) struct RateBody {
    /// Whether calls are limited.
    has_limit: bool,
    /// The most calls in any 60 seconds; 0 is no limit.
    limit_rpm: i64,
    /// Calls admitted on this node in the last 60 seconds.
    current_rpm: i64,
    /// Calls that are left of it; null without a limit.
    remaining: Option<i64>,
    /// The part that is used, in percent; 0 without a limit.
    percent: f64,
}

impl From<EnforcementStatus> for StatusBody {
    fn from(status: EnforcementStatus) -> Self {
        let outcome = &status.check.outcome;
        Self {
            result: outcome.verdict().as_str(),
            reasons: reasons(outcome),
            degraded: status.check.is_degraded,
            period_start: status.period.start(),
            resets_at: status.period.end(),
            budget: budget(&status),
            tokens: tokens(&status),
            rate: rate(&status),
            evaluated_at: status.check.at,
            integration_id: status.record.id,
            name: status.record.name,
            integration_status: status.record.status.as_str(),
            health_state: status.record.health_state.as_str(),
        }
    }
}

fn budget(status: &EnforcementStatus) -> BudgetBody {
    let taken = status.spent.saturating_plus(status.budget_held);
    let limit = status.limits.budget;
    let remaining = limit.map(|limit| limit.less_or_zero(taken));
    BudgetBody {
        has_limit: limit.is_some(),
        limit_cents: status.record.budget_limit_cents,
        used_cents: status.spent.cents(),
        used_usd: status.spent.to_string(),
        held_usd: status.budget_held.to_string(),
        remaining_cents: remaining.map(Nanos::cents),
        remaining_usd: remaining.map(|remaining| remaining.to_string()),
        percent: percent(status.spent.get(), limit.map_or(0, Nanos::get)),
    }
}

fn tokens(status: &EnforcementStatus) -> TokensBody {
    let taken = status.tokens_used.saturating_add(status.tokens_held);
    let limit = status.limits.tokens;
    TokensBody {
        has_limit: limit.is_some(),
        limit: limit.unwrap_or(0),
        used: status.tokens_used,
        held: status.tokens_held,
        remaining: limit.map(|limit| limit.saturating_sub(taken).max(0)),
        percent: percent(status.tokens_used, limit.unwrap_or(0)),
    }
}

fn rate(status: &EnforcementStatus) -> RateBody {
    let limit = status.limits.rate_rpm;
    let calls = status.calls_in_minute;
    RateBody {
        has_limit: limit.is_some(),
        limit_rpm: limit.unwrap_or(0),
        current_rpm: calls,
        remaining: limit.map(|limit| limit.saturating_sub(calls).max(0)),
        percent: percent(calls, limit.unwrap_or(0)),
    }
}

/// What is used and held of the limits, and what a call would meet: of one integration, or of all.
#[utoipa::path(get, path = "/api/v1/enforcement/status", operation_id = "get_enforcement_status",
    params(Asked), responses((status = 200, description = "The status", body = Answer)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<Answer>, Problem> {
    let page = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let id = parameter("integration_id", asked.integration_id.as_deref(), "a UUID")?;
    let answer = if let Some(id) = id {
        let status = api.app.enforcement_status(&context, id).await?;
        Answer::One(Box::new(status.into()))
    } else {
        let page = api.app.enforcement_statuses(&context, page).await?;
        Answer::Page(ListBody::of(page, StatusBody::from))
    };
    Ok(Json(answer))
}
