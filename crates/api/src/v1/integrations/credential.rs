//! `POST /api/v1/integrations/{id}/credential`

use axum::extract::State;
use serde::Deserialize;
use tollgate_app::integrations::{EnteredCredential, ReplacementCredential, Unproven};
use tollgate_core::IntegrationId;
use utoipa::ToSchema;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::{Body, Id};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// Another credential for an integration.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = ReplacementCredential)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    #[schema(schema_with = crate::openapi::credential)]
    credential: Option<EnteredCredential>,
    /// Where the credential is, `env://NAME`; only where the present one is a reference.
    credential_ref: Option<String>,
    /// Whether to replace it although the provider could not be asked whether it takes it; false.
    #[serde(default)]
    unproven: bool,
}

/// Replaces an integration's credential, after its provider was asked whether it takes the new one.
/// One that is refused changes nothing (422, `credential_refused`); where the provider cannot be
/// asked nothing changes either (409, `credential_unproven`), unless `unproven` says so.
#[utoipa::path(post, path = "/api/v1/integrations/{id}/credential", operation_id = "replace_credential",
    params(("id" = String, Path, description = "The integration's id")),
    request_body = Asked,
    responses((status = 200, description = "The integration", body = IntegrationBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<IntegrationId>,
    Body(asked): Body<Asked>,
) -> Result<Tagged<IntegrationBody>, Problem> {
    let replacement = ReplacementCredential {
        credential: asked.credential,
        credential_ref: asked.credential_ref,
        unproven: if asked.unproven {
            Unproven::Accept
        } else {
            Unproven::Refuse
        },
    };
    let replaced = api.app.replace_credential(&context, id, replacement);
    Ok(Tagged::of(replaced.await?))
}
