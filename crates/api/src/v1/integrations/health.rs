//! `GET /api/v1/integrations/{id}/health`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::health::{Evidence, IntegrationHealth};
use tollgate_core::IntegrationId;
use tollgate_core::health::Cause;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::extract::Id;
use crate::problem::Problem;
use crate::state::Api;

/// Whether an integration's provider answers with its credential.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IntegrationHealth)]
pub(crate) struct HealthBody {
    /// Whose health it is.
    #[schema(format = Uuid)]
    integration_id: String,
    /// Where the integration is in its life.
    #[schema(schema_with = crate::openapi::integration_status)]
    status: &'static str,
    /// The state.
    #[schema(schema_with = crate::openapi::health_state)]
    health_state: &'static str,
    /// Why it is not healthy; null while it is, or nothing is known.
    #[schema(schema_with = crate::openapi::health_cause)]
    code: Option<&'static str>,
    /// The same in words, beginning with the code.
    message: Option<String>,
    /// When something was last heard of it.
    checked_at: Option<Timestamp>,
    /// What that was: `probe`, a request of Tollgate's own, or `traffic`, calls of its callers.
    #[schema(schema_with = crate::openapi::health_evidence)]
    evidence: Option<&'static str>,
    /// Milliseconds that the last probe's answer took; null where none came.
    latency_ms: Option<i64>,
    /// Failures in a row.
    consecutive_failures: i64,
    /// When it is to be probed next; null while that is not known, or nobody does so.
    next_probe_at: Option<Timestamp>,
}

impl From<IntegrationHealth> for HealthBody {
    fn from(health: IntegrationHealth) -> Self {
        Self {
            integration_id: health.integration_id.to_string(),
            status: health.status.as_str(),
            health_state: health.state.as_str(),
            code: health.cause.map(Cause::as_str),
            message: health.message,
            checked_at: health.checked_at,
            evidence: health.evidence.map(Evidence::as_str),
            latency_ms: health.latency_ms,
            consecutive_failures: health.consecutive_failures,
            next_probe_at: health.next_probe_at,
        }
    }
}

/// What is known of an integration's health, without asking its provider.
#[utoipa::path(get, path = "/api/v1/integrations/{id}/health", operation_id = "get_health",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "The health", body = HealthBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
) -> Result<Json<HealthBody>, Problem> {
    Ok(Json(api.app.integration_health(&context, id).await?.into()))
}
