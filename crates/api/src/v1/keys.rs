//! Access keys, as the control plane shows them: everything but the key.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod revoke;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_core::access::AccessKey;
use utoipa::ToSchema;

/// An access key, without the key itself.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub(crate) struct KeyBody {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The tenant it acts for; null for operator keys.
    tenant_id: Option<String>,
    /// What people call it.
    name: String,
    /// What it may do.
    #[schema(schema_with = crate::openapi::role)]
    role: &'static str,
    /// The only integration that it may use, if it is bound to one.
    #[schema(format = Uuid)]
    integration_id: Option<String>,
    /// Its first characters, to recognize it by.
    prefix: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it stops working, if ever.
    expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute; written down twice a minute.
    last_used_at: Option<Timestamp>,
}

impl From<AccessKey> for KeyBody {
    fn from(key: AccessKey) -> Self {
        Self {
            id: key.id.to_string(),
            tenant_id: key.tenant_id.map(String::from),
            name: key.name,
            role: key.role.as_str(),
            integration_id: key.integration_id.map(|id| id.to_string()),
            prefix: key.prefix,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
            last_used_at: key.last_used_at,
        }
    }
}
