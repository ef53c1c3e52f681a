//! `GET /api/v1/prices`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_app::prices::PriceFilter;
use utoipa::IntoParams;

use super::PriceBody;
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

/// Which prices, and which page of them.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only those at this kind of provider.
    #[param(schema_with = crate::openapi::provider_type)]
    provider_type: Option<String>,
    /// Only this model.
    model: Option<String>,
    /// Only models with this text in their name.
    search: Option<String>,
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// What models cost the tenant, by provider and name; of an operator that names none, what tenants without prices of their own pay.
#[utoipa::path(get, path = "/api/v1/prices", operation_id = "list_prices", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<PriceBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<PriceBody>>, Problem> {
    let types = "one of openai, anthropic, azure_openai, bedrock, custom";
    let filter = PriceFilter {
        provider_type: parameter("provider_type", asked.provider_type.as_deref(), types)?,
        model: asked.model,
        search: asked.search,
    };
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.list_prices(&context, ask, filter).await?;
    Ok(Json(ListBody::of(page, PriceBody::from)))
}
