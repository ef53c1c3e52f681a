//! `GET /api/v1/providers`

use axum::Json;
use axum::extract::State;
use serde_json::{Value, json};

use crate::auth::Asker;
use crate::page::ListBody;
use crate::problem::Problem;
use crate::state::Api;

/// What each type of provider needs, which fields are secret, and what it serves.
#[utoipa::path(get, path = "/api/v1/providers", operation_id = "list_providers",
    responses((status = 200, description = "The providers", body = ListBody<Value>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<ListBody<Value>>, Problem> {
    let providers = api.app.list_providers(&context)?;
    Ok(Json(ListBody::whole(
        providers.into_iter().map(|one| json!(one)).collect(),
    )))
}
