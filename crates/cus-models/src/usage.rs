//! One governed call: a row of the ledger.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::clock::utc_now;
use crate::enums::CusPolicyResult;
use crate::id::generate_uuid;
use crate::invalid::{Invalid, count, required_text, short_text};
use crate::wire;

/// The record of one LLM call. Its counts are 0 to 2⁵³ − 1.
///
/// After a field was set by hand, [`CusLLMUsage::validate`] says whether the record may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Incoming")]
pub struct CusLLMUsage {
    /// The record's id, a UUID unless somebody chose another text.
    pub id: String,
    /// The tenant that called, 1 to 100 characters.
    pub tenant_id: String,
    /// The integration that the call went through.
    pub integration_id: String,
    /// The caller's session, if it named one.
    pub session_id: Option<String>,
    /// The caller's agent, if it named one; up to 100 characters.
    pub agent_id: Option<String>,
    /// The call's own id, 1 to 100 characters.
    pub call_id: String,
    /// The provider, up to 50 characters.
    pub provider: String,
    /// The model, 1 to 100 characters.
    pub model: String,
    /// Tokens sent.
    pub tokens_in: i64,
    /// Tokens received.
    pub tokens_out: i64,
    /// What the call cost, in cents.
    pub cost_cents: i64,
    /// How long the call took, in milliseconds.
    pub latency_ms: Option<i64>,
    /// What the limits said.
    pub policy_result: CusPolicyResult,
    /// The kind of failure, up to 50 characters; none if the call succeeded.
    pub error_code: Option<String>,
    /// The failure in words.
    pub error_message: Option<String>,
    /// What else is known of the call.
    pub extra_data: Option<Map<String, Value>>,
    /// When the record was made.
    pub created_at: Timestamp,
}

impl CusLLMUsage {
    /// A new record of an allowed call without tokens and cost, made now, with a new id.
    ///
    /// Fails if `tenant_id`, `call_id` or `model` is not 1 to 100 characters or `provider` has more than 50.
    pub fn new(
        tenant_id: impl Into<String>,
        integration_id: impl Into<String>,
        call_id: impl Into<String>,
        provider: impl Into<String>,
        model: impl Into<String>,
    ) -> Result<Self, Invalid> {
        let usage = Self {
            id: generate_uuid(),
            tenant_id: tenant_id.into(),
            integration_id: integration_id.into(),
            session_id: None,
            agent_id: None,
            call_id: call_id.into(),
            provider: provider.into(),
            model: model.into(),
            tokens_in: 0,
            tokens_out: 0,
            cost_cents: 0,
            latency_ms: None,
            policy_result: CusPolicyResult::Allowed,
            error_code: None,
            error_message: None,
            extra_data: None,
            created_at: utc_now(),
        };
        usage.validate()?;
        Ok(usage)
    }

    /// The same record with the call's tokens, and its cost in cents.
    ///
    /// Fails if a number is not 0 to 2⁵³ − 1.
    pub fn with_counts(
        mut self,
        tokens_in: i64,
        tokens_out: i64,
        cost_cents: i64,
    ) -> Result<Self, Invalid> {
        self.tokens_in = tokens_in;
        self.tokens_out = tokens_out;
        self.cost_cents = cost_cents;
        self.validate()?;
        Ok(self)
    }

    /// Whether every field is within its bounds; the error names the first that is not.
    pub fn validate(&self) -> Result<(), Invalid> {
        required_text("tenant_id", &self.tenant_id, 100)?;
        short_text(
            "agent_id",
            self.agent_id.as_deref().unwrap_or_default(),
            100,
        )?;
        required_text("call_id", &self.call_id, 100)?;
        short_text("provider", &self.provider, 50)?;
        required_text("model", &self.model, 100)?;
        count("tokens_in", self.tokens_in)?;
        count("tokens_out", self.tokens_out)?;
        count("cost_cents", self.cost_cents)?;
        count("latency_ms", self.latency_ms.unwrap_or_default())?;
        short_text(
            "error_code",
            self.error_code.as_deref().unwrap_or_default(),
            50,
        )
    }

    /// Tokens sent and received. Exact for every valid record; past 64 bits it stays at their end.
    pub const fn total_tokens(&self) -> i64 {
        self.tokens_in.saturating_add(self.tokens_out)
    }

    /// Whether the call failed: it has an error code, even an empty one.
    pub const fn is_error(&self) -> bool {
        self.error_code.is_some()
    }

    /// Whether a limit kept the call from going out.
    pub fn was_blocked(&self) -> bool {
        self.policy_result == CusPolicyResult::Blocked
    }
}

