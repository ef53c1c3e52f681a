//! The prices of a model as whole nano-dollars, and why some models have none.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::value::RawValue;

use crate::r#gen::decimal::scaled;
use crate::r#gen::upstream::{Era, PriceMap, tiers};

/// Price keys that are ours, in the order of the catalogue.
const CARRIED: [(&str, &str); 9] = [
    ("input_mtok", "input"),
    ("output_mtok", "output"),
    ("cache_read_mtok", "cached_input"),
    ("cache_write_mtok", "cache_write"),
    ("cache_write_1h_mtok", "cache_write_hour"),
    ("input_audio_mtok", "audio_input"),
    ("output_reasoning_mtok", "reasoning"),
    ("output_audio_mtok", "audio_output"),
    ("requests_kcount", "request"),
];

/// Tokens that have no class of their own here, and the price keys that they would be charged at,
/// the first that the model has.
const FOLDED: [(&str, &[&str]); 4] = [
    ("input_image_mtok", &["input_mtok"]),
    ("output_image_mtok", &["output_mtok"]),
    ("cache_image_read_mtok", &["cache_read_mtok", "input_mtok"]),
    ("cache_audio_read_mtok", &["cache_read_mtok", "input_mtok"]),
];

/// What is billed beside tokens, and not by this book.
const BESIDE: [&str; 2] = ["web_searches_kcount", "storage_searches_kcount"];

/// What is billed instead of tokens.
const INSTEAD: [&str; 3] = ["audio_hours", "input_audio_hours", "input_mchars"];

/// Prices from a day on.
#[derive(Serialize)]
pub(super) struct Dated {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) from: Option<String>,
    rates: RateMap,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tiers: Vec<Tier>,
}

#[derive(Serialize)]
struct Tier {
    above_input_tokens: u64,
    rates: RateMap,
}

/// Our names of token classes to nano-dollars, in the order of [`CARRIED`].
struct RateMap(Vec<(&'static str, i64)>);

impl Serialize for RateMap {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().copied())
    }
}

/// Why a model is left out, if it is: charging too little is worse than having no price.
pub(super) fn unpriceable(prices: &PriceMap<'_>, id: &str) -> Result<Option<String>, String> {
    for key in prices.keys() {
        let known = CARRIED.iter().any(|(name, _)| name == key)
            || FOLDED.iter().any(|(name, _)| name == key)
            || BESIDE.contains(&key.as_str())
            || INSTEAD.contains(&key.as_str());
        if !known {
            return Err(format!(
                "`{key}` is a price that this generator does not know"
            ));
        }
    }
    if prices.is_empty() {
        return Ok(Some("it has no price".to_owned()));
    }
    if let Some(key) = INSTEAD.iter().find(|key| prices.contains_key(**key)) {
        return Ok(Some(format!("it is billed by {key}")));
    }
    if !prices.contains_key("input_mtok") {
        return Ok(Some("input has no price".to_owned()));
    }
    let embeds = id.contains("embed") || id == "ada";
    if !prices.contains_key("output_mtok") && !embeds {
        return Ok(Some("output has no price".to_owned()));
    }
    for (key, charged_as) in FOLDED {
        let Some(own) = prices.get(key) else { continue };
        let Some(charged) = charged_as.iter().find_map(|key| prices.get(*key)) else {
            return Ok(Some(format!("{key} has nothing to be charged as")));
        };
        let nanos = |price: &RawValue| scaled(price.get(), 9);
        if nanos(own)?.value > nanos(charged)?.value {
            return Ok(Some(format!(
                "{key} has no class here and is dearer than what has"
            )));
        }
    }
    Ok(None)
}

/// The prices of an era, with the tiers of all classes brought together.
pub(super) fn dated(era: &Era<'_>, note: &mut dyn FnMut(String)) -> Result<Dated, String> {
    let mut bounds = BTreeSet::new();
    for price in era.prices.values() {
        bounds.extend(tiers(price)?.tiers.iter().map(|step| step.start));
    }
    if !era.prices.contains_key("output_mtok") {
        note("has no price for output, which is none".to_owned());
    }
    for key in era
        .prices
        .keys()
        .filter(|key| FOLDED.iter().any(|(name, _)| name == key))
    {
        note(format!("{key} is charged as a plainer class"));
    }
    let rates = rates(&era.prices, None, note)?;
    let tiers = bounds.into_iter().map(|above_input_tokens| {
        let rates = self::rates(&era.prices, Some(above_input_tokens), note)?;
        Ok(Tier {
            above_input_tokens,
            rates,
        })
    });
    let tiers = tiers.collect::<Result<_, String>>()?;
    let from = era
        .constraint
        .as_ref()
        .map(|since| since.start_date.clone());
    Ok(Dated { from, rates, tiers })
}

/// The rates of requests above a bound; of ordinary ones without a bound.
fn rates(
    prices: &PriceMap<'_>,
    above: Option<u64>,
    note: &mut dyn FnMut(String),
) -> Result<RateMap, String> {
    let mut rates = Vec::new();
    for (key, class) in CARRIED {
        let Some(price) = prices.get(key) else {
            if class == "output" {
                rates.push((class, 0));
            }
            continue;
        };
        let price = tiers(price)?;
        let step = price
            .tiers
            .iter()
            .filter(|step| above.is_some_and(|above| step.start <= above));
        let text = step
            .max_by_key(|step| step.start)
            .map_or(price.base, |step| step.price)
            .get();
        let places = if class == "request" { 6 } else { 9 };
        let nanos = scaled(text, places)?;
        if nanos.rounded {
            note(format!(
                "{key} {text} is rounded to {} nano-dollars",
                nanos.value
            ));
        }
        rates.push((class, nanos.value));
    }
    Ok(RateMap(rates))
}
