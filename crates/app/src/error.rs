//! What can go wrong, by meaning. No HTTP here: each edge turns meanings into statuses once.

use tollgate_core::role::Permission;
use tollgate_store::{Conflict, StoreError};
use tollgate_vault::VaultError;

use crate::journal::JournalError;
use crate::revision::Revision;
use crate::rules::BrokenRule;

/// Why a use case did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// There is none, or none that the asker may know of.
    #[error("there is no such {0}")]
    NotFound(&'static str),
    /// It clashes with what is there.
    #[error("{message}")]
    Conflict {
        /// A stable code.
        code: &'static str,
        /// What clashes, and what to do.
        message: String,
    },
    /// It is not in a state that the asker has seen.
    #[error(
        "somebody changed it since you read it: read it again, and repeat what is still wanted with \
         its new ETag"
    )]
    PreconditionFailed(Revision),
    /// Its idempotency key came with another request before.
    #[error(
        "this idempotency key came with another request before: a new request needs a new key, and \
         a repeated one must be the same to the byte"
    )]
    KeyReused,
    /// A request with its idempotency key is being done.
    #[error("a request with this idempotency key is being done: ask again in a moment")]
    InProgress,
    /// A field breaks a rule.
    #[error("{field}: {reason}")]
    Invalid {
        /// The field's name, with a path where it is nested.
        field: &'static str,
        /// What is wrong, and what is right.
        reason: String,
    },
    /// It was tried, and somebody else does not take it.
    #[error("{field}: {reason}")]
    Refused {
        /// A stable code.
        code: &'static str,
        /// The field's name.
        field: &'static str,
        /// What was said, and what it means.
        reason: String,
    },
    /// Several fields break rules.
    #[error("{}", told(.0))]
    Rules(Vec<BrokenRule>),
    /// The asker's key may not do this.
    #[error("this key's role may not {0}: use a key with another role")]
    Forbidden(Permission),
    /// Something that is needed cannot be reached now.
    #[error("{0} cannot be reached now; try again in a moment")]
    Unavailable(&'static str),
    /// A defect or a broken installation; the log has the cause.
    #[error("an internal error; the log has its cause under the request's id")]
    Internal(#[source] Box<dyn std::error::Error + Send + Sync>),
}

fn told(broken: &[BrokenRule]) -> String {
    let told = broken
        .iter()
        .map(|rule| format!("{}: {}", rule.field, rule.reason));
    told.collect::<Vec<_>>().join("; ")
}

impl From<StoreError> for AppError {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "whatever else it is, it is a defect"
    )]
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::NotFound => Self::NotFound("thing"),
            StoreError::Conflict(conflict) => Self::clash(conflict),
            StoreError::Unavailable { .. } | StoreError::Contended { .. } => {
                tracing::warn!(%error, "the store did not answer");
                Self::Unavailable("the store")
            }
            other => Self::Internal(Box::new(other)),
        }
    }
}

impl AppError {
    /// A defect or a broken installation, with its cause.
    pub(crate) fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }

    /// A clash in the store, with what to do about it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the rest needs no advice of its own"
    )]
    fn clash(conflict: Conflict) -> Self {
        let (code, message) = match conflict {
            Conflict::TenantExists => (
                "tenant_exists",
                "a tenant of that id exists: choose another",
            ),
            Conflict::TenantDeleted => (
                "tenant_deleted",
                "a tenant of that id was deleted; its ledger and its audit trail keep the id: choose another",
            ),
            Conflict::KeyEnded => (
                "key_ended",
                "this key was revoked or has expired, so nothing can take its place: create a new one",
            ),
            Conflict::KeyReplaced => (
                "key_replaced",
                "this key was rotated before: its `replaced_by` names the key to rotate",
            ),
            Conflict::LastOperatorKey => (
                "last_operator_key",
                "this is the last operator key that works, and without one nobody can operate this \
                 installation: create another first, or rotate this one",
            ),
            Conflict::IntegrationNameTaken => (
                "integration_name_taken",
                "an integration of that name exists: choose another name",
            ),
            Conflict::IntegrationChanged => (
                "integration_changed",
                "it was changed meanwhile: read it again and repeat",
            ),
            Conflict::TenantChanged => (
                "tenant_changed",
                "it was changed meanwhile: read it again and repeat",
            ),
            Conflict::NodeRetired => ("node_retired", "this node was retired: start it afresh"),
            Conflict::NodeAlive => (
                "node_alive",
                "it gave a sign of life within the last minute: stop it first, or force it if you know that it is gone",
            ),
            _ => (
                "conflict",
                "it clashes with what is there: read it again and repeat",
            ),
        };
        Self::Conflict {
            code,
            message: message.to_owned(),
        }
    }

    /// The same, where the store could not say what it was that it did not find.
    #[must_use]
    pub fn naming(self, what: &'static str) -> Self {
        if matches!(self, Self::NotFound(_)) {
            Self::NotFound(what)
        } else {
            self
        }
    }
}

impl From<VaultError> for AppError {
    fn from(error: VaultError) -> Self {
        Self::Internal(Box::new(error))
    }
}

impl From<JournalError> for AppError {
    fn from(error: JournalError) -> Self {
        Self::Internal(Box::new(error))
    }
}
