//! A usage record as it comes in, and what is answered about it.

use cus_models::{CusPolicyResult, CusProviderType};
use jiff::Timestamp;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use tollgate_app::Context;
use tollgate_app::usage::report::{
    NewReport, Rejection, Reported, Standing, UsageReport, flaw, tokens,
};
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::usage::UsageSource;
use tollgate_core::{AgentId, CallId, HoldId, IntegrationId, Nanos, SessionId, TokenUsage};
use utoipa::ToSchema;

use crate::extract::{parsed, parsed_option, time_option};
use crate::mistakes;
use crate::problem::Problem;

/// One call that was made elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewUsage)]
#[serde(deny_unknown_fields)]
pub(crate) struct RecordBody {
    /// The integration whose credential the call used; a key that is bound to one may leave it out.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, format = Uuid)]
    integration_id: Option<IntegrationId>,
    /// The call's own id, 1 to 100 visible ASCII characters: it is booked once, however often it is reported.
    #[serde(deserialize_with = "parsed")]
    #[schema(value_type = String, min_length = 1, max_length = 100)]
    call_id: CallId,
    /// The model, as its provider calls it.
    #[schema(min_length = 1, max_length = 100)]
    model: String,
    /// All input tokens, those from caches included.
    #[serde(deserialize_with = "count")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    tokens_in: u64,
    /// All output tokens, those for reasoning included.
    #[serde(deserialize_with = "count")]
    #[schema(maximum = 9_007_199_254_740_991_u64)]
    tokens_out: u64,
    /// The same by class. Classes are disjoint: `input` and `output` are what is in no other, and all together are
    /// `tokens_in` and `tokens_out`.
    #[schema(value_type = Option<std::collections::BTreeMap<String, u64>>)]
    tokens_by_class: Option<TokenUsage>,
    /// Where the counts come from; `provider` if absent.
    #[serde(default, deserialize_with = "source")]
    #[schema(schema_with = crate::openapi::usage_source)]
    usage_source: Option<UsageSource>,
    /// The caller's session.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    session_id: Option<SessionId>,
    /// The caller's agent.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, min_length = 1, max_length = 100)]
    agent_id: Option<AgentId>,
    /// The provider; if given it must be the integration's.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(schema_with = crate::openapi::provider_type)]
    provider: Option<CusProviderType>,
    /// What the caller thinks it cost, in whole cents: kept beside ours, never charged. Give this or `cost_usd`.
    #[schema(minimum = 0)]
    cost_cents: Option<i64>,
    /// What the caller thinks it cost, as a decimal text of dollars with at most nine places.
    cost_usd: Option<String>,
    /// How long it took, in milliseconds.
    #[schema(minimum = 0)]
    latency_ms: Option<i64>,
    /// What was decided about it; `allowed` if absent.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(schema_with = crate::openapi::policy_result)]
    policy_result: Option<CusPolicyResult>,
    /// What went wrong, as a stable code.
    #[schema(min_length = 1, max_length = 50)]
    error_code: Option<String>,
    /// What went wrong, in words.
    #[schema(max_length = 2_000)]
    error_message: Option<String>,
    /// What else is to be kept with it, at most 8,192 bytes.
    #[schema(value_type = Option<Object>)]
    extra_data: Option<Map<String, Value>>,
    /// The hold that was taken for it: the first report in time that names it settles it. The call is booked in any case.
    #[serde(default, deserialize_with = "parsed_option")]
    #[schema(value_type = Option<String>, format = Uuid)]
    hold_id: Option<HoldId>,
    /// When it was made: decides its day and its month. At most 35 days ago and 5 minutes ahead; if absent, when its hold
    /// was taken, else now.
    #[serde(default, deserialize_with = "time_option")]
    #[schema(value_type = Option<String>, format = DateTime)]
    created_at: Option<Timestamp>,
}

