//! `PATCH /api/v1/tenants/{id}`

use axum::extract::State;
use serde::Deserialize;
use tollgate_app::tenants::TenantChange;
use tollgate_core::TenantId;
use tollgate_core::tenant::TenantStatus;
use utoipa::ToSchema;

use super::TenantBody;
use crate::auth::Asker;
use crate::extract::{Body, Id, present};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// What is to be different about a tenant; what is absent stays.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = TenantPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What people call it, 1 to 255 characters.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// `suspended`: its keys are refused until it is `active` again.
    #[serde(default, deserialize_with = "present")]
    #[schema(schema_with = crate::openapi::tenant_status, required = false)]
    status: Option<TenantStatus>,
}

/// Renames, suspends or resumes a tenant.
#[utoipa::path(patch, path = "/api/v1/tenants/{id}", operation_id = "update_tenant",
    params(("id" = String, Path, description = "The tenant's id")), request_body = Asked,
    responses((status = 200, description = "The tenant", body = TenantBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<TenantId>,
    Body(asked): Body<Asked>,
) -> Result<Tagged<TenantBody>, Problem> {
    let change = TenantChange {
        name: asked.name,
        status: asked.status,
    };
    Ok(Tagged::of(
        api.app.update_tenant(&context, &id, change).await?,
    ))
}
