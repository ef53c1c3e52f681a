//! What providers say was used, made into disjoint classes or refused.

mod bedrock;
mod sound;
mod tokens;

use tollgate_core::TokenUsage;
use tollgate_core::price::fees::ToolUses;
use tollgate_core::tokens::TOKENS_MAX;

use crate::json::{Members, Nested, Raw, object};
use crate::request::Bounds;

pub(super) use bedrock::{BedrockCounts, converse, invocation};
pub(super) use sound::sound;
pub(super) use tokens::{images, response};

/// Why a provider's usage is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InvalidUsage {
    /// A count is not a whole number from 0 on, or stands there twice.
    NotACount,
    /// A count is missing that has to be there.
    Incomplete,
    /// The parts of a count are more than the count.
    PartsExceedTotal,
    /// A count is more than the request makes possible.
    AboveBound,
}

impl InvalidUsage {
    /// The stable name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::NotACount => "usage_not_a_count",
            Self::Incomplete => "usage_incomplete",
            Self::PartsExceedTotal => "usage_parts_exceed_total",
            Self::AboveBound => "usage_above_bound",
        }
    }
}

/// A reported usage, or why it cannot be one.
pub(super) type Reported<T> = Result<T, InvalidUsage>;

/// Refuses what the request makes impossible.
pub(super) fn within(usage: TokenUsage, bounds: Bounds) -> Reported<TokenUsage> {
    let fits = usage.tokens_in() <= bounds.tokens_in && usage.tokens_out() <= bounds.tokens_out;
    if fits {
        Ok(usage)
    } else {
        Err(InvalidUsage::AboveBound)
    }
}

/// A count that may be absent; absent is not zero.
pub(super) fn count(raw: Raw<'_>) -> Reported<Option<u64>> {
    let Some(text) = raw.present() else {
        return Ok(None);
    };
    match text.parse::<u64>() {
        Ok(count) if count <= TOKENS_MAX => Ok(Some(count)),
        Ok(_) => Err(InvalidUsage::AboveBound),
        Err(_) if text.len() > 16 && text.bytes().all(|byte| byte.is_ascii_digit()) => {
            Err(InvalidUsage::AboveBound)
        }
        Err(_) => Err(InvalidUsage::NotACount),
    }
}

/// What is left of a total without its parts.
fn without(total: u64, parts: &[u64]) -> Reported<u64> {
    let left = parts
        .iter()
        .try_fold(total, |left, part| left.checked_sub(*part));
    left.ok_or(InvalidUsage::PartsExceedTotal)
}

/// Reads an object's members; nothing when it is absent, `null` or not an object.
fn members<'a, T: Members<'a>>(value: impl Into<Nested<'a, T>>) -> Reported<Option<T>> {
    value.into().members().or(Err(InvalidUsage::NotACount))
}

object! {
    pub(super) OpenAiUsage {
        prompt_tokens,
        completion_tokens,
        total_tokens,
        prompt_tokens_details in OpenAiDetails,
        completion_tokens_details in OpenAiDetails,
    }
}

object! {
    #[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
    OpenAiDetails {
        cached_tokens,
        cache_write_tokens,
        audio_tokens,
        reasoning_tokens,
    }
}

/// Whether an answer has output that can be counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Output {
    /// It has.
    Tokens,
    /// It has not: only input is reported.
    Nothing,
}

