//! `GET /api/v1/ledger/rollups/verify`

use axum::Json;
use axum::extract::State;

use super::VerifyBody;
use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// Compares the ledger with the roll-ups alone.
#[utoipa::path(get, path = "/api/v1/ledger/rollups/verify", operation_id = "verify_rollups",
    responses((status = 200, description = "What was found", body = VerifyBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<VerifyBody>, Problem> {
    Ok(Json(api.app.verify_rollups(&context).await?.into()))
}
