//! `POST /api/v1/enforcement/check`

use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use tollgate_app::enforcement::Question;
use tollgate_core::IntegrationId;
use utoipa::ToSchema;

use super::{DecisionBody, Estimating};
use crate::auth::Asker;
use crate::extract::{Body, parsed};
use crate::problem::Problem;
use crate::state::Api;

/// A call that somebody thinks of making.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EnforcementQuestion)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The integration that it would go through; one that the tenant does not have is answered
    /// with `hard_blocked`.
    #[serde(deserialize_with = "parsed")]
    #[schema(value_type = String, format = Uuid)]
    integration_id: IntegrationId,
    /// The most that it will cost, in cents; 0 if absent.
    estimated_cost_cents: Option<u64>,
    /// The same in dollars, as a decimal text: give one of the two.
    estimated_cost_usd: Option<String>,
    /// The most tokens that it will use, input and output together; 0 if absent.
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    estimated_tokens: Option<u64>,
    /// Its model, 1 to 100 characters: without a cost its tokens are priced at the model's dearest rate.
    #[schema(min_length = 1, max_length = 100)]
    model: Option<String>,
}

/// Would this call pass? The decision that the gateway would take now; nothing is held or counted.
#[utoipa::path(post, path = "/api/v1/enforcement/check", operation_id = "check_call",
    request_body = Asked, responses((status = 200, description = "The decision", body = DecisionBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<Json<DecisionBody>, Problem> {
    let estimating = Estimating {
        cost_cents: asked.estimated_cost_cents,
        cost_usd: asked.estimated_cost_usd,
        tokens: asked.estimated_tokens,
        model: asked.model,
    };
    let question = Question {
        integration: asked.integration_id,
        estimate: estimating.read("")?,
    };
    let check = api.app.check(&context, question).await?;
    Ok(Json(DecisionBody::of(&check)))
}
