//! `GET /api/v1/telemetry/usage-daily`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tollgate_app::usage::{DailyRow, Span};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Asker;
use crate::extract::{Params, day_parameter, parameter};
use crate::page::ListBody;
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The first day in UTC, or a time of it; the first of the month if absent.
    from: Option<String>,
    /// The last day in UTC, or a time of it; today if absent.
    to: Option<String>,
    /// Only the calls of this integration.
    integration_id: Option<String>,
}

/// What an integration's calls of one day add up to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageDaily)]
pub(crate) struct DailyBody {
    /// The tenant that called.
    tenant_id: String,
    /// The integration that the calls went through.
    integration_id: String,
    /// The day, in UTC.
    date: Date,
    /// Calls, refused ones included.
    total_calls: i64,
    /// Tokens sent.
    total_tokens_in: i64,
    /// Tokens received.
    total_tokens_out: i64,
    /// What they cost, in whole cents.
    total_cost_cents: i64,
    /// The same to the nano-dollar.
    total_cost_usd: String,
    /// How long a call took on average, in milliseconds.
    avg_latency_ms: Option<i64>,
    /// Calls that failed.
    error_count: i64,
    /// Calls that a limit kept from going out.
    blocked_count: i64,
    /// When the record last changed.
    updated_at: Timestamp,
}

impl From<DailyRow> for DailyBody {
    fn from(row: DailyRow) -> Self {
        let daily = row.daily;
        Self {
            tenant_id: daily.tenant_id,
            integration_id: daily.integration_id,
            date: daily.date,
            total_calls: daily.total_calls,
            total_tokens_in: daily.total_tokens_in,
            total_tokens_out: daily.total_tokens_out,
            total_cost_cents: daily.total_cost_cents,
            total_cost_usd: row.cost.to_string(),
            avg_latency_ms: daily.avg_latency_ms,
            error_count: daily.error_count,
            blocked_count: daily.blocked_count,
            updated_at: daily.updated_at,
        }
    }
}

/// The tenant's days, by day and then by integration: this month unless told otherwise.
#[utoipa::path(get, path = "/api/v1/telemetry/usage-daily", operation_id = "list_usage_daily",
    params(Asked), responses((status = 200, description = "The days", body = ListBody<DailyBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<DailyBody>>, Problem> {
    let span = Span {
        from: day_parameter("from", asked.from.as_deref())?,
        to: day_parameter("to", asked.to.as_deref())?,
    };
    let integration = parameter("integration_id", asked.integration_id.as_deref(), "a UUID")?;
    let rows = api
        .app
        .usage_daily(&context, span.days(&context)?, integration)
        .await?;
    Ok(Json(ListBody::whole(
        rows.into_iter().map(DailyBody::from).collect(),
    )))
}
