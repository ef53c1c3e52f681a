//! `tollgate price`: what models cost, and prices of one's own. Dollars per million tokens.

use serde_json::{Map, Value, json};
use tollgate_core::Nanos;

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Client, encoded, query};
use crate::output::{self, Column, Failure};

const PATH: &str = "/api/v1/prices";

const COLUMNS: [Column; 7] = [
    Column::text("PROVIDER", "/provider_type"),
    Column::text("MODEL", "/model"),
    Column::text("SOURCE", "/source"),
    Column::number("INPUT", "/usd_per_million/input"),
    Column::number("CACHED", "/usd_per_million/cached_input"),
    Column::number("OUTPUT", "/usd_per_million/output"),
    Column::text("INTEGRATION", "/integration_id"),
];

const UNKNOWN: [Column; 7] = [
    Column::text("PROVIDER", "/provider_type"),
    Column::text("MODEL", "/model"),
    Column::text("INTEGRATION", "/integration_id"),
    Column::number("CALLS", "/calls"),
    Column::number("REFUSED", "/refused"),
    Column::number("TOKENS IN", "/tokens_in"),
    Column::text("LAST SEEN", "/last_seen_at"),
];

/// What can be done with prices.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// What models cost the tenant; without --tenant, what an operator has set for all
    List {
        /// Only those at this provider
        #[arg(long, value_name = "TYPE")]
        provider_type: Option<String>,
        /// Only models with this text in their name
        #[arg(long, value_name = "TEXT")]
        search: Option<String>,
        /// Which page
        #[command(flatten)]
        paging: Paging,
    },
    /// What a model costs, who says so, and how its name led there
    Get {
        /// The provider's type
        provider_type: String,
        /// The model's name
        model: String,
        /// Through this integration: its aliases and its own prices count, too
        #[arg(long, value_name = "ID")]
        integration: Option<String>,
    },
    /// Set what a model costs the tenant; without --tenant, everybody who has no price of their own
    Set {
        /// The provider's type
        provider_type: String,
        /// The model's name
        model: String,
        /// The prices
        #[command(flatten)]
        prices: Box<Prices>,
    },
    /// Remove a price that was set
    Remove {
        /// The provider's type
        provider_type: String,
        /// The model's name
        model: String,
    },
    /// The models of the tenant's calls that have no price
    Unknown,
}

/// Prices in dollars per million tokens.
#[derive(Debug, Clone, clap::Args)]
pub struct Prices {
    /// Plain input, as 2.50
    #[arg(long, value_name = "USD")]
    input: String,
    /// Plain output
    #[arg(long, value_name = "USD")]
    output: String,
    /// Input read from a cache
    #[arg(long, value_name = "USD")]
    cached_input: Option<String>,
    /// Input written to a cache
    #[arg(long, value_name = "USD")]
    cache_write: Option<String>,
    /// Input written to a cache for an hour
    #[arg(long, value_name = "USD")]
    cache_write_hour: Option<String>,
    /// Audio input
    #[arg(long, value_name = "USD")]
    audio_input: Option<String>,
    /// Reasoning output
    #[arg(long, value_name = "USD")]
    reasoning: Option<String>,
    /// Audio output
    #[arg(long, value_name = "USD")]
    audio_output: Option<String>,
    /// Images that were read to make others
    #[arg(long, value_name = "USD")]
    image_input: Option<String>,
    /// Images that were made
    #[arg(long, value_name = "USD")]
    image_output: Option<String>,
    /// Dollars for each web search that the provider runs
    #[arg(long, value_name = "USD")]
    web_search: Option<String>,
    /// Dollars for each search in files that the provider runs
    #[arg(long, value_name = "USD")]
    file_search: Option<String>,
    /// Dollars for the request itself, whatever its tokens
    #[arg(long, value_name = "USD")]
    request: Option<String>,
}

impl Prices {
    fn rates(&self) -> Result<Value, Failure> {
        let given = [
            ("input", Some(&self.input)),
            ("output", Some(&self.output)),
            ("cached_input", self.cached_input.as_ref()),
            ("cache_write", self.cache_write.as_ref()),
            ("cache_write_hour", self.cache_write_hour.as_ref()),
            ("audio_input", self.audio_input.as_ref()),
            ("reasoning", self.reasoning.as_ref()),
            ("audio_output", self.audio_output.as_ref()),
            ("image_input", self.image_input.as_ref()),
            ("image_output", self.image_output.as_ref()),
            ("web_search", self.web_search.as_ref()),
            ("file_search", self.file_search.as_ref()),
            ("request", self.request.as_ref()),
        ];
        let mut rates = Map::new();
        for (name, usd) in given {
            let Some(usd) = usd else { continue };
            let nanos: Nanos = usd.parse().map_err(|error| {
                Failure::usage(format_args!("--{}: {error}", name.replace('_', "-")))
            })?;
            rates.insert(name.to_owned(), nanos.get().into());
        }
        Ok(Value::Object(rates))
    }
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    let answer = match &noun.verb {
        Verb::List {
            provider_type,
            search,
            paging,
        } => {
            let [limit, cursor] = paging.parameters();
            let provider_type = ("provider_type", provider_type.clone());
            let parameters = query(&[provider_type, ("search", search.clone()), limit, cursor]);
            let answer = client.get(&format!("{PATH}{parameters}")).await?;
            return show(&answer, noun.form, Shown::List(&COLUMNS));
        }
        Verb::Unknown => {
            let answer = client.get(&format!("{PATH}/unknown")).await?;
            return show(&answer, noun.form, Shown::List(&UNKNOWN));
        }
        Verb::Get {
            provider_type,
            model,
            integration,
        } => {
            let parameters = query(&[("integration_id", integration.clone())]);
            let path = format!("{}{parameters}", one(provider_type, model));
            client.get(&path).await?
        }
        Verb::Set {
            provider_type,
            model,
            prices,
        } => {
            let body = json!({ "rates": prices.rates()? });
            client.put(&one(provider_type, model), &body).await?
        }
        Verb::Remove {
            provider_type,
            model,
        } => {
            client.delete(&one(provider_type, model)).await?;
            output::say("removed");
            return Ok(());
        }
    };
    show(&answer, noun.form, Shown::Card)
}

fn one(provider_type: &str, model: &str) -> String {
    format!("{PATH}/{}/{}", encoded(provider_type), encoded(model))
}
