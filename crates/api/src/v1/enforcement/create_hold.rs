//! `POST /api/v1/enforcement/hold`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_app::enforcement::{NewHold, Outcome, Taken};
use tollgate_core::hold::direct::DirectHold;
use tollgate_core::verdict::Warnings;
use tollgate_core::{CallId, IntegrationId};
use utoipa::ToSchema;

use super::{Estimating, ReasonBody, reasons, refused};
use crate::auth::Asker;
use crate::extract::{Body, parsed, parsed_option};
use crate::problem::Problem;
use crate::state::Api;

/// A call that its caller is going to make itself.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewHold)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The integration on whose limits it is held.
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
    /// The id that it will be reported with, 1 to 100 visible ASCII characters; only noted.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    call_id: Option<CallId>,
    /// Seconds after which the hold ends by itself; 600 if absent.
    #[schema(minimum = 1, maximum = 3600)]
    expires_in_seconds: Option<u32>,
}

/// A hold for a call that does not go through the gateway.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hold)]
pub(crate) struct HoldBody {
    /// Its id: name it in the report of the call, or release it.
    #[schema(format = Uuid)]
    hold_id: String,
    /// The integration on whose limits it stands.
    integration_id: String,
    /// `allowed`, or `warned` where a limit is near.
    #[schema(schema_with = crate::openapi::verdict)]
    result: &'static str,
    /// Why.
    reasons: Vec<ReasonBody>,
    held: HeldBody,
    /// The id that the call will be reported with, as it was given.
    call_id: Option<String>,
    /// When it was taken.
    created_at: Timestamp,
    /// When it ends by itself.
    expires_at: Timestamp,
}

/// What is held.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = HeldAmount)]
pub(crate) struct HeldBody {
    /// Money, in dollars.
    cost_usd: String,
    /// Tokens.
    tokens: i64,
}

impl HoldBody {
    fn of(hold: &DirectHold, warnings: Warnings) -> Self {
        let outcome = Outcome::Passes(warnings);
        Self {
            hold_id: hold.id.to_string(),
            integration_id: hold.integration_id.to_string(),
            result: outcome.verdict().as_str(),
            reasons: reasons(&outcome),
            held: HeldBody {
                cost_usd: hold.cost.to_string(),
                tokens: hold.tokens,
            },
            call_id: hold.call_id.as_ref().map(ToString::to_string),
            created_at: hold.created_at,
            expires_at: hold.expires_at,
        }
    }
}

/// Reserves what a direct call may cost and use, on every limit, and counts it as one call. The
/// report that names the hold settles it. A refusal has the status that the gateway would give.
#[utoipa::path(post, path = "/api/v1/enforcement/hold", operation_id = "create_hold",
    request_body = Asked, responses(
        (status = 201, description = "It is held", body = HoldBody),
        (status = 402, description = "The month's budget or tokens do not allow it"),
        (status = 429, description = "It may fit later: Retry-After says when"),
    ))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Json<HoldBody>), Problem> {
    let estimating = Estimating {
        cost_cents: asked.estimated_cost_cents,
        cost_usd: asked.estimated_cost_usd,
        tokens: asked.estimated_tokens,
        model: asked.model,
    };
    let new = NewHold {
        integration: asked.integration_id,
        estimate: estimating.read("")?,
        call_id: asked.call_id,
        seconds: asked.expires_in_seconds,
    };
    match api.app.create_hold(&context, new).await? {
        Taken::Held(hold, warnings) => {
            let body = HoldBody::of(&hold, warnings);
            Ok((StatusCode::CREATED, Json(body)))
        }
        Taken::Refused(refusal) => Err(refused(&refusal)),
    }
}
