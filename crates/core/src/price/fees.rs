//! What providers charge beside tokens, and for less than the usual price: tools that they run
//! themselves, by use, and batches.

use cus_models::CusProviderType;
use serde::{Deserialize, Serialize};

use super::Rates;
use crate::money::{MoneyOverflow, Nanos};

/// How often a call used tools that its provider runs and charges by use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct ToolUses {
    /// Web searches.
    pub web_search: u64,
    /// Searches in files.
    pub file_search: u64,
    /// Runs of code. They are charged by the container and its time, which no answer tells: no
    /// price here is theirs.
    pub code_interpreter: u64,
}

impl ToolUses {
    /// No use of any.
    pub const NONE: Self = Self {
        web_search: 0,
        file_search: 0,
        code_interpreter: 0,
    };

    /// Whether there was none.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::NONE
    }

    /// Both together.
    #[must_use]
    pub const fn and(self, other: Self) -> Self {
        Self {
            web_search: self.web_search.saturating_add(other.web_search),
            file_search: self.file_search.saturating_add(other.file_search),
            code_interpreter: self.code_interpreter.saturating_add(other.code_interpreter),
        }
    }
}

/// Which of a model's prices apply to a call.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tariff {
    /// The listed ones.
    #[default]
    Usual,
    /// Half of them: a batch, or the flexible kind of service that OpenAI calls flex.
    Half,
}

/// $10 for a thousand web searches, at OpenAI as at Anthropic.
const WEB_SEARCH: i64 = 10_000_000;

/// $2.50 for a thousand searches in files.
const FILE_SEARCH: i64 = 2_500_000;

/// The prices of a provider's model with what it charges for its own tools, as it lists them for
/// all of its models.
pub(super) const fn with_fees(provider: CusProviderType, rates: Rates) -> Rates {
    match provider {
        CusProviderType::Anthropic => Rates {
            web_search: Some(WEB_SEARCH),
            ..rates
        },
        CusProviderType::OpenAi | CusProviderType::AzureOpenAi => Rates {
            web_search: Some(WEB_SEARCH),
            file_search: Some(FILE_SEARCH),
            ..rates
        },
        CusProviderType::Bedrock | CusProviderType::Custom => rates,
    }
}

impl Rates {
    /// What the uses of a provider's own tools cost. A use without a price costs nothing here.
    pub fn fees(&self, uses: &ToolUses) -> Result<Nanos, MoneyOverflow> {
        let priced = [
            (uses.web_search, self.web_search),
            (uses.file_search, self.file_search),
        ];
        priced
            .into_iter()
            .try_fold(Nanos::ZERO, |sum, (count, price)| {
                let count = i64::try_from(count).or(Err(MoneyOverflow))?;
                let fee = count.checked_mul(price.unwrap_or(0)).ok_or(MoneyOverflow)?;
                sum.plus(Nanos::new(fee))
            })
    }

    /// The same prices at half, as batches and the flexible kind of service cost. Each is rounded
    /// half up; the fees of tools stay.
    #[must_use]
    pub fn halved(&self) -> Self {
        // A price is never negative, and half of it never overflows.
        let half = |price: i64| price.div_euclid(2).saturating_add(price.rem_euclid(2));
        Self {
            input: half(self.input),
            output: half(self.output),
            cached_input: self.cached_input.map(half),
            cache_write: self.cache_write.map(half),
            cache_write_hour: self.cache_write_hour.map(half),
            audio_input: self.audio_input.map(half),
            reasoning: self.reasoning.map(half),
            audio_output: self.audio_output.map(half),
            image_input: self.image_input.map(half),
            image_output: self.image_output.map(half),
            web_search: self.web_search,
            file_search: self.file_search,
            request: half(self.request),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_of_tools_cost_what_each_does() {
        let rates = with_fees(CusProviderType::OpenAi, Rates::default());
        let uses = ToolUses {
            web_search: 3,
            file_search: 2,
            code_interpreter: 9,
        };
        // 3 × $0.01 + 2 × $0.0025
        assert_eq!(rates.fees(&uses), Ok(Nanos::new(35_000_000)));
        assert_eq!(Rates::default().fees(&uses), Ok(Nanos::ZERO));
        let absurd = ToolUses {
            web_search: u64::MAX,
            ..ToolUses::NONE
        };
        assert_eq!(rates.fees(&absurd), Err(MoneyOverflow));
    }

    #[test]
    fn half_a_price_is_half_for_every_class_and_fees_stay() {
        let rates = Rates {
            input: 150_000_000,
            output: 3,
            cached_input: Some(75_000_000),
            web_search: Some(WEB_SEARCH),
            ..Rates::default()
        };
        let half = rates.halved();
        assert_eq!((half.input, half.output), (75_000_000, 2));
        assert_eq!(half.cached_input, Some(37_500_000));
        assert_eq!(half.web_search, Some(WEB_SEARCH));
        assert_eq!(half.reasoning, None);
    }
}
