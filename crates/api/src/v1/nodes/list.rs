//! `GET /api/v1/nodes`

use axum::Json;
use axum::extract::State;

use super::NodeBody;
use crate::auth::Asker;
use crate::page::ListBody;
use crate::problem::Problem;
use crate::state::Api;

/// Every node that was ever seen, the one that was seen last first; always one page.
#[utoipa::path(get, path = "/api/v1/nodes", operation_id = "list_nodes",
    responses((status = 200, description = "The nodes", body = ListBody<NodeBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<ListBody<NodeBody>>, Problem> {
    let nodes = api.app.list_nodes(&context).await?;
    let nodes = nodes.iter().map(|row| NodeBody::of(row, api.app.node()));
    Ok(Json(ListBody::whole(nodes.collect())))
}
