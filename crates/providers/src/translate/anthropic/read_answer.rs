//! An answer in Anthropic's words, whole or as events.

use serde::Deserialize;

use crate::json::Raw;
use crate::sse::Event;
use crate::translate::failure::{self, Told};
use crate::translate::step::{Calls, Counts, Lost, Sink, Step, Stop, Text, count, parsed, say};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::translate) struct Reader {
    /// The places of the blocks that call tools of the caller's and have not ended.
    calls: Calls,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    message: Option<Message<'a>>,
    index: Option<u64>,
    content_block: Option<Block<'a>>,
    delta: Option<Delta<'a>>,
    usage: Option<Usage<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    content: Option<Vec<Block<'a>>>,
    stop_reason: Option<Text<'a>>,
    stop_sequence: Option<Text<'a>>,
    usage: Option<Usage<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Block<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    text: Option<Text<'a>>,
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    input: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow)]
    r#type: Option<Text<'a>>,
    text: Option<Text<'a>>,
    partial_json: Option<Text<'a>>,
    stop_reason: Option<Text<'a>>,
    stop_sequence: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage<'a> {
    #[serde(borrow)]
    input_tokens: Raw<'a>,
    cache_creation_input_tokens: Raw<'a>,
    cache_read_input_tokens: Raw<'a>,
    output_tokens: Raw<'a>,
    output_tokens_details: Option<Details<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Details<'a> {
    #[serde(borrow)]
    thinking_tokens: Raw<'a>,
}

impl Reader {
    /// Reads one event of a stream.
    pub(in crate::translate) fn event(
        &mut self,
        event: &Event<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Lost> {
        let data: &[u8] = &event.data;
        if data.trim_ascii().is_empty() {
            return Ok(());
        }
        let said: Said<'_> = parsed(data)?;
        let kind = said.r#type.as_ref().map_or("", |Text(kind)| kind);
        let key = said.index.unwrap_or(0);
        match kind {
            "message_start" => {
                let message = said.message.unwrap_or_default();
                sink(Step::Begin {
                    id: message.id.map(|Text(id)| id),
                    model: message.model.map(|Text(model)| model),
                });
                if let Some(usage) = message.usage {
                    sink(Step::Usage(counts(&usage)));
                }
            }
            "content_block_start" => {
                self.begin_block(key, said.content_block.unwrap_or_default(), sink);
            }
            "content_block_delta" => self.delta(key, said.delta.unwrap_or_default(), sink),
            "content_block_stop" => self.calls.end(key, sink),
            "message_delta" => {
                if let Some(usage) = said.usage {
                    sink(Step::Usage(counts(&usage)));
                }
                let delta = said.delta.unwrap_or_default();
                if let Some(Text(reason)) = delta.stop_reason {
                    sink(Step::Stop(stop(&reason, delta.stop_sequence)));
                }
            }
            "message_stop" => sink(Step::End),
            "error" => sink(failure::step(&Told::read(data))),
            _ => {}
        }
        Ok(())
    }

    /// Reads an answer that is no stream.
    pub(in crate::translate) fn whole(
        &mut self,
        body: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Lost> {
        let message: Message<'_> = parsed(body)?;
        if message.r#type.is_none_or(|Text(kind)| kind != "message") {
            return Err(Lost);
        }
        sink(Step::Begin {
            id: message.id.map(|Text(id)| id),
            model: message.model.map(|Text(model)| model),
        });
        if let Some(usage) = message.usage {
            sink(Step::Usage(counts(&usage)));
        }
        for (key, block) in (0_u64..).zip(message.content.unwrap_or_default()) {
            self.begin_block(key, block, sink);
            self.calls.end(key, sink);
        }
        if let Some(Text(reason)) = message.stop_reason {
            sink(Step::Stop(stop(&reason, message.stop_sequence)));
        }
        sink(Step::End);
        Ok(())
    }

    /// A text, or a call of a tool. Other blocks (thoughts, the provider's own tools) were not
    /// asked for by the caller, and there are no words for them on its side.
    fn begin_block(&mut self, key: u64, block: Block<'_>, sink: &mut Sink<'_>) {
        match block.r#type.as_ref().map_or("", |Text(kind)| kind) {
            "text" => {
                say(block.text, sink);
            }
            "tool_use" => {
                self.calls.begin(key, block.id, block.name, sink);
                // A stream begins with an empty one.
                let input = block.input.object().filter(|text| !is_empty_object(text));
                self.calls
                    .input(key, input.map(|text| Text(text.into())), sink);
            }
            _ => {}
        }
    }

    fn delta(&self, key: u64, delta: Delta<'_>, sink: &mut Sink<'_>) {
        match delta.r#type.as_ref().map_or("", |Text(kind)| kind) {
            "text_delta" => say(delta.text, sink),
            "input_json_delta" => self.calls.input(key, delta.partial_json, sink),
            _ => {}
        }
    }
}

fn is_empty_object(text: &str) -> bool {
    text.bytes()
        .all(|byte| byte.is_ascii_whitespace() || b"{}".contains(&byte))
}

fn stop<'a>(reason: &str, sequence: Option<Text<'a>>) -> Stop<'a> {
    match reason {
        "max_tokens" => Stop::MaxTokens,
        "stop_sequence" => Stop::Sequence(sequence.map(|Text(text)| text)),
        "tool_use" => Stop::ToolUse,
        "refusal" => Stop::Refusal,
        "model_context_window_exceeded" => Stop::ContextWindow,
        _ => Stop::EndTurn,
    }
}

fn counts(usage: &Usage<'_>) -> Counts {
    let details = usage.output_tokens_details.as_ref();
    Counts {
        input: count(usage.input_tokens),
        cached: count(usage.cache_read_input_tokens),
        written: count(usage.cache_creation_input_tokens),
        output: count(usage.output_tokens),
        reasoning: details.and_then(|details| count(details.thinking_tokens)),
    }
}
