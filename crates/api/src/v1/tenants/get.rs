//! `GET /api/v1/tenants/{id}`

use axum::extract::State;
use tollgate_core::TenantId;

use super::TenantBody;
use crate::auth::Asker;
use crate::extract::Id;
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// One tenant.
#[utoipa::path(get, path = "/api/v1/tenants/{id}", operation_id = "get_tenant",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "The tenant", body = TenantBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<TenantId>,
) -> Result<Tagged<TenantBody>, Problem> {
    Ok(Tagged::of(api.app.get_tenant(&context, &id).await?))
}
