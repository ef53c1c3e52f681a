//! `POST /api/v1/integrations/{id}/enable`

use axum::extract::State;
use tollgate_core::IntegrationId;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::Id;
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// Switches an integration on; a conflict while it is in error.
#[utoipa::path(post, path = "/api/v1/integrations/{id}/enable", operation_id = "enable_integration",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 200, description = "The integration", body = IntegrationBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
) -> Result<Tagged<IntegrationBody>, Problem> {
    Ok(Tagged::of(api.app.enable_integration(&context, id).await?))
}
