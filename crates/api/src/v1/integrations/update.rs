//! `PATCH /api/v1/integrations/{id}`

use axum::extract::State;
use serde::Deserialize;
use serde_json::{Map, Value};
use tollgate_app::integrations::{Change, EnteredCredential, IntegrationPatch};
use tollgate_core::IntegrationId;
use utoipa::ToSchema;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::{Body, Id, present};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// A merge patch (RFC 7396): what is absent stays, null removes.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = IntegrationPatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What people call it, 1 to 255 characters.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false)]
    name: Option<String>,
    /// A merge patch of the settings. Another `base_url` or `region` needs `credential` again.
    #[serde(default)]
    #[schema(value_type = Option<Object>)]
    config: Change<Map<String, Value>>,
    /// The model of calls that name none, up to 100 characters.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    default_model: Change<String>,
    /// The most that calls may cost in a month, in cents; 0 or null is no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    budget_limit_cents: Change<i64>,
    /// The most tokens in a month; 0 or null is no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    token_limit_month: Change<i64>,
    /// The most calls in a minute; 0 or null is no limit.
    #[serde(default)]
    #[schema(value_type = Option<i64>)]
    rate_limit_rpm: Change<i64>,
    /// Another credential, or the same again; sealed on arrival.
    #[serde(default, deserialize_with = "present")]
    #[schema(schema_with = crate::openapi::credential, required = false)]
    credential: Option<EnteredCredential>,
    /// Another reference, or the same again, where the credential is a reference.
    #[serde(default, deserialize_with = "present")]
    #[schema(value_type = String, required = false, write_only)]
    credential_ref: Option<String>,
}

/// Changes an integration.
#[utoipa::path(patch, path = "/api/v1/integrations/{id}", operation_id = "update_integration",
    params(("id" = String, Path, description = "The integration's id")), request_body = Asked,
    responses((status = 200, description = "The integration", body = IntegrationBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
    Body(asked): Body<Asked>,
) -> Result<Tagged<IntegrationBody>, Problem> {
    let patch = IntegrationPatch {
        name: asked.name,
        config: asked.config,
        default_model: asked.default_model,
        budget_limit_cents: asked.budget_limit_cents,
        token_limit_month: asked.token_limit_month,
        rate_limit_rpm: asked.rate_limit_rpm,
        credential: asked.credential,
        credential_ref: asked.credential_ref,
    };
    Ok(Tagged::of(
        api.app.update_integration(&context, id, patch).await?,
    ))
}
