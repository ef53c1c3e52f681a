//! An integration: a tenant's connection to one LLM provider.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use thiserror::Error;

use crate::clock::utc_now;
use crate::enums::{CusHealthState, CusIntegrationStatus, CusProviderType};
use crate::id::generate_uuid;
use crate::invalid::{Invalid, count, required_text, short_text};
use crate::wire;

/// A tenant's connection to one LLM provider: its credential, settings, limits, status and health.
///
/// A limit of 0 is no limit. After a field was set by hand, [`CusIntegration::validate`] says whether it may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Incoming")]
pub struct CusIntegration {
    /// The integration's id, a UUID unless somebody chose another text.
    pub id: String,
    /// The tenant it belongs to, 1 to 100 characters.
    pub tenant_id: String,
    /// What people call it, 1 to 255 characters.
    pub name: String,
    /// The kind of provider.
    pub provider_type: CusProviderType,
    /// Where the credential is (`encrypted://…`, `env://…`, `vault://…`); never the credential itself.
    pub credential_ref: String,
    /// The provider's settings.
    pub config: Option<Map<String, Value>>,
    /// Where it is in its life.
    pub status: CusIntegrationStatus,
    /// How the provider answered when it was last asked.
    pub health_state: CusHealthState,
    /// When the provider was last asked.
    pub health_checked_at: Option<Timestamp>,
    /// What was found then.
    pub health_message: Option<String>,
    /// The model of calls that name none, up to 100 characters.
    pub default_model: Option<String>,
    /// The most that calls may cost, in cents; 0 is no limit.
    pub budget_limit_cents: i64,
    /// The most tokens in a month; 0 is no limit.
    pub token_limit_month: i64,
    /// The most calls in a minute; 0 is no limit.
    pub rate_limit_rpm: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Who made it.
    pub created_by: Option<String>,
    /// When it was deleted; it stays in the books.
    pub deleted_at: Option<Timestamp>,
}

/// An integration in status `error` cannot be enabled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "the integration is in status error and stays as it is: remove the cause, and let a health check pass"
)]
pub struct EnableError;

impl CusIntegration {
    /// A new integration in status `created`, of unknown health, without limits, made now, with a new id.
    ///
    /// Fails if `tenant_id` is not 1 to 100 characters or `name` not 1 to 255.
    pub fn new(
        tenant_id: impl Into<String>,
        name: impl Into<String>,
        provider_type: CusProviderType,
        credential_ref: impl Into<String>,
    ) -> Result<Self, Invalid> {
        let now = utc_now();
        let integration = Self {
            id: generate_uuid(),
            tenant_id: tenant_id.into(),
            name: name.into(),
            provider_type,
            credential_ref: credential_ref.into(),
            config: None,
            status: CusIntegrationStatus::Created,
            health_state: CusHealthState::Unknown,
            health_checked_at: None,
            health_message: None,
            default_model: None,
            budget_limit_cents: 0,
            token_limit_month: 0,
            rate_limit_rpm: 0,
            created_at: now,
            updated_at: now,
            created_by: None,
            deleted_at: None,
        };
        integration.validate()?;
        Ok(integration)
    }

    /// Whether every field is within its bounds; the error names the first that is not.
    pub fn validate(&self) -> Result<(), Invalid> {
        required_text("tenant_id", &self.tenant_id, 100)?;
        required_text("name", &self.name, 255)?;
        short_text(
            "default_model",
            self.default_model.as_deref().unwrap_or_default(),
            100,
        )?;
        count("budget_limit_cents", self.budget_limit_cents)?;
        count("token_limit_month", self.token_limit_month)?;
        count("rate_limit_rpm", self.rate_limit_rpm)
    }

    /// Switches it on, from every status but `error`: that is an error and changes nothing.
    pub fn enable(&mut self) -> Result<(), EnableError> {
        if self.status == CusIntegrationStatus::Error {
            return Err(EnableError);
        }
        self.status = CusIntegrationStatus::Enabled;
        self.updated_at = utc_now();
        Ok(())
    }

    /// Switches it off, from every status.
    pub fn disable(&mut self) {
        self.status = CusIntegrationStatus::Disabled;
        self.updated_at = utc_now();
    }

    /// Puts it in status `error` and health `failing`, with the reason.
    pub fn mark_error(&mut self, message: impl Into<String>) {
        self.status = CusIntegrationStatus::Error;
        self.update_health(CusHealthState::Failing, Some(message.into()));
    }

    /// Keeps what a health check found. No message removes the one from before; the status stays.
    pub fn update_health(&mut self, state: CusHealthState, message: Option<String>) {
        let now = utc_now();
        self.health_state = state;
        self.health_message = message;
        self.health_checked_at = Some(now);
        self.updated_at = now;
    }

    /// Whether it takes calls: enabled and not deleted. Health does not matter.
    pub fn is_usable(&self) -> bool {
        self.status == CusIntegrationStatus::Enabled && !self.is_deleted()
    }

    /// Whether it was deleted.
    pub const fn is_deleted(&self) -> bool {
        self.deleted_at.is_some()
    }

    /// Whether its cost is limited.
    pub const fn has_budget_limit(&self) -> bool {
        self.budget_limit_cents > 0
    }

    /// Whether its tokens in a month are limited.
    pub const fn has_token_limit(&self) -> bool {
        self.token_limit_month > 0
    }

    /// Whether its calls in a minute are limited.
    pub const fn has_rate_limit(&self) -> bool {
        self.rate_limit_rpm > 0
    }
}

