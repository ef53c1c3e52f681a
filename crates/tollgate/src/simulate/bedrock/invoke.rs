//! `POST /model/{id}/invoke` and `/invoke-with-response-stream`: a maker's own words in Bedrock's envelope.
//!
//! Ids with `anthropic.` in them speak Anthropic's words, all others those of Meta's models.

use std::borrow::Cow;

use serde::Deserialize;

use super::frames::Frames;
use crate::simulate::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens, check_output},
    anthropic::Message,
    prompt::words,
    text::{Json, pieces},
};

/// A request in the words of Anthropic or of Meta.
pub(in crate::simulate) trait Spoken<'a>: Call<'a> {
    /// The whole answer as JSON.
    fn whole(&self, stamp: &Stamp, terms: &Terms) -> String;
    /// The pieces of the streamed answer, each as JSON.
    fn pieces(&self, stamp: &Stamp, terms: &Terms) -> Vec<String>;
}

/// A request whose answer is whole.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::simulate) struct Invoke<T>(T);

/// A request whose answer is a stream.
#[derive(Debug, Deserialize)]
#[serde(transparent)]
pub(in crate::simulate) struct InvokeStream<T>(T);

/// A request to one of Meta's models.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Generation<'a> {
    #[serde(borrow)]
    prompt: Cow<'a, str>,
    #[serde(default)]
    max_gen_len: Option<u64>,
}

impl<'a, T: Spoken<'a>> Call<'a> for Invoke<T> {
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        self.0.check(terms)
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        self.0.tokens(terms)
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        let text = self.0.whole(stamp, terms);
        if terms.faults.no_usage {
            Answer::Whole(text)
        } else {
            Answer::Counted(text, self.tokens(terms))
        }
    }
}

impl<'a, T: Spoken<'a>> Call<'a> for InvokeStream<T> {
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        self.0.check(terms)
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        self.0.tokens(terms)
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        let mut frames = Frames::default();
        let mut pieces = self.0.pieces(stamp, terms);
        if !terms.faults.no_usage
            && let Some(last) = pieces.last_mut()
        {
            *last = with_metrics(last, self.tokens(terms));
        }
        for piece in pieces {
            let mut json = Json::with_capacity(piece.len() * 2);
            json.raw(r#"{"bytes":""#).base64(piece.as_bytes());
            json.raw(r#"","p":"abcdefghijk"}"#);
            frames.event("chunk", &json.into_string());
        }
        Answer::Frames(frames)
    }
}

/// The last piece of a stream with the counts that Bedrock adds.
fn with_metrics(piece: &str, tokens: Tokens) -> String {
    let open = piece.strip_suffix('}').unwrap_or(piece);
    let mut json = Json::default();
    json.raw(open)
        .raw(r#","amazon-bedrock-invocationMetrics":{"inputTokenCount":"#);
    json.number(tokens.input).raw(r#","outputTokenCount":"#);
    json.number(tokens.output);
    json.raw(r#","invocationLatency":1,"firstByteLatency":1}}"#);
    json.into_string()
}

impl<'a> Spoken<'a> for Message<'a> {
    fn whole(&self, stamp: &Stamp, terms: &Terms) -> String {
        self.said(stamp, terms)
    }

    fn pieces(&self, stamp: &Stamp, terms: &Terms) -> Vec<String> {
        let events: Events = self.events(stamp, terms);
        let text = events.into_text();
        let data = text.lines().filter_map(|line| line.strip_prefix("data: "));
        data.map(str::to_owned).collect()
    }
}

impl Generation<'_> {
    fn output(&self, terms: &Terms) -> u64 {
        self.max_gen_len.unwrap_or(terms.default_output_tokens)
    }

    fn stop_reason(&self) -> &'static str {
        if self.max_gen_len.is_some() {
            r#""length""#
        } else {
            r#""stop""#
        }
    }

    fn put(json: &mut Json, (from, count): (u64, u64), counts: [&str; 2], stop: &str) {
        json.raw(r#"{"generation":""#).words(from, count);
        json.raw(r#"","prompt_token_count":"#).raw(counts[0]);
        json.raw(r#","generation_token_count":"#).raw(counts[1]);
        json.raw(r#","stop_reason":"#).raw(stop).raw("}");
    }
}

impl<'a> Call<'a> for Generation<'a> {
    fn model(&self) -> &'static str {
        ""
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        check_output(self.output(terms))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        Tokens {
            input: words(&self.prompt),
            output: self.output(terms),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        Answer::Whole(self.whole(stamp, terms))
    }
}

impl<'a> Spoken<'a> for Generation<'a> {
    fn whole(&self, _stamp: &Stamp, terms: &Terms) -> String {
        let mut json = Json::default();
        let Tokens { input, output } = self.tokens(terms);
        let counts = [input, output].map(|count| {
            if terms.faults.no_usage {
                "null".to_owned()
            } else {
                count.to_string()
            }
        });
        Self::put(
            &mut json,
            (0, output),
            [&counts[0], &counts[1]],
            self.stop_reason(),
        );
        json.into_string()
    }

    fn pieces(&self, _stamp: &Stamp, terms: &Terms) -> Vec<String> {
        let spans = pieces(self.output(terms)).map(|span| (span, "null"));
        let spans = spans.chain([((0, 0), self.stop_reason())]);
        spans
            .map(|(span, stop)| {
                let mut json = Json::default();
                Self::put(&mut json, span, ["null", "null"], stop);
                json.into_string()
            })
            .collect()
    }
}
