//! `POST /api/v1/ledger/rollups/rebuild`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// What a rebuild did.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = RebuildReport)]
pub(crate) struct RebuildBody {
    /// Days that were made anew.
    days: u64,
    /// Of these, days that were different before; 0 in healthy books.
    changed: u64,
}

/// Makes the roll-ups anew from the ledger.
#[utoipa::path(post, path = "/api/v1/ledger/rollups/rebuild", operation_id = "rebuild_rollups",
    responses((status = 200, description = "What was done", body = RebuildBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<RebuildBody>, Problem> {
    let report = api.app.rebuild_rollups(&context).await?;
    Ok(Json(RebuildBody {
        days: report.days,
        changed: report.changed,
    }))
}
