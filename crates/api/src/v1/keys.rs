//! Access keys, as the control plane shows them: everything but the key.

pub(crate) mod create;
pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod revoke;
pub(crate) mod rotate;

use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::keys::ShownKey;
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
    /// Whether it works: `rotating` keys do until the overlap with the key that replaces them is over.
    #[schema(schema_with = crate::openapi::key_status)]
    status: &'static str,
    /// Its first characters, to recognize it by.
    prefix: String,
    /// When it was made.
    created_at: Timestamp,
    /// When it stops working, if ever.
    expires_at: Option<Timestamp>,
    /// When it was revoked, if it was.
    revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute; on other nodes half a minute ago or more.
    last_used_at: Option<Timestamp>,
    /// The key that it was made to replace, if it was.
    #[schema(format = Uuid)]
    rotated_from: Option<String>,
    /// The key that replaces it, if one does.
    #[schema(format = Uuid)]
    replaced_by: Option<String>,
}

impl From<ShownKey> for KeyBody {
    fn from(shown: ShownKey) -> Self {
        let ShownKey { key, status } = shown;
        Self {
            status: status.as_str(),
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
            rotated_from: key.rotated_from.map(|id| id.to_string()),
            replaced_by: key.replaced_by.map(|id| id.to_string()),
        }
    }
}
