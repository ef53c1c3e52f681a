//! `GET /api/v1/ledger/verify`

use axum::Json;
use axum::extract::State;

use super::VerifyBody;
use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// Compares the ledger with every balance and roll-up; of one tenant, if the operator names one.
#[utoipa::path(get, path = "/api/v1/ledger/verify", operation_id = "verify_ledger",
    responses((status = 200, description = "What was found", body = VerifyBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<VerifyBody>, Problem> {
    Ok(Json(api.app.verify_ledger(&context).await?.into()))
}
