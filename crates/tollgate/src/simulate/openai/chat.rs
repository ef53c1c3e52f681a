//! `POST /v1/chat/completions`.

use std::borrow::Cow;

use serde::Deserialize;

use super::{StreamOptions, check_choices, check_stream_options, usage};
use crate::simulate::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens, Wire, check_output},
    azure::FILTERED,
    prompt::{Messages, Named, ToolChoice, forced_tool},
    text::{Json, pieces},
};

const MARK: &str = r#","service_tier":"default","system_fingerprint":"fp_simulated","choices":["#;

const PROMPT_FILTERED: &str =
    r#""prompt_filter_results":[{"prompt_index":0,"content_filter_results":"#;

/// A chat request: the members that bear on tokens or on the shape of the answer.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct Chat<'a> {
    /// Absent where the path names a deployment.
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    messages: Messages,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    n: Option<u64>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(default)]
    max_completion_tokens: Option<u64>,
    #[serde(borrow, default)]
    tools: Option<Vec<Named<'a>>>,
    #[serde(borrow, default)]
    tool_choice: Option<ToolChoice<'a>>,
}

impl Chat<'_> {
    fn choices(&self) -> u64 {
        self.n.unwrap_or(1)
    }

    fn asked_output(&self) -> Option<u64> {
        self.max_completion_tokens.or(self.max_tokens)
    }

    /// Output tokens of each choice.
    fn output(&self, terms: &Terms) -> u64 {
        self.asked_output().unwrap_or(terms.default_output_tokens)
    }

    fn tool(&self) -> Option<&str> {
        forced_tool(self.tools.as_deref(), self.tool_choice.as_ref())
    }

    fn finish_reason(&self) -> &'static str {
        if self.tool().is_some() {
            r#""tool_calls""#
        } else if self.asked_output().is_some() {
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

    fn head(&self, json: &mut Json, object: &str, stamp: &Stamp) {
        json.raw(r#"{"id":"chatcmpl-"#)
            .raw(&stamp.id)
            .raw(r#"","object":""#)
            .raw(object);
        json.raw(r#"","created":"#).number(stamp.created);
        json.raw(r#","model":"#).string(&self.model);
    }

    fn whole(&self, stamp: &Stamp, terms: &Terms) -> String {
        let output = self.output(terms);
        let mut json = Json::with_capacity(1_024 + usize::try_from(output * 6).unwrap_or_default());
        self.head(&mut json, "chat.completion", stamp);
        json.raw(MARK);
        for choice in 0..self.choices() {
            if choice > 0 {
                json.raw(",");
            }
            json.raw(r#"{"index":"#)
                .number(choice)
                .raw(r#","message":{"role":"assistant","#);
            match self.tool() {
                Some(name) => {
                    json.raw(r#""content":null,"tool_calls":[{"id":"#);
                    tool_id(&mut json, stamp, choice);
                    json.raw(r#","type":"function","function":{"name":"#)
                        .string(name);
                    json.raw(r#","arguments":"{\"text\":\""#).words(0, output);
                    json.raw(r#"\"}"}}]"#);
                }
                None => {
                    json.raw(r#""content":""#).words(0, output).raw("\"");
                }
            }
            json.raw(r#","refusal":null,"annotations":[]},"logprobs":null,"finish_reason":"#);
            json.raw(self.finish_reason());
            if terms.wire == Wire::Azure {
                json.raw(r#","content_filter_results":"#).raw(FILTERED);
            }
            json.raw("}");
        }
        json.raw("]");
        if terms.wire == Wire::Azure {
            json.raw(",").raw(PROMPT_FILTERED).raw(FILTERED).raw("}]");
        }
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
        self.head(&mut head, "chat.completion.chunk", stamp);
        head.raw(MARK);
        let chunks = Chunks {
            head: head.into_string(),
            filtered: match terms.wire {
                Wire::Azure => r#","content_filter_results":{}"#,
                Wire::Plain => "",
            },
            tail: if self.include_usage(terms) {
                r#","usage":null}"#
            } else {
                "}"
            },
        };
        let output = self.output(terms);
        let mut events = Events::with_capacity(32 * 1_024);
        if terms.wire == Wire::Azure {
            // The first chunk has no choice, as Azure's have.
            let text = events.text();
            text.raw(r#"data: {"choices":[],"created":0,"id":"","model":"","object":"","#);
            text.raw(PROMPT_FILTERED).raw(FILTERED).raw("}]}");
            events.end();
        }
        for choice in 0..self.choices() {
            match self.tool() {
                Some(name) => chunks.tool(&mut events, (choice, name), stamp, output),
                None => chunks.text(&mut events, choice, output),
            }
            chunks.put(&mut events, choice, self.finish_reason(), |delta| {
                delta.raw("{}");
            });
        }
        if self.include_usage(terms) {
            events.text().raw(&chunks.head).raw(r#"],"usage":"#);
            usage(events.text(), self.tokens(terms), terms);
            events.text().raw("}");
            events.end();
        }
        events.text().raw("data: [DONE]");
        events.end();
        events
    }
}

impl<'a> Call<'a> for Chat<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        check_choices(self.choices())?;
        check_stream_options(self.stream, self.stream_options.as_ref())?;
        check_output(self.output(terms).saturating_mul(self.choices()))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        Tokens {
            input: self.messages.0,
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

fn tool_id(json: &mut Json, stamp: &Stamp, choice: u64) {
    json.raw("\"call_")
        .raw(&stamp.id)
        .raw("_")
        .number(choice)
        .raw("\"");
}

/// What all chunks of a stream begin and end with.
struct Chunks {
    head: String,
    /// What is said of each choice beside its delta.
    filtered: &'static str,
    tail: &'static str,
}

impl Chunks {
    fn put(&self, events: &mut Events, choice: u64, finish: &str, delta: impl FnOnce(&mut Json)) {
        let text = events.text();
        text.raw(&self.head)
            .raw(r#"{"index":"#)
            .number(choice)
            .raw(r#","delta":"#);
        delta(text);
        text.raw(r#","logprobs":null,"finish_reason":"#)
            .raw(finish)
            .raw(self.filtered)
            .raw("}]")
            .raw(self.tail);
        events.end();
    }

    fn text(&self, events: &mut Events, choice: u64, output: u64) {
        self.put(events, choice, "null", |delta| {
            delta.raw(r#"{"role":"assistant","content":"","refusal":null}"#);
        });
        for (from, count) in pieces(output) {
            self.put(events, choice, "null", |delta| {
                delta.raw(r#"{"content":""#).words(from, count).raw("\"}");
            });
        }
    }

    fn tool(&self, events: &mut Events, call: (u64, &str), stamp: &Stamp, output: u64) {
        let (choice, name) = call;
        self.put(events, choice, "null", |delta| {
            delta.raw(r#"{"role":"assistant","content":null,"tool_calls":[{"index":0,"id":"#);
            tool_id(delta, stamp, choice);
            delta
                .raw(r#","type":"function","function":{"name":"#)
                .string(name);
            delta.raw(r#","arguments":""}}],"refusal":null}"#);
        });
        let mut arguments = |write: &dyn Fn(&mut Json)| {
            self.put(events, choice, "null", |delta| {
                delta.raw(r#"{"tool_calls":[{"index":0,"function":{"arguments":""#);
                write(delta);
                delta.raw(r#""}}]}"#);
            });
        };
        arguments(&|json| {
            json.raw(r#"{\"text\":\""#);
        });
        for (from, count) in pieces(output) {
            arguments(&|json| {
                json.words(from, count);
            });
        }
        arguments(&|json| {
            json.raw(r#"\"}"#);
        });
    }
}
