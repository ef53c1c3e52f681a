//! An answer in Anthropic's words, for a caller that speaks them.

use serde::Serialize;
use serde_json::value::RawValue;

use crate::translate::Terms;
use crate::translate::step::{Counts, Lost, Step, Stop};
use crate::translate::whole::{self, Whole};
use crate::translate::write_json;

/// Writes one stream of events.
#[derive(Debug, Default)]
pub(in crate::translate) struct Writer {
    begun: bool,
    open: Option<Open>,
    /// The place of the next block.
    next: usize,
    called: bool,
    stop: Option<Stop<'static>>,
    counts: Counts,
}

/// The block that has not ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Open {
    Text,
    Call(u64),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'c> {
    MessageStart {
        message: Message<'c>,
    },
    ContentBlockStart {
        index: usize,
        content_block: Block<'c>,
    },
    ContentBlockDelta {
        index: usize,
        delta: Delta<'c>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: End<'c>,
        usage: Usage,
    },
    MessageStop,
}

#[derive(Serialize)]
struct Message<'c> {
    id: &'c str,
    r#type: &'static str,
    role: &'static str,
    model: &'c str,
    content: Vec<Block<'c>>,
    #[serde(flatten)]
    end: End<'c>,
    usage: Usage,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Block<'c> {
    Text {
        text: &'c str,
    },
    ToolUse {
        id: &'c str,
        name: &'c str,
        input: &'c RawValue,
    },
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Delta<'c> {
    TextDelta { text: &'c str },
    InputJsonDelta { partial_json: &'c str },
}

#[derive(Serialize, Default)]
struct End<'c> {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'c str>,
}

/// The two that clients rely on are there in any case.
#[derive(Serialize)]
struct Usage {
    input_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_creation_input_tokens: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_read_input_tokens: Option<u64>,
    output_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Serialize)]
struct OutputDetails {
    thinking_tokens: u64,
}

impl Event<'_> {
    const fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }

    fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(self.name().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        write_json(self, out);
        out.extend_from_slice(b"\n\n");
    }
}

