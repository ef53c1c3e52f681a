//! What OpenAI's newer answers say was used: `input_tokens` and `output_tokens`, each with details.

use tollgate_core::TokenUsage;

use super::{InvalidUsage, Reported, count, members, without};
use crate::json::{Raw, object};

object! {
    Usage {
        input_tokens,
        output_tokens,
        total_tokens,
        input_tokens_details,
        output_tokens_details,
    }
}

object! {
    #[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
    Details {
        cached_tokens,
        cache_write_tokens,
        audio_tokens,
        image_tokens,
        reasoning_tokens,
    }
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
