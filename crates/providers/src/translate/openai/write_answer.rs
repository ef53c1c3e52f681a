//! An answer in OpenAI's words, for a caller that speaks them.

use serde::Serialize;

use super::{FunctionCall, ToolCall};
use crate::translate::Terms;
use crate::translate::step::{Counts, Lost, Step, Stop};
use crate::translate::whole::{Block, Whole};
use crate::translate::write_json;

/// Writes one stream of chunks.
#[derive(Debug, Default)]
pub(in crate::translate) struct Writer {
    id: String,
    model: String,
    /// The keys of the calls that began; a call's place is its number in the answer.
    calls: Vec<u64>,
    /// The keys of the calls whose input has not begun.
    silent: Vec<u64>,
    counts: Counts,
}

#[derive(Serialize)]
struct Chunk<'c> {
    id: &'c str,
    object: &'static str,
    created: i64,
    model: &'c str,
    choices: &'c [ChunkChoice<'c>],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<UsageMember>,
}

/// Where usage is asked for, all chunks but the last say that there is none.
#[derive(Serialize)]
#[serde(untagged)]
enum UsageMember {
    Null,
    Told(Usage),
}

#[derive(Serialize)]
struct ChunkChoice<'c> {
    index: u8,
    delta: Delta<'c>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct Delta<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tool_calls: Option<[CallDelta<'c>; 1]>,
}

#[derive(Serialize)]
struct CallDelta<'c> {
    index: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'c str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    r#type: Option<&'static str>,
    function: FunctionDelta<'c>,
}

#[derive(Serialize)]
struct FunctionDelta<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'c str>,
    arguments: &'c str,
}

