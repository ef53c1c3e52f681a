//! Anthropic's wire format: `POST /v1/messages` and `/v1/messages/count_tokens`.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;

use super::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens, check_output},
    prompt::{Content, Messages, Named, ToolChoice, forced_tool},
    text::{Json, pieces},
};

/// A messages request: the members that bear on tokens or on the shape of the answer.
#[derive(Debug, Deserialize)]
pub(super) struct Message<'a> {
    /// Absent where the path names it.
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    messages: Messages,
    #[serde(default)]
    system: Content,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    max_tokens: Option<u64>,
    #[serde(borrow, default)]
    tools: Option<Vec<Named<'a>>>,
    #[serde(borrow, default)]
    tool_choice: Option<ToolChoice<'a>>,
}

impl Message<'_> {
    fn output(&self, terms: &Terms) -> u64 {
        self.max_tokens.unwrap_or(terms.default_output_tokens)
    }

    fn tool(&self) -> Option<&str> {
        forced_tool(self.tools.as_deref(), self.tool_choice.as_ref())
    }

    fn stop_reason(&self) -> &'static str {
        if self.tool().is_some() {
            r#""tool_use""#
        } else if self.max_tokens.is_some() {
            r#""max_tokens""#
        } else {
            r#""end_turn""#
        }
    }

    fn head(&self, json: &mut Json, stamp: &Stamp) {
        json.raw(r#"{"id":"msg_"#).raw(&stamp.id);
        json.raw(r#"","type":"message","role":"assistant","model":"#)
            .string(&self.model);
        json.raw(r#","content":["#);
    }

    /// The usage object with so many output tokens: all of them at the end, one at the start of a stream.
    fn usage(&self, json: &mut Json, output: u64, terms: &Terms) {
        let input = self.tokens(terms).input;
        let cached = terms.cached(input);
        json.raw(r#"{"input_tokens":"#).number(input - cached);
        json.raw(r#","cache_creation_input_tokens":0,"cache_read_input_tokens":"#)
            .number(cached);
        json.raw(r#","cache_creation":{"ephemeral_5m_input_tokens":0,"ephemeral_1h_input_tokens":0},"output_tokens":"#);
        json.number(output).raw(r#","service_tier":"standard"}"#);
    }

    pub(super) fn said(&self, stamp: &Stamp, terms: &Terms) -> String {
        let output = self.output(terms);
        let mut json = Json::with_capacity(1_024 + usize::try_from(output * 6).unwrap_or_default());
        self.head(&mut json, stamp);
        match self.tool() {
            Some(name) => {
                put_tool(&mut json, stamp, name);
                json.raw(r#"{"text":""#).words(0, output).raw(r#""}}"#);
            }
            None => {
                json.raw(r#"{"type":"text","text":""#)
                    .words(0, output)
                    .raw("\"}");
            }
        }
        json.raw(r#"],"stop_reason":"#)
            .raw(self.stop_reason())
            .raw(r#","stop_sequence":null"#);
        if !terms.faults.no_usage {
            json.raw(r#","usage":"#);
            self.usage(&mut json, output, terms);
        }
        json.raw("}");
        json.into_string()
    }

    pub(super) fn events(&self, stamp: &Stamp, terms: &Terms) -> Events {
        let output = self.output(terms);
        let mut events = Events::with_capacity(16 * 1_024);
        let start = event(&mut events, "message_start").raw(r#","message":"#);
        self.head(start, stamp);
        start.raw(r#"],"stop_reason":null,"stop_sequence":null"#);
        if !terms.faults.no_usage {
            start.raw(r#","usage":"#);
            self.usage(start, output.min(1), terms);
        }
        start.raw("}}");
        events.end();
        self.block(&mut events, stamp, output);
        let delta = event(&mut events, "message_delta").raw(r#","delta":{"stop_reason":"#);
        delta
            .raw(self.stop_reason())
            .raw(r#","stop_sequence":null}"#);
        if !terms.faults.no_usage {
            delta
                .raw(r#","usage":{"output_tokens":"#)
                .number(output)
                .raw("}");
        }
        delta.raw("}");
        events.end();
        event(&mut events, "message_stop").raw("}");
        events.end();
        events
    }

    /// The one content block of a stream.
    fn block(&self, events: &mut Events, stamp: &Stamp, output: u64) {
        let start = event(events, "content_block_start").raw(r#","index":0,"content_block":"#);
        match self.tool() {
            Some(name) => {
                put_tool(start, stamp, name);
                start.raw("{}}}");
            }
            None => {
                start.raw(r#"{"type":"text","text":""}}"#);
            }
        }
        events.end();
        event(events, "ping").raw("}");
        events.end();
        if self.tool().is_some() {
            put_delta(events, TOOL_DELTA, |json| json.raw(r#"{\"text\":\""#));
        }
        let kind = if self.tool().is_some() {
            TOOL_DELTA
        } else {
            TEXT_DELTA
        };
        for (from, count) in pieces(output) {
            put_delta(events, kind, |json| json.words(from, count));
        }
        if self.tool().is_some() {
            put_delta(events, TOOL_DELTA, |json| json.raw(r#"\"}"#));
        }
        event(events, "content_block_stop").raw(r#","index":0}"#);
        events.end();
    }
}

const TEXT_DELTA: &str = r#"{"type":"text_delta","text":""#;
const TOOL_DELTA: &str = r#"{"type":"input_json_delta","partial_json":""#;

/// Begin an event; its JSON object is left open after `type`.
fn event<'e>(events: &'e mut Events, name: &str) -> &'e mut Json {
    let text = events.text();
    text.raw("event: ")
        .raw(name)
        .raw("\ndata: {\"type\":\"")
        .raw(name)
        .raw("\"")
}

fn put_delta(events: &mut Events, kind: &str, write: impl FnOnce(&mut Json) -> &mut Json) {
    let text = event(events, "content_block_delta");
    text.raw(r#","index":0,"delta":"#).raw(kind);
    write(text).raw(r#""}}"#);
    events.end();
}

/// A tool block up to the value of its input.
fn put_tool(json: &mut Json, stamp: &Stamp, name: &str) {
    json.raw(r#"{"type":"tool_use","id":"toolu_"#)
        .raw(&stamp.id)
        .raw(r#"","name":"#);
    json.string(name).raw(r#","input":"#);
}

impl<'a> Call<'a> for Message<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        check_output(self.output(terms))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        Tokens {
            input: self.messages.0 + self.system.0,
            output: self.output(terms),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        if self.stream == Some(true) {
            Answer::Events(self.events(stamp, terms))
        } else {
            Answer::Whole(self.said(stamp, terms))
        }
    }
}

/// A request to count the tokens of messages; nothing is billed for it.
#[derive(Debug, Deserialize)]
pub(super) struct CountTokens {
    messages: Messages,
    #[serde(default)]
    system: Content,
}

impl CountTokens {
    pub(super) fn answer(&self) -> String {
        let mut json = Json::default();
        json.raw(r#"{"input_tokens":"#)
            .number(self.messages.0 + self.system.0)
            .raw("}");
        json.into_string()
    }
}

/// An error as Anthropic's SDKs read it.
pub(super) fn error(refusal: &Refusal, request_id: &str) -> String {
    let kind = match refusal.status {
        StatusCode::UNAUTHORIZED => "authentication_error",
        StatusCode::PAYMENT_REQUIRED => "billing_error",
        StatusCode::FORBIDDEN => "permission_error",
        StatusCode::NOT_FOUND => "not_found_error",
        StatusCode::PAYLOAD_TOO_LARGE => "request_too_large",
        StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
        StatusCode::GATEWAY_TIMEOUT => "timeout_error",
        status if status.as_u16() == 529 => "overloaded_error",
        status if status.is_server_error() => "api_error",
        _ => "invalid_request_error",
    };
    let mut json = Json::with_capacity(256);
    json.raw(r#"{"type":"error","error":{"type":"#).string(kind);
    json.raw(r#","message":"#).string(&refusal.message);
    json.raw(r#"},"request_id":"#).string(request_id).raw("}");
    json.into_string()
}
