//! Prices: nano-dollars per million tokens, by class, and what a usage costs at them.
//!
//! A price of $2.50 per million tokens is 2,500,000,000 here. The cost of a call is summed in
//! 128 bits and rounded half up once.

pub mod book;
pub mod catalogue;
pub mod fees;
pub mod overrides;

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::money::{MoneyOverflow, Nanos};
use crate::tokens::{TokenClass, TokenUsage};
use fees::Tariff;

const TOKENS_PER_PRICE: i128 = 1_000_000;

/// Unit prices of one model, in nano-dollars per million tokens of each class.
///
/// A class without a price of its own costs what the plain class of its side costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rates {
    /// Plain input.
    pub input: i64,
    /// Plain output.
    pub output: i64,
    /// Input read from a cache.
    #[serde(default)]
    pub cached_input: Option<i64>,
    /// Input written to a cache.
    #[serde(default)]
    pub cache_write: Option<i64>,
    /// Input written to a cache for an hour.
    #[serde(default)]
    pub cache_write_hour: Option<i64>,
    /// Audio input.
    #[serde(default)]
    pub audio_input: Option<i64>,
    /// Reasoning output.
    #[serde(default)]
    pub reasoning: Option<i64>,
    /// Audio output.
    #[serde(default)]
    pub audio_output: Option<i64>,
    /// Images that were read to make others.
    #[serde(default)]
    pub image_input: Option<i64>,
    /// Images that were made.
    #[serde(default)]
    pub image_output: Option<i64>,
    /// Nano-dollars for each web search that the provider runs.
    #[serde(default)]
    pub web_search: Option<i64>,
    /// Nano-dollars for each search in files that the provider runs.
    #[serde(default)]
    pub file_search: Option<i64>,
    /// Nano-dollars for the request itself, whatever its tokens.
    #[serde(default)]
    pub request: i64,
}

impl Rates {
    /// The name of the price of the request itself.
    pub const REQUEST: &'static str = "request";

    /// All prices, in an order that never changes, because hashes that are kept rest on it.
    #[must_use]
    pub const fn each(&self) -> [Option<i64>; 13] {
        // Every price by its name: one that is added does not compile until it is told here.
        let Self {
            input,
            output,
            cached_input,
            cache_write,
            cache_write_hour,
            audio_input,
            reasoning,
            audio_output,
            image_input,
            image_output,
            web_search,
            file_search,
            request,
        } = *self;
        [
            Some(input),
            Some(output),
            Some(request),
            cached_input,
            cache_write,
            cache_write_hour,
            audio_input,
            reasoning,
            audio_output,
            image_input,
            image_output,
            web_search,
            file_search,
        ]
    }

    /// The name of the price of a web search.
    pub const WEB_SEARCH: &'static str = "web_search";

    /// The name of the price of a search in files.
    pub const FILE_SEARCH: &'static str = "file_search";

