//! `GET /api/v1/prices/unknown`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::prices::UnpricedModel;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::page::ListBody;
use crate::problem::Problem;
use crate::state::Api;

/// A model that was called and has no price.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UnpricedModel)]
pub(crate) struct UnpricedBody {
    /// At which provider.
    #[schema(schema_with = crate::openapi::provider_type)]
    provider_type: &'static str,
    /// The model.
    model: String,
    /// Through which integration.
    #[schema(format = Uuid)]
    integration_id: String,
    /// Calls that were booked at no cost, since no budget stood against it.
    calls: i64,
    /// Calls that were refused because of it.
    refused: i64,
    /// Input tokens of the booked calls.
    tokens_in: i64,
    /// Output tokens of the booked calls.
    tokens_out: i64,
    /// The time of the first of them.
    first_seen_at: Timestamp,
    /// The time of the last of them.
    last_seen_at: Timestamp,
}

impl From<UnpricedModel> for UnpricedBody {
    fn from(one: UnpricedModel) -> Self {
        Self {
            provider_type: one.provider_type.as_str(),
            integration_id: one.integration_id.to_string(),
            model: one.model,
            calls: one.calls,
            refused: one.refused,
            tokens_in: one.tokens_in,
            tokens_out: one.tokens_out,
            first_seen_at: one.first_seen_at,
            last_seen_at: one.last_seen_at,
        }
    }
}

/// The models of the tenant's calls that have no price, the last seen first, all on one page of at most 10,000.
#[utoipa::path(get, path = "/api/v1/prices/unknown", operation_id = "list_unknown_prices",
    responses((status = 200, description = "The models", body = ListBody<UnpricedBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<ListBody<UnpricedBody>>, Problem> {
    let models = api.app.unpriced_models(&context).await?;
    Ok(Json(ListBody::whole(
        models.into_iter().map(UnpricedBody::from).collect(),
    )))
}
