//! `POST /api/v1/tenants`

use axum::extract::State;
use http::StatusCode;
use serde::Deserialize;
use tollgate_app::tenants::NewTenant;
use tollgate_core::TenantId;
use utoipa::ToSchema;

use super::TenantBody;
use crate::auth::Asker;
use crate::extract::{Body, parsed_option};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// A tenant that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewTenant)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Its id, 1 to 100 visible ASCII characters; a new UUID if absent.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>)]
    id: Option<TenantId>,
    /// What people call it, 1 to 255 characters.
    name: String,
}

/// Makes a tenant.
#[utoipa::path(post, path = "/api/v1/tenants", operation_id = "create_tenant", request_body = Asked,
    responses((status = 201, description = "The tenant", body = TenantBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Tagged<TenantBody>), Problem> {
    let new = NewTenant {
        id: asked.id,
        name: asked.name,
    };
    let tenant = api.app.create_tenant(&context, new).await?;
    Ok((StatusCode::CREATED, Tagged::of(tenant)))
}
