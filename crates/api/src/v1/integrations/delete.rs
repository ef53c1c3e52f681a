//! `DELETE /api/v1/integrations/{id}`

use axum::extract::State;
use http::StatusCode;
use tollgate_core::IntegrationId;

use crate::auth::Asker;
use crate::extract::Id;
use crate::problem::Problem;
use crate::state::Api;

/// Deletes an integration: its calls are refused, its credential is erased, its books stay.
#[utoipa::path(delete, path = "/api/v1/integrations/{id}", operation_id = "delete_integration",
    params(("id" = String, Path, description = "The integration's id")),
    responses((status = 204, description = "It is deleted")))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
) -> Result<StatusCode, Problem> {
    api.app.delete_integration(&context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
