//! `POST /v1/responses`, and what is kept of responses.

use std::borrow::Cow;

use serde::Deserialize;

use crate::simulate::{
    answer::{Answer, Call, Events, Refusal, Stamp, Terms, Tokens, check_output},
    prompt::{Items, Named, ToolChoice, forced_tool},
    shelf::Kept,
    text::{Json, pieces},
};

/// A request for a response: the members that bear on tokens or on the shape of the answer.
#[derive(Debug, Deserialize)]
pub(in crate::simulate) struct ResponseRequest<'a> {
    #[serde(borrow, default)]
    model: Cow<'a, str>,
    #[serde(default)]
    input: Items,
    #[serde(default)]
    instructions: Items,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    background: Option<bool>,
    #[serde(default)]
    max_output_tokens: Option<u64>,
    #[serde(borrow, default)]
    tools: Option<Vec<Named<'a>>>,
    #[serde(borrow, default)]
    tool_choice: Option<ToolChoice<'a>>,
    #[serde(borrow, default)]
    service_tier: Option<Cow<'a, str>>,
}

/// How far a response is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Status {
    Queued,
    InProgress,
    Ended,
}

const MESSAGE: &str = r#"{"type":"message","id":"msg_"#;

impl ResponseRequest<'_> {
    fn output(&self, terms: &Terms) -> u64 {
        self.max_output_tokens
            .unwrap_or(terms.default_output_tokens)
    }

    fn tool(&self) -> Option<&str> {
        forced_tool(self.tools.as_deref(), self.tool_choice.as_ref())
    }

    /// Web searches that the simulated provider runs: one for each such tool.
    fn searches(&self) -> u64 {
        let tools = self.tools.iter().flatten();
        let count = tools.filter(|tool| tool.is_a("web_search")).count();
        u64::try_from(count).unwrap_or_default()
    }

    fn is_incomplete(&self) -> bool {
        self.max_output_tokens.is_some() && self.tool().is_none()
    }

    fn status(&self, status: Status) -> &'static str {
        match status {
            Status::Queued => "queued",
            Status::InProgress => "in_progress",
            Status::Ended if self.is_incomplete() => "incomplete",
            Status::Ended => "completed",
        }
    }

    /// The response object.
    fn put(&self, json: &mut Json, stamp: &Stamp, terms: &Terms, status: Status) {
        json.raw(r#"{"id":"resp_"#).raw(&stamp.id);
        json.raw(r#"","object":"response","created_at":"#)
            .number(stamp.created);
        json.raw(r#","status":"#).string(self.status(status));
        json.raw(r#","background":"#)
            .raw(if self.background == Some(true) {
                "true"
            } else {
                "false"
            });
        json.raw(r#","error":null,"incomplete_details":"#);
        if status == Status::Ended && self.is_incomplete() {
            json.raw(r#"{"reason":"max_output_tokens"}"#);
        } else {
            json.raw("null");
        }
        json.raw(r#","instructions":null,"max_output_tokens":"#);
        match self.max_output_tokens {
            Some(most) => json.number(most),
            None => json.raw("null"),
        };
        json.raw(r#","metadata":{},"model":"#).string(&self.model);
        json.raw(r#","output":["#);
        if status == Status::Ended {
            self.put_items(json, stamp, terms);
        }
        json.raw(r#"],"parallel_tool_calls":true,"previous_response_id":null,"reasoning":{"effort":null,"summary":null},"service_tier":"#);
        json.string(self.service_tier.as_deref().unwrap_or("default"));
        json.raw(r#","store":true,"temperature":1.0,"text":{"format":{"type":"text"}},"tool_choice":"auto","tools":[],"top_p":1.0,"truncation":"disabled","usage":"#);
        if status == Status::Ended && !terms.faults.no_usage {
            usage(json, self.tokens(terms), terms);
        } else {
            json.raw("null");
        }
        json.raw("}");
    }

    fn put_items(&self, json: &mut Json, stamp: &Stamp, terms: &Terms) {
        for search in 0..self.searches() {
            json.raw(r#"{"type":"web_search_call","id":"ws_"#)
                .raw(&stamp.id)
                .raw("_")
                .number(search);
            json.raw(r#"","status":"completed","action":{"type":"search","query":"words"}},"#);
        }
        self.put_last(json, stamp, terms);
    }

    /// What is kept to be asked for again.
    fn shelved(&self, stamp: &Stamp, terms: &Terms) -> Kept {
        let mut whole = Json::with_capacity(2_048);
        self.put(&mut whole, stamp, terms, Status::Ended);
        let mut early = Json::with_capacity(1_024);
        self.put(&mut early, stamp, terms, Status::InProgress);
        Kept {
            whole: whole.into_string(),
            early: early.into_string(),
            looks: if self.background == Some(true) {
                terms.faults.background_looks
            } else {
                0
            },
        }
    }

    fn events(&self, stamp: &Stamp, terms: &Terms) -> Events {
        let mut stream = Stream {
            events: Events::with_capacity(32 * 1_024),
            number: 0,
        };
        for (name, status) in [
            ("response.created", Status::InProgress),
            ("response.in_progress", Status::InProgress),
        ] {
            let json = stream.begin(name).raw(r#","response":"#);
            self.put(json, stamp, terms, status);
            stream.end();
        }
        let output = self.output(terms);
        match self.tool() {
            Some(name) => put_arguments(&mut stream, stamp, name, output),
            None => put_text(&mut stream, stamp, output),
        }
        let item = stream
            .begin("response.output_item.done")
            .raw(r#","output_index":0,"item":"#);
        self.put_last(item, stamp, terms);
        stream.end();
        let name = if self.is_incomplete() {
            "response.incomplete"
        } else {
            "response.completed"
        };
        let json = stream.begin(name).raw(r#","response":"#);
        self.put(json, stamp, terms, Status::Ended);
        stream.end();
        stream.events
    }

    /// The last item alone: what is said, or the call of a tool.
    fn put_last(&self, json: &mut Json, stamp: &Stamp, terms: &Terms) {
        let output = self.output(terms);
        if let Some(name) = self.tool() {
            put_call(json, stamp, name);
            json.raw(r#"{\"text\":\""#).words(0, output);
            json.raw(r#"\"}","status":"completed"}"#);
            return;
        }
        json.raw(MESSAGE).raw(&stamp.id);
        json.raw(r#"","status":"completed","role":"assistant","content":[{"type":"output_text","text":""#);
        json.words(0, output);
        json.raw(r#"","annotations":[],"logprobs":[]}]}"#);
    }
}

/// Events that carry their name and their number.
struct Stream {
    events: Events,
    number: u64,
}

impl Stream {
    /// Begins an event; its object is left open after its number.
    fn begin(&mut self, name: &str) -> &mut Json {
        let number = self.number;
        self.number += 1;
        let text = self.events.text();
        text.raw("event: ").raw(name).raw("\ndata: {\"type\":");
        text.string(name)
            .raw(r#","sequence_number":"#)
            .number(number)
    }

    fn end(&mut self) {
        self.events.text().raw("}");
        self.events.end();
    }
}

/// The events of a tool's call.
fn put_arguments(stream: &mut Stream, stamp: &Stamp, name: &str, output: u64) {
    let item = stream
        .begin("response.output_item.added")
        .raw(r#","output_index":0,"item":"#);
    put_call(item, stamp, name);
    item.raw(r#"","status":"in_progress"}"#);
    stream.end();
    for (from, count) in pieces(output) {
        let delta = stream.begin("response.function_call_arguments.delta");
        delta
            .raw(r#","output_index":0,"item_id":"fc_"#)
            .raw(&stamp.id);
        delta.raw(r#"","delta":""#).words(from, count).raw("\"");
        stream.end();
    }
}

/// The events of a text.
fn put_text(stream: &mut Stream, stamp: &Stamp, output: u64) {
    let item = stream
        .begin("response.output_item.added")
        .raw(r#","output_index":0,"item":"#);
    item.raw(MESSAGE).raw(&stamp.id);
    item.raw(r#"","status":"in_progress","role":"assistant","content":[]}"#);
    stream.end();
    let place = |json: &mut Json| {
        json.raw(r#","item_id":"msg_"#).raw(&stamp.id);
        json.raw(r#"","output_index":0,"content_index":0"#);
    };
    let part = stream.begin("response.content_part.added");
    place(part);
    part.raw(r#","part":{"type":"output_text","text":"","annotations":[],"logprobs":[]}"#);
    stream.end();
    for (from, count) in pieces(output) {
        let delta = stream.begin("response.output_text.delta");
        place(delta);
        delta
            .raw(r#","delta":""#)
            .words(from, count)
            .raw(r#"","logprobs":[]"#);
        stream.end();
    }
    let done = stream.begin("response.output_text.done");
    place(done);
    done.raw(r#","text":""#)
        .words(0, output)
        .raw(r#"","logprobs":[]"#);
    stream.end();
}

/// A call of a tool up to the text of its arguments.
fn put_call(json: &mut Json, stamp: &Stamp, name: &str) {
    json.raw(r#"{"type":"function_call","id":"fc_"#)
        .raw(&stamp.id);
    json.raw(r#"","call_id":"call_"#)
        .raw(&stamp.id)
        .raw(r#"","name":"#);
    json.string(name).raw(r#","arguments":""#);
}

/// The usage object of responses.
fn usage(json: &mut Json, tokens: Tokens, terms: &Terms) {
    json.raw(r#"{"input_tokens":"#).number(tokens.input);
    json.raw(r#","input_tokens_details":{"cached_tokens":"#)
        .number(terms.cached(tokens.input));
    json.raw(r#"},"output_tokens":"#).number(tokens.output);
    json.raw(r#","output_tokens_details":{"reasoning_tokens":"#)
        .number(terms.reasoning(tokens.output));
    json.raw(r#"},"total_tokens":"#)
        .number(tokens.input + tokens.output)
        .raw("}");
}

impl<'a> Call<'a> for ResponseRequest<'a> {
    fn model(&self) -> &str {
        &self.model
    }

    fn check(&self, terms: &Terms) -> Result<(), Refusal> {
        check_output(self.output(terms))
    }

    fn tokens(&self, terms: &Terms) -> Tokens {
        Tokens {
            input: self.input.0 + self.instructions.0,
            output: self.output(terms),
        }
    }

    fn answer(&self, stamp: &Stamp, terms: &Terms) -> Answer {
        if self.stream == Some(true) {
            return Answer::Events(self.events(stamp, terms));
        }
        let status = if self.background == Some(true) {
            Status::Queued
        } else {
            Status::Ended
        };
        let size = usize::try_from(self.output(terms) * 6).unwrap_or_default();
        let mut json = Json::with_capacity(2_048 + size);
        self.put(&mut json, stamp, terms, status);
        Answer::Whole(json.into_string())
    }

    fn kept(&self, stamp: &Stamp, terms: &Terms) -> Option<(String, Kept)> {
        Some((
            format!("resp_{}", stamp.id),
            ResponseRequest::shelved(self, stamp, terms),
        ))
    }
}
