//! `POST /api/v1/integrations`

use axum::extract::State;
use cus_models::CusProviderType;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Map, Value};
use tollgate_app::integrations::{EnteredCredential, NewIntegration};
use utoipa::ToSchema;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::Body;
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// An integration that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewIntegration)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What people call it, 1 to 255 characters, unique among the tenant's living integrations.
    name: String,
    /// The kind of provider.
    #[schema(schema_with = crate::openapi::provider_type)]
    provider_type: CusProviderType,
    /// The provider's credential, sealed on arrival and never shown again; `GET /providers` tells
    /// its members.
    #[schema(schema_with = crate::openapi::credential, required = false)]
    credential: Option<EnteredCredential>,
    /// Or where the credential is: `env://NAME`, with a prefix that the operator allows. Never the
    /// credential itself.
    #[schema(write_only)]
    credential_ref: Option<String>,
    /// The provider's settings; unknown names are refused.
    #[schema(value_type = Option<Object>)]
    config: Option<Map<String, Value>>,
    /// The model of calls that name none, up to 100 characters.
    default_model: Option<String>,
    /// The most that calls may cost in a month, in cents; 0 is no limit.
    #[serde(default)]
    budget_limit_cents: i64,
    /// The most tokens in a month; 0 is no limit.
    #[serde(default)]
    token_limit_month: i64,
    /// The most calls in a minute; 0 is no limit.
    #[serde(default)]
    rate_limit_rpm: i64,
}

/// Makes an integration in status `created`.
#[utoipa::path(post, path = "/api/v1/integrations", operation_id = "create_integration",
    request_body = Asked,
    responses((status = 201, description = "The integration", body = IntegrationBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Tagged<IntegrationBody>), Problem> {
    let new = NewIntegration {
        name: asked.name,
        provider_type: asked.provider_type,
        credential: asked.credential,
        credential_ref: asked.credential_ref,
        config: asked.config,
        default_model: asked.default_model,
        budget_limit_cents: asked.budget_limit_cents,
        token_limit_month: asked.token_limit_month,
        rate_limit_rpm: asked.rate_limit_rpm,
    };
    let shown = api.app.create_integration(&context, new).await?;
    Ok((StatusCode::CREATED, Tagged::of(shown)))
}
