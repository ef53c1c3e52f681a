//! Changing an integration: a merge patch. Where its credential goes changes only together with it.

use cus_models::CusIntegration;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};
use tollgate_core::IntegrationId;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::role::Permission;
use tollgate_providers::Provider;
use tollgate_store::{IntegrationChange, NewCredential};
use tollgate_vault::CredentialRef;

use super::create::check_bounds;
use super::credential::Place;
use super::settings::{kept_settings, merge, provider_of};
use super::{CredentialMark, EnteredCredential, ShownIntegration, audited, parsed_id, target};
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;
use crate::rules::Rules;

/// What a merge patch says of one member.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// Nothing: it is absent, and the member stays.
    #[default]
    Keep,
    /// It is null: the member goes.
    Remove,
    /// The member becomes this.
    Set(T),
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Option::deserialize(deserializer)?;
        Ok(value.map_or(Self::Remove, Self::Set))
    }
}

/// What is to be different about an integration; what is absent stays.
#[derive(Debug, Default)]
pub struct IntegrationPatch {
    /// What people call it, 1 to 255 characters.
    pub name: Option<String>,
    /// A merge patch of the settings.
    pub config: Change<Map<String, Value>>,
    /// The model of calls that name none, up to 100 characters.
    pub default_model: Change<String>,
    /// The most that calls may cost in a month, in cents; 0 is no limit.
    pub budget_limit_cents: Change<i64>,
    /// The most tokens in a month; 0 is no limit.
    pub token_limit_month: Change<i64>,
    /// The most calls in a minute; 0 is no limit.
    pub rate_limit_rpm: Change<i64>,
    /// The credential again, or another one; sealed here.
    pub credential: Option<EnteredCredential>,
    /// The reference again, or another one; only where the credential was a reference.
    pub credential_ref: Option<String>,
}

impl App {
    /// Changes an integration; in force on this node when it returns.
    pub async fn update_integration(
        &self,
        context: &Context,
        id: IntegrationId,
        patch: IntegrationPatch,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let before = self.get_integration(context, id).await?;
        context.must_match(&before)?;
        let mut shown = before.clone();
        let provider = provider_of(before.record.provider_type)?;
        let _sealing = self.ring.sealing().await;
        let mut rules = Rules::default();
        let credential = self
            .new_credential(context, provider, &patch, &mut shown)
            .await;
        let credential = rules.check(credential)?.flatten();
        let comes_again = patch.credential.is_some() || patch.credential_ref.is_some();
        if let Some(name) = &patch.name {
            rules.check(check_name(name))?;
        }
        apply(&mut shown.record, patch);
        let moves = self.moves(context, &before.record, &shown.record).await;
        let left_out = rules.check(moves)? == Some(true) && !comes_again;
        let named = CusIntegration {
            name: before.record.name.clone(),
            ..shown.record.clone()
        };
        rules.check(check_bounds(named))?;
        rules.end()?;
        if left_out {
            return Err(needs_credential());
        }
        if shown == before && credential.is_none() {
            return Ok(before);
        }
        shown.record.updated_at = context.now.wall;
        let mut audit = context.audit("integration.update", target(&shown.record));
        audit.before = Some(audited(&before));
        audit.after = Some(audited(&shown));
        let change = IntegrationChange {
            integration: shown.record,
            expected: before.record.updated_at,
            credential,
        };
        let store = self.store.tenant(context.tenant()?);
        let record = match store.update_integration(change, audit).await {
            Ok(record) => record,
            Err(error) => return Err(self.overtaken(context, id, error).await),
        };
        self.refresh_integration(id).await?;
        Ok(ShownIntegration {
            record,
            credential: shown.credential,
        })
    }

    /// Checks the new settings; whether the credential will go elsewhere by them.
    async fn moves(
        &self,
        context: &Context,
        before: &CusIntegration,
        after: &CusIntegration,
    ) -> Result<bool, AppError> {
        let provider = provider_of(after.provider_type)?;
        let new = self.read_settings(provider, after.config.as_ref())?;
        let old = kept_settings(before);
        // What it falls back to is looked at when it changes: a list whose integrations have gone
        // since does not stand in the way of other changes.
        if old.as_ref().is_none_or(|old| old.fallback != new.fallback) {
            self.check_fallback(context, after, &new).await?;
        }
        Ok(old.is_none_or(|old| destination(&old) != destination(&new)))
    }

    /// The credential that comes with the patch, sealed; its mark and reference go to `shown`.
    pub(super) async fn new_credential(
        &self,
        context: &Context,
        provider: &dyn Provider,
        patch: &IntegrationPatch,
        shown: &mut ShownIntegration,
    ) -> Result<Option<NewCredential>, AppError> {
        let invalid = |field, reason: &str| AppError::Invalid {
            field,
            reason: reason.to_owned(),
        };
        match (&patch.credential, &patch.credential_ref) {
            (None, None) => Ok(None),
            (Some(_), Some(_)) => Err(invalid(
                "credential",
                "give `credential` or `credential_ref`, not both",
            )),
            (None, Some(_)) if shown.credential.is_some() => Err(invalid(
                "credential_ref",
                "the credential is sealed here: replace it with `credential`, or make another \
                 integration for the reference",
            )),
            (None, Some(text)) => {
                shown.record.credential_ref = self.entered_reference(text)?;
                Ok(None)
            }
            (Some(entered), None) => {
                let tenant = context.tenant()?;
                let integration = parsed_id(&shown.record)?;
                let current = self
                    .store
                    .tenant(tenant)
                    .get_credential(integration)
                    .await?;
                let version = current.map_or(0, |row| row.version).saturating_add(1);
                let version =
                    u32::try_from(version).map_err(|error| AppError::Internal(Box::new(error)))?;
                let place = Place {
                    tenant,
                    integration,
                    version,
                };
                let sealed = self.seal_entered(provider, entered, place)?;
                shown.record.credential_ref = CredentialRef::Encrypted(sealed.id).to_string();
                shown.credential = Some(CredentialMark::from(&sealed));
                Ok(Some(sealed))
            }
        }
    }
}

/// Where the credential goes.
fn destination(config: &IntegrationConfig) -> (Option<&str>, Option<&str>) {
    (config.base_url.as_deref(), config.region.as_deref())
}

fn needs_credential() -> AppError {
    AppError::Refused {
        code: "credential_required",
        field: "credential",
        reason: "a credential is only sent where it was entered for: give it again together with \
                 another base_url or region"
            .to_owned(),
    }
}

fn apply(record: &mut CusIntegration, patch: IntegrationPatch) {
    if let Some(name) = patch.name {
        record.name = name;
    }
    match patch.config {
        Change::Keep => {}
        Change::Remove => record.config = None,
        Change::Set(config) => merge(record.config.get_or_insert_default(), config),
    }
    match patch.default_model {
        Change::Keep => {}
        Change::Remove => record.default_model = None,
        Change::Set(model) => record.default_model = Some(model),
    }
    let limits = [
        (patch.budget_limit_cents, &mut record.budget_limit_cents),
        (patch.token_limit_month, &mut record.token_limit_month),
        (patch.rate_limit_rpm, &mut record.rate_limit_rpm),
    ];
    for (change, limit) in limits {
        match change {
            Change::Keep => {}
            Change::Remove => *limit = 0,
            Change::Set(new) => *limit = new,
        }
    }
}
