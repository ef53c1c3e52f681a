//! `POST /api/v1/integrations/{id}/test`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_app::health::{Freshness, TestResult};
use tollgate_core::IntegrationId;
use utoipa::ToSchema;

use super::health::HealthBody;
use crate::auth::Asker;
use crate::extract::{Id, OptionalBody};
use crate::problem::Problem;
use crate::state::Api;

/// How to test.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[schema(as = IntegrationTest)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Whether to ask the provider although it was asked within the last minute; false.
    #[serde(default)]
    force: bool,
}

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TestResult)]
pub(crate) struct ResultBody {
    /// The health now.
    #[serde(flatten)]
    health: HealthBody,
    /// Whether it is that of a probe within the last minute, and the provider was not asked again.
    cached: bool,
}

impl From<TestResult> for ResultBody {
    fn from(result: TestResult) -> Self {
        Self {
            health: result.health.into(),
            cached: result.cached,
        }
    }
}

/// Asks an integration's provider now, with a request that costs nothing. A provider that takes the
/// credential takes the integration out of `error`; one that refuses it puts it there.
#[utoipa::path(post, path = "/api/v1/integrations/{id}/test", operation_id = "test_integration",
    params(("id" = String, Path, description = "The integration's id")),
    request_body(content = Option<Asked>),
    responses((status = 200, description = "What was found", body = ResultBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
    OptionalBody(asked): OptionalBody<Asked>,
) -> Result<Json<ResultBody>, Problem> {
    let freshness = if asked.force {
        Freshness::Forced
    } else {
        Freshness::Cached
    };
    let result = api.app.test_integration(&context, id, freshness).await?;
    Ok(Json(result.into()))
}
