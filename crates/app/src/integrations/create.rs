//! Making an integration: its credential is sealed before anything is kept.

use cus_models::{CusIntegration, CusProviderType, Invalid};
use serde_json::{Map, Value};
use tollgate_core::IntegrationId;
use tollgate_core::audit::Actor;
use tollgate_core::role::Permission;
use tollgate_providers::{Presence, Provider};
use tollgate_store::NewCredential;
use tollgate_vault::CredentialRef;

use super::credential::Place;
use super::settings::{kept_settings, provider_of};
use super::{CredentialMark, EnteredCredential, ShownIntegration, audited, target};
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;
use crate::rules::Rules;

/// An integration that is to be made.
#[derive(Debug)]
pub struct NewIntegration {
    /// What people call it, 1 to 255 characters, unique among the tenant's living integrations.
    pub name: String,
    /// The kind of provider.
    pub provider_type: CusProviderType,
    /// The provider's credential, to be sealed here.
    pub credential: Option<EnteredCredential>,
    /// Or where it is: `env://NAME`.
    pub credential_ref: Option<String>,
    /// The provider's settings.
    pub config: Option<Map<String, Value>>,
    /// The model of calls that name none, up to 100 characters.
    pub default_model: Option<String>,
    /// The most that calls may cost in a month, in cents; 0 is no limit.
    pub budget_limit_cents: i64,
    /// The most tokens in a month; 0 is no limit.
    pub token_limit_month: i64,
    /// The most calls in a minute; 0 is no limit.
    pub rate_limit_rpm: i64,
}

/// Where the credential of a new integration is.
struct Kept {
    reference: String,
    sealed: Option<NewCredential>,
}

impl App {
    /// Makes an integration in status `created`.
    pub async fn create_integration(
        &self,
        context: &Context,
        new: NewIntegration,
    ) -> Result<ShownIntegration, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let tenant = context.tenant()?;
        let id = IntegrationId::generate();
        let _sealing = self.ring.sealing().await;
        let place = Place {
            tenant,
            integration: id,
            version: 1,
        };
        let kept = self.check_new(&new, place)?;
        let record = CusIntegration {
            id: id.to_string(),
            config: new.config,
            default_model: new.default_model,
            budget_limit_cents: new.budget_limit_cents,
            token_limit_month: new.token_limit_month,
            rate_limit_rpm: new.rate_limit_rpm,
            created_at: context.now.wall,
            updated_at: context.now.wall,
            created_by: Some(name_of(&context.actor)),
            ..CusIntegration::new(tenant.as_str(), new.name, new.provider_type, kept.reference)
                .map_err(|invalid| broken_rule(&invalid))?
        };
        if let Some(config) = kept_settings(&record) {
            self.check_fallback(context, &record, &config).await?;
        }
        let credential = kept.sealed.as_ref().map(CredentialMark::from);
        let mut shown = ShownIntegration { record, credential };
        let mut audit = context.audit("integration.create", target(&shown.record));
        audit.after = Some(audited(&shown));
        let store = self.store.tenant(tenant);
        shown.record = store
            .create_integration(&shown.record, kept.sealed, audit)
            .await?;
        self.refresh_integration(id).await?;
        Ok(shown)
    }

    /// Checks every rule of a new integration, and seals its credential.
    fn check_new(&self, new: &NewIntegration, place: Place<'_>) -> Result<Kept, AppError> {
        let mut rules = Rules::default();
        rules.check(check_name(&new.name))?;
        let draft = CusIntegration {
            default_model: new.default_model.clone(),
            budget_limit_cents: new.budget_limit_cents,
            token_limit_month: new.token_limit_month,
            rate_limit_rpm: new.rate_limit_rpm,
            ..CusIntegration::new("draft", "draft", new.provider_type, "")
                .map_err(|invalid| broken_rule(&invalid))?
        };
        rules.check(check_bounds(draft))?;
        let mut kept = None;
        if let Some(provider) = rules.check(provider_of(new.provider_type))? {
            rules.check(self.read_settings(provider, new.config.as_ref()))?;
            kept = rules.check(self.keep_credential(provider, new, place))?;
        }
        rules.end()?;
        kept.ok_or(AppError::NotFound("provider"))
    }

    fn keep_credential(
        &self,
        provider: &dyn Provider,
        new: &NewIntegration,
        place: Place<'_>,
    ) -> Result<Kept, AppError> {
        let invalid = |reason: &str| AppError::Invalid {
            field: "credential",
            reason: reason.to_owned(),
        };
        match (&new.credential, &new.credential_ref) {
            (Some(_), Some(_)) => Err(invalid("give `credential` or `credential_ref`, not both")),
            (Some(entered), None) => {
                let sealed = self.seal_entered(provider, entered, place)?;
                let reference = CredentialRef::Encrypted(sealed.id).to_string();
                Ok(Kept {
                    reference,
                    sealed: Some(sealed),
                })
            }
            (None, Some(text)) => Ok(Kept {
                reference: self.entered_reference(text)?,
                sealed: None,
            }),
            (None, None) if matches!(provider.describe().credential, Presence::Required) => Err(
                invalid("this provider needs one: `GET /providers` tells its fields"),
            ),
            (None, None) => Ok(Kept {
                reference: String::new(),
                sealed: None,
            }),
        }
    }
}

/// Who made it, as the record says it.
fn name_of(actor: &Actor) -> String {
    match actor {
        Actor::Key { id } => format!("key/{id}"),
        Actor::System => "system".to_owned(),
        Actor::Console => "console".to_owned(),
    }
}

/// Checks every bound of a record's fields.
pub(super) fn check_bounds(mut record: CusIntegration) -> Result<(), AppError> {
    let mut rules = Rules::default();
    while let Err(invalid) = record.validate() {
        rules.check::<()>(Err(broken_rule(&invalid)))?;
        // What was told is put right in the draft, so that the next mistake shows.
        match invalid.field() {
            "default_model" => record.default_model = None,
            "budget_limit_cents" => record.budget_limit_cents = 0,
            "token_limit_month" => record.token_limit_month = 0,
            "rate_limit_rpm" => record.rate_limit_rpm = 0,
            _ => break,
        }
    }
    rules.end()
}

/// A rule of the record that a field breaks.
pub(super) fn broken_rule(invalid: &Invalid) -> AppError {
    AppError::Invalid {
        field: invalid.field(),
        reason: invalid.to_string(),
    }
}
