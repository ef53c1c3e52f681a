//! Prices, as the control plane shows and takes them: nano-dollars per million tokens, and the same in dollars.

pub(crate) mod get;
pub(crate) mod list;
pub(crate) mod remove;
pub(crate) mod set;
pub(crate) mod unknown;

use cus_models::CusProviderType;
use http::StatusCode;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use tollgate_app::prices::{EffectivePrice, PriceSource};
use tollgate_core::Nanos;
use tollgate_core::price::book::MatchedBy;
use tollgate_core::price::{Rates, Tier};
use utoipa::ToSchema;

use crate::problem::Problem;

/// Unit prices in nano-dollars per million tokens; a class without one costs what the plain class of its side costs.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = Rates)]
#[serde(deny_unknown_fields)]
pub(crate) struct RatesBody {
    /// Plain input.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    input: i64,
    /// Plain output.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    output: i64,
    /// Input read from a cache.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    cached_input: Option<i64>,
    /// Input written to a cache.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    cache_write: Option<i64>,
    /// Input written to a cache for an hour.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    cache_write_hour: Option<i64>,
    /// Audio input.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    audio_input: Option<i64>,
    /// Reasoning output.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    reasoning: Option<i64>,
    /// Audio output.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    audio_output: Option<i64>,
    /// Images that were read to make others.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    image_input: Option<i64>,
    /// Images that were made.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000_i64)]
    image_output: Option<i64>,
    /// Nano-dollars for each web search that the provider runs.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    web_search: Option<i64>,
    /// Nano-dollars for each search in files that the provider runs.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    file_search: Option<i64>,
    /// Nano-dollars for the request itself, whatever its tokens.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_i64)]
    request: i64,
}

/// Unit prices in dollars per million tokens, as decimal texts with nine places.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsdRates)]
pub(crate) struct UsdBody {
    /// Plain input.
    input: String,
    /// Plain output.
    output: String,
    /// Input read from a cache.
    cached_input: Option<String>,
    /// Input written to a cache.
    cache_write: Option<String>,
    /// Input written to a cache for an hour.
    cache_write_hour: Option<String>,
    /// Audio input.
    audio_input: Option<String>,
    /// Reasoning output.
    reasoning: Option<String>,
    /// Audio output.
    audio_output: Option<String>,
    /// Images that were read to make others.
    image_input: Option<String>,
    /// Images that were made.
    image_output: Option<String>,
    /// Dollars for each web search that the provider runs.
    web_search: Option<String>,
    /// Dollars for each search in files that the provider runs.
    file_search: Option<String>,
    /// Dollars for the request itself, whatever its tokens.
    request: String,
}

/// Prices of requests with more input than a bound, for all of their tokens.
#[derive(Debug, Clone, Copy, Serialize, Deserialize, ToSchema)]
#[schema(as = PriceTier)]
#[serde(deny_unknown_fields)]
pub(crate) struct TierBody {
    /// It applies to requests of more than so many input tokens.
    #[schema(maximum = 1_000_000_000_u64)]
    above_input_tokens: u64,
    /// What such a request pays.
    rates: RatesBody,
}

/// What a model costs now, who says so, and how its name led there.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Price)]
pub(crate) struct PriceBody {
    /// Who serves the model.
    #[schema(schema_with = crate::openapi::provider_type)]
    provider_type: &'static str,
    /// The model.
    model: String,
    /// Who says what it costs.
    #[schema(schema_with = crate::openapi::price_source)]
    source: &'static str,
    /// The name that the price is set or listed for.
    matched: String,
    /// How the model's name led to that one: the very name, a snapshot of it, or a rule of the bundled list.
    #[schema(schema_with = crate::openapi::matched_by)]
    matched_by: MatchedBy,
    /// The only integration that it applies to; null where it applies to all.
    #[schema(format = Uuid)]
    integration_id: Option<String>,
    /// What rows of the ledger show that are charged at it.
    version: String,
    /// In nano-dollars per million tokens.
    rates: RatesBody,
    /// The same in dollars.
    usd_per_million: UsdBody,
    /// Prices of long requests, by rising bound.
    tiers: Vec<TierBody>,
    /// When it was last set; null for bundled prices and those of an integration.
    updated_at: Option<Timestamp>,
}

impl From<Rates> for RatesBody {
    fn from(rates: Rates) -> Self {
        Self {
            input: rates.input,
            output: rates.output,
            cached_input: rates.cached_input,
            cache_write: rates.cache_write,
            cache_write_hour: rates.cache_write_hour,
            audio_input: rates.audio_input,
            reasoning: rates.reasoning,
            audio_output: rates.audio_output,
            image_input: rates.image_input,
            image_output: rates.image_output,
            web_search: rates.web_search,
            file_search: rates.file_search,
            request: rates.request,
        }
    }
}

impl From<RatesBody> for Rates {
    fn from(rates: RatesBody) -> Self {
        Self {
            input: rates.input,
            output: rates.output,
            cached_input: rates.cached_input,
            cache_write: rates.cache_write,
            cache_write_hour: rates.cache_write_hour,
            audio_input: rates.audio_input,
            reasoning: rates.reasoning,
            audio_output: rates.audio_output,
            image_input: rates.image_input,
            image_output: rates.image_output,
            web_search: rates.web_search,
            file_search: rates.file_search,
            request: rates.request,
        }
    }
}

impl From<Rates> for UsdBody {
    fn from(rates: Rates) -> Self {
        let usd = |nanos| Nanos::new(nanos).to_string();
        Self {
            input: usd(rates.input),
            output: usd(rates.output),
            cached_input: rates.cached_input.map(usd),
            cache_write: rates.cache_write.map(usd),
            cache_write_hour: rates.cache_write_hour.map(usd),
            audio_input: rates.audio_input.map(usd),
            reasoning: rates.reasoning.map(usd),
            audio_output: rates.audio_output.map(usd),
            image_input: rates.image_input.map(usd),
            image_output: rates.image_output.map(usd),
            web_search: rates.web_search.map(usd),
            file_search: rates.file_search.map(usd),
            request: usd(rates.request),
        }
    }
}

impl From<TierBody> for Tier {
    fn from(tier: TierBody) -> Self {
        Self {
            above_input_tokens: tier.above_input_tokens,
            rates: tier.rates.into(),
        }
    }
}

impl From<EffectivePrice> for PriceBody {
    fn from(price: EffectivePrice) -> Self {
        let tiers = price.prices.tiers.iter().map(|tier| TierBody {
            above_input_tokens: tier.above_input_tokens,
            rates: tier.rates.into(),
        });
        Self {
            provider_type: price.provider_type.as_str(),
            source: PriceSource::as_str(price.source),
            matched: price.matched.to_string(),
            matched_by: price.matched_by,
            integration_id: price.integration.map(|id| id.to_string()),
            version: price.prices.version.to_string(),
            rates: price.prices.rates.into(),
            usd_per_million: price.prices.rates.into(),
            tiers: tiers.collect(),
            updated_at: price.updated_at,
            model: price.model,
        }
    }
}

/// The provider in a path; a text that names none leads nowhere.
fn provider_in_path(text: &str) -> Result<CusProviderType, Problem> {
    text.parse()
        .map_err(|_no_provider| Problem::of_status(StatusCode::NOT_FOUND))
}