impl Writer {
    /// Writes what a caller is to get of a step.
    pub(in crate::translate) fn write(
        &mut self,
        step: Step<'_>,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        match step {
            Step::Begin { id, model } => self.begin(id.as_deref(), model.as_deref(), terms, out),
            Step::Text(text) => {
                if self.open != Some(Open::Text) {
                    self.open(Open::Text, &Block::Text { text: "" }, out);
                }
                self.delta(Delta::TextDelta { text: &text }, out);
            }
            Step::CallBegin { key, id, name } => {
                self.called = true;
                let input = serde_json::from_str("{}").or(Err(Lost))?;
                let block = Block::ToolUse {
                    id: &id,
                    name: &name,
                    input,
                };
                self.open(Open::Call(key), &block, out);
            }
            Step::CallInput { key, text } => {
                // Blocks follow each other here: a call cannot be gone on with after the next.
                if self.open != Some(Open::Call(key)) {
                    return Err(Lost);
                }
                let delta = Delta::InputJsonDelta {
                    partial_json: &text,
                };
                self.delta(delta, out);
            }
            Step::CallEnd { key } => {
                if self.open == Some(Open::Call(key)) {
                    self.close(out);
                }
            }
            Step::Usage(counts) => self.counts.take(counts),
            // The usage may come after it, and both stand in one event.
            Step::Stop(reason) => self.stop = Some(reason.into_owned()),
            Step::End => self.end(terms, out),
            Step::Error { .. } => return Err(Lost),
        }
        Ok(())
    }

    fn begin(&mut self, id: Option<&str>, model: Option<&str>, terms: &Terms, out: &mut Vec<u8>) {
        self.begun = true;
        let fallback = terms.id("msg_");
        let message = Message {
            id: id.filter(|id| !id.is_empty()).unwrap_or(&fallback),
            r#type: "message",
            role: "assistant",
            model: model
                .filter(|model| !model.is_empty())
                .unwrap_or(&terms.model),
            content: Vec::new(),
            end: End::default(),
            usage: usage(&self.counts),
        };
        Event::MessageStart { message }.put(out);
    }

    fn open(&mut self, open: Open, block: &Block<'_>, out: &mut Vec<u8>) {
        self.close(out);
        self.open = Some(open);
        let content_block = match block {
            Block::Text { text } => Block::Text { text },
            Block::ToolUse { id, name, input } => Block::ToolUse { id, name, input },
        };
        Event::ContentBlockStart {
            index: self.next,
            content_block,
        }
        .put(out);
    }

    fn delta(&self, delta: Delta<'_>, out: &mut Vec<u8>) {
        let index = self.next;
        Event::ContentBlockDelta { index, delta }.put(out);
    }

    fn close(&mut self, out: &mut Vec<u8>) {
        if self.open.take().is_some() {
            let index = self.next;
            Event::ContentBlockStop { index }.put(out);
            self.next = index.saturating_add(1);
        }
    }

    fn end(&mut self, terms: &Terms, out: &mut Vec<u8>) {
        if !self.begun {
            self.begin(None, None, terms, out);
        }
        self.close(out);
        let stop = self.stop.as_ref();
        let ends = if self.called {
            Ends::WithCalls
        } else {
            Ends::WithText
        };
        let delta = stop.map_or_else(End::default, |stop| end(stop, ends));
        let usage = usage(&self.counts);
        Event::MessageDelta { delta, usage }.put(out);
        Event::MessageStop.put(out);
    }

    /// Writes an answer that is no stream.
    pub(in crate::translate) fn whole(
        whole: &Whole,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        let fallback = terms.id("msg_");
        let mut content = Vec::with_capacity(whole.blocks.len());
        for block in &whole.blocks {
            content.push(match block {
                whole::Block::Text(text) => Block::Text { text },
                whole::Block::Call {
                    id, name, input, ..
                } => Block::ToolUse {
                    id,
                    name,
                    input: object(input)?,
                },
            });
        }
        let stop = whole.stop.as_ref();
        let ends = if whole.calls() {
            Ends::WithCalls
        } else {
            Ends::WithText
        };
        let message = Message {
            id: whole.id.as_deref().unwrap_or(&fallback),
            r#type: "message",
            role: "assistant",
            model: whole.model.as_deref().unwrap_or(&terms.model),
            content,
            end: stop.map_or_else(End::default, |stop| end(stop, ends)),
            usage: usage(&whole.counts),
        };
        write_json(&message, out);
        Ok(())
    }
}

/// A call's input, which has to be an object here and is a text elsewhere: a model can write one
/// that is none, or be cut off while it does.
fn object(input: &str) -> Result<&RawValue, Lost> {
    let input = input.trim();
    if input.starts_with('{') {
        serde_json::from_str(input).or(Err(Lost))
    } else {
        Err(Lost)
    }
}

/// What an answer has at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ends {
    WithText,
    WithCalls,
}

/// Why it ended. Where a caller demanded one tool, OpenAI says no more than that it is at its end.
fn end<'c>(stop: &'c Stop<'_>, ends: Ends) -> End<'c> {
    let (stop_reason, stop_sequence) = match stop {
        Stop::EndTurn if ends == Ends::WithCalls => ("tool_use", None),
        Stop::EndTurn => ("end_turn", None),
        Stop::Sequence(text) => ("stop_sequence", text.as_deref()),
        Stop::MaxTokens => ("max_tokens", None),
        Stop::ContextWindow => ("model_context_window_exceeded", None),
        Stop::ToolUse => ("tool_use", None),
        Stop::Refusal => ("refusal", None),
    };
    End {
        stop_reason: Some(stop_reason),
        stop_sequence,
    }
}

fn usage(counts: &Counts) -> Usage {
    Usage {
        input_tokens: counts.input.unwrap_or(0),
        cache_creation_input_tokens: counts.written,
        cache_read_input_tokens: counts.cached,
        output_tokens: counts.output.unwrap_or(0),
        output_tokens_details: counts
            .reasoning
            .map(|thinking_tokens| OutputDetails { thinking_tokens }),
    }
}