    /// Every price by the name of its class, as it was set: nothing where a class has none of its own.
    #[must_use]
    pub const fn named(&self) -> [(&'static str, Option<i64>); 13] {
        [
            ("input", Some(self.input)),
            ("output", Some(self.output)),
            ("cached_input", self.cached_input),
            ("cache_write", self.cache_write),
            ("cache_write_hour", self.cache_write_hour),
            ("audio_input", self.audio_input),
            ("reasoning", self.reasoning),
            ("audio_output", self.audio_output),
            ("image_input", self.image_input),
            ("image_output", self.image_output),
            (Self::WEB_SEARCH, self.web_search),
            (Self::FILE_SEARCH, self.file_search),
            (Self::REQUEST, Some(self.request)),
        ]
    }

    /// The price of a million tokens of `class`, in nano-dollars.
    #[must_use]
    pub fn of(&self, class: TokenClass) -> i64 {
        match class {
            TokenClass::Input => self.input,
            TokenClass::CachedInput => self.cached_input.unwrap_or(self.input),
            TokenClass::CacheWrite => self.cache_write.unwrap_or(self.input),
            TokenClass::CacheWriteHour => self
                .cache_write_hour
                .or(self.cache_write)
                .unwrap_or(self.input),
            TokenClass::AudioInput => self.audio_input.unwrap_or(self.input),
            TokenClass::ImageInput => self.image_input.unwrap_or(self.input),
            TokenClass::Output => self.output,
            TokenClass::Reasoning => self.reasoning.unwrap_or(self.output),
            TokenClass::AudioOutput => self.audio_output.unwrap_or(self.output),
            TokenClass::ImageOutput => self.image_output.unwrap_or(self.output),
        }
    }

    /// What `usage` costs: Σ tokens × price ÷ 10⁶, rounded half up once, plus the request's own price.
    pub fn cost(&self, usage: &TokenUsage) -> Result<Nanos, MoneyOverflow> {
        let mut sum: i128 = 0;
        for class in TokenClass::ALL {
            let cost = i128::from(usage.get(class)).checked_mul(i128::from(self.of(class)));
            sum = cost
                .and_then(|cost| sum.checked_add(cost))
                .ok_or(MoneyOverflow)?;
        }
        rounded(sum)?.plus(Nanos::new(self.request))
    }

    /// The dearest price among `classes`, in nano-dollars per million tokens.
    #[must_use]
    pub fn dearest(&self, classes: impl IntoIterator<Item = TokenClass>) -> i64 {
        classes
            .into_iter()
            .map(|class| self.of(class))
            .max()
            .unwrap_or(0)
    }
}

/// Divides a sum of tokens × price by a million, half up.
fn rounded(sum: i128) -> Result<Nanos, MoneyOverflow> {
    let half = TOKENS_PER_PRICE.div_euclid(2);
    let whole = sum
        .checked_add(half)
        .ok_or(MoneyOverflow)?
        .div_euclid(TOKENS_PER_PRICE);
    i64::try_from(whole).map(Nanos::new).or(Err(MoneyOverflow))
}

/// Prices that apply when a request's input is larger than a bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tier {
    /// The tier applies to requests of more than so many input tokens.
    pub above_input_tokens: u64,
    /// What such a request pays, for all of its tokens.
    pub rates: Rates,
}

/// Everything that is known of one model's prices at one time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelPrices {
    /// The version of the book, or the name of the override, that the prices come from.
    pub version: Arc<str>,
    /// The prices of an ordinary request.
    pub rates: Rates,
    /// Prices of long requests, by rising bound.
    pub tiers: Vec<Tier>,
    /// The most output tokens the model can give in one answer, where known.
    pub output_tokens_max: Option<u64>,
    /// Tokens that fit into one request with its answer, where known.
    pub context_tokens: Option<u64>,
}

impl ModelPrices {
    /// The prices of a request with so many input tokens: a long request pays its tier's price
    /// for all of its tokens.
    #[must_use]
    pub fn rates_for(&self, input_tokens: u64) -> &Rates {
        self.tiers
            .iter()
            .rev()
            .find(|tier| input_tokens > tier.above_input_tokens)
            .map_or(&self.rates, |tier| &tier.rates)
    }

    /// The prices that a finished call is charged at, to be kept with its row.
    #[must_use]
    pub fn pin(&self, usage: &TokenUsage) -> PricePin {
        PricePin {
            version: Arc::clone(&self.version),
            rates: *self.rates_for(usage.tokens_in()),
        }
    }

    /// The same, for a kind of service.
    #[must_use]
    pub fn pin_for(&self, usage: &TokenUsage, tariff: Tariff) -> PricePin {
        let pin = self.pin(usage);
        match tariff {
            Tariff::Usual => pin,
            Tariff::Half => PricePin {
                rates: pin.rates.halved(),
                ..pin
            },
        }
    }

    /// The most that a request can cost with at most so many tokens on each side, each at the
    /// dearest of the classes that may apply, in any tier that it can reach.
    pub fn worst_case(&self, ask: &WorstCase<'_>) -> Result<Nanos, MoneyOverflow> {
        let reachable = self
            .tiers
            .iter()
            .filter(|tier| ask.tokens_in > tier.above_input_tokens);
        let mut most = worst_at(&self.rates, ask)?;
        for tier in reachable {
            most = most.max(worst_at(&tier.rates, ask)?);
        }
        Ok(most)
    }
}