/// An integration as JSON brings it: defaults filled in, not yet validated.
#[derive(Deserialize)]
struct Incoming {
    #[serde(default = "generate_uuid")]
    id: String,
    tenant_id: String,
    name: String,
    provider_type: CusProviderType,
    credential_ref: String,
    #[serde(default)]
    config: Option<Map<String, Value>>,
    #[serde(default = "created")]
    status: CusIntegrationStatus,
    #[serde(default = "unknown")]
    health_state: CusHealthState,
    #[serde(default)]
    health_checked_at: Option<Timestamp>,
    #[serde(default)]
    health_message: Option<String>,
    #[serde(default)]
    default_model: Option<String>,
    #[serde(default, deserialize_with = "wire::whole")]
    budget_limit_cents: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    token_limit_month: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    rate_limit_rpm: i64,
    #[serde(default = "utc_now")]
    created_at: Timestamp,
    #[serde(default = "utc_now")]
    updated_at: Timestamp,
    #[serde(default)]
    created_by: Option<String>,
    #[serde(default)]
    deleted_at: Option<Timestamp>,
}

const fn created() -> CusIntegrationStatus {
    CusIntegrationStatus::Created
}

const fn unknown() -> CusHealthState {
    CusHealthState::Unknown
}

impl TryFrom<Incoming> for CusIntegration {
    type Error = Invalid;

    fn try_from(incoming: Incoming) -> Result<Self, Invalid> {
        let integration = Self {
            id: incoming.id,
            tenant_id: incoming.tenant_id,
            name: incoming.name,
            provider_type: incoming.provider_type,
            credential_ref: incoming.credential_ref,
            config: incoming.config,
            status: incoming.status,
            health_state: incoming.health_state,
            health_checked_at: incoming.health_checked_at,
            health_message: incoming.health_message,
            default_model: incoming.default_model,
            budget_limit_cents: incoming.budget_limit_cents,
            token_limit_month: incoming.token_limit_month,
            rate_limit_rpm: incoming.rate_limit_rpm,
            created_at: incoming.created_at,
            updated_at: incoming.updated_at,
            created_by: incoming.created_by,
            deleted_at: incoming.deleted_at,
        };
        integration.validate()?;
        Ok(integration)
    }
}

#[cfg(test)]
mod tests {
    use super::{CusIntegration, EnableError};
    use crate::{CusHealthState, CusIntegrationStatus, CusProviderType, Invalid};

    fn integration() -> CusIntegration {
        CusIntegration::new(
            "acme",
            "Production",
            CusProviderType::OpenAi,
            "encrypted://1",
        )
        .unwrap()
    }

    #[test]
    fn enabling_from_error_changes_nothing() {
        let mut integration = integration();
        integration.mark_error("401 from the provider");
        let before = integration.clone();
        assert_eq!(integration.enable(), Err(EnableError));
        assert_eq!(integration, before);
    }

    #[test]
    fn an_error_is_failing_health_with_its_reason() {
        let mut integration = integration();
        integration.mark_error("401 from the provider");
        assert_eq!(integration.status, CusIntegrationStatus::Error);
        assert_eq!(integration.health_state, CusHealthState::Failing);
        assert_eq!(
            integration.health_message.as_deref(),
            Some("401 from the provider")
        );
        assert_eq!(integration.health_checked_at, Some(integration.updated_at));
    }

    #[test]
    fn a_health_check_without_a_message_removes_the_old_one() {
        let mut integration = integration();
        integration.update_health(CusHealthState::Degraded, Some("slow".to_owned()));
        integration.update_health(CusHealthState::Healthy, None);
        assert_eq!(integration.health_message, None);
    }

    #[test]
    fn a_new_integration_is_validated() {
        let new = |tenant: &str, name: &str| {
            CusIntegration::new(tenant, name, CusProviderType::Custom, "env://KEY").map(drop)
        };
        assert_eq!(new("t", "n"), Ok(()));
        assert_eq!(
            new("", "n"),
            Err(Invalid::Empty {
                field: "tenant_id",
                max: 100
            })
        );
        assert_eq!(
            new("t", ""),
            Err(Invalid::Empty {
                field: "name",
                max: 255
            })
        );
        let long = "n".repeat(256);
        let refused = Invalid::TooLong {
            field: "name",
            length: 256,
            max: 255,
        };
        assert_eq!(new("t", &long), Err(refused));
    }

    #[test]
    fn a_field_set_past_its_bound_is_found() {
        let broken = |change: fn(&mut CusIntegration)| {
            let mut integration = integration();
            change(&mut integration);
            integration.validate().map_err(|invalid| invalid.field())
        };
        assert_eq!(broken(|i| i.tenant_id = "t".repeat(101)), Err("tenant_id"));
        assert_eq!(broken(|i| i.name.clear()), Err("name"));
        assert_eq!(
            broken(|i| i.default_model = Some("m".repeat(101))),
            Err("default_model")
        );
        assert_eq!(
            broken(|i| i.budget_limit_cents = -1),
            Err("budget_limit_cents")
        );
        assert_eq!(
            broken(|i| i.token_limit_month = 1 << 53),
            Err("token_limit_month")
        );
        assert_eq!(
            broken(|i| i.rate_limit_rpm = i64::MIN),
            Err("rate_limit_rpm")
        );
        assert_eq!(broken(|i| i.default_model = Some("m".repeat(100))), Ok(()));
    }
}
