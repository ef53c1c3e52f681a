//! Calls the records by the names of the recorded cases.

use cus_models::{
    CusHealthState, CusIntegration, CusLLMUsage, CusProviderType, CusUsageDaily, Invalid,
};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// What a call came to.
#[derive(Debug, PartialEq)]
pub(crate) enum Answer {
    /// The original's `None`.
    Nothing,
    /// Yes or no.
    Flag(bool),
    /// A whole number.
    Number(i64),
    /// A double.
    Fraction(f64),
    /// The error of `enable`.
    ErrorState,
    /// The argument is no value of its enum.
    RefusedArgument,
    /// The call cannot be written in Rust.
    Unwritable,
}

/// What the three records have in common for these tests.
pub(crate) trait Record: DeserializeOwned + Serialize {
    /// The number in a field, to be set without validation.
    fn number(&mut self, field: &str) -> &mut i64;
    /// What `validate` says.
    fn valid(&self) -> Result<(), Invalid>;
    /// Calls the method of that name.
    fn call(&mut self, name: &str, args: &[Value]) -> Answer;
    /// A new record from the fields that its constructor takes.
    fn construct(fields: &Map<String, Value>) -> Self;
}

fn text(fields: &Map<String, Value>, field: &str) -> String {
    fields[field].as_str().unwrap().to_owned()
}

impl Record for CusIntegration {
    fn number(&mut self, field: &str) -> &mut i64 {
        match field {
            "budget_limit_cents" => &mut self.budget_limit_cents,
            "token_limit_month" => &mut self.token_limit_month,
            "rate_limit_rpm" => &mut self.rate_limit_rpm,
            _ => panic!("{field} is not a number"),
        }
    }

    fn valid(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn call(&mut self, name: &str, args: &[Value]) -> Answer {
        match (name, args) {
            ("enable", []) => match self.enable() {
                Ok(()) => Answer::Nothing,
                Err(_) => Answer::ErrorState,
            },
            ("disable", []) => {
                self.disable();
                Answer::Nothing
            }
            ("mark_error", [Value::String(message)]) => {
                self.mark_error(message);
                Answer::Nothing
            }
            ("update_health", [Value::String(state), message @ ..]) => {
                let Ok(state) = state.parse::<CusHealthState>() else {
                    return Answer::RefusedArgument;
                };
                let message = message
                    .first()
                    .map(|message| message.as_str().unwrap().to_owned());
                self.update_health(state, message);
                Answer::Nothing
            }
            ("mark_error", [] | [Value::Null]) | ("update_health", []) => Answer::Unwritable,
            ("is_usable", []) => Answer::Flag(self.is_usable()),
            ("is_deleted", []) => Answer::Flag(self.is_deleted()),
            ("has_budget_limit", []) => Answer::Flag(self.has_budget_limit()),
            ("has_token_limit", []) => Answer::Flag(self.has_token_limit()),
            ("has_rate_limit", []) => Answer::Flag(self.has_rate_limit()),
            _ => panic!("there is no CusIntegration.{name} with {args:?}"),
        }
    }

    fn construct(fields: &Map<String, Value>) -> Self {
        assert_eq!(
            fields.len(),
            4,
            "the constructor takes other fields: {fields:?}"
        );
        let provider: CusProviderType = text(fields, "provider_type").parse().unwrap();
        let (tenant, name) = (text(fields, "tenant_id"), text(fields, "name"));
        Self::new(tenant, name, provider, text(fields, "credential_ref")).unwrap()
    }
}

impl Record for CusLLMUsage {
    fn number(&mut self, field: &str) -> &mut i64 {
        match field {
            "tokens_in" => &mut self.tokens_in,
            "tokens_out" => &mut self.tokens_out,
            "cost_cents" => &mut self.cost_cents,
            _ => panic!("{field} is not a number"),
        }
    }

    fn valid(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn call(&mut self, name: &str, args: &[Value]) -> Answer {
        match (name, args) {
            ("total_tokens", []) => Answer::Number(self.total_tokens()),
            ("is_error", []) => Answer::Flag(self.is_error()),
            ("was_blocked", []) => Answer::Flag(self.was_blocked()),
            _ => panic!("there is no CusLLMUsage.{name} with {args:?}"),
        }
    }

    fn construct(fields: &Map<String, Value>) -> Self {
        assert_eq!(
            fields.len(),
            8,
            "the constructor takes other fields: {fields:?}"
        );
        let [tenant, integration, call, provider, model] = [
            "tenant_id",
            "integration_id",
            "call_id",
            "provider",
            "model",
        ]
        .map(|field| text(fields, field));
        let [tokens_in, tokens_out, cost_cents] =
            ["tokens_in", "tokens_out", "cost_cents"].map(|field| fields[field].as_i64().unwrap());
        Self::new(tenant, integration, call, provider, model)
            .and_then(|usage| usage.with_counts(tokens_in, tokens_out, cost_cents))
            .unwrap()
    }
}

impl Record for CusUsageDaily {
    fn number(&mut self, field: &str) -> &mut i64 {
        match field {
            "total_calls" => &mut self.total_calls,
            "total_tokens_in" => &mut self.total_tokens_in,
            "total_tokens_out" => &mut self.total_tokens_out,
            "total_cost_cents" => &mut self.total_cost_cents,
            "error_count" => &mut self.error_count,
            "blocked_count" => &mut self.blocked_count,
            _ => panic!("{field} is not a number"),
        }
    }

    fn valid(&self) -> Result<(), Invalid> {
        self.validate()
    }

    fn call(&mut self, name: &str, args: &[Value]) -> Answer {
        match (name, args) {
            ("total_tokens", []) => Answer::Number(self.total_tokens()),
            ("success_rate", []) => Answer::Fraction(self.success_rate()),
            ("cost_dollars", []) => Answer::Fraction(self.cost_dollars()),
            _ => panic!("there is no CusUsageDaily.{name} with {args:?}"),
        }
    }

    fn construct(fields: &Map<String, Value>) -> Self {
        panic!("no recorded construction of a day is valid: {fields:?}")
    }
}
