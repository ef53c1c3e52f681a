//! `GET /api/v1/tenants`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_core::tenant::TenantStatus;
use utoipa::IntoParams;

use super::TenantBody;
use crate::auth::Asker;
use crate::extract::{Params, bad_parameter};
use crate::page::{ListBody, asked};
use crate::problem::Problem;
use crate::state::Api;

/// Which tenants, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only those with this status.
    #[param(schema_with = crate::openapi::tenant_status)]
    status: Option<String>,
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
    Params(wanted): Params<Asked>,
) -> Result<Json<ListBody<TenantBody>>, Problem> {
    let known = |name: &str| {
        TenantStatus::from_name(name)
            .ok_or_else(|| bad_parameter("status", "give active or suspended"))
    };
    let status = wanted.status.as_deref().map(known).transpose()?;
    let ask = asked(wanted.limit.as_deref(), wanted.cursor.as_deref())?;
    let page = api.app.list_tenants(&context, ask, status).await?;
    Ok(Json(ListBody::of(page, TenantBody::from)))
}
