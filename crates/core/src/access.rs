//! Access keys: what a caller presents. Only a keyed hash of the key itself is kept.

use std::str::FromStr;

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
    /// The key that it was made to replace.
    #[serde(default)]
    pub rotated_from: Option<KeyId>,
    /// The key that replaces it; it works until it expires.
    #[serde(default)]
    pub replaced_by: Option<KeyId>,
}

/// Whether an access key works, and for how much longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeyStatus {
    /// It works.
    Active,
    /// It works until the overlap with the key that replaces it is over.
    Rotating,
    /// Its time is over.
    Expired,
    /// It was revoked.
    Revoked,
}

impl KeyStatus {
    /// Every status.
    pub const ALL: [Self; 4] = [Self::Active, Self::Rotating, Self::Expired, Self::Revoked];

    /// The name that stands in the API and the CLI.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Rotating => "rotating",
            Self::Expired => "expired",
            Self::Revoked => "revoked",
        }
    }
}

/// A text that names no status of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a key's status is one of active, rotating, expired, revoked")]
pub struct InvalidKeyStatus;

impl FromStr for KeyStatus {
    type Err = InvalidKeyStatus;

    fn from_str(text: &str) -> Result<Self, InvalidKeyStatus> {
        Self::ALL
            .into_iter()
            .find(|status| status.as_str() == text)
            .ok_or(InvalidKeyStatus)
    }
}

impl AccessKey {
    /// Whether the key works at `now`.
    #[must_use]
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expires_at| now < expires_at)
    }

    /// Whether the key works at `now`, and for how much longer.
    #[must_use]
    pub fn status(&self, now: Timestamp) -> KeyStatus {
        if self.revoked_at.is_some() {
            return KeyStatus::Revoked;
        }
        match self.expires_at {
            Some(expires_at) if expires_at <= now => KeyStatus::Expired,
            _ if self.replaced_by.is_some() => KeyStatus::Rotating,
            _ => KeyStatus::Active,
        }
    }
}
