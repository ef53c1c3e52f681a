//! `GET /api/v1/keys`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_app::keys::{KeyFilter, ShownKey};
use tollgate_core::access::KeyStatus;
use tollgate_core::role::Role;
use utoipa::IntoParams;

use super::KeyBody;
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::page::{ListBody, asked};
use crate::problem::Problem;
use crate::state::Api;

/// Which keys, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only those of this role.
    #[param(schema_with = crate::openapi::role)]
    role: Option<String>,
    /// Only those with this status.
    #[param(schema_with = crate::openapi::key_status)]
    status: Option<String>,
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
    Params(wanted): Params<Asked>,
) -> Result<Json<ListBody<KeyBody>>, Problem> {
    let now = context.now.wall;
    let roles = "operator, admin, viewer or caller";
    let statuses = "active, rotating, expired or revoked";
    let status: Option<KeyStatus> = parameter("status", wanted.status.as_deref(), statuses)?;
    let filter = KeyFilter {
        role: parameter::<Role>("role", wanted.role.as_deref(), roles)?,
        status: status.map(|status| (status, now)),
    };
    let ask = asked(wanted.limit.as_deref(), wanted.cursor.as_deref())?;
    let page = api.app.list_keys(&context, ask, filter).await?;
    Ok(Json(ListBody::of(page, |key| {
        ShownKey::at(key, now).into()
    })))
}
