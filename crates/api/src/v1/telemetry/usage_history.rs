//! `GET /api/v1/telemetry/usage-history`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tollgate_app::usage::{UsageFilter, UsageRow};
use tollgate_core::TokenClass;
use tollgate_core::hold::direct::HoldOutcome;
use utoipa::{IntoParams, ToSchema};

use crate::auth::Asker;
use crate::extract::{Params, from_parameter, parameter, to_parameter};
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only calls from this time on, or from the beginning of this day in UTC.
    from: Option<String>,
    /// Only calls before this time, or until the end of this day in UTC.
    to: Option<String>,
    /// Only the calls of this integration.
    integration_id: Option<String>,
    /// Only the call with this id.
    call_id: Option<String>,
    /// Only the calls of this session.
    session_id: Option<String>,
    /// Only the calls of this agent.
    agent_id: Option<String>,
    /// Only calls about which this was decided.
    #[param(schema_with = crate::openapi::policy_result)]
    policy_result: Option<String>,
    /// Only calls that came to be known this way.
    #[param(schema_with = crate::openapi::usage_origin)]
    origin: Option<String>,
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One call: a row of the ledger.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub(crate) struct UsageBody {
    /// The row's id.
    pub(super) id: String,
    /// The tenant that called.
    pub(super) tenant_id: String,
    /// The integration that the call went through.
    pub(super) integration_id: String,
    /// The caller's session.
    pub(super) session_id: Option<String>,
    /// The caller's agent.
    pub(super) agent_id: Option<String>,
    /// The call's own id.
    pub(super) call_id: String,
    /// The provider.
    pub(super) provider: String,
    /// The model.
    pub(super) model: String,
    /// Tokens sent.
    pub(super) tokens_in: i64,
    /// Tokens received.
    pub(super) tokens_out: i64,
    /// The cents that it was posted with: rows add up to the exact total.
    pub(super) cost_cents: i64,
    /// What it cost, to the nano-dollar.
    pub(super) cost_usd: String,
    /// What its caller thinks it cost, where it was reported with a figure; never charged.
    pub(super) client_cost_usd: Option<String>,
    /// How it came to be known: through the gateway, or by its caller's report.
    #[schema(schema_with = crate::openapi::usage_origin)]
    pub(super) origin: &'static str,
    /// The hold that its report named.
    #[schema(format = Uuid)]
    pub(super) hold_id: Option<String>,
    /// What became of that hold: `settled`, or why not.
    #[schema(schema_with = crate::openapi::hold_outcome)]
    pub(super) hold_outcome: Option<&'static str>,
    /// Where the token counts come from.
    #[schema(schema_with = crate::openapi::usage_source)]
    pub(super) usage_source: &'static str,
    /// Tokens by class; classes without tokens are left out.
    #[schema(value_type = std::collections::BTreeMap<String, u64>)]
    pub(super) tokens_by_class: Map<String, Value>,
    /// The version of the prices that it was charged at.
    pub(super) price_version: Option<String>,
    /// How long it took, in milliseconds.
    pub(super) latency_ms: Option<i64>,
    /// What was decided about it.
    #[schema(schema_with = crate::openapi::policy_result)]
    pub(super) policy_result: &'static str,
    /// What went wrong, as a stable code.
    pub(super) error_code: Option<String>,
    /// What went wrong, in words.
    pub(super) error_message: Option<String>,
    /// What else is known of it.
    #[schema(value_type = Option<Object>)]
    pub(super) extra_data: Option<Map<String, Value>>,
    /// When it was admitted or refused.
    pub(super) created_at: Timestamp,
    /// When it was written into the ledger.
    pub(super) settled_at: Timestamp,
}

impl From<UsageRow> for UsageBody {
    fn from(row: UsageRow) -> Self {
        let usage = row.usage;
        let classes = TokenClass::ALL
            .into_iter()
            .map(|class| (class, row.tokens.get(class)));
        let used = classes.filter(|(_, tokens)| *tokens > 0);
        Self {
            id: usage.id,
            tenant_id: usage.tenant_id,
            integration_id: usage.integration_id,
            session_id: usage.session_id,
            agent_id: usage.agent_id,
            call_id: usage.call_id,
            provider: usage.provider,
            model: usage.model,
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cost_cents: usage.cost_cents,
            cost_usd: row.cost.to_string(),
            client_cost_usd: row.client_cost.map(|cost| cost.to_string()),
            origin: row.origin.as_str(),
            hold_id: row.hold.map(|hold| hold.to_string()),
            hold_outcome: row.hold_outcome.map(HoldOutcome::as_str),
            usage_source: row.source.as_str(),
            tokens_by_class: used
                .map(|(class, n)| (class.as_str().to_owned(), n.into()))
                .collect(),
            price_version: row.price.map(|price| price.version.to_string()),
            latency_ms: usage.latency_ms,
            policy_result: usage.policy_result.as_str(),
            error_code: usage.error_code,
            error_message: usage.error_message,
            extra_data: usage.extra_data,
            created_at: usage.created_at,
            settled_at: row.settled_at,
        }
    }
}

/// The tenant's calls, newest first.
#[utoipa::path(get, path = "/api/v1/telemetry/usage-history", operation_id = "list_usage_history",
    params(Asked), responses((status = 200, description = "A page", body = ListBody<UsageBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<UsageBody>>, Problem> {
    let id = "1 to 100 visible ASCII characters";
    let results = "one of allowed, warned, blocked";
    let filter = UsageFilter {
        from: from_parameter(asked.from.as_deref())?,
        to: to_parameter(asked.to.as_deref())?,
        integration: parameter("integration_id", asked.integration_id.as_deref(), "a UUID")?,
        call: parameter("call_id", asked.call_id.as_deref(), id)?,
        session: parameter("session_id", asked.session_id.as_deref(), id)?,
        agent: parameter("agent_id", asked.agent_id.as_deref(), id)?,
        policy_result: parameter("policy_result", asked.policy_result.as_deref(), results)?,
        origin: parameter("origin", asked.origin.as_deref(), "gateway or telemetry")?,
    };
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.usage_history(&context, ask, filter).await?;
    Ok(Json(ListBody::of(page, UsageBody::from)))
}
