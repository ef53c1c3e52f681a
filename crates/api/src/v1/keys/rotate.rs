//! `POST /api/v1/keys/{id}/rotate`: the other answer that has a key in it.

use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Deserializer};
use tollgate_app::keys::{Expiry, Rotation};
use tollgate_core::KeyId;
use utoipa::ToSchema;

use super::create::CreatedKeyBody;
use crate::auth::Asker;
use crate::extract::{Body, Id, time_option};
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// How a key is to be replaced.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = KeyRotation)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// How long the old key works on: 0 to 2,592,000 seconds (30 days), 86,400 (a day) if absent.
    #[schema(minimum = 0, maximum = 2_592_000, default = 86_400)]
    overlap_seconds: Option<i64>,
    /// When the new key stops working; null: never. If absent, it lives as long as the old one was to.
    #[serde(default, deserialize_with = "said")]
    #[schema(value_type = Option<String>, format = DateTime)]
    expires_at: Expiry,
}

/// Puts a new key in the place of one that works; the old one works on for the overlap.
#[utoipa::path(post, path = "/api/v1/keys/{id}/rotate", operation_id = "rotate_key",
    params(("id" = String, Path, description = "The id of the key that is to be replaced")),
    request_body = Asked,
    responses((status = 201, description = "The new key, shown once", body = CreatedKeyBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<KeyId>,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Tagged<CreatedKeyBody>), Problem> {
    let rotation = Rotation {
        overlap_seconds: asked.overlap_seconds,
        expiry: asked.expires_at,
    };
    let created = api.app.rotate_key(&context, id, rotation).await?;
    Ok((
        StatusCode::CREATED,
        CreatedKeyBody::tagged(created, context.now.wall),
    ))
}

/// Tells what is null from what is absent.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Expiry, D::Error> {
    Ok(time_option(deserializer)?.map_or(Expiry::Never, Expiry::At))
}
