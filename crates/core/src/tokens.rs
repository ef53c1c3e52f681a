//! Token counts by class. Classes are disjoint: their sum is the provider's total.

use serde::{Deserialize, Serialize};

/// The greatest token count that is believed: exact in JSON for every client (2⁵³ − 1).
pub const TOKENS_MAX: u64 = (1 << 53) - 1;

/// A kind of token with a price of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClass {
    /// Input that was neither read from nor written to a cache.
    Input,
    /// Input read from the provider's cache.
    CachedInput,
    /// Input written to the provider's cache for its usual time (five minutes at Anthropic).
    CacheWrite,
    /// Input written to the provider's cache for an hour.
    CacheWriteHour,
    /// Audio input.
    AudioInput,
    /// Images that were read to make others.
    ImageInput,
    /// Output that is neither reasoning nor audio nor an image.
    Output,
    /// Output spent on reasoning.
    Reasoning,
    /// Audio output.
    AudioOutput,
    /// Images that were made.
    ImageOutput,
}

impl TokenClass {
    /// How many classes there are.
    pub const COUNT: usize = 10;

    /// Every class, in the order in which it is stored.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Input,
        Self::CachedInput,
        Self::CacheWrite,
        Self::CacheWriteHour,
        Self::AudioInput,
        Self::ImageInput,
        Self::Output,
        Self::Reasoning,
        Self::AudioOutput,
        Self::ImageOutput,
    ];

    /// The name that stands in the ledger, the price book and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrite => "cache_write",
            Self::CacheWriteHour => "cache_write_hour",
            Self::AudioInput => "audio_input",
            Self::ImageInput => "image_input",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
            Self::AudioOutput => "audio_output",
            Self::ImageOutput => "image_output",
        }
    }

    /// Whether tokens of the class are part of `tokens_in`; the others are part of `tokens_out`.
    #[must_use]
    pub const fn is_input(self) -> bool {
        matches!(
            self,
            Self::Input
                | Self::CachedInput
                | Self::CacheWrite
                | Self::CacheWriteHour
                | Self::AudioInput
                | Self::ImageInput
        )
    }
}

/// How many tokens of each class a call used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenUsage {
    /// Plain input tokens.
    pub input: u64,
    /// Input tokens read from a cache.
    pub cached_input: u64,
    /// Input tokens written to a cache.
    pub cache_write: u64,
    /// Input tokens written to a cache for an hour.
    pub cache_write_hour: u64,
    /// Audio input tokens.
    pub audio_input: u64,
    /// Tokens of images that were read to make others.
    pub image_input: u64,
    /// Plain output tokens.
    pub output: u64,
    /// Reasoning tokens.
    pub reasoning: u64,
    /// Audio output tokens.
    pub audio_output: u64,
    /// Tokens of images that were made.
    pub image_output: u64,
}

impl TokenUsage {
    /// No tokens at all.
    pub const NONE: Self = Self {
        input: 0,
        cached_input: 0,
        cache_write: 0,
        cache_write_hour: 0,
        audio_input: 0,
        image_input: 0,
        output: 0,
        reasoning: 0,
        audio_output: 0,
        image_output: 0,
    };

    /// A usage of plain input and output only.
    #[must_use]
    pub const fn plain(input: u64, output: u64) -> Self {
        let mut usage = Self::NONE;
        usage.input = input;
        usage.output = output;
        usage
    }

    /// The count of one class.
    #[must_use]
    pub const fn get(&self, class: TokenClass) -> u64 {
        match class {
            TokenClass::Input => self.input,
            TokenClass::CachedInput => self.cached_input,
            TokenClass::CacheWrite => self.cache_write,
            TokenClass::CacheWriteHour => self.cache_write_hour,
            TokenClass::AudioInput => self.audio_input,
            TokenClass::ImageInput => self.image_input,
            TokenClass::Output => self.output,
            TokenClass::Reasoning => self.reasoning,
            TokenClass::AudioOutput => self.audio_output,
            TokenClass::ImageOutput => self.image_output,
        }
    }

    /// All input classes together, at most [`TOKENS_MAX`].
    #[must_use]
    pub fn tokens_in(&self) -> u64 {
        self.sum(TokenClass::is_input)
    }

    /// All output classes together, at most [`TOKENS_MAX`].
    #[must_use]
    pub fn tokens_out(&self) -> u64 {
        self.sum(|class| !class.is_input())
    }

    /// All tokens, at most [`TOKENS_MAX`].
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sum(|_| true)
    }

    fn sum(&self, counts: impl Fn(TokenClass) -> bool) -> u64 {
        TokenClass::ALL
            .into_iter()
            .filter(|&class| counts(class))
            .fold(0_u64, |sum, class| sum.saturating_add(self.get(class)))
            .min(TOKENS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_disjoint_and_their_sum_is_the_total() {
        let usage = TokenUsage {
            input: 1,
            cached_input: 2,
            cache_write: 4,
            cache_write_hour: 8,
            audio_input: 16,
            image_input: 256,
            output: 32,
            reasoning: 64,
            audio_output: 128,
            image_output: 512,
        };
        assert_eq!(usage.tokens_in(), 287);
        assert_eq!(usage.tokens_out(), 736);
        assert_eq!(usage.total(), 1_023);
    }

    #[test]
    fn absurd_counts_stop_at_the_bound_and_do_not_wrap() {
        assert_eq!(TokenUsage::plain(u64::MAX, u64::MAX).total(), TOKENS_MAX);
    }
}
