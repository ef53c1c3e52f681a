//! The audit trail, read and verified: every tenant has one, and the operator has one for what belongs to no tenant.

use tollgate_core::audit::AuditHead;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::Permission;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

pub use tollgate_store::{AuditFilter, AuditReport, AuditRow, BadEntry};

/// Whose trail is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trails {
    /// The tenant's that the request acts on; without one the operator's own.
    Own,
    /// The operator's and every tenant's.
    Every,
}

impl App {
    /// The entries of a trail, or of every one, newest first.
    pub async fn list_audit(
        &self,
        context: &Context,
        trails: Trails,
        ask: PageAsk,
        filter: AuditFilter,
    ) -> Result<Page<AuditRow>, AppError> {
        context.may_read_audit(trails)?;
        let operator = self.store.operator();
        Ok(match (trails, &context.tenant) {
            (Trails::Every, _) => operator.list_every_audit(ask, filter).await?,
            (Trails::Own, None) => operator.list_operator_audit(ask, filter).await?,
            (Trails::Own, Some(tenant)) => {
                self.store.tenant(tenant).list_audit(ask, filter).await?
            }
        })
    }

    /// Walks a trail, or every one, and names the first entry that is not as it was written. One trail must also have
    /// been through `expected`, the head that somebody noted earlier.
    pub async fn verify_audit(
        &self,
        context: &Context,
        trails: Trails,
        expected: Option<AuditHead>,
    ) -> Result<AuditReport, AppError> {
        context.may_read_audit(trails)?;
        if trails == Trails::Every && expected.is_some() {
            return Err(AppError::Invalid {
                field: "head",
                reason: "a head belongs to one trail: leave `all` out".to_owned(),
            });
        }
        let report = match (trails, &context.tenant) {
            (Trails::Every, _) => self.store.operator().verify_every_audit().await,
            (Trails::Own, Some(tenant)) => self.store.tenant(tenant).verify_audit(expected).await,
            (Trails::Own, None) => self.store.operator().verify_operator_audit(expected).await,
        };
        let report = report?;
        if let Some(BadEntry {
            tenant,
            seq,
            reason,
        }) = &report.first_bad
        {
            tracing::error!(?tenant, seq, %reason, "the audit trail is not as it was written");
        }
        Ok(report)
    }
}

impl Context {
    /// Only who manages tenants sees more than one trail, and names none of them.
    fn may_read_audit(&self, trails: Trails) -> Result<(), AppError> {
        self.must_be_allowed(Permission::ReadAudit)?;
        if trails == Trails::Own {
            return Ok(());
        }
        self.must_be_allowed(Permission::ManageTenants)?;
        if self.tenant.is_some() {
            return Err(AppError::Invalid {
                field: "all",
                reason: "the request names one tenant: leave `all` or x-tollgate-tenant out"
                    .to_owned(),
            });
        }
        Ok(())
    }
}