/// A record as JSON brings it: defaults filled in, not yet validated.
#[derive(Deserialize)]
struct Incoming {
    #[serde(default = "generate_uuid")]
    id: String,
    tenant_id: String,
    integration_id: String,
    #[serde(default)]
    session_id: Option<String>,
    #[serde(default)]
    agent_id: Option<String>,
    call_id: String,
    provider: String,
    model: String,
    #[serde(deserialize_with = "wire::whole")]
    tokens_in: i64,
    #[serde(deserialize_with = "wire::whole")]
    tokens_out: i64,
    #[serde(deserialize_with = "wire::whole")]
    cost_cents: i64,
    #[serde(default, deserialize_with = "wire::optional_whole")]
    latency_ms: Option<i64>,
    #[serde(default = "allowed")]
    policy_result: CusPolicyResult,
    #[serde(default)]
    error_code: Option<String>,
    #[serde(default)]
    error_message: Option<String>,
    #[serde(default)]
    extra_data: Option<Map<String, Value>>,
    #[serde(default = "utc_now")]
    created_at: Timestamp,
}

const fn allowed() -> CusPolicyResult {
    CusPolicyResult::Allowed
}

impl TryFrom<Incoming> for CusLLMUsage {
    type Error = Invalid;

    fn try_from(incoming: Incoming) -> Result<Self, Invalid> {
        let usage = Self {
            id: incoming.id,
            tenant_id: incoming.tenant_id,
            integration_id: incoming.integration_id,
            session_id: incoming.session_id,
            agent_id: incoming.agent_id,
            call_id: incoming.call_id,
            provider: incoming.provider,
            model: incoming.model,
            tokens_in: incoming.tokens_in,
            tokens_out: incoming.tokens_out,
            cost_cents: incoming.cost_cents,
            latency_ms: incoming.latency_ms,
            policy_result: incoming.policy_result,
            error_code: incoming.error_code,
            error_message: incoming.error_message,
            extra_data: incoming.extra_data,
            created_at: incoming.created_at,
        };
        usage.validate()?;
        Ok(usage)
    }
}

#[cfg(test)]
mod tests {
    use super::CusLLMUsage;
    use crate::Invalid;

    fn usage() -> CusLLMUsage {
        CusLLMUsage::new("acme", "i-1", "c-1", "openai", "gpt-4o").unwrap()
    }

    #[test]
    fn a_new_record_is_validated() {
        let new = |call: &str, provider: &str, model: &str| {
            CusLLMUsage::new("acme", "i-1", call, provider, model).map(drop)
        };
        assert_eq!(new("c", "", "m"), Ok(()));
        assert_eq!(
            new("", "p", "m"),
            Err(Invalid::Empty {
                field: "call_id",
                max: 100
            })
        );
        assert_eq!(
            new("c", "p", ""),
            Err(Invalid::Empty {
                field: "model",
                max: 100
            })
        );
        let refused = Invalid::TooLong {
            field: "provider",
            length: 51,
            max: 50,
        };
        assert_eq!(new("c", &"p".repeat(51), "m"), Err(refused));
    }

    #[test]
    fn counts_are_checked_when_they_are_set() {
        let counted = usage().with_counts(100, 50, 3).unwrap();
        assert_eq!(
            (counted.tokens_in, counted.tokens_out, counted.cost_cents),
            (100, 50, 3)
        );
        for (counts, field) in [
            ((-1, 0, 0), "tokens_in"),
            ((0, 1 << 53, 0), "tokens_out"),
            ((0, 0, -3), "cost_cents"),
        ] {
            let refused = usage()
                .with_counts(counts.0, counts.1, counts.2)
                .unwrap_err();
            assert_eq!(refused.field(), field);
        }
    }

    #[test]
    fn a_field_set_past_its_bound_is_found() {
        let broken = |change: fn(&mut CusLLMUsage)| {
            let mut usage = usage();
            change(&mut usage);
            usage.validate().map_err(|invalid| invalid.field())
        };
        assert_eq!(broken(|u| u.tenant_id.clear()), Err("tenant_id"));
        assert_eq!(
            broken(|u| u.agent_id = Some("a".repeat(101))),
            Err("agent_id")
        );
        assert_eq!(broken(|u| u.call_id = "c".repeat(101)), Err("call_id"));
        assert_eq!(broken(|u| u.model = "m".repeat(101)), Err("model"));
        assert_eq!(broken(|u| u.latency_ms = Some(-1)), Err("latency_ms"));
        assert_eq!(
            broken(|u| u.error_code = Some("e".repeat(51))),
            Err("error_code")
        );
        assert_eq!(broken(|u| u.error_code = Some("e".repeat(50))), Ok(()));
    }
}
