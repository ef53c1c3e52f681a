//! `tollgate limit`: would a call pass, and what is used of the limits.

use serde_json::{Value, json};

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Client, encoded, query};
use crate::output::{self, Column, Exit, Failure};

const STATUS: [Column; 9] = [
    Column::text("INTEGRATION", "/integration_id"),
    Column::text("NAME", "/name"),
    Column::text("RESULT", "/result"),
    Column::number("USED USD", "/budget/used_usd"),
    Column::number("HELD USD", "/budget/held_usd"),
    Column::number("LEFT USD", "/budget/remaining_usd"),
    Column::number("TOKENS", "/tokens/used"),
    Column::number("TOKENS LEFT", "/tokens/remaining"),
    Column::number("RPM", "/rate/current_rpm"),
];

/// What can be asked about limits.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Say whether a call would pass now; nothing is held. Exit code 6 when it would not
    Check {
        /// The integration's id
        integration: String,
        /// What the call may cost and use.
        #[command(flatten)]
        estimate: Estimate,
    },
    /// Reserve what a call may cost and use; its report settles it. Exit code 6 when it is refused
    Hold {
        /// The integration's id
        integration: String,
        /// What the call may cost and use.
        #[command(flatten)]
        estimate: Estimate,
        /// What else is said of the hold.
        #[command(flatten)]
        terms: Terms,
    },
    /// Give a hold back: nothing reached the provider
    Release {
        /// The hold's id
        hold: String,
    },
    /// Show what is used and held of the limits, and what a call would meet
    Status {
        /// The integration's id; all of the tenant's if absent
        integration: Option<String>,
        /// Which page.
        #[command(flatten)]
        paging: Paging,
    },
}

/// What a hold is for, beside its estimate.
#[derive(Debug, Clone, clap::Args)]
pub struct Terms {
    /// The id that the call will be reported with
    #[arg(long, value_name = "ID")]
    call_id: Option<String>,
    /// Seconds after which it ends by itself, up to 3,600; 600 if absent
    #[arg(long, value_name = "SECONDS")]
    expires_in: Option<u32>,
}

/// What a call may cost and use at most.
#[derive(Debug, Clone, clap::Args)]
pub struct Estimate {
    /// The most that it will cost, in cents
    #[arg(long, value_name = "CENTS")]
    cost_cents: Option<u64>,
    /// The same in dollars, as 0.0125
    #[arg(long, value_name = "USD", conflicts_with = "cost_cents")]
    cost_usd: Option<String>,
    /// The most tokens that it will use, input and output together
    #[arg(long, value_name = "N")]
    tokens: Option<u64>,
    /// Its model; without a cost its tokens are priced at the model's dearest rate
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
}

impl Estimate {
    fn of(&self, integration: &str) -> Value {
        let mut body = json!({ "integration_id": integration });
        let fields = [
            ("estimated_cost_cents", self.cost_cents.map(Value::from)),
            ("estimated_cost_usd", self.cost_usd.clone().map(Value::from)),
            ("estimated_tokens", self.tokens.map(Value::from)),
            ("model", self.model.clone().map(Value::from)),
        ];
        if let Value::Object(body) = &mut body {
            for (name, value) in fields {
                if let Some(value) = value {
                    body.insert(name.to_owned(), value);
                }
            }
        }
        body
    }
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match &noun.verb {
        Verb::Check {
            integration,
            estimate,
        } => {
            let body = estimate.of(integration);
            let answer = client
                .post("/api/v1/enforcement/check", Some(&body))
                .await?;
            show(&answer, noun.form, Shown::Card)?;
            passes(&answer.json)
        }
        Verb::Hold {
            integration,
            estimate,
            terms,
        } => {
            let mut body = estimate.of(integration);
            if let Some(call_id) = &terms.call_id {
                body["call_id"] = Value::from(call_id.as_str());
            }
            if let Some(seconds) = terms.expires_in {
                body["expires_in_seconds"] = Value::from(seconds);
            }
            let answer = client.post("/api/v1/enforcement/hold", Some(&body)).await?;
            show(&answer, noun.form, Shown::Card)
        }
        Verb::Release { hold } => {
            let path = format!("/api/v1/enforcement/hold/{}", encoded(hold));
            client.delete(&path).await?;
            output::say(format_args!("released {hold}"));
            Ok(())
        }
        Verb::Status {
            integration: Some(integration),
            ..
        } => {
            let parameters = query(&[("integration_id", Some(integration.clone()))]);
            let path = format!("/api/v1/enforcement/status{parameters}");
            show(&client.get(&path).await?, noun.form, Shown::Card)
        }
        Verb::Status { paging, .. } => {
            let path = format!("/api/v1/enforcement/status{}", query(&paging.parameters()));
            show(&client.get(&path).await?, noun.form, Shown::List(&STATUS))
        }
    }
}

/// A decision against the call, in words, as a failure.
fn passes(decision: &Value) -> Result<(), Failure> {
    let result = decision.get("result").and_then(Value::as_str);
    if matches!(result, Some("allowed" | "warned")) {
        return Ok(());
    }
    let reason = decision.pointer("/reasons/0/message");
    let reason = reason.and_then(Value::as_str).unwrap_or("refused");
    Err(Failure::new(Exit::Limit, reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_not_pass_has_an_exit_code_of_its_own() {
        for result in ["allowed", "warned"] {
            assert!(passes(&json!({ "result": result })).is_ok());
        }
        for result in ["throttled", "blocked", "hard_blocked"] {
            let decision = json!({ "result": result, "reasons": [{ "message": "why" }] });
            let failure = passes(&decision).unwrap_err();
            assert_eq!(
                (failure.exit, failure.message.as_str()),
                (Exit::Limit, "why")
            );
        }
    }
}
