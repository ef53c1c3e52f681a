//! Who asks, for which tenant, and when: the first argument of every use case.

use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::role::{Permission, Role};
use tollgate_core::{IntegrationId, Moment, TenantId};

use crate::error::AppError;
use crate::revision::Precondition;

/// The circumstances of one request to the control plane.
#[derive(Debug, Clone)]
pub struct Context {
    /// Who asks.
    pub actor: Actor,
    /// What they may do.
    pub role: Role,
    /// The tenant they act for: the key's own, or the one an operator names.
    pub tenant: Option<TenantId>,
    /// What the request asks of the state that it meets.
    pub precondition: Precondition,
    /// The only integration that their key may use, if it is bound to one.
    pub bound_to: Option<IntegrationId>,
    /// The id of the request, for the audit trail.
    pub request_id: Option<String>,
    /// When.
    pub now: Moment,
}

impl Context {
    /// Refuses whoever may not.
    pub fn must_be_allowed(&self, permission: Permission) -> Result<(), AppError> {
        if self.role.may(permission) {
            Ok(())
        } else {
            Err(AppError::Forbidden(permission))
        }
    }

    /// The tenant, or an error that says how to name one.
    pub fn tenant(&self) -> Result<&TenantId, AppError> {
        self.tenant.as_ref().ok_or(AppError::Invalid {
            field: "x-tollgate-tenant",
            reason: "an operator key belongs to no tenant: name the one to act on in this header"
                .to_owned(),
        })
    }

    /// Refuses an integration that the asker's key is not bound to, as if it were not there.
    pub fn must_see(&self, id: IntegrationId) -> Result<(), AppError> {
        if self.bound_to.is_none_or(|bound| bound == id) {
            Ok(())
        } else {
            Err(AppError::NotFound("integration"))
        }
    }

    /// The integration that an answer is restricted to: the one that is asked for, or the key's own.
    pub fn restricted_to(
        &self,
        asked: Option<IntegrationId>,
    ) -> Result<Option<IntegrationId>, AppError> {
        if let Some(id) = asked {
            self.must_see(id)?;
        }
        Ok(asked.or(self.bound_to))
    }

    /// The audit entry of a change that this request makes.
    #[must_use]
    pub fn audit(&self, action: &'static str, target: String) -> AuditEntry {
        AuditEntry {
            tenant: self.tenant.clone(),
            actor: self.actor.clone(),
            action,
            target,
            before: None,
            after: None,
            request_id: self.request_id.clone(),
            at: self.now.wall,
        }
    }
}
