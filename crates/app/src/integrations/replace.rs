//! Replacing a credential: the new one is tried before it takes the place of the one in force.

use std::sync::Arc;

use cus_models::CusIntegration;
use tollgate_core::IntegrationId;
use tollgate_core::health::{Finding, Source};
use tollgate_core::role::Permission;
use tollgate_store::{Conflict, NewCredential, StoreError};
use tollgate_vault::{CredentialRef, Secret};

use super::settings::provider_of;
use super::{EnteredCredential, IntegrationPatch, ShownIntegration, audited, parsed_id, target};
use crate::app::App;
use crate::context::Context;
use crate::directory::Snapshot;
use crate::error::AppError;
use crate::health::fold::Report;
use crate::health::probe::Heard;

/// How often it is tried again when something was heard of the integration in between.
const ATTEMPTS: u32 = 4;

/// Another credential for an integration.
#[derive(Debug)]
pub struct ReplacementCredential {
    /// The credential, to be sealed here.
    pub credential: Option<EnteredCredential>,
    /// Or where it is; only where the present one is a reference.
    pub credential_ref: Option<String>,
    /// What to do when the provider cannot be asked whether it takes it.
    pub unproven: Unproven,
}

/// What becomes of a credential that its provider could not be asked about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unproven {
    /// The present one stays.
    Refuse,
    /// It is taken all the same; an integration in `error` stays there until a probe passes.
    Accept,
}

impl App {
    /// Replaces a credential. The present one stays in force until the provider has taken the new
    /// one, and calls in flight end with what they left with. A provider that takes the new one
    /// takes the integration out of `error`.
    pub async fn replace_credential(
        &self,
        context: &Context,
        id: IntegrationId,
        entered: ReplacementCredential,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let before = self.get_integration(context, id).await?;
        context.must_match(&before)?;
        let provider = provider_of(before.record.provider_type)?;
        let unproven = entered.unproven;
        let patch = IntegrationPatch {
            credential: entered.credential,
            credential_ref: entered.credential_ref,
            ..IntegrationPatch::default()
        };
        let mut shown = before.clone();
        let sealed = self
            .new_credential(context, provider, &patch, &mut shown)
            .await?;
        let known = self.known_as(id, &before.record).await?;
        let _turn = known.probing.lock().await;
        let snapshot = Arc::clone(&known.snapshot());
        let heard = self.tried(&snapshot, &patch).await?;
        let proof = proven(&heard, unproven)?;
        let mut attempt = 1;
        loop {
            let new = (&shown, sealed.clone());
            let kept = self
                .put_in_place(context, &before, (&heard, proof), new)
                .await;
            match kept {
                // Something was heard of it in between, on another node or of its calls.
                Err(StoreError::Conflict(Conflict::IntegrationChanged)) if attempt < ATTEMPTS => {
                    attempt += 1;
                }
                Err(error) => return Err(self.overtaken(context, id, error).await),
                Ok(record) => {
                    shown.record = record;
                    self.refresh_integration(id).await?;
                    return Ok(shown);
                }
            }
        }
    }

    /// Writes the new credential over the present one, with what its provider said of it.
    async fn put_in_place(
        &self,
        context: &Context,
        before: &ShownIntegration,
        (heard, proof): (&Heard, Proof),
        (new, sealed): (&ShownIntegration, Option<NewCredential>),
    ) -> Result<CusIntegration, StoreError> {
        let not_found = |_no_tenant| StoreError::NotFound;
        let store = self.store.tenant(context.tenant().map_err(not_found)?);
        let id = parsed_id(&before.record).map_err(|_no_id| StoreError::NotFound)?;
        let (record, row) = store.get_health(id).await?;
        let report = Report {
            heard,
            source: Source::Asked,
            used: before.record.updated_at,
            context: Some(context),
        };
        let mut change = self.folded(&record, &row, &report);
        if proof == Proof::Missing {
            change.integration = record.clone();
            change.integration.updated_at = context.now.wall;
            change.health = row;
            change.health.next_probe_at = None;
        }
        change.expected = before.record.updated_at;
        change
            .integration
            .credential_ref
            .clone_from(&new.record.credential_ref);
        change.credential = sealed;
        let shown = ShownIntegration {
            record: change.integration.clone(),
            credential: new.credential.clone(),
        };
        let mut audit = context.audit("integration.credential", target(&record));
        audit.before = Some(audited(before));
        audit.after = Some(audited(&shown));
        change.audit = Some(audit);
        store.keep_health(change).await
    }

    /// What the provider says to the credential of a patch.
    async fn tried(
        &self,
        snapshot: &Snapshot,
        patch: &IntegrationPatch,
    ) -> Result<Heard, AppError> {
        match (&patch.credential, &patch.credential_ref) {
            (Some(entered), _) => Ok(self.probe_with(snapshot, Some(entered.whole())).await),
            (None, Some(text)) => {
                let secret = self.resolved(text)?;
                Ok(self.probe_with(snapshot, Some(&secret)).await)
            }
            (None, None) => Err(nothing_given()),
        }
    }

    fn resolved(&self, text: &str) -> Result<Secret, AppError> {
        let invalid = |reason: String| AppError::Invalid {
            field: "credential_ref",
            reason,
        };
        let reference: CredentialRef = text
            .parse()
            .map_err(|error: tollgate_vault::VaultError| invalid(error.to_string()))?;
        let secret = reference.resolve_env(&self.environment.read, &self.environment.prefixes);
        secret.map_err(|error| invalid(error.to_string()))
    }
}

/// What is known of a new credential that is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    Given,
    Missing,
}

/// Whether the provider took the credential; an error where it did not, or was not asked and is
/// to be.
fn proven(heard: &Heard, unproven: Unproven) -> Result<Proof, AppError> {
    match (heard.finding, unproven) {
        (Finding::Good | Finding::Slow, _) => Ok(Proof::Given),
        (Finding::Refused, _) => Err(AppError::Refused {
            code: "credential_refused",
            field: "credential",
            reason: format!(
                "{}; nothing was changed, and the present credential stays in force",
                heard.what
            ),
        }),
        (_, Unproven::Accept) => Ok(Proof::Missing),
        (_, Unproven::Refuse) => Err(AppError::Conflict {
            code: "credential_unproven",
            message: format!(
                "whether the provider takes the new credential could not be found out: {}. Nothing \
                 was changed: try again, or give `unproven: true` to replace it all the same",
                heard.what
            ),
        }),
    }
}

fn nothing_given() -> AppError {
    AppError::Invalid {
        field: "credential",
        reason: "give the new one as `credential`, or where it is as `credential_ref`".to_owned(),
    }
}
