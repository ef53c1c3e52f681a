//! `GET /api/v1/tenants`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use utoipa::IntoParams;

use super::TenantBody;
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

/// The tenants, newest first.
#[utoipa::path(get, path = "/api/v1/tenants", operation_id = "list_tenants", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<TenantBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<TenantBody>>, Problem> {
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.list_tenants(&context, ask).await?;
    Ok(Json(ListBody::of(page, TenantBody::from)))
}
