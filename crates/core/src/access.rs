//! Access keys: what a caller presents. Only a keyed hash of the key itself is kept.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{IntegrationId, KeyId, TenantId};
use crate::role::Role;

/// The keyed hash (HMAC-SHA-256) by which a presented key is found.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct KeyDigest(pub [u8; 32]);

impl std::fmt::Debug for KeyDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("KeyDigest(…)")
    }
}

/// An access key as it is kept: everything but the key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccessKey {
    /// Its id.
    pub id: KeyId,
    /// The tenant it acts for; operator keys have none.
    pub tenant_id: Option<TenantId>,
    /// What people call it, 1 to 255 characters.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only integration that it may use, where it is bound to one.
    pub integration_id: Option<IntegrationId>,
    /// Its first characters, enough to recognize it by.
    pub prefix: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

impl AccessKey {
    /// Whether the key works at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }
}
