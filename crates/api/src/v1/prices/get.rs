//! `GET /api/v1/prices/{provider_type}/{model}`

use axum::Json;
use axum::extract::{Path, State};
use serde::Deserialize;
use tollgate_core::IntegrationId;
use utoipa::IntoParams;

use super::{PriceBody, provider_in_path};
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::problem::Problem;
use crate::state::Api;

/// Through what the model is called.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Through this integration: its aliases and its own prices count, too.
    #[param(value_type = Option<String>, format = Uuid)]
    integration_id: Option<String>,
}

/// What a model costs now, who says so, and how its name led there.
#[utoipa::path(get, path = "/api/v1/prices/{provider_type}/{model}", operation_id = "get_price",
    params(("provider_type" = String, Path, description = "Who serves the model"),
        ("model" = String, Path, description = "The model's name; a slash in it as %2F"), Asked),
    responses((status = 200, description = "The price", body = PriceBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Path((provider_type, model)): Path<(String, String)>,
    Params(asked): Params<Asked>,
) -> Result<Json<PriceBody>, Problem> {
    let asked: Option<IntegrationId> = parameter(
        "integration_id",
        asked.integration_id.as_deref(),
        "the id of an integration",
    )?;
    let model = (provider_in_path(&provider_type)?, model.as_str());
    let price = api.app.get_price(&context, model, asked).await?;
    Ok(Json(price.into()))
}
