//! `GET /api/v1/telemetry/usage-summary`

use axum::Json;
use axum::extract::State;
use cus_models::CusProviderType;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use tollgate_app::usage::{IntegrationUsage, ModelUsage, Span, UsageTotals};
use utoipa::{IntoParams, ToSchema};

use crate::auth::Asker;
use crate::extract::{Params, bad_parameter, day_parameter, parameter};
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
    /// `model`: the sums by model too, read from the ledger.
    #[param(schema_with = crate::openapi::usage_group)]
    group_by: Option<String>,
}

/// What the calls of some days add up to.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageSummary)]
pub(crate) struct SummaryBody {
    /// The first day, in UTC.
    from: Date,
    /// The last day, in UTC.
    to: Date,
    #[serde(flatten)]
    totals: TotalsBody,
    /// The same for each integration that was called.
    by_integration: Vec<IntegrationTotalsBody>,
    /// The same for each model that was called, where `group_by` asks for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    by_model: Option<Vec<ModelTotalsBody>>,
}

/// Sums over calls.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageTotals)]
pub(crate) struct TotalsBody {
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
}

/// The sums of one integration.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IntegrationUsage)]
pub(crate) struct IntegrationTotalsBody {
    /// The integration's id.
    integration_id: String,
    /// Its name, also after its deletion.
    name: String,
    /// Its kind of provider.
    provider_type: Option<&'static str>,
    #[serde(flatten)]
    totals: TotalsBody,
}

/// The sums of one model.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ModelUsage)]
pub(crate) struct ModelTotalsBody {
    /// The model.
    model: String,
    /// Its provider.
    #[schema(schema_with = crate::openapi::provider_type)]
    provider: String,
    /// Calls that were made and have no price, so that they count as free.
    unpriced_calls: i64,
    #[serde(flatten)]
    totals: TotalsBody,
}

impl From<ModelUsage> for ModelTotalsBody {
    fn from(usage: ModelUsage) -> Self {
        Self {
            model: usage.model,
            provider: usage.provider,
            unpriced_calls: usage.unpriced_calls,
            totals: usage.totals.into(),
        }
    }
}

impl From<UsageTotals> for TotalsBody {
    fn from(totals: UsageTotals) -> Self {
        Self {
            total_calls: totals.total_calls,
            total_tokens_in: totals.total_tokens_in,
            total_tokens_out: totals.total_tokens_out,
            total_cost_cents: totals.total_cost_cents,
            total_cost_usd: totals.cost.to_string(),
            avg_latency_ms: totals.avg_latency_ms,
            error_count: totals.error_count,
            blocked_count: totals.blocked_count,
        }
    }
}

impl From<IntegrationUsage> for IntegrationTotalsBody {
    fn from(usage: IntegrationUsage) -> Self {
        Self {
            integration_id: usage.integration.to_string(),
            name: usage.name,
            provider_type: usage.provider_type.map(CusProviderType::as_str),
            totals: usage.totals.into(),
        }
    }
}

/// What the tenant's calls add up to: this month unless told otherwise, today included.
#[utoipa::path(get, path = "/api/v1/telemetry/usage-summary", operation_id = "get_usage_summary",
    params(Asked), responses((status = 200, description = "The sums", body = SummaryBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<SummaryBody>, Problem> {
    let span = Span {
        from: day_parameter("from", asked.from.as_deref())?,
        to: day_parameter("to", asked.to.as_deref())?,
    };
    let days = span.days(&context)?;
    let integration = parameter("integration_id", asked.integration_id.as_deref(), "a UUID")?;
    let by_model = match asked.group_by.as_deref() {
        None => false,
        Some("model") => true,
        Some(_) => return Err(bad_parameter("group_by", "give model")),
    };
    let summary = api.app.usage_summary(&context, days, integration).await?;
    let by_model = if by_model {
        let models = api.app.usage_by_model(&context, days, integration).await?;
        Some(models.into_iter().map(Into::into).collect())
    } else {
        None
    };
    Ok(Json(SummaryBody {
        from: days.from,
        to: days.to,
        totals: summary.totals.into(),
        by_integration: summary.by_integration.into_iter().map(Into::into).collect(),
        by_model,
    }))
}
