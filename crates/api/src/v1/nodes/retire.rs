//! `POST /api/v1/nodes/{id}/retire`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_app::nodes::Force;
use tollgate_core::NodeId;
use utoipa::IntoParams;

use super::NodeBody;
use crate::auth::Asker;
use crate::extract::{Id, Params, parameter};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Whether a node that gave a sign of life within the last minute is retired all the same.
    #[param(value_type = Option<bool>)]
    force: Option<String>,
}

/// Retires a node that will not return: what it had drawn of limits is free for others. A conflict
/// if it gave a sign of life within the last minute, and nobody insists.
#[utoipa::path(post, path = "/api/v1/nodes/{id}/retire", operation_id = "retire_node",
    params(("id" = String, Path, description = "The node's id"), Asked),
    responses((status = 200, description = "The node", body = NodeBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Id(id): Id<NodeId>,
    Params(asked): Params<Asked>,
) -> Result<Json<NodeBody>, Problem> {
    let force = match parameter("force", asked.force.as_deref(), "true or false")? {
        Some(true) => Force::Always,
        Some(false) | None => Force::Quiet,
    };
    let retired = api.app.retire_node(&context, id, force).await?;
    Ok(Json(NodeBody::of(&retired, api.app.node())))
}
