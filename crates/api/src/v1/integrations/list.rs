//! `GET /api/v1/integrations`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_app::integrations::IntegrationFilter;
use utoipa::IntoParams;

use super::IntegrationBody;
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only those in this status.
    #[param(schema_with = crate::openapi::integration_status)]
    status: Option<String>,
    /// Only those of this kind of provider.
    #[param(schema_with = crate::openapi::provider_type)]
    provider_type: Option<String>,
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// The tenant's living integrations, newest first.
#[utoipa::path(get, path = "/api/v1/integrations", operation_id = "list_integrations", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<IntegrationBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<IntegrationBody>>, Problem> {
    let statuses = "one of created, enabled, disabled, error";
    let types = "one of openai, anthropic, azure_openai, bedrock, custom";
    let filter = IntegrationFilter {
        status: parameter("status", asked.status.as_deref(), statuses)?,
        provider_type: parameter("provider_type", asked.provider_type.as_deref(), types)?,
        id: None,
    };
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.list_integrations(&context, ask, filter).await?;
    Ok(Json(ListBody::of(page, IntegrationBody::from)))
}