#[derive(Serialize)]
struct Completion<'c> {
    id: &'c str,
    object: &'static str,
    created: i64,
    model: &'c str,
    choices: [Choice<'c>; 1],
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'c> {
    index: u8,
    message: Message<'c>,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message<'c> {
    role: &'static str,
    content: Option<String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<ToolCall<'c>>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: InputDetails,
    #[serde(skip_serializing_if = "Option::is_none")]
    completion_tokens_details: Option<OutputDetails>,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    cache_write_tokens: Option<u64>,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

/// What a chunk says of a call.
enum Said<'c> {
    /// It begins: its id and the tool's name.
    Named(&'c str, &'c str),
    /// More of its arguments.
    More(&'c str),
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
            Step::Begin { id, model } => {
                let known = |text: &String| !text.is_empty();
                let id = id.map(String::from).filter(known);
                self.id = id.unwrap_or_else(|| terms.id("chatcmpl-"));
                let model = model.map(String::from).filter(known);
                self.model = model.unwrap_or_else(|| terms.model.clone());
                let delta = Delta {
                    role: Some("assistant"),
                    content: Some(""),
                    ..Delta::default()
                };
                self.chunk(delta, None, terms, out);
            }
            Step::Text(text) => {
                let delta = Delta {
                    content: Some(&text),
                    ..Delta::default()
                };
                self.chunk(delta, None, terms, out);
            }
            Step::CallBegin { key, id, name } => {
                self.calls.push(key);
                self.silent.push(key);
                self.call(key, &Said::Named(&id, &name), terms, out)?;
            }
            Step::CallInput { key, text } => {
                self.silent.retain(|silent| *silent != key);
                self.call(key, &Said::More(&text), terms, out)?;
            }
            Step::CallEnd { key } => {
                // Whoever reads the arguments expects JSON, and nothing is none.
                if self.silent.contains(&key) {
                    self.silent.retain(|silent| *silent != key);
                    self.call(key, &Said::More("{}"), terms, out)?;
                }
            }
            Step::Usage(counts) => self.counts.take(counts),
            Step::Stop(why) => {
                let reason = Some(finish_reason(&why));
                self.chunk(Delta::default(), reason, terms, out);
            }
            Step::End => self.end(terms, out),
            Step::Error { .. } => return Err(Lost),
        }
        Ok(())
    }

    fn call(
        &self,
        key: u64,
        said: &Said<'_>,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) -> Result<(), Lost> {
        let index = self.calls.iter().rposition(|call| *call == key);
        let (named, arguments) = match said {
            Said::Named(id, name) => (Some((*id, *name)), ""),
            Said::More(arguments) => (None, *arguments),
        };
        let call = CallDelta {
            index: index.ok_or(Lost)?,
            id: named.map(|(id, _)| id),
            r#type: named.map(|_| "function"),
            function: FunctionDelta {
                name: named.map(|(_, name)| name),
                arguments,
            },
        };
        let delta = Delta {
            tool_calls: Some([call]),
            ..Delta::default()
        };
        self.chunk(delta, None, terms, out);
        Ok(())
    }

    fn chunk(
        &self,
        delta: Delta<'_>,
        finish_reason: Option<&'static str>,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) {
        let choice = ChunkChoice {
            index: 0,
            delta,
            logprobs: None,
            finish_reason,
        };
        let usage = terms.wants_usage.then_some(UsageMember::Null);
        self.put(&[choice], usage, terms, out);
    }

    fn end(&self, terms: &Terms, out: &mut Vec<u8>) {
        if let Some(usage) = usage(&self.counts).filter(|_| terms.wants_usage) {
            self.put(&[], Some(UsageMember::Told(usage)), terms, out);
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    fn put(
        &self,
        choices: &[ChunkChoice<'_>],
        usage: Option<UsageMember>,
        terms: &Terms,
        out: &mut Vec<u8>,
    ) {
        out.extend_from_slice(b"data: ");
        let chunk = Chunk {
            id: &self.id,
            object: "chat.completion.chunk",
            created: terms.created,
            model: &self.model,
            choices,
            usage,
        };
        write_json(&chunk, out);
        out.extend_from_slice(b"\n\n");
    }

    /// Writes an answer that is no stream.
    pub(in crate::translate) fn whole(whole: &Whole, terms: &Terms, out: &mut Vec<u8>) {
        let fallback = terms.id("chatcmpl-");
        let mut content: Option<String> = None;
        let mut tool_calls = Vec::new();
        for block in &whole.blocks {
            match block {
                Block::Text(text) => content.get_or_insert_default().push_str(text),
                Block::Call {
                    id, name, input, ..
                } => tool_calls.push(ToolCall {
                    id,
                    r#type: "function",
                    function: FunctionCall {
                        name,
                        arguments: input,
                    },
                }),
            }
        }
        // Only an answer that calls tools has no content at all.
        if tool_calls.is_empty() {
            content.get_or_insert_default();
        }
        let message = Message {
            role: "assistant",
            content,
            refusal: None,
            tool_calls,
        };
        let completion = Completion {
            id: whole.id.as_deref().unwrap_or(&fallback),
            object: "chat.completion",
            created: terms.created,
            model: whole.model.as_deref().unwrap_or(&terms.model),
            choices: [Choice {
                index: 0,
                message,
                logprobs: None,
                finish_reason: whole.stop.as_ref().map_or("stop", finish_reason),
            }],
            usage: usage(&whole.counts),
        };
        write_json(&completion, out);
    }
}

fn finish_reason(stop: &Stop<'_>) -> &'static str {
    match stop {
        Stop::EndTurn | Stop::Sequence(_) => "stop",
        Stop::MaxTokens | Stop::ContextWindow => "length",
        Stop::ToolUse => "tool_calls",
        Stop::Refusal => "content_filter",
    }
}

/// OpenAI counts cached tokens among the prompt's.
fn usage(counts: &Counts) -> Option<Usage> {
    if !counts.is_known() {
        return None;
    }
    let prompt_tokens = counts.all_input();
    let completion_tokens = counts.output.unwrap_or(0);
    Some(Usage {
        prompt_tokens,
        completion_tokens,
        total_tokens: prompt_tokens.saturating_add(completion_tokens),
        prompt_tokens_details: InputDetails {
            cached_tokens: counts.cached.unwrap_or(0),
            cache_write_tokens: counts.written,
        },
        completion_tokens_details: counts
            .reasoning
            .map(|reasoning_tokens| OutputDetails { reasoning_tokens }),
    })
}
