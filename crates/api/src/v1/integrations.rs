//! Integrations, as the control plane shows them: without their credential, and without where it is.

pub(crate) mod create;
pub(crate) mod credential;
pub(crate) mod delete;
pub(crate) mod disable;
pub(crate) mod enable;
pub(crate) mod get;
pub(crate) mod health;
pub(crate) mod health_summary;
pub(crate) mod limits;
pub(crate) mod list;
pub(crate) mod test;
pub(crate) mod update;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};
use tollgate_app::integrations::ShownIntegration;
use utoipa::ToSchema;

/// A tenant's connection to one provider.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Integration)]
pub(crate) struct IntegrationBody {
    /// Its id.
    #[schema(format = Uuid)]
    id: String,
    /// The tenant it belongs to.
    tenant_id: String,
    /// What people call it.
    name: String,
    /// The kind of provider.
    #[schema(schema_with = crate::openapi::provider_type)]
    provider_type: &'static str,
    /// The provider's settings.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
    /// Where it is in its life.
    #[schema(schema_with = crate::openapi::integration_status)]
    status: &'static str,
    /// How the provider answered when it was last asked.
    #[schema(schema_with = crate::openapi::health_state)]
    health_state: &'static str,
    /// When the provider was last asked.
    health_checked_at: Option<Timestamp>,
    /// What was found then.
    health_message: Option<String>,
    /// The model of calls that name none.
    default_model: Option<String>,
    /// The most that calls may cost in a month, in cents; 0 is no limit.
    budget_limit_cents: i64,
    /// The most tokens in a month; 0 is no limit.
    token_limit_month: i64,
    /// The most calls in a minute; 0 is no limit.
    rate_limit_rpm: i64,
    /// When it was made.
    created_at: Timestamp,
    /// When it last changed.
    updated_at: Timestamp,
    /// Who made it.
    created_by: Option<String>,
    /// When it was deleted.
    deleted_at: Option<Timestamp>,
    /// How its sealed credential is recognized; null where it is a reference, or has none.
    credential: Option<CredentialBody>,
}

/// How a sealed credential is recognized.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = CredentialMark)]
pub(crate) struct CredentialBody {
    /// Sixteen hexadecimal digits that tell two credentials apart.
    fingerprint: String,
    /// The last four characters; empty for a very short secret.
    last4: String,
}

impl From<ShownIntegration> for IntegrationBody {
    fn from(shown: ShownIntegration) -> Self {
        let record = shown.record;
        let credential = shown.credential;
        Self {
            id: record.id,
            tenant_id: record.tenant_id,
            name: record.name,
            provider_type: record.provider_type.as_str(),
            config: record.config,
            status: record.status.as_str(),
            health_state: record.health_state.as_str(),
            health_checked_at: record.health_checked_at,
            health_message: record.health_message,
            default_model: record.default_model,
            budget_limit_cents: record.budget_limit_cents,
            token_limit_month: record.token_limit_month,
            rate_limit_rpm: record.rate_limit_rpm,
            created_at: record.created_at,
            updated_at: record.updated_at,
            created_by: record.created_by,
            deleted_at: record.deleted_at,
            credential: credential.map(|mark| CredentialBody {
                fingerprint: mark.fingerprint,
                last4: mark.last4,
            }),
        }
    }
}
