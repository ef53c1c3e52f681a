//! `PUT /api/v1/prices/{provider_type}/{model}`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use tollgate_app::prices::NewPrice;
use utoipa::ToSchema;

use super::{PriceBody, RatesBody, TierBody, provider_in_path};
use crate::auth::Asker;
use crate::extract::Body;
use crate::problem::Problem;
use crate::state::Api;

/// What a model is to cost.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewPrice)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// In nano-dollars per million tokens.
    rates: RatesBody,
    /// Prices of long requests, by rising bound; none if absent.
    #[serde(default)]
    #[schema(max_items = 16, required = false)]
    tiers: Vec<TierBody>,
}

/// Sets what a model costs the tenant; of an operator that names none, everybody who has no price of their own. What was booked keeps its price.
#[utoipa::path(put, path = "/api/v1/prices/{provider_type}/{model}", operation_id = "set_price",
    params(("provider_type" = String, Path, description = "Who serves the model"),
        ("model" = String, Path, description = "The model's name; a slash in it as %2F")), request_body = Asked,
    responses((status = 200, description = "The price as it is in force", body = PriceBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Path((provider_type, model)): Path<(String, String)>,
    Body(asked): Body<Asked>,
) -> Result<Json<PriceBody>, Problem> {
    let new = NewPrice {
        provider_type: provider_in_path(&provider_type)?,
        model,
        rates: asked.rates.into(),
        tiers: asked.tiers.into_iter().map(Into::into).collect(),
    };
    Ok(Json(api.app.set_price(&context, new).await?.into()))
}
