//! An answer in Bedrock's words, whole or as frames.

use serde::Deserialize;

use crate::eventstream::Frame;
use crate::json::Raw;
use crate::translate::failure::{self, Told};
use crate::translate::step::{Calls, Counts, Lost, Sink, Step, Stop, Text, count, parsed, say};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::translate) struct Reader {
    /// The places of the blocks that call tools and have not ended.
    calls: Calls,
}

/// An answer, or the payload of an event.
#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Said<'a> {
    #[serde(borrow)]
    output: Option<Output<'a>>,
    content_block_index: Option<u64>,
    start: Option<Block<'a>>,
    delta: Option<Delta<'a>>,
    stop_reason: Option<Text<'a>>,
    usage: Option<Usage<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Output<'a> {
    #[serde(borrow)]
    message: Option<Message<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Message<'a> {
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Block<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    tool_use: Option<ToolUse<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct ToolUse<'a> {
    #[serde(borrow, rename = "toolUseId")]
    id: Option<Text<'a>>,
    name: Option<Text<'a>>,
    input: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Delta<'a> {
    #[serde(borrow)]
    text: Option<Text<'a>>,
    tool_use: Option<ToolInput<'a>>,
}

/// A piece of a call's input, which is JSON as a text here.
#[derive(Deserialize, Default)]
#[serde(default)]
struct ToolInput<'a> {
    #[serde(borrow)]
    input: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
#[expect(clippy::struct_field_names, reason = "the names are AWS's")]
struct Usage<'a> {
    #[serde(borrow)]
    input_tokens: Raw<'a>,
    output_tokens: Raw<'a>,
    cache_read_input_tokens: Raw<'a>,
    cache_write_input_tokens: Raw<'a>,
}

impl Reader {
    /// Reads one frame of a stream.
    pub(in crate::translate) fn frame(
        &mut self,
        frame: &Frame<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Lost> {
        if frame.header(":message-type") != Some("event") {
            let kind = frame
                .header(":exception-type")
                .or_else(|| frame.header(":error-code"));
            let mut told = Told::read(frame.payload);
            told.kind = kind.map(str::to_owned);
            let said = frame.header(":error-message").map(str::to_owned);
            told.message = told.message.or(said);
            sink(failure::step(&told));
            return Ok(());
        }
        let kind = frame.header(":event-type").unwrap_or_default();
        if kind == "messageStart" {
            sink(Step::Begin {
                id: None,
                model: None,
            });
            return Ok(());
        }
        let said: Said<'_> = parsed(frame.payload)?;
        let key = said.content_block_index.unwrap_or(0);
        match kind {
            "contentBlockStart" => self.begin_block(key, said.start.unwrap_or_default(), sink),
            "contentBlockDelta" => self.delta(key, said.delta.unwrap_or_default(), sink),
            "contentBlockStop" => self.calls.end(key, sink),
            "messageStop" => {
                if let Some(Text(reason)) = said.stop_reason {
                    sink(Step::Stop(stop(&reason)));
                }
            }
            "metadata" => {
                if let Some(usage) = said.usage {
                    sink(Step::Usage(counts(&usage)));
                }
                sink(Step::End);
            }
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
        let said: Said<'_> = parsed(body)?;
        let message = said.output.and_then(|output| output.message).ok_or(Lost)?;
        sink(Step::Begin {
            id: None,
            model: None,
        });
        if let Some(usage) = said.usage {
            sink(Step::Usage(counts(&usage)));
        }
        for (key, block) in (0_u64..).zip(message.content.unwrap_or_default()) {
            self.begin_block(key, block, sink);
            self.calls.end(key, sink);
        }
        if let Some(Text(reason)) = said.stop_reason {
            sink(Step::Stop(stop(&reason)));
        }
        sink(Step::End);
        Ok(())
    }

    /// A text, or a call of a tool; the caller's side has no words for thoughts.
    fn begin_block(&mut self, key: u64, block: Block<'_>, sink: &mut Sink<'_>) {
        say(block.text, sink);
        let Some(call) = block.tool_use else { return };
        self.calls.begin(key, call.id, call.name, sink);
        let input = call.input.object().map(|text| Text(text.into()));
        self.calls.input(key, input, sink);
    }

    fn delta(&self, key: u64, delta: Delta<'_>, sink: &mut Sink<'_>) {
        say(delta.text, sink);
        self.calls
            .input(key, delta.tool_use.and_then(|call| call.input), sink);
    }
}

fn stop(reason: &str) -> Stop<'static> {
    match reason {
        "max_tokens" => Stop::MaxTokens,
        "stop_sequence" => Stop::Sequence(None),
        "tool_use" => Stop::ToolUse,
        "guardrail_intervened" | "content_filtered" => Stop::Refusal,
        "model_context_window_exceeded" => Stop::ContextWindow,
        _ => Stop::EndTurn,
    }
}

fn counts(usage: &Usage<'_>) -> Counts {
    Counts {
        input: count(usage.input_tokens),
        cached: count(usage.cache_read_input_tokens),
        written: count(usage.cache_write_input_tokens),
        output: count(usage.output_tokens),
        reasoning: None,
    }
}
