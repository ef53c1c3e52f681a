//! Tenants, as the control plane shows them.

pub(crate) mod create;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod update;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_core::tenant::Tenant;
use utoipa::ToSchema;

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub(crate) struct TenantBody {
    /// Its id, 1 to 100 visible ASCII characters.
    id: String,
    /// What people call it.
    name: String,
    /// Whether its keys work.
    #[schema(schema_with = crate::openapi::tenant_status)]
    status: &'static str,
    /// When it was made.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
}

impl From<Tenant> for TenantBody {
    fn from(tenant: Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            name: tenant.name,
            status: tenant.status.as_str(),
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
        }
    }
}
