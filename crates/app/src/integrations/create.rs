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
use super::settings::provider_of;
use super::{CredentialMark, EnteredCredential, ShownIntegration, audited, target};
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;

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
        check_name(&new.name)?;
        let provider = provider_of(new.provider_type)?;
        self.read_settings(provider, new.config.as_ref())?;
        let id = IntegrationId::generate();
        let _sealing = self.ring.sealing().await;
        let kept = self.keep_credential(
            provider,
            &new,
            Place {
                tenant,
                integration: id,
                version: 1,
            },
        )?;
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
        record.validate().map_err(|invalid| broken_rule(&invalid))?;
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

/// A rule of the record that a field breaks.
pub(super) fn broken_rule(invalid: &Invalid) -> AppError {
    AppError::Invalid {
        field: invalid.field(),
        reason: invalid.to_string(),
    }
}
