//! An answer in OpenAI's words, whole or as chunks.

use std::borrow::Cow;

use serde::Deserialize;

use crate::json::Raw;
use crate::sse::Event;
use crate::translate::failure::{self, Told};
use crate::translate::step::{Calls, Counts, Lost, Sink, Step, Stop, Text, count, parsed, say};

/// Reads one answer.
#[derive(Debug, Default)]
pub(in crate::translate) struct Reader {
    begun: bool,
    calls: Calls,
    refused: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Answer<'a> {
    #[serde(borrow)]
    id: Option<Text<'a>>,
    model: Option<Text<'a>>,
    choices: Option<Vec<Choice<'a>>>,
    usage: Option<Usage<'a>>,
    error: Raw<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Choice<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    delta: Option<Said<'a>>,
    message: Option<Said<'a>>,
    finish_reason: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Said<'a> {
    #[serde(borrow)]
    content: Option<Text<'a>>,
    refusal: Option<Text<'a>>,
    tool_calls: Option<Vec<Call<'a>>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Call<'a> {
    index: Option<u64>,
    #[serde(borrow)]
    id: Option<Text<'a>>,
    function: Option<Function<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Function<'a> {
    #[serde(borrow)]
    name: Option<Text<'a>>,
    arguments: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Usage<'a> {
    #[serde(borrow)]
    prompt_tokens: Raw<'a>,
    completion_tokens: Raw<'a>,
    prompt_tokens_details: Option<Details<'a>>,
    completion_tokens_details: Option<Details<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
#[expect(clippy::struct_field_names, reason = "the names are OpenAI's")]
struct Details<'a> {
    #[serde(borrow)]
    cached_tokens: Raw<'a>,
    cache_write_tokens: Raw<'a>,
    reasoning_tokens: Raw<'a>,
}

impl Reader {
    /// Reads one event of a stream.
    pub(in crate::translate) fn event(
        &mut self,
        event: &Event<'_>,
        sink: &mut Sink<'_>,
    ) -> Result<(), Lost> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(());
        }
        if data == b"[DONE]" {
            sink(Step::End);
            return Ok(());
        }
        let answer: Answer<'_> = parsed(data)?;
        if answer.error.present().is_some() {
            sink(failure::step(&Told::read(data)));
            return Ok(());
        }
        self.read(answer, sink);
        Ok(())
    }

    /// Reads an answer that is no stream.
    pub(in crate::translate) fn whole(
        &mut self,
        body: &[u8],
        sink: &mut Sink<'_>,
    ) -> Result<(), Lost> {
        let answer: Answer<'_> = parsed(body)?;
        if answer.choices.as_ref().is_none_or(Vec::is_empty) {
            return Err(Lost);
        }
        self.read(answer, sink);
        sink(Step::End);
        Ok(())
    }

    fn read(&mut self, answer: Answer<'_>, sink: &mut Sink<'_>) {
        let choices = answer.choices.unwrap_or_default();
        // Azure's first chunk has no choice, and no id of its own.
        if !self.begun && !choices.is_empty() {
            self.begun = true;
            sink(Step::Begin {
                id: answer.id.map(|Text(id)| id),
                model: answer.model.map(|Text(model)| model),
            });
        }
        if let Some(usage) = answer.usage {
            sink(Step::Usage(counts(&usage)));
        }
        // One answer was asked for.
        for choice in choices {
            if choice.index.unwrap_or(0) != 0 {
                continue;
            }
            if let Some(said) = choice.delta.or(choice.message) {
                self.said(said, sink);
            }
            if let Some(Text(reason)) = choice.finish_reason {
                self.calls.end_all(sink);
                sink(Step::Stop(self.stop(&reason)));
            }
        }
    }

    fn said(&mut self, said: Said<'_>, sink: &mut Sink<'_>) {
        say(said.content, sink);
        let refusal = said.refusal.filter(|Text(text)| !text.is_empty());
        self.refused |= refusal.is_some();
        say(refusal, sink);
        let calls = said.tool_calls.unwrap_or_default();
        for (place, call) in (0_u64..).zip(calls) {
            self.call(call.index.unwrap_or(place), call, sink);
        }
    }

    fn call(&mut self, key: u64, call: Call<'_>, sink: &mut Sink<'_>) {
        let function = call.function.unwrap_or_default();
        if !self.calls.has(key) {
            let id = call.id.filter(|Text(id)| !id.is_empty());
            let id = id.unwrap_or_else(|| Text(Cow::Owned(format!("call_{key}"))));
            self.calls.begin(key, Some(id), function.name, sink);
        }
        self.calls.input(key, function.arguments, sink);
    }

    fn stop(&self, reason: &str) -> Stop<'static> {
        match reason {
            "content_filter" => Stop::Refusal,
            "length" => Stop::MaxTokens,
            "tool_calls" | "function_call" => Stop::ToolUse,
            _ if self.refused => Stop::Refusal,
            _ => Stop::EndTurn,
        }
    }
}

/// OpenAI counts cached tokens among the prompt's.
fn counts(usage: &Usage<'_>) -> Counts {
    let input = usage.prompt_tokens_details.as_ref();
    let output = usage.completion_tokens_details.as_ref();
    let cached = input.and_then(|details| count(details.cached_tokens));
    let written = input.and_then(|details| count(details.cache_write_tokens));
    let of_caches = cached.unwrap_or(0).saturating_add(written.unwrap_or(0));
    Counts {
        input: count(usage.prompt_tokens).map(|all| all.saturating_sub(of_caches)),
        cached,
        written,
        output: count(usage.completion_tokens),
        reasoning: output.and_then(|details| count(details.reasoning_tokens)),
    }
}
