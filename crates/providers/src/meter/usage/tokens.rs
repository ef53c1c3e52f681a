//! What OpenAI's newer answers say was used: `input_tokens` and `output_tokens`, each with details.

use serde::Deserialize;
use tollgate_core::TokenUsage;

use super::{InvalidUsage, Reported, count, members, without};
use crate::json::Raw;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage<'a> {
    #[serde(borrow)]
    input_tokens: Raw<'a>,
    output_tokens: Raw<'a>,
    total_tokens: Raw<'a>,
    input_tokens_details: Raw<'a>,
    output_tokens_details: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
    cache_write_tokens: Raw<'a>,
    audio_tokens: Raw<'a>,
    image_tokens: Raw<'a>,
    reasoning_tokens: Raw<'a>,
}

/// The usage of a response: `input_tokens` includes what was cached, `output_tokens` reasoning.
pub(in crate::meter) fn response(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members::<Usage<'_>>(raw)? else {
        return Ok(None);
    };
    let (Some(input), Some(output)) = (count(usage.input_tokens)?, count(usage.output_tokens)?)
    else {
        return Err(InvalidUsage::Incomplete);
    };
    if let Some(total) = count(usage.total_tokens)? {
        // A total that is less than its parts is no total.
        without(total, &[input, output])?;
    }
    let read = members::<Details<'_>>(usage.input_tokens_details)?.unwrap_or_default();
    let cached_input = count(read.cached_tokens)?.unwrap_or(0);
    let cache_write = count(read.cache_write_tokens)?.unwrap_or(0);
    let audio_input = count(read.audio_tokens)?.unwrap_or(0);
    let made = members::<Details<'_>>(usage.output_tokens_details)?.unwrap_or_default();
    let reasoning = count(made.reasoning_tokens)?.unwrap_or(0);
    let audio_output = count(made.audio_tokens)?.unwrap_or(0);
    Ok(Some(TokenUsage {
        input: without(input, &[cached_input, cache_write, audio_input])?,
        cached_input,
        cache_write,
        audio_input,
        output: without(output, &[reasoning, audio_output])?,
        reasoning,
        audio_output,
        ..TokenUsage::NONE
    }))
}

/// The usage of images that were made: the images that were read and those that were made are
/// classes of their own. Where the output has no details, all of it is images.
pub(in crate::meter) fn images(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members::<Usage<'_>>(raw)? else {
        return Ok(None);
    };
    let (Some(input), Some(output)) = (count(usage.input_tokens)?, count(usage.output_tokens)?)
    else {
        return Err(InvalidUsage::Incomplete);
    };
    let read = members::<Details<'_>>(usage.input_tokens_details)?.unwrap_or_default();
    let image_input = count(read.image_tokens)?.unwrap_or(0);
    let cached_input = count(read.cached_tokens)?.unwrap_or(0);
    let made = members::<Details<'_>>(usage.output_tokens_details)?.unwrap_or_default();
    let image_output = count(made.image_tokens)?.unwrap_or(output);
    Ok(Some(TokenUsage {
        input: without(input, &[image_input, cached_input])?,
        cached_input,
        image_input,
        output: without(output, &[image_output])?,
        image_output,
        ..TokenUsage::NONE
    }))
}
