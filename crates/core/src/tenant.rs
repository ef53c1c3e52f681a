//! A tenant: a customer of whoever runs Tollgate.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::TenantId;

/// Whether a tenant's keys work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TenantStatus {
    /// Its keys work.
    Active,
    /// Its keys are refused until it is resumed; nothing is lost.
    Suspended,
}

impl TenantStatus {
    /// The name that stands in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Suspended => "suspended",
        }
    }

    /// The status of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Active, Self::Suspended]
            .into_iter()
            .find(|status| status.as_str() == name)
    }
}

/// A tenant as it is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tenant {
    /// Its id; every row of its belongs to it.
    pub id: TenantId,
    /// What people call it, 1 to 255 characters.
    pub name: String,
    /// Whether its keys work.
    pub status: TenantStatus,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What went with a deleted tenant; its ledger and its audit trail stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantErasure {
    /// Keys that worked until then.
    pub keys_revoked: u64,
    /// Integrations that lived until then.
    pub integrations_deleted: u64,
    /// Credentials whose sealed bytes were erased, whatever their version.
    pub credentials_erased: u64,
}
