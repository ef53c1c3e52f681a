//! `DELETE /api/v1/prices/{provider_type}/{model}`

use axum::extract::{Path, State};
use http::StatusCode;

use super::provider_in_path;
use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// Removes a price that was set: the installation's or the bundled one applies again.
#[utoipa::path(delete, path = "/api/v1/prices/{provider_type}/{model}", operation_id = "remove_price",
    params(("provider_type" = String, Path, description = "Who serves the model"),
        ("model" = String, Path, description = "The model's name; a slash in it as %2F")),
    responses((status = 204, description = "It is removed")))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Path((provider_type, model)): Path<(String, String)>,
) -> Result<StatusCode, Problem> {
    let provider_type = provider_in_path(&provider_type)?;
    api.app
        .remove_price(&context, provider_type, &model)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}
