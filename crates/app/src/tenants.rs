//! Tenants: the customers of whoever runs Tollgate. Only the operator sees more than one.

use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::Permission;
use tollgate_core::tenant::{Tenant, TenantErasure, TenantStatus};
use tollgate_store::{Conflict, StoreError};

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;
use crate::revision::Revised;

/// A tenant that is to be made.
#[derive(Debug, Clone)]
pub struct NewTenant {
    /// Its id; a random one when the operator has none of its own.
    pub id: Option<TenantId>,
    /// What people call it, 1 to 255 characters.
    pub name: String,
}

/// What is to be different about a tenant; what is absent stays.
#[derive(Debug, Clone, Default)]
pub struct TenantChange {
    /// What people call it, 1 to 255 characters.
    pub name: Option<String>,
    /// Suspended: its keys are refused. Active: they work again.
    pub status: Option<TenantStatus>,
}

impl App {
    /// The tenants, newest first; only those of a status, if one is given.
    pub async fn list_tenants(
        &self,
        context: &Context,
        ask: PageAsk,
        status: Option<TenantStatus>,
    ) -> Result<Page<Tenant>, AppError> {
        context.must_be_allowed(Permission::ManageTenants)?;
        Ok(self.store.operator().list_tenants(ask, status).await?)
    }

    /// Makes a tenant; a conflict when its id is taken, also by a deleted one.
    pub async fn create_tenant(
        &self,
        context: &Context,
        new: NewTenant,
    ) -> Result<Tenant, AppError> {
        context.must_be_allowed(Permission::ManageTenants)?;
        check_name(&new.name)?;
        let tenant = Tenant {
            id: new.id.unwrap_or_else(TenantId::generate),
            name: new.name,
            status: TenantStatus::Active,
            created_at: context.now.wall,
            updated_at: context.now.wall,
        };
        let mut audit = operator_audit(context, "tenant.create", &tenant.id);
        audit.after = Some(as_json(&tenant));
        let tenant = self.store.operator().create_tenant(&tenant, audit).await?;
        self.refresh_tenant(&tenant.id).await?;
        Ok(tenant)
    }

    /// One tenant.
    pub async fn get_tenant(&self, context: &Context, id: &TenantId) -> Result<Tenant, AppError> {
        context.must_be_allowed(Permission::ManageTenants)?;
        let tenant = self.store.operator().get_tenant(id).await;
        tenant.map_err(|error| AppError::from(error).naming("tenant"))
    }

    /// Renames, suspends or resumes a tenant; a conflict if it was changed meanwhile. In force on this node when it returns.
    pub async fn update_tenant(
        &self,
        context: &Context,
        id: &TenantId,
        change: TenantChange,
    ) -> Result<Tenant, AppError> {
        let before = self.get_tenant(context, id).await?;
        context.must_match(&before)?;
        let mut tenant = before.clone();
        if let Some(name) = change.name {
            check_name(&name)?;
            tenant.name = name;
        }
        tenant.status = change.status.unwrap_or(tenant.status);
        if tenant == before {
            return Ok(before);
        }
        let action = match (before.status, tenant.status) {
            (TenantStatus::Active, TenantStatus::Suspended) => "tenant.suspend",
            (TenantStatus::Suspended, TenantStatus::Active) => "tenant.resume",
            _ => "tenant.update",
        };
        tenant.updated_at = context.now.wall;
        let mut audit = operator_audit(context, action, id);
        audit.before = Some(as_json(&before));
        audit.after = Some(as_json(&tenant));
        let operator = self.store.operator();
        let updated = operator
            .update_tenant(&tenant, before.updated_at, audit)
            .await;
        let tenant = match updated {
            Ok(tenant) => tenant,
            Err(StoreError::Conflict(Conflict::TenantChanged))
                if context.precondition.names_states() =>
            {
                let current = self.get_tenant(context, id).await?;
                return Err(AppError::PreconditionFailed(current.revision()));
            }
            Err(error) => return Err(AppError::from(error).naming("tenant")),
        };
        self.refresh_tenant(id).await?;
        Ok(tenant)
    }

    /// Deletes a tenant for good: its keys are revoked, its integrations deleted, the sealed bytes of
    /// all its credentials erased. Its ledger and its audit trail stay, and its id is never given
    /// again. In force on this node when it returns.
    pub async fn delete_tenant(
        &self,
        context: &Context,
        id: &TenantId,
    ) -> Result<TenantErasure, AppError> {
        let before = self.get_tenant(context, id).await?;
        context.must_match(&before)?;
        let mut audit = operator_audit(context, "tenant.delete", id);
        audit.before = Some(as_json(&before));
        let erased = self.store.operator().delete_tenant(id, audit).await;
        let erased = erased.map_err(|error| AppError::from(error).naming("tenant"))?;
        self.refresh_tenant(id).await?;
        Ok(erased)
    }

    /// Whether there is such a tenant, suspended or not: asked before an operator acts on one.
    pub async fn has_tenant(&self, id: &TenantId) -> Result<bool, AppError> {
        if self.directory().tenant(id).is_none() {
            // Another node may have made it a moment ago.
            self.refresh_tenant(id).await?;
        }
        Ok(self.directory().tenant(id).is_some())
    }
}

/// A change of the operator's own, whatever tenant the request names.
fn operator_audit(context: &Context, action: &'static str, id: &TenantId) -> AuditEntry {
    AuditEntry {
        tenant: None,
        ..context.audit(action, format!("tenant/{id}"))
    }
}

/// A record as the audit trail keeps it.
pub(crate) fn as_json(record: &impl serde::Serialize) -> String {
    serde_json::to_string(record).unwrap_or_else(|error| {
        tracing::error!(%error, "a record cannot be written into the audit trail");
        "null".to_owned()
    })
}
