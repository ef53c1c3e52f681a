//! `GET /api/v1/integrations/health`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tollgate_app::health::HealthSummary;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// The health of a tenant's integrations together: those that are enabled or in error.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HealthSummary)]
pub(crate) struct SummaryBody {
    /// The worst that is known: `failing`, `degraded`, `healthy`, or `unknown` where nothing is.
    #[schema(schema_with = crate::openapi::health_state)]
    overall: &'static str,
    /// How many were never heard of.
    unknown: i64,
    /// How many are healthy.
    healthy: i64,
    /// How many are degraded.
    degraded: i64,
    /// How many are failing, those in error among them.
    failing: i64,
    /// How many are in error.
    in_error: i64,
    /// Created or disabled, and so not counted above.
    not_in_service: i64,
}

impl From<HealthSummary> for SummaryBody {
    fn from(summary: HealthSummary) -> Self {
        Self {
            overall: summary.overall.as_str(),
            unknown: summary.unknown,
            healthy: summary.healthy,
            degraded: summary.degraded,
            failing: summary.failing,
            in_error: summary.in_error,
            not_in_service: summary.not_in_service,
        }
    }
}

/// The health of the tenant's integrations together.
#[utoipa::path(get, path = "/api/v1/integrations/health", operation_id = "get_health_summary",
    responses((status = 200, description = "The worst, and how many of each", body = SummaryBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<SummaryBody>, Problem> {
    Ok(Json(api.app.health_summary(&context).await?.into()))
}
