//! The usage of sound that was written down: tokens, or seconds.

use tollgate_core::TokenUsage;

use super::{InvalidUsage, Raw, Reported, count, members, without};
use crate::json::object;

object! {
    SoundUsage {
        r#type as "type",
        input_tokens,
        output_tokens,
        total_tokens,
        input_token_details,
    }
}

object! {
    Details {
        audio_tokens,
        cached_tokens,
    }
}

/// OpenAI's usage of sound. `input_tokens` includes what was sound and what was cached. A model
/// that is billed by the minute uses no tokens: its price, if it has one, is for each request.
pub(in crate::meter) fn sound(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members::<SoundUsage<'_>>(raw)? else {
        return Ok(None);
    };
    if usage.r#type.text() == Some("\"duration\"") {
        return Ok(Some(TokenUsage::NONE));
    }
    let (Some(input), Some(output)) = (count(usage.input_tokens)?, count(usage.output_tokens)?)
    else {
        return Err(InvalidUsage::Incomplete);
    };
    if let Some(total) = count(usage.total_tokens)? {
        without(total, &[input, output])?;
    }
    let details = members::<Details<'_>>(usage.input_token_details)?.unwrap_or_default();
    let audio_input = count(details.audio_tokens)?.unwrap_or(0);
    let cached_input = count(details.cached_tokens)?.unwrap_or(0);
    Ok(Some(TokenUsage {
        input: without(input, &[audio_input, cached_input])?,
        audio_input,
        cached_input,
        output,
        ..TokenUsage::NONE
    }))
}
