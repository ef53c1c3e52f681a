//! The price list of the `genai-prices` crate as it is written, with numbers left as text.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

/// A company that sells models.
#[derive(Debug, Deserialize)]
pub(super) struct Seller<'a> {
    pub(super) id: String,
    #[serde(default)]
    pub(super) fallback_model_providers: Vec<String>,
    #[serde(borrow)]
    pub(super) models: Vec<Model<'a>>,
}

/// A model with its names and prices.
#[derive(Debug, Deserialize)]
pub(super) struct Model<'a> {
    pub(super) id: String,
    #[serde(rename = "match")]
    pub(super) clause: Clause,
    pub(super) context_window: Option<u64>,
    #[serde(borrow)]
    prices: &'a RawValue,
}

/// Which names are the model's.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Clause {
    Equals(String),
    StartsWith(String),
    EndsWith(String),
    Contains(String),
    Regex(String),
    Or(Vec<Self>),
    And(IgnoredAny),
}

/// Prices from a day on.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Era<'a> {
    pub(super) constraint: Option<Since>,
    #[serde(borrow)]
    pub(super) prices: PriceMap<'a>,
}

/// The day from which prices apply. Any other condition is one that we do not know, and an error.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Since {
    pub(super) start_date: String,
}

/// Price key to a number or to tiers.
pub(super) type PriceMap<'a> = BTreeMap<String, &'a RawValue>;

/// A price that depends on how long the request is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tiered<'a> {
    #[serde(borrow)]
    pub(super) base: &'a RawValue,
    #[serde(borrow)]
    pub(super) tiers: Vec<Step<'a>>,
}

/// The price of requests with more than `start` input tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step<'a> {
    pub(super) start: u64,
    #[serde(borrow)]
    pub(super) price: &'a RawValue,
}

impl<'a> Model<'a> {
    /// The model's prices by time; one era when they never changed.
    pub(super) fn eras(&self) -> Result<Vec<Era<'a>>, String> {
        let text = self.prices.get();
        let eras = if text.starts_with('[') {
            serde_json::from_str(text)
        } else {
            serde_json::from_str(text).map(|prices| {
                vec![Era {
                    constraint: None,
                    prices,
                }]
            })
        };
        eras.map_err(|error| format!("prices of {}: {error}", self.id))
    }
}

/// The tiers of a price; a plain number is a price without any.
pub(super) fn tiers(price: &RawValue) -> Result<Tiered<'_>, String> {
    if price.get().starts_with('{') {
        serde_json::from_str(price.get()).map_err(|error| format!("{}: {error}", price.get()))
    } else {
        Ok(Tiered {
            base: price,
            tiers: Vec::new(),
        })
    }
}
