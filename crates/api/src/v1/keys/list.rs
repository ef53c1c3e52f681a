//! `GET /api/v1/keys`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::KeyBody;
use crate::auth::Asker;
use crate::extract::Params;
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The keys of the tenant, newest first; of an operator that names none, the operator keys.
#[utoipa::path(get, path = "/api/v1/keys", operation_id = "list_keys", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<KeyBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<KeyBody>>, Problem> {
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.list_keys(&context, ask).await?;
    Ok(Json(ListBody::of(page, KeyBody::from)))
}
