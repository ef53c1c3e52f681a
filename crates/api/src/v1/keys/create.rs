//! `POST /api/v1/keys`: the only answer that has a key in it.

use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_app::keys::{CreatedKey, NewKey, ShownKey};
use tollgate_app::revision::Revised;
use tollgate_core::IntegrationId;
use tollgate_core::role::Role;
use utoipa::ToSchema;

use super::KeyBody;
use crate::auth::Asker;
use crate::extract::{Body, parsed, parsed_option, time_option};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// A key that is to be made.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewKey)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// What people call it, 1 to 255 characters.
    name: String,
    /// What it may do. Only an operator that names no tenant makes operator keys.
    #[serde(deserialize_with = "parsed")]
    #[schema(schema_with = crate::openapi::role)]
    role: Role,
    /// The only integration that it may use, if it is to be bound to one.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, format = Uuid)]
    integration_id: Option<IntegrationId>,
    /// When it stops working, if ever.
    #[serde(default, deserialize_with = "time_option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
}

/// A new key: keep `key` now, nobody can ask for it again.
#[derive(Serialize, ToSchema)]
#[schema(as = CreatedKey)]
pub(crate) struct CreatedKeyBody {
    #[serde(flatten)]
    kept: KeyBody,
    /// The key itself, shown only here.
    key: String,
}

impl CreatedKeyBody {
    /// The one answer that shows a key.
    pub(super) fn tagged(created: CreatedKey, now: Timestamp) -> Tagged<Self> {
        let shown = ShownKey::at(created.key, now);
        let revision = shown.revision();
        let body = Self {
            kept: shown.into(),
            key: created.secret.reveal(),
        };
        Tagged::new(revision, body)
    }
}

/// Makes a key.
#[utoipa::path(post, path = "/api/v1/keys", operation_id = "create_key", request_body = Asked,
    responses((status = 201, description = "The key, shown once", body = CreatedKeyBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Tagged<CreatedKeyBody>), Problem> {
    let new = NewKey {
        name: asked.name,
        role: asked.role,
        integration_id: asked.integration_id,
        expires_at: asked.expires_at,
    };
    let created = api.app.create_key(&context, new).await?;
    Ok((
        StatusCode::CREATED,
        CreatedKeyBody::tagged(created, context.now.wall),
    ))
}
