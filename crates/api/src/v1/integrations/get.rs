//! `GET /api/v1/integrations/{id}`

use axum::extract::State;
use tollgate_core::IntegrationId;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::Id;
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// One living integration.
#[utoipa::path(get, path = "/api/v1/integrations/{id}", operation_id = "get_integration",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "The integration", body = IntegrationBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
) -> Result<Tagged<IntegrationBody>, Problem> {
    Ok(Tagged::of(api.app.get_integration(&context, id).await?))
}
