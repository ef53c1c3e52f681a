//! What a request can use at worst, from what it says of itself.

use tollgate_core::config::IntegrationConfig;
use tollgate_core::hold::Ask;
use tollgate_core::money::Nanos;
use tollgate_core::price::{ModelPrices, Rates, WorstCase};
use tollgate_core::tokens::{TOKENS_MAX, TokenClass, TokenUsage};

use super::parts::Tools;
use super::speech;
use super::{RequestError, RequestFacts};
use crate::operation::Operation;

/// More input tokens than any model of today reads at once. It bounds a file, whose size a
/// request does not tell, and everything that a provider's own tools add.
const CONTEXT_TOKENS: u64 = 1_050_000;

/// The most input tokens of one image: eight tiles at the dearest known rate are 48,169.
const IMAGE_TOKENS: u64 = 50_000;

/// The most output tokens of one image that is made: 6,240 are known, with 300 for its previews.
pub(super) const IMAGE_OUTPUT_TOKENS: u64 = 16_384;

/// What a provider itself writes before the input when a request has tools: about 1,250 are known.
const TOOLS_TOKENS: u64 = 2_048;

/// Input that a provider may report beyond the bound of a hold and still be believed: the marks
/// that a chat template puts around a very short text.
pub(crate) const TEMPLATE_TOKENS: u64 = 1_024;

/// The same under a hard cap, where nothing beyond the hold is believed, so that it has to be
/// held: room for every chat template that is known, and little beside even a small limit.
const CAPPED_TEMPLATE_TOKENS: u64 = 256;

/// What a provider's reported usage may not exceed, because the request makes more impossible.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Input tokens of all classes.
    pub tokens_in: u64,
    /// Output tokens of all classes.
    pub tokens_out: u64,
}

impl Bounds {
    /// No bound but what can be counted at all.
    pub const NONE: Self = Self {
        tokens_in: TOKENS_MAX,
        tokens_out: TOKENS_MAX,
    };
}

impl RequestFacts {
    /// The most input tokens that the request can have: its bytes, and a fixed bound for what a
    /// byte of it does not tell (images, files, a provider's own words for tools).
    ///
    /// What the provider keeps of an earlier conversation is no more than the model can read,
    /// which `prices` may tell.
    #[must_use]
    pub fn input_bound(&self, prices: Option<&ModelPrices>) -> u64 {
        if let Some(form) = &self.form {
            return self.form_input(form);
        }
        if self.operation == Operation::Speech {
            return self.spoken;
        }
        let bytes = u64::try_from(self.body_length).unwrap_or(u64::MAX);
        let tools = if self.parts.tools == Tools::None {
            0
        } else {
            TOOLS_TOKENS
        };
        bytes
            .saturating_add(tools)
            .saturating_add(self.unread_bound(prices))
            .min(TOKENS_MAX)
    }

    /// Whether the book's prices are those that the provider will charge. A caller can ask for a
    /// dearer kind of service (`service_tier`, `speed`, `inference_geo`) whose factor no price
    /// book has; only what is known to cost the usual or less counts as usual.
    pub const fn is_standard_priced(&self) -> bool {
        self.standard_priced
    }

    /// Whether the provider runs tools or guardrails of its own in the call, which it charges by
    /// use and not by token: nothing in the request bounds that.
    #[must_use]
    pub fn has_unpriced_tools(&self) -> bool {
        self.parts.tools == Tools::Provider || self.parts.guarded
    }

    /// The most output tokens of each answer: what the request names, else the integration's
    /// default and not above the model's maximum. Nothing for what has no output.
    #[must_use]
    pub fn output_allowance(
        &self,
        config: &IntegrationConfig,
        prices: Option<&ModelPrices>,
    ) -> u64 {
        if self.operation == Operation::GenerateImages {
            return IMAGE_OUTPUT_TOKENS;
        }
        if self.operation == Operation::Speech {
            return self.spoken.saturating_mul(speech::TOKENS_PER_CHARACTER);
        }
        if !self.operation.has_output() {
            return 0;
        }
        if let Some(form) = &self.form {
            return self.form_output(form, config, prices);
        }
        let most = prices
            .and_then(|prices| prices.output_tokens_max)
            .unwrap_or(u64::MAX);
        self.output_maximum
            .unwrap_or_else(|| config.output_tokens().min(most))
    }

    /// What has to be held for the call: the most tokens that it can use, each at the dearest
    /// price that may apply. Without prices the cost is unknown; what is not billed asks for nothing.
    pub fn ask(
        &self,
        config: &IntegrationConfig,
        prices: Option<&ModelPrices>,
    ) -> Result<Ask, RequestError> {
        if !self.operation.is_billed() {
            return Ok(Ask {
                worst: TokenUsage::NONE,
                cost: Some(Nanos::ZERO),
            });
        }
        let each = self.output_allowance(config, prices);
        let tokens_in = self.held_input(config, prices);
        let tokens_out = self.all_output(each).ok_or(self.unbookable())?;
        if tokens_in.saturating_add(tokens_out) > TOKENS_MAX {
            return Err(self.unbookable());
        }
        let (classes_in, classes_out) = (self.input_classes(), self.output_classes());
        let rates = prices.map(|prices| prices.rates_for(tokens_in));
        let mut worst = TokenUsage::NONE;
        *count_of(&mut worst, dearest(rates, classes_in)) = tokens_in;
        *count_of(&mut worst, dearest(rates, classes_out)) = tokens_out;
        let case = WorstCase {
            tokens_in,
            classes_in,
            tokens_out,
            classes_out,
        };
        let cost = prices.map(|prices| prices.worst_case(&case)).transpose();
        Ok(Ask {
            worst,
            cost: cost.or(Err(self.unbookable()))?,
        })
    }

