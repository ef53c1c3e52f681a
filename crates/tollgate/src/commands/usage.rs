//! `tollgate usage`: what was called, what it took and what it cost.

pub(super) mod export;
mod report;

use serde_json::Value;

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Client, query};
use crate::output::{self, Column, Failure};

const SUMMARY: [Column; 7] = [
    Column::text("INTEGRATION", "/name"),
    Column::number("CALLS", "/total_calls"),
    Column::number("TOKENS IN", "/total_tokens_in"),
    Column::number("TOKENS OUT", "/total_tokens_out"),
    Column::number("COST USD", "/total_cost_usd"),
    Column::number("ERRORS", "/error_count"),
    Column::number("BLOCKED", "/blocked_count"),
];

const MODELS: [Column; 8] = [
    Column::text("MODEL", "/model"),
    Column::text("PROVIDER", "/provider"),
    Column::number("CALLS", "/total_calls"),
    Column::number("TOKENS IN", "/total_tokens_in"),
    Column::number("TOKENS OUT", "/total_tokens_out"),
    Column::number("COST USD", "/total_cost_usd"),
    Column::number("ERRORS", "/error_count"),
    Column::number("NO PRICE", "/unpriced_calls"),
];

const HISTORY: [Column; 9] = [
    Column::text("TIME", "/created_at"),
    Column::text("INTEGRATION", "/integration_id"),
    Column::text("CALL", "/call_id"),
    Column::text("MODEL", "/model"),
    Column::number("IN", "/tokens_in"),
    Column::number("OUT", "/tokens_out"),
    Column::number("COST USD", "/cost_usd"),
    Column::text("RESULT", "/policy_result"),
    Column::text("ERROR", "/error_code"),
];

const DAILY: [Column; 7] = [
    Column::text("DAY", "/date"),
    Column::text("INTEGRATION", "/integration_id"),
    Column::number("CALLS", "/total_calls"),
    Column::number("TOKENS IN", "/total_tokens_in"),
    Column::number("TOKENS OUT", "/total_tokens_out"),
    Column::number("COST USD", "/total_cost_usd"),
    Column::number("ERRORS", "/error_count"),
];

/// What can be asked about usage.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Sums of this month, or of given days
    Summary {
        /// Which days.
        #[command(flatten)]
        days: Days,
        /// Sum by model, not by integration
        #[arg(long)]
        by_model: bool,
    },
    /// The calls, newest first
    History {
        /// Which calls.
        #[command(flatten)]
        days: Days,
        /// Which page.
        #[command(flatten)]
        paging: Paging,
    },
    /// The roll-up of each day
    Daily(Days),
    /// The calls of this month, or of given days, as a file on standard output, oldest first
    Export(export::Args),
    /// Report usage of calls that were made elsewhere
    Report(report::Args),
}

/// Which days, and of which integration.
#[derive(Debug, Clone, clap::Args)]
pub struct Days {
    /// The first day, as 2026-11-01
    #[arg(long, value_name = "DAY")]
    from: Option<String>,
    /// The last day
    #[arg(long, value_name = "DAY")]
    to: Option<String>,
    /// The id of an integration
    #[arg(long, value_name = "ID")]
    integration: Option<String>,
}

impl Days {
    fn parameters(&self) -> [(&'static str, Option<String>); 3] {
        [
            ("from", self.from.clone()),
            ("to", self.to.clone()),
            ("integration_id", self.integration.clone()),
        ]
    }
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    let path = |what: &str, parameters: &[(&str, Option<String>)]| {
        format!("/api/v1/telemetry/usage-{what}{}", query(parameters))
    };
    match &noun.verb {
        Verb::Summary { days, by_model } => {
            let mut parameters = days.parameters().to_vec();
            parameters.push(("group_by", by_model.then(|| "model".to_owned())));
            let answer = client.get(&path("summary", &parameters)).await?;
            if noun.form.json {
                output::print(&answer.text)
            } else if *by_model {
                summarize(answer.json, "by_model", &MODELS)
            } else {
                summarize(answer.json, "by_integration", &SUMMARY)
            }
        }
        Verb::History { days, paging } => {
            let parameters = [days.parameters().as_slice(), &paging.parameters()].concat();
            let answer = client.get(&path("history", &parameters)).await?;
            show(&answer, noun.form, Shown::List(&HISTORY))
        }
        Verb::Daily(days) => {
            let answer = client.get(&path("daily", &days.parameters())).await?;
            show(&answer, noun.form, Shown::List(&DAILY))
        }
        Verb::Export(args) => export::run(&client, args).await,
        Verb::Report(args) => report::run(&client, args, noun.form).await,
    }
}

/// A line for each part, and one for all.
fn summarize(mut answer: Value, parts: &str, columns: &[Column]) -> Result<(), Failure> {
    let mut rows = match answer.get_mut(parts).map(Value::take) {
        Some(Value::Array(rows)) => rows,
        _ => Vec::new(),
    };
    if let Value::Object(total) = &mut answer {
        total.insert("name".to_owned(), Value::from("all"));
        total.insert("model".to_owned(), Value::from("all"));
    }
    rows.push(answer);
    output::print(&output::table(columns, &rows))
}