/// The upper bounds that a hold is made from.
#[derive(Debug, Clone, Copy)]
pub struct WorstCase<'a> {
    /// No more input tokens than these.
    pub tokens_in: u64,
    /// The classes that the input may be of.
    pub classes_in: &'a [TokenClass],
    /// No more output tokens than these.
    pub tokens_out: u64,
    /// The classes that the output may be of.
    pub classes_out: &'a [TokenClass],
}

fn worst_at(rates: &Rates, ask: &WorstCase<'_>) -> Result<Nanos, MoneyOverflow> {
    let side = |tokens: u64, classes: &[TokenClass]| {
        i128::from(tokens).checked_mul(i128::from(rates.dearest(classes.iter().copied())))
    };
    let sum = side(ask.tokens_in, ask.classes_in)
        .zip(side(ask.tokens_out, ask.classes_out))
        .and_then(|(input, output)| input.checked_add(output))
        .ok_or(MoneyOverflow)?;
    rounded(sum)?.plus(Nanos::new(rates.request))
}

/// The unit prices that a row was charged at; a later price never changes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PricePin {
    /// The version of the price book, or the name of the override.
    pub version: Arc<str>,
    /// The unit prices.
    pub rates: Rates,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// $2.50 in, $1.25 cached, $10 out.
    const RATES: Rates = Rates {
        input: 2_500_000_000,
        output: 10_000_000_000,
        cached_input: Some(1_250_000_000),
        cache_write: None,
        cache_write_hour: None,
        audio_input: None,
        reasoning: None,
        audio_output: None,
        image_input: None,
        image_output: None,
        web_search: None,
        file_search: None,
        request: 0,
    };

    #[test]
    fn a_call_costs_each_class_at_its_own_price() {
        let usage = TokenUsage {
            cached_input: 400,
            reasoning: 30,
            ..TokenUsage::plain(600, 20)
        };
        // 600 × 2500 + 400 × 1250 + 50 × 10000 nano-dollars
        assert_eq!(RATES.cost(&usage), Ok(Nanos::new(2_500_000)));
    }

    #[test]
    fn a_cost_is_rounded_half_up_once_and_not_by_class() {
        let rates = Rates {
            input: 400_000,
            output: 400_000,
            ..Rates::default()
        };
        // 0.4 + 0.4 = 0.8 of a nano-dollar: by class it would be nothing.
        assert_eq!(rates.cost(&TokenUsage::plain(1, 1)), Ok(Nanos::new(1)));
        assert_eq!(rates.cost(&TokenUsage::plain(1, 0)), Ok(Nanos::ZERO));
    }

    #[test]
    fn tokens_at_the_extreme_of_64_bits_are_an_error_and_not_a_bargain() {
        assert_eq!(
            RATES.cost(&TokenUsage::plain(u64::MAX, u64::MAX)),
            Err(MoneyOverflow)
        );
    }

    #[test]
    fn a_long_request_pays_its_tier_for_all_of_its_tokens() {
        let dear = Rates {
            input: 5_000_000_000,
            ..RATES
        };
        let prices = ModelPrices {
            version: "test".into(),
            rates: RATES,
            tiers: vec![Tier {
                above_input_tokens: 200_000,
                rates: dear,
            }],
            output_tokens_max: None,
            context_tokens: None,
        };
        assert_eq!(prices.pin(&TokenUsage::plain(200_000, 1)).rates, RATES);
        assert_eq!(prices.pin(&TokenUsage::plain(200_001, 1)).rates, dear);
        let ask = WorstCase {
            tokens_in: 200_001,
            classes_in: &[TokenClass::Input],
            tokens_out: 0,
            classes_out: &[TokenClass::Output],
        };
        assert_eq!(prices.worst_case(&ask), Ok(Nanos::new(1_000_005_000)));
    }
}
