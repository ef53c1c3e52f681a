//! `GET /api/v1/keys`

use axum::Json;
use axum::extract::State;

use super::KeyBody;
use crate::auth::Asker;
use crate::extract::Params;
use crate::page::{Asked, ListBody};
use crate::problem::Problem;
use crate::state::Api;

/// The keys of the tenant, newest first; of an operator that names none, the operator keys.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_keys", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<KeyBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<KeyBody>>, Problem> {
    let ask = asked.page()?;
    let page = api.app.list_keys(&context, ask).await?;
    Ok(Json(ListBody::of(page, KeyBody::from)))
}
