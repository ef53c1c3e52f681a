//! `DELETE /api/v1/tenants/{id}`

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use tollgate_core::TenantId;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::extract::Id;
use crate::problem::Problem;
use crate::state::Api;

/// What went with a deleted tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeletedTenant)]
pub(crate) struct DeletedBody {
    /// The tenant's id; no tenant gets it again.
    id: String,
    /// Keys that were not revoked until then.
    keys_revoked: u64,
    /// Integrations that lived until then.
    integrations_deleted: u64,
    /// Credentials whose sealed bytes were erased, of whatever version.
    credentials_erased: u64,
}

/// Deletes a tenant for good: its keys are refused, its integrations and credentials are gone, its ledger and its audit trail stay.
#[utoipa::path(delete, path = "/api/v1/tenants/{id}", operation_id = "delete_tenant",
    params(("id" = String, Path, description = "The tenant's id")),
    responses((status = 200, description = "What went with it", body = DeletedBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<TenantId>,
) -> Result<Json<DeletedBody>, Problem> {
    let erased = api.app.delete_tenant(&context, &id).await?;
    Ok(Json(DeletedBody {
        id: id.to_string(),
        keys_revoked: erased.keys_revoked,
        integrations_deleted: erased.integrations_deleted,
        credentials_erased: erased.credentials_erased,
    }))
}