    /// What the provider's usage may not exceed. Under a hard cap that is what is held, so that
    /// no report, true or not, can carry the spend beyond a limit.
    #[must_use]
    pub fn bounds(&self, config: &IntegrationConfig, prices: Option<&ModelPrices>) -> Bounds {
        if config.hard_cap {
            let each = self.output_allowance(config, prices);
            let tokens_out = self.all_output(each).unwrap_or(TOKENS_MAX);
            return Bounds {
                tokens_in: self.held_input(config, prices),
                tokens_out,
            };
        }
        if let Some(form) = &self.form {
            return Self::form_bounds(form);
        }
        let tokens_in = match self.parts.tools {
            Tools::Provider => TOKENS_MAX,
            Tools::None | Tools::Caller => self.input_bound(prices).saturating_add(TEMPLATE_TOKENS),
        };
        let named = self.output_maximum.and_then(|each| self.all_output(each));
        Bounds {
            tokens_in,
            tokens_out: named.unwrap_or(TOKENS_MAX),
        }
    }

    /// The input tokens that are held.
    fn held_input(&self, config: &IntegrationConfig, prices: Option<&ModelPrices>) -> u64 {
        let template = if config.hard_cap {
            CAPPED_TEMPLATE_TOKENS
        } else {
            0
        };
        self.input_bound(prices)
            .saturating_add(template)
            .min(TOKENS_MAX)
    }

    /// The classes that the input may be of, the plain one first.
    fn input_classes(&self) -> &'static [TokenClass] {
        use TokenClass::{AudioInput, CacheWrite, CacheWriteHour, CachedInput, ImageInput, Input};
        if self.operation.makes_images() {
            return &[Input, CachedInput, ImageInput];
        }
        // A cache that OpenAI's kind writes by itself has one price; Anthropic's has to be asked for.
        match (self.parts.cache_control, self.parts.audio) {
            (true, true) => &[Input, CachedInput, CacheWrite, CacheWriteHour, AudioInput],
            (true, false) => &[Input, CachedInput, CacheWrite, CacheWriteHour],
            (false, true) => &[Input, CachedInput, CacheWrite, AudioInput],
            (false, false)
                if self.operation == Operation::Messages || self.operation.is_bedrocks() =>
            {
                &[Input, CachedInput]
            }
            (false, false) => &[Input, CachedInput, CacheWrite],
        }
    }

    /// The classes that the output may be of, the plain one first.
    const fn output_classes(&self) -> &'static [TokenClass] {
        use TokenClass::{AudioOutput, ImageOutput, Output, Reasoning};
        if self.operation.makes_images() {
            &[Output, ImageOutput]
        } else if self.parts.audio {
            &[Output, Reasoning, AudioOutput]
        } else {
            &[Output, Reasoning]
        }
    }

    /// `each` token of output for all answers, and a prediction's rejected tokens on top.
    fn all_output(&self, each: u64) -> Option<u64> {
        let predicted = if self.parts.prediction {
            u64::try_from(self.body_length).ok()?
        } else {
            0
        };
        each.checked_mul(self.choices)?
            .checked_add(predicted)
            .filter(|all| *all <= TOKENS_MAX)
    }

    /// Tokens of parts that the body only points to, or that its bytes do not bound. Together
    /// they are no more than a model can read.
    fn unread_bound(&self, prices: Option<&ModelPrices>) -> u64 {
        let images = self.parts.images.saturating_mul(IMAGE_TOKENS);
        let files = if self.parts.files == 0 {
            0
        } else {
            CONTEXT_TOKENS
        };
        let found = if self.parts.tools == Tools::Provider {
            CONTEXT_TOKENS
        } else {
            0
        };
        let kept = if self.parts.stored {
            let context = prices.and_then(|prices| prices.context_tokens);
            context.unwrap_or(CONTEXT_TOKENS)
        } else {
            0
        };
        images
            .saturating_add(files)
            .saturating_add(found)
            .saturating_add(kept)
            .min(CONTEXT_TOKENS)
    }

    /// Which member makes the request too large to book.
    fn unbookable(&self) -> RequestError {
        RequestError::Unbookable(if self.choices > 1 { "n" } else { "max_tokens" })
    }
}

/// The dearest of `classes`, the first of equals; the first when there are no prices.
fn dearest(rates: Option<&Rates>, classes: &[TokenClass]) -> TokenClass {
    let price = |class: &TokenClass| rates.map_or(0, |rates| rates.of(*class));
    let found = classes.iter().copied().rev().max_by_key(price);
    found.unwrap_or(TokenClass::Input)
}

/// The count of one class.
const fn count_of(usage: &mut TokenUsage, class: TokenClass) -> &mut u64 {
    match class {
        TokenClass::Input => &mut usage.input,
        TokenClass::CachedInput => &mut usage.cached_input,
        TokenClass::CacheWrite => &mut usage.cache_write,
        TokenClass::CacheWriteHour => &mut usage.cache_write_hour,
        TokenClass::AudioInput => &mut usage.audio_input,
        TokenClass::ImageInput => &mut usage.image_input,
        TokenClass::Output => &mut usage.output,
        TokenClass::Reasoning => &mut usage.reasoning,
        TokenClass::AudioOutput => &mut usage.audio_output,
        TokenClass::ImageOutput => &mut usage.image_output,
    }
}
