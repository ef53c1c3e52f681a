//! `GET /api/v1/keys/{id}`

use axum::extract::State;
use tollgate_app::keys::ShownKey;
use tollgate_core::KeyId;

use super::KeyBody;
use crate::auth::Asker;
use crate::extract::Id;
use crate::precondition::Tagged;
use crate::problem::Problem;
use crate::state::Api;

/// One key, without the key itself.
#[utoipa::path(get, path = "/api/v1/keys/{id}", operation_id = "get_key",
    params(("id" = String, Path, description = "The key's id")),
    responses((status = 200, description = "The key", body = KeyBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<KeyId>,
) -> Result<Tagged<KeyBody>, Problem> {
    let key = api.app.get_key(&context, id).await?;
    Ok(Tagged::of(ShownKey::at(key, context.now.wall)))
}
