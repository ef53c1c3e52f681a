//! `GET /api/v1/tenants`

use axum::Json;
use axum::extract::State;

use super::TenantBody;
use crate::auth::Asker;
use crate::extract::Params;
use crate::page::{Asked, ListBody};
use crate::problem::Problem;
use crate::state::Api;

/// The tenants, newest first.
#[utoipa::path(get, path = "/api/v1/tenants", operation_id = "list_tenants", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<TenantBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<TenantBody>>, Problem> {
    let ask = asked.page()?;
    let page = api.app.list_tenants(&context, ask).await?;
    Ok(Json(ListBody::of(page, TenantBody::from)))
}
