//! `POST /api/v1/enforcement/batch`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use tollgate_app::enforcement::Question;
use tollgate_core::IntegrationId;
use utoipa::ToSchema;

use super::{DecisionBody, Estimating};
use crate::auth::Asker;
use crate::extract::{Body, parsed};
use crate::problem::Problem;
use crate::state::Api;

const QUESTIONS_MAX: usize = 100;

/// Calls that somebody thinks of making, one after the other.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EnforcementQuestions)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The calls, at most 100.
    #[schema(max_items = 100)]
    requests: Vec<AskedOne>,
}

/// A call of a batch.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = EnforcementBatchQuestion)]
#[serde(deny_unknown_fields)]
pub(crate) struct AskedOne {
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

/// The decisions, in the order of the requests.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = EnforcementDecisions)]
pub(crate) struct DecisionsBody {
    /// A decision for each request, in their order.
    data: Vec<DecisionBody>,
    /// How many there are.
    total: usize,
}

/// Would these calls pass, one after the other? Each is decided as if those before it that pass
/// were in flight; nothing is held or counted.
#[utoipa::path(post, path = "/api/v1/enforcement/batch", operation_id = "check_calls",
    request_body = Asked, responses((status = 200, description = "The decisions", body = DecisionsBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<Json<DecisionsBody>, Problem> {
    if asked.requests.len() > QUESTIONS_MAX {
        let detail = format!("give at most {QUESTIONS_MAX} requests");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::at(status, "invalid", "/requests", detail));
    }
    let mut questions = Vec::with_capacity(asked.requests.len());
    for (index, one) in asked.requests.into_iter().enumerate() {
        let estimating = Estimating {
            cost_cents: one.estimated_cost_cents,
            cost_usd: one.estimated_cost_usd,
            tokens: one.estimated_tokens,
            model: one.model,
        };
        questions.push(Question {
            integration: one.integration_id,
            estimate: estimating.read(&format!("/requests/{index}"))?,
        });
    }
    let checks = api.app.check_batch(&context, questions).await?;
    let data: Vec<_> = checks.iter().map(DecisionBody::of).collect();
    let total = data.len();
    Ok(Json(DecisionsBody { data, total }))
}
