//! Integrations: a tenant's connections to providers, from their making to their deletion.

mod create;
pub mod credential;
mod fallback;
pub mod limits;
mod replace;
mod settings;
mod update;

use cus_models::{CusIntegration, CusIntegrationStatus};
use serde::Serialize;
use tollgate_core::IntegrationId;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::Permission;
use tollgate_providers::{Description, registry};
use tollgate_store::{Conflict, IntegrationChange, StoreError};

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::revision::Revised;
use crate::tenants::as_json;

pub use create::NewIntegration;
pub use credential::{CredentialMark, EnteredCredential};
pub use limits::IntegrationLimits;
pub use replace::{ReplacementCredential, Unproven};
pub use tollgate_store::IntegrationFilter;
pub use update::{Change, IntegrationPatch};

/// What of an integration may be shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownIntegration {
    /// The record; its `credential_ref` is not for showing.
    pub record: CusIntegration,
    /// How its sealed credential is recognized; none for a reference.
    pub credential: Option<CredentialMark>,
}

impl App {
    /// The tenant's living integrations, newest first.
    pub async fn list_integrations(
        &self,
        context: &Context,
        ask: PageAsk,
        mut filter: IntegrationFilter,
    ) -> Result<Page<ShownIntegration>, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        filter.id = context.restricted_to(filter.id)?;
        let page = self
            .store
            .tenant(context.tenant()?)
            .list_integrations(ask, filter)
            .await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for record in page.rows {
            rows.push(self.shown(context, record).await?);
        }
        Ok(Page {
            rows,
            next: page.next,
        })
    }

    /// One living integration.
    pub async fn get_integration(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        let record = self.integration_record(context, id).await?;
        self.shown(context, record).await
    }

    /// Switches an integration on. From `error` that is a conflict: it has to be probed first.
    pub async fn enable_integration(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let before = self.integration_record(context, id).await?;
        let mut after = before.clone();
        after.enable().map_err(|_refused| in_error("enabled"))?;
        self.switch(context, "integration.enable", before, after)
            .await
    }

    /// Switches an integration off. From `error` that is a conflict: off and on again would hide
    /// that its provider refused it.
    pub async fn disable_integration(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let before = self.integration_record(context, id).await?;
        if before.status == CusIntegrationStatus::Error {
            return Err(in_error("disabled"));
        }
        let mut after = before.clone();
        after.disable();
        self.switch(context, "integration.disable", before, after)
            .await
    }

    /// Deletes an integration: its calls are refused and its sealed credential is erased, its
    /// name is free again, and its part of the ledger stays.
    pub async fn delete_integration(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<(), AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let before = self.get_integration(context, id).await?;
        context.must_match(&before)?;
        let seen = context.precondition.names_states();
        let expected = seen.then_some(before.record.updated_at);
        let mut audit = context.audit("integration.delete", target(&before.record));
        audit.before = Some(audited(&before));
        let deleted = self
            .store
            .tenant(context.tenant()?)
            .delete_integration(id, expected, audit)
            .await;
        if let Err(error) = deleted {
            return Err(self.overtaken(context, id, error).await);
        }
        self.refresh_integration(id).await
    }

    /// What each type of provider needs, and what it serves.
    pub fn list_providers(&self, context: &Context) -> Result<Vec<&'static Description>, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        Ok(registry::all()
            .iter()
            .map(|provider| provider.describe())
            .collect())
    }

    async fn integration_record(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<CusIntegration, AppError> {
        context.must_see(id)?;
        let record = self
            .store
            .tenant(context.tenant()?)
            .get_integration(id)
            .await;
        record.map_err(|error| AppError::from(error).naming("integration"))
    }

    /// Writes down a change of status; nothing where it is what it was.
    async fn switch(
        &self,
        context: &Context,
        action: &'static str,
        before: CusIntegration,
        mut after: CusIntegration,
    ) -> Result<ShownIntegration, AppError> {
        let mut shown = self.shown(context, before).await?;
        context.must_match(&shown)?;
        if shown.record.status == after.status {
            return Ok(shown);
        }
        after.updated_at = context.now.wall;
        let expected = shown.record.updated_at;
        let mut audit = context.audit(action, target(&after));
        audit.before = Some(audited(&shown));
        shown.record = after.clone();
        audit.after = Some(audited(&shown));
        let change = IntegrationChange {
            integration: after,
            expected,
            credential: None,
        };
        let id = parsed_id(&shown.record)?;
        let store = self.store.tenant(context.tenant()?);
        shown.record = match store.update_integration(change, audit).await {
            Ok(record) => record,
            Err(error) => return Err(self.overtaken(context, id, error).await),
        };
        self.refresh_integration(id).await?;
        Ok(shown)
    }

    /// Why a change was not made: for one that named the states that it may meet, somebody else's
    /// change is one that it has not seen.
    async fn overtaken(&self, context: &Context, id: IntegrationId, error: StoreError) -> AppError {
        let is_changed = matches!(error, StoreError::Conflict(Conflict::IntegrationChanged));
        if is_changed && context.precondition.names_states() {
            return match self.get_integration(context, id).await {
                Ok(current) => AppError::PreconditionFailed(current.revision()),
                Err(error) => error,
            };
        }
        AppError::from(error).naming("integration")
    }

    /// Adds the mark of its credential to a record: from memory where that is the same revision.
    async fn shown(
        &self,
        context: &Context,
        record: CusIntegration,
    ) -> Result<ShownIntegration, AppError> {
        let id = parsed_id(&record)?;
        if let Some(known) = self.directory().integration(id) {
            let snapshot = known.snapshot();
            if snapshot.record.updated_at == record.updated_at {
                return Ok(ShownIntegration {
                    record,
                    credential: snapshot.mark.clone(),
                });
            }
        }
        let row = self
            .store
            .tenant(context.tenant()?)
            .get_credential(id)
            .await?;
        Ok(ShownIntegration {
            record,
            credential: row.as_ref().map(CredentialMark::of),
        })
    }
}

fn parsed_id(record: &CusIntegration) -> Result<IntegrationId, AppError> {
    let parsed: Result<IntegrationId, _> = record.id.parse();
    parsed.map_err(|error| AppError::Internal(Box::new(error)))
}

pub(crate) fn target(record: &CusIntegration) -> String {
    format!("integration/{}", record.id)
}

/// An integration as the audit trail keeps it: without its reference, with its credential's mark.
pub(crate) fn audited(shown: &ShownIntegration) -> String {
    #[derive(Serialize)]
    struct Audited<'a> {
        #[serde(flatten)]
        record: serde_json::Value,
        credential: Option<&'a CredentialMark>,
    }
    let mut record = serde_json::json!(shown.record);
    if let Some(fields) = record.as_object_mut() {
        fields.remove("credential_ref");
    }
    as_json(&Audited {
        record,
        credential: shown.credential.as_ref(),
    })
}

fn in_error(what: &str) -> AppError {
    AppError::Conflict {
        code: "integration_in_error",
        message: format!(
            "an integration in error cannot be {what}: its provider refused its credential. Give it \
             another one (`POST …/credential`), or have it probed (`POST …/test`) once the \
             provider takes the present one again"
        ),
    }
}