/// What became of a record.
#[derive(Debug, Default, Serialize, ToSchema)]
#[schema(as = UsageResult)]
pub(crate) struct ResultBody {
    /// Its place in the batch, from 0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) index: Option<usize>,
    /// The call's own id, where it could be read.
    call_id: Option<String>,
    /// What became of it.
    #[schema(schema_with = crate::openapi::report_result)]
    pub(crate) result: &'static str,
    /// The id of the call's row in the ledger.
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<String>,
    /// What the row is charged at, to the nano-dollar.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_usd: Option<String>,
    /// The cents that the row bears.
    #[serde(skip_serializing_if = "Option::is_none")]
    cost_cents: Option<i64>,
    /// The version of the prices that the row is charged at; null with an `id` means that its model has no price, and costs 0.
    price_version: Option<String>,
    /// When the call counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    created_at: Option<Timestamp>,
    /// What became of the hold that it named: `settled`, or why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = crate::openapi::hold_outcome)]
    hold: Option<&'static str>,
    /// Why it was not booked, as a stable code.
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
    /// Why it was not booked, in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
    /// The place that is wrong, as a JSON pointer into the body.
    #[serde(skip_serializing_if = "Option::is_none")]
    pointer: Option<String>,
}

/// Why a record is not in the ledger as it was sent: a place in the record, and what to say about it.
#[derive(Debug)]
pub(crate) struct Complaint {
    pub(crate) code: &'static str,
    pub(crate) pointer: String,
    pub(crate) detail: String,
}

/// Reads one record for itself.
pub(crate) fn read(raw: &RawValue, context: &Context) -> Result<NewReport, Complaint> {
    let record: RecordBody = mistakes::read(raw.get().as_bytes()).map_err(|problem| {
        let (pointer, detail) = problem.place();
        Complaint {
            code: "invalid",
            pointer,
            detail,
        }
    })?;
    record
        .told(context)
        .map_err(|rejection| Complaint::of(&rejection))
}

/// The call id of a record that could not be read as a whole.
pub(crate) fn call_id_of(raw: &RawValue) -> Option<String> {
    #[derive(Deserialize)]
    struct Named {
        call_id: CallId,
    }
    let named: Named = serde_json::from_str(raw.get()).ok()?;
    Some(named.call_id.into())
}

impl RecordBody {
    fn told(self, context: &Context) -> Result<NewReport, Rejection> {
        let missing = || {
            flaw(
                "integration_id",
                "say which integration's credential it used",
            )
        };
        let integration_id = self
            .integration_id
            .or(context.bound_to)
            .ok_or_else(missing)?;
        let client_cost = client_cost(self.cost_cents, self.cost_usd.as_deref())?;
        let tokens = tokens(self.tokens_in, self.tokens_out, self.tokens_by_class)?;
        let extra = self
            .extra_data
            .map(|extra| Value::Object(extra).to_string().into_boxed_str());
        let to_micros =
            |at: Timestamp| Timestamp::from_microsecond(at.as_microsecond()).unwrap_or(at);
        let report = UsageReport {
            integration_id,
            call_id: self.call_id,
            model: self.model.into(),
            tokens,
            source: self.usage_source.unwrap_or(UsageSource::Provider),
            session_id: self.session_id,
            agent_id: self.agent_id,
            client_cost,
            latency_ms: self.latency_ms,
            policy_result: self.policy_result.unwrap_or(CusPolicyResult::Allowed),
            error_code: self.error_code,
            error_message: self.error_message,
            extra,
            hold_id: self.hold_id,
            created_at: self.created_at.map(to_micros),
        };
        Ok(NewReport {
            report,
            provider: self.provider,
        })
    }
}

/// The caller's own figure, in cents or in dollars.
fn client_cost(cents: Option<i64>, usd: Option<&str>) -> Result<Option<Nanos>, Rejection> {
    match (cents, usd) {
        (None, None) => Ok(None),
        (Some(cents), None) if cents >= 0 => {
            let cost = Nanos::from_cents(cents);
            Ok(Some(
                cost.map_err(|error| flaw("cost_cents", error.to_string()))?,
            ))
        }
        (Some(_), None) => Err(flaw("cost_cents", "give 0 or more").into()),
        (None, Some(usd)) => {
            let cost = usd.parse::<Nanos>();
            Ok(Some(cost.map_err(|_unfit| {
                flaw("cost_usd", "give a decimal text of dollars, as \"0.0125\"")
            })?))
        }
        (Some(_), Some(_)) => {
            Err(flaw("cost_cents", "give cost_cents or cost_usd, not both").into())
        }
    }
}

