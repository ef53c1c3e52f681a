//! The usage of what was sent as a form: tokens of sound or pictures, or seconds of sound.

use serde::Deserialize;
use tollgate_core::TokenUsage;

use super::{InvalidUsage, Raw, Reported, count, members, without};

#[derive(Deserialize, Default)]
#[serde(default)]
struct FormUsage<'a> {
    #[serde(borrow)]
    r#type: Raw<'a>,
    input_tokens: Raw<'a>,
    output_tokens: Raw<'a>,
    total_tokens: Raw<'a>,
    /// Of sound.
    input_token_details: Raw<'a>,
    /// Of pictures.
    input_tokens_details: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details<'a> {
    #[serde(borrow)]
    audio_tokens: Raw<'a>,
    cached_tokens: Raw<'a>,
}

/// OpenAI's usage of a form. `input_tokens` includes what was sound and what was cached. A model
/// that is billed by the minute uses no tokens: its price, if it has one, is for each request.
pub(in crate::meter) fn form(raw: Raw<'_>) -> Reported<Option<TokenUsage>> {
    let Some(usage) = members::<FormUsage<'_>>(raw)? else {
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
    let sound = members::<Details<'_>>(usage.input_token_details)?.unwrap_or_default();
    let pictures = members::<Details<'_>>(usage.input_tokens_details)?.unwrap_or_default();
    let part = |one: Raw<'_>, other: Raw<'_>| Ok(count(one)?.or(count(other)?).unwrap_or(0));
    let audio_input = part(sound.audio_tokens, pictures.audio_tokens)?;
    let cached_input = part(sound.cached_tokens, pictures.cached_tokens)?;
    Ok(Some(TokenUsage {
        input: without(input, &[audio_input, cached_input])?,
        audio_input,
        cached_input,
        output,
        ..TokenUsage::NONE
    }))
}