/// OpenAI's usage: `prompt_tokens` includes what was cached and what was audio,
/// `completion_tokens` includes reasoning and audio. A total that is greater than both is how
/// some compatible servers report reasoning.
pub(super) fn openai(
    usage: Nested<'_, OpenAiUsage<'_>>,
    output: Output,
) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members(usage)? else {
        return Ok(None);
    };
    let (prompt, total) = (count(usage.prompt_tokens)?, count(usage.total_tokens)?);
    let completion = match (count(usage.completion_tokens)?, output) {
        (None, Output::Nothing) => Some(0),
        (completion, _) => completion,
    };
    let (Some(prompt), Some(completion)) = (prompt, completion) else {
        return Err(InvalidUsage::Incomplete);
    };
    let input = members(usage.prompt_tokens_details)?.unwrap_or_default();
    let cached_input = count(input.cached_tokens)?.unwrap_or(0);
    let cache_write = count(input.cache_write_tokens)?.unwrap_or(0);
    let audio_input = count(input.audio_tokens)?.unwrap_or(0);
    let details = members(usage.completion_tokens_details)?.unwrap_or_default();
    let reasoning = count(details.reasoning_tokens)?.unwrap_or(0);
    let audio_output = count(details.audio_tokens)?.unwrap_or(0);
    let apart = match total {
        Some(total) => without(total, &[prompt, completion])?,
        None => 0,
    };
    // Tokens beyond both are reasoning that `completion_tokens` leaves out.
    let (reasoning, inside) = if apart > 0 {
        (apart, 0)
    } else {
        (reasoning, reasoning)
    };
    Ok(Some(TokenUsage {
        input: without(prompt, &[cached_input, cache_write, audio_input])?,
        cached_input,
        cache_write,
        cache_write_hour: 0,
        audio_input,
        output: without(completion, &[inside, audio_output])?,
        reasoning,
        audio_output,
        ..TokenUsage::NONE
    }))
}

object! {
    pub(super) AnthropicUsage {
        input_tokens,
        output_tokens,
        cache_read_input_tokens,
        cache_creation_input_tokens,
        cache_creation in AnthropicCreation,
        server_tool_use in AnthropicTools,
    }
}

object! {
    AnthropicTools {
        web_search_requests,
    }
}

object! {
    AnthropicCreation {
        ephemeral_5m_input_tokens,
        ephemeral_1h_input_tokens,
    }
}

/// Anthropic's usage as its events tell it: later numbers replace earlier ones, and what an event
/// leaves out stays. `input_tokens` does not include what a cache read or took.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct AnthropicCounts {
    input: Option<u64>,
    output: Option<u64>,
    read: Option<u64>,
    written: Option<u64>,
    written_usual: Option<u64>,
    written_hour: Option<u64>,
    searches: Option<u64>,
}

impl AnthropicCounts {
    /// How often tools were used that Anthropic runs and charges by use.
    pub(super) fn tools(&self) -> ToolUses {
        ToolUses {
            web_search: self.searches.unwrap_or(0),
            ..ToolUses::NONE
        }
    }

    /// Takes what one event says; whether it said anything.
    pub(super) fn take(&mut self, usage: Nested<'_, AnthropicUsage<'_>>) -> Reported<bool> {
        let Some(usage) = members(usage)? else {
            return Ok(false);
        };
        let creation = members(usage.cache_creation)?.unwrap_or_default();
        let tools = members(usage.server_tool_use)?.unwrap_or_default();
        let said = [
            (&mut self.searches, tools.web_search_requests),
            (&mut self.input, usage.input_tokens),
            (&mut self.output, usage.output_tokens),
            (&mut self.read, usage.cache_read_input_tokens),
            (&mut self.written, usage.cache_creation_input_tokens),
            (&mut self.written_usual, creation.ephemeral_5m_input_tokens),
            (&mut self.written_hour, creation.ephemeral_1h_input_tokens),
        ];
        for (kept, raw) in said {
            *kept = count(raw)?.or(*kept);
        }
        Ok(true)
    }

    /// All input classes.
    pub(super) fn input(&self) -> Reported<Option<TokenUsage>> {
        let Some(input) = self.input else {
            return Ok(None);
        };
        let hour = self.written_hour.unwrap_or(0);
        let usual = self.written_usual.unwrap_or(0);
        let split = hour.saturating_add(usual);
        let cache_write = match self.written {
            Some(written) if split > written => return Err(InvalidUsage::PartsExceedTotal),
            Some(written) => without(written, &[hour])?,
            None => usual,
        };
        Ok(Some(TokenUsage {
            input,
            cached_input: self.read.unwrap_or(0),
            cache_write,
            cache_write_hour: hour,
            ..TokenUsage::NONE
        }))
    }

    /// Input and output together.
    pub(super) fn all(&self) -> Reported<Option<TokenUsage>> {
        match (self.input()?, self.output) {
            (Some(input), Some(output)) => Ok(Some(TokenUsage { output, ..input })),
            _ => Err(InvalidUsage::Incomplete),
        }
    }
}

#[cfg(test)]
mod tests;
