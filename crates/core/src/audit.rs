//! The audit trail: who changed what, when, from what to what. Secrets appear as fingerprints.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::id::{KeyId, TenantId};

/// Who did something.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Actor {
    /// The holder of an access key.
    Key {
        /// Which key.
        id: KeyId,
    },
    /// Tollgate itself, for example a health probe.
    System,
    /// Whoever has a shell on the machine, for example `tollgate init`.
    Console,
}

/// What is to be written down with a change, in the same transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// Whose change it was; none for the operator's own.
    pub tenant: Option<TenantId>,
    /// Who did it.
    pub actor: Actor,
    /// What was done, noun and verb: `integration.enable`.
    pub action: &'static str,
    /// What it was done to: a kind and an id, `integration/4f0c…`.
    pub target: String,
    /// The target before, as JSON text without secrets.
    pub before: Option<String>,
    /// The target after, as JSON text without secrets.
    pub after: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// When.
    pub at: Timestamp,
}
