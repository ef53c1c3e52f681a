//! `GET /api/v1/masterkeys`

use axum::Json;
use axum::extract::State;

use super::MasterKeysBody;
use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// Which master keys there are, what is sealed under each, and which node has which.
#[utoipa::path(get, path = "/api/v1/masterkeys", operation_id = "get_master_keys",
    responses((status = 200, description = "Where they stand", body = MasterKeysBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<MasterKeysBody>, Problem> {
    Ok(Json(api.app.master_keys(&context).await?.into()))
}
