//! `POST /v1/completions`, the older text completions.

use std::borrow::Cow;

use serde::Deserialize;

use super::{StreamOptions, check_choices, check_stream_options, usage};
use crate::simulate::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens, check_output},
    prompt::Inputs,
    text::{Json, pieces},
};

/// A completion request: the members that bear on tokens or on the shape of the answer.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Completion<'a> {
    /// Absent where the path names a deployment.
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    prompt: Inputs,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    max_tokens: Option<u64>,
}

impl Completion<'_> {
    /// One choice for each prompt, `n` times.
    fn choices(&self) -> u64 {
        let prompts = u64::try_from(self.prompt.0.len()).unwrap_or(u64::MAX);
        self.n.unwrap_or(1).saturating_mul(prompts)
    }

    fn output(&self, terms: &Terms) -> u64 {
        self.max_tokens.unwrap_or(terms.default_output_tokens)
    }

    fn finish_reason(&self) -> &'static str {
        if self.max_tokens.is_some() {
            r#""length""#
        } else {
            r#""stop""#
        }
    }

    fn include_usage(&self, terms: &Terms) -> bool {
        let asked = self
            .stream_options
            .as_ref()
            .and_then(|options| options.include_usage);
        asked == Some(true) && !terms.faults.no_usage
    }

    fn head(&self, json: &mut Json, stamp: &Stamp) {
        json.raw(r#"{"id":"cmpl-"#).raw(&stamp.id);
        json.raw(r#"","object":"text_completion","created":"#)
            .number(stamp.created);
        json.raw(r#","model":"#)
            .string(&self.model)
            .raw(r#","choices":["#);
    }

    fn whole(&self, stamp: &Stamp, terms: &Terms) -> String {
        let mut json = Json::with_capacity(1_024);
        self.head(&mut json, stamp);
        for choice in 0..self.choices() {
            if choice > 0 {
                json.raw(",");
            }
            put_choice(
                &mut json,
                choice,
                (0, self.output(terms)),
                self.finish_reason(),
            );
        }
        json.raw("]");
        if !terms.faults.no_usage {
            json.raw(r#","usage":"#);
            usage(&mut json, self.tokens(terms), terms);
        }
        json.raw("}");
        json.into_string()
    }

    fn events(&self, stamp: &Stamp, terms: &Terms) -> Events {
        let mut head = Json::with_capacity(256);
        head.raw("data: ");
        self.head(&mut head, stamp);
        let head = head.into_string();
        let tail = if self.include_usage(terms) {
            r#"],"usage":null}"#
        } else {
            "]}"
        };
        let mut events = Events::with_capacity(16 * 1_024);
        for choice in 0..self.choices() {
            for piece in pieces(self.output(terms)) {
                put_choice(events.text().raw(&head), choice, piece, "null");
                events.text().raw(tail);
                events.end();
            }
            put_choice(
                events.text().raw(&head),
                choice,
                (0, 0),
                self.finish_reason(),
            );
            events.text().raw(tail);
            events.end();
        }
        if self.include_usage(terms) {
            events.text().raw(&head).raw(r#"],"usage":"#);
            usage(events.text(), self.tokens(terms), terms);
            events.text().raw("}");
            events.end();
        }
        events.text().raw("data: [DONE]");
        events.end();
        events
    }
}

fn put_choice(json: &mut Json, choice: u64, (from, count): (u64, u64), finish: &str) {
    json.raw(r#"{"text":""#)
        .words(from, count)
        .raw(r#"","index":"#)
        .number(choice);
    json.raw(r#","logprobs":null,"finish_reason":"#)
        .raw(finish)
        .raw("}");
}

impl<'a> Call<'a> for Completion<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        check_choices(self.n.unwrap_or(1))?;
        check_stream_options(self.stream, self.stream_options.as_ref())?;
        check_output(self.output(terms).saturating_mul(self.choices()))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        Tokens {
            input: self.prompt.tokens(),
            output: self.output(terms) * self.choices(),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        if self.stream == Some(true) {
            Answer::Events(self.events(stamp, terms))
        } else {
            Answer::Whole(self.whole(stamp, terms))
        }
    }
}