impl Complaint {
    /// What is said when the use case has lost count, which it does not.
    pub(crate) fn without_fate() -> Self {
        Self {
            code: "invalid",
            pointer: String::new(),
            detail: "it was not booked: report it again".to_owned(),
        }
    }

    fn of(rejection: &Rejection) -> Self {
        Self {
            code: rejection.code,
            pointer: rejection
                .field
                .map(|field| format!("/{field}"))
                .unwrap_or_default(),
            detail: rejection.reason.clone(),
        }
    }

    /// What is said of a call that is in the ledger with other content.
    fn of_conflict(row: Option<&Standing>) -> Self {
        use tollgate_core::usage::Origin;
        let detail = match row.map(|row| row.origin) {
            Some(Origin::Telemetry) => {
                "a call with this id was reported before with other content, and the first report stands: \
                 give every call an id of its own, and repeat a report unchanged"
            }
            Some(Origin::Gateway) | None => {
                "the call with this id went through the gateway, which books it: do not report it"
            }
        };
        Self {
            code: "call_id_conflict",
            pointer: "/call_id".to_owned(),
            detail: detail.to_owned(),
        }
    }
}

impl ResultBody {
    /// What became of the record of this call.
    pub(crate) fn of(call_id: Option<String>, reported: Result<Reported, Complaint>) -> Self {
        let named = Self {
            call_id,
            ..Self::default()
        };
        match reported {
            Ok(Reported::Accepted(row)) => named.with_row("accepted", Some(row)),
            Ok(Reported::Duplicate(row)) => named.with_row("duplicate", row),
            Ok(Reported::Conflict(row)) => {
                let complaint = Complaint::of_conflict(row.as_ref());
                named.with_row("conflict", row).with(complaint)
            }
            Ok(Reported::Rejected(rejection)) => named
                .with_row("rejected", None)
                .with(Complaint::of(&rejection)),
            Err(complaint) => named.with_row("rejected", None).with(complaint),
        }
    }

    fn with_row(self, result: &'static str, row: Option<Standing>) -> Self {
        let Some(row) = row else {
            return Self { result, ..self };
        };
        Self {
            result,
            id: Some(row.id.to_string()),
            cost_usd: Some(row.cost.to_string()),
            cost_cents: Some(row.cost_cents),
            price_version: row.price_version.as_deref().map(str::to_owned),
            created_at: Some(row.created_at),
            hold: row.hold.map(HoldOutcome::as_str),
            ..self
        }
    }

    fn with(self, complaint: Complaint) -> Self {
        Self {
            code: Some(complaint.code),
            detail: Some(complaint.detail),
            pointer: Some(complaint.pointer),
            ..self
        }
    }

    /// The complaint as a problem document, where there is one.
    pub(crate) fn problem(&self) -> Option<Problem> {
        let code = self.code?;
        let status = if self.result == "conflict" {
            http::StatusCode::CONFLICT
        } else {
            http::StatusCode::UNPROCESSABLE_ENTITY
        };
        let pointer = self.pointer.clone().unwrap_or_default();
        let detail = self.detail.clone().unwrap_or_default();
        Some(Problem::at(status, code, pointer, detail))
    }

    /// Puts the record's own place before the place in it.
    pub(crate) fn at(mut self, index: usize) -> Self {
        self.index = Some(index);
        self.pointer = self
            .pointer
            .map(|pointer| format!("/records/{index}{pointer}"));
        self
    }
}

/// Reads a number of tokens.
fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    u64::deserialize(deserializer)
        .map_err(|_unfit| D::Error::custom("give a whole number from 0 to 9007199254740991"))
}

fn source<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<UsageSource>, D::Error> {
    let Some(name) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    UsageSource::from_name(&name)
        .map(Some)
        .ok_or_else(|| D::Error::custom("give provider, counted or estimated"))
}
