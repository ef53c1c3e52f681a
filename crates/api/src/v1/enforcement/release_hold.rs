//! `DELETE /api/v1/enforcement/hold/{id}`

use axum::extract::State;
use http::StatusCode;
use tollgate_core::HoldId;

use crate::auth::Asker;
use crate::extract::Id;
use crate::problem::Problem;
use crate::state::Api;

/// Gives a hold back: nothing reached the provider. Done again it changes nothing; a conflict where
/// the hold was settled or has expired.
#[utoipa::path(delete, path = "/api/v1/enforcement/hold/{id}", operation_id = "release_hold",
    params(("id" = String, Path, description = "The hold's id")),
    responses((status = 204, description = "It holds nothing any more")))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<HoldId>,
) -> Result<StatusCode, Problem> {
    api.app.release_hold(&context, id).await?;
    Ok(StatusCode::NO_CONTENT)
}
