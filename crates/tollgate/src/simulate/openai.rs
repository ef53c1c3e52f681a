//! OpenAI's wire format: what its operations share.

pub(super) mod chat;
pub(super) mod completions;
pub(super) mod embeddings;
pub(super) mod media;
pub(super) mod responses;

use http::StatusCode;
use serde::Deserialize;

use super::{
    answer::{Refusal, Terms, Tokens},
    text::Json,
};

/// The most choices of one answer.
const MAX_CHOICES: u64 = 128;

/// The options of a streamed request.
#[derive(Debug, Default, Deserialize)]
struct StreamOptions {
    #[serde(default)]
    include_usage: Option<bool>,
}

fn check_choices(count: u64) -> Result<(), Refusal> {
    if (1..=MAX_CHOICES).contains(&count) {
        return Ok(());
    }
    Err(Refusal::request(format!(
        "'n' is {count}, but must be from 1 to {MAX_CHOICES}"
    )))
}

fn check_stream_options(
    stream: Option<bool>,
    options: Option<&StreamOptions>,
) -> Result<(), Refusal> {
    if options.is_some() && stream != Some(true) {
        return Err(Refusal::request(
            "'stream_options' needs 'stream' to be true",
        ));
    }
    Ok(())
}

/// The usage object of chat and text completions.
fn usage(json: &mut Json, tokens: Tokens, terms: &Terms) {
    json.raw(r#"{"prompt_tokens":"#).number(tokens.input);
    json.raw(r#","completion_tokens":"#).number(tokens.output);
    json.raw(r#","total_tokens":"#)
        .number(tokens.input + tokens.output);
    json.raw(r#","prompt_tokens_details":{"cached_tokens":"#)
        .number(terms.cached(tokens.input));
    json.raw(r#","audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":"#);
    json.number(terms.reasoning(tokens.output));
    json.raw(
        r#","audio_tokens":0,"accepted_prediction_tokens":0,"rejected_prediction_tokens":0}}"#,
    );
}

/// An error as OpenAI's SDKs read it.
pub(super) fn error(refusal: &Refusal) -> String {
    let kind = match refusal.status {
        StatusCode::TOO_MANY_REQUESTS => "requests",
        status if status.is_server_error() => "server_error",
        _ => "invalid_request_error",
    };
    let mut json = Json::with_capacity(256);
    json.raw(r#"{"error":{"message":"#).string(&refusal.message);
    json.raw(r#","type":"#)
        .string(kind)
        .raw(r#","param":null,"code":"#);
    match refusal.code {
        Some(code) => json.string(code),
        None => json.raw("null"),
    };
    json.raw("}}");
    json.into_string()
}
