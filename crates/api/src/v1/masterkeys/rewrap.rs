//! `POST /api/v1/masterkeys/rewrap`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use super::MasterKeysBody;
use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// What was re-wrapped, and where the keys stand after it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Rewrap)]
pub(crate) struct RewrapBody {
    /// Credentials that have a new seal.
    rewrapped: u64,
    /// Credentials that could not get one; the log names them.
    failed: u64,
    /// Whether it waits until every node seals with the same key.
    waiting: bool,
    masterkeys: MasterKeysBody,
}

/// Reads the key file anew and re-wraps every credential that is sealed under another key than the
/// active one. The node does both by itself, too: this only says that it is to be now.
#[utoipa::path(post, path = "/api/v1/masterkeys/rewrap", operation_id = "rewrap_credentials",
    responses((status = 200, description = "What was done", body = RewrapBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<RewrapBody>, Problem> {
    let (done, keys) = api.app.rewrap_credentials(&context).await?;
    Ok(Json(RewrapBody {
        rewrapped: done.credentials,
        failed: done.failed,
        waiting: done.is_waiting,
        masterkeys: keys.into(),
    }))
}
