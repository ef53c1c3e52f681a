//! Replacing a credential: the new one is tried before it takes the place of the one in force.

use std::sync::Arc;

use tollgate_core::IntegrationId;
use tollgate_core::health::{Finding, Source};
use tollgate_core::role::Permission;
use tollgate_vault::{CredentialRef, Secret};

use super::settings::provider_of;
use super::{EnteredCredential, IntegrationPatch, ShownIntegration, audited, target};
use crate::app::App;
use crate::context::Context;
use crate::directory::Snapshot;
use crate::error::AppError;
use crate::health::changed_meanwhile;
use crate::health::fold::Report;
use crate::health::probe::Heard;

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
        let is_proven = proven(&heard, unproven)?;
        let store = self.store.tenant(context.tenant()?);
        let (record, row) = store.get_health(id).await?;
        if record.updated_at != before.record.updated_at {
            return Err(changed_meanwhile());
        }
        let report = Report {
            heard: &heard,
            source: Source::Asked,
            used: record.updated_at,
            context: Some(context),
        };
        let mut change = self.folded(&record, &row, &report);
        if !is_proven {
            change.integration = record.clone();
            change.integration.updated_at = context.now.wall;
            change.health = row;
            change.health.next_probe_at = None;
        }
        change.integration.credential_ref = shown.record.credential_ref;
        change.credential = sealed;
        shown.record = change.integration.clone();
        let mut audit = context.audit("integration.credential", target(&record));
        audit.before = Some(audited(&before));
        audit.after = Some(audited(&shown));
        change.audit = Some(audit);
        let next = change.health.next_probe_at;
        shown.record = store.keep_health(change).await?;
        self.refresh_integration(id).await?;
        known.probe_at(next);
        Ok(shown)
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

/// Whether the provider took the credential; an error where it did not, or was not asked and is
/// to be.
fn proven(heard: &Heard, unproven: Unproven) -> Result<bool, AppError> {
    match (heard.finding, unproven) {
        (Finding::Good | Finding::Slow, _) => Ok(true),
        (Finding::Refused, _) => Err(AppError::Refused {
            code: "credential_refused",
            field: "credential",
            reason: format!(
                "{}; nothing was changed, and the present credential stays in force",
                heard.what
            ),
        }),
        (_, Unproven::Accept) => Ok(false),
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
