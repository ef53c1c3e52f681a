//! `POST /v1/images/generations`, `/v1/audio/speech` and `/v1/moderations`.

use std::borrow::Cow;

use serde::Deserialize;

use crate::simulate::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens},
    prompt::words,
    text::Json,
};

/// Tokens of one image that is made.
const IMAGE_TOKENS: u64 = 1_056;

/// Bytes of sound for each token.
const SOUND: &[u8] = b"\xff\xfb\x90\x00 sound ";

/// The most images of one request.
const MAX_IMAGES: u64 = 10;

/// A request for images.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Images<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    prompt: Cow<'a, str>,
    #[serde(default)]
    n: Option<u64>,
}

/// A request for speech: a word is a token, and is spoken in two.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Speech<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(borrow)]
    input: Cow<'a, str>,
    #[serde(borrow, default)]
    stream_format: Option<Cow<'a, str>>,
}

impl Images<'_> {
    fn count(&self) -> u64 {
        self.n.unwrap_or(1)
    }
}

impl<'a> Call<'a> for Images<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        if (1..=MAX_IMAGES).contains(&self.count()) {
            return Ok(());
        }
        Err(Refusal::request(format!(
            "'n' must be from 1 to {MAX_IMAGES}"
        )))
    }

    fn tokens(&self, _terms: &Terms) -> Tokens {
        Tokens {
            input: words(&self.prompt),
            output: IMAGE_TOKENS * self.count(),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        let tokens = self.tokens(terms);
        let mut json = Json::with_capacity(512);
        json.raw(r#"{"created":"#).number(stamp.created);
        json.raw(r#","data":["#);
        for image in 0..self.count() {
            if image > 0 {
                json.raw(",");
            }
            json.raw(r#"{"b64_json":""#).base64(b"an image").raw("\"}");
        }
        json.raw(r#"],"output_format":"png","quality":"medium","size":"1024x1024""#);
        if !terms.faults.no_usage {
            json.raw(r#","usage":{"input_tokens":"#)
                .number(tokens.input);
            json.raw(r#","input_tokens_details":{"text_tokens":"#)
                .number(tokens.input);
            json.raw(r#","image_tokens":0},"output_tokens":"#)
                .number(tokens.output);
            json.raw(r#","total_tokens":"#)
                .number(tokens.input + tokens.output)
                .raw("}");
        }
        json.raw("}");
        Answer::Whole(json.into_string())
    }
}

impl<'a> Call<'a> for Speech<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, _terms: &Terms) -> Result<(), Refusal> {
        if self.input.is_empty() {
            return Err(Refusal::request("'input' is empty"));
        }
        Ok(())
    }

    fn tokens(&self, _terms: &Terms) -> Tokens {
        let input = words(&self.input);
        Tokens {
            input,
            output: input * 2,
        }
    }

    fn answer(&self, _stamp: &Stamp, terms: &Terms) -> Answer {
        let tokens = self.tokens(terms);
        let count = usize::try_from(tokens.output).unwrap_or_default();
        if self.stream_format.as_deref() != Some("sse") {
            return Answer::Sound(SOUND.repeat(count));
        }
        let mut events = Events::with_capacity(64 * count);
        for _ in 0..count {
            events
                .text()
                .raw(r#"data: {"type":"speech.audio.delta","audio":""#)
                .base64(SOUND)
                .raw("\"}");
            events.end();
        }
        let done = events
            .text()
            .raw(r#"data: {"type":"speech.audio.done","usage":{"input_tokens":"#)
            .number(tokens.input);
        done.raw(r#","output_tokens":"#).number(tokens.output);
        done.raw(r#","total_tokens":"#)
            .number(tokens.input + tokens.output)
            .raw("}}");
        events.end();
        Answer::Events(events)
    }
}

/// What is said of anything that is looked at: that it is harmless. Nothing is billed for it.
pub(in crate::simulate) fn moderated() -> String {
    r#"{"id":"modr-1","model":"omni-moderation-latest","results":[{"flagged":false,"categories":{},"category_scores":{},"category_applied_input_types":{}}]}"#.to_owned()
}
