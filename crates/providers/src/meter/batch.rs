//! Results of batches: a line for each call, with its usage. They are summed as they pass, so that
//! a file of any size takes the memory of its longest line.

use std::collections::BTreeMap;

use aws_lc_rs::digest;
use memchr::memchr;
use tollgate_core::TokenUsage;
use tollgate_core::price::fees::ToolUses;
use tollgate_core::tokens::TokenClass;

use super::anthropic;
use super::kept::Kept;
use super::observed::model_name;
use super::usage::{self, InvalidUsage, Output};
use crate::json::{Raw, members_of, object};

/// Calls with more input than this are kept apart: they may be charged at prices for long input.
const LONG_INPUT_TOKENS: u64 = 32_000;

/// Models, and calls with long input, of one batch at most; what is beyond counts as unread.
const ENTRIES_MAX: usize = 100_000;

/// What the calls of a batch used that have the same model, and are charged alike.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchUsage {
    /// The model, as the provider calls it.
    pub model: Box<str>,
    /// What all of them used.
    pub tokens: TokenUsage,
    /// The input tokens of the longest of them.
    pub longest_input: u64,
    /// How often they used tools that the provider runs.
    pub tools: ToolUses,
    /// How many they are.
    pub calls: u64,
}

/// What was read of a batch's results.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchResults {
    /// What was used, by model; calls with long input each for itself.
    pub used: Vec<BatchUsage>,
    /// Lines that are results and whose usage could not be read.
    pub unread: u64,
    /// What the provider calls the calls, and what they used: the same in every copy of these
    /// results, in whatever order, and in those of no other batch. None where it gave a call no id.
    pub mark: Option<u128>,
}

/// Reads lines.
#[derive(Debug, Default)]
pub(super) struct Lines {
    /// A line that has not ended.
    held: Kept,
    /// Whether the present line is too long to be kept.
    skipping: bool,
    sums: BTreeMap<Box<str>, BatchUsage>,
    long: Vec<BatchUsage>,
    unread: u64,
    /// The sum of the marks of calls that were charged.
    mark: u128,
    /// Whether one of them had none.
    unmarked: bool,
    /// How many lines had something in them.
    seen: u64,
    /// Whether the first line showed that these are no results.
    foreign: bool,
}

object! {
    Line {
        id,
        custom_id,
        response,
        error,
        result,
    }
}

object! {
    Response {
        request_id,
        body,
    }
}

object! {
    Outcome {
        r#type as "type",
        message,
    }
}

object! {
    Body {
        id,
        model,
        usage,
        output,
    }
}

/// What one line said.
enum Said {
    /// It is no result of a batch.
    Foreign,
    /// A call that failed, or was never made: nothing is charged for it.
    Free,
    /// A call, what it used, and its mark if it has one.
    Used(BatchUsage, Option<u128>),
    /// A call whose usage cannot be read.
    Unread,
}

impl Lines {
    /// Looks at the next bytes.
    pub(super) fn push(&mut self, chunk: &bytes::Bytes) {
        let mut from = 0_usize;
        while !self.foreign {
            let rest = chunk.get(from..).unwrap_or_default();
            let Some(at) = memchr(b'\n', rest) else {
                return self.keep(chunk.slice_ref(rest));
            };
            let end = from.saturating_add(at);
            self.keep(chunk.slice_ref(chunk.get(from..end).unwrap_or_default()));
            self.end_line();
            from = end.saturating_add(1);
        }
    }

    /// Whether the first line showed that these are no results.
    pub(super) const fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// What was read, once everything has come.
    pub(super) fn finish(mut self) -> BatchResults {
        if !self.foreign {
            self.end_line();
        }
        let mut used: Vec<BatchUsage> = self.sums.into_values().collect();
        used.append(&mut self.long);
        BatchResults {
            used,
            unread: self.unread,
            mark: (!self.unmarked).then_some(self.mark),
        }
    }

    fn keep(&mut self, piece: bytes::Bytes) {
        if !self.skipping && !self.held.push(piece) {
            self.skipping = true;
            drop(self.held.take());
        }
    }

    fn end_line(&mut self) {
        let line = self.held.take();
        let is_first = self.seen == 0;
        if std::mem::take(&mut self.skipping) {
            // A file that is no batch's may be one long line; a result among others was billed.
            self.foreign = is_first;
            self.unread = self.unread.saturating_add(u64::from(!is_first));
            return;
        }
        if line.trim_ascii().is_empty() {
            return;
        }
        self.seen = self.seen.saturating_add(1);
        match read(&line) {
            Said::Foreign if is_first => self.foreign = true,
            Said::Foreign | Said::Free => {}
            Said::Unread => self.unread = self.unread.saturating_add(1),
            Said::Used(one, mark) => {
                self.unmarked |= mark.is_none();
                self.mark = self.mark.wrapping_add(mark.unwrap_or_default());
                self.add(one);
            }
        }
    }

    fn add(&mut self, one: BatchUsage) {
        let room = self.sums.len().saturating_add(self.long.len()) < ENTRIES_MAX;
        if one.longest_input > LONG_INPUT_TOKENS {
            if room {
                self.long.push(one);
            } else {
                self.unread = self.unread.saturating_add(1);
            }
        } else if let Some(sum) = self.sums.get_mut(&one.model) {
            sum.add(&one);
        } else if room {
            self.sums.insert(one.model.clone(), one);
        } else {
            self.unread = self.unread.saturating_add(1);
        }
    }
}

impl BatchUsage {
    /// Adds what others used.
    pub fn add(&mut self, other: &Self) {
        self.tokens = sum(&self.tokens, &other.tokens);
        self.longest_input = self.longest_input.max(other.longest_input);
        self.tools = self.tools.and(other.tools);
        self.calls = self.calls.saturating_add(other.calls);
    }
}

fn sum(one: &TokenUsage, other: &TokenUsage) -> TokenUsage {
    let of = |class| one.get(class).saturating_add(other.get(class));
    TokenUsage {
        input: of(TokenClass::Input),
        cached_input: of(TokenClass::CachedInput),
        cache_write: of(TokenClass::CacheWrite),
        cache_write_hour: of(TokenClass::CacheWriteHour),
        audio_input: of(TokenClass::AudioInput),
        image_input: of(TokenClass::ImageInput),
        output: of(TokenClass::Output),
        reasoning: of(TokenClass::Reasoning),
        audio_output: of(TokenClass::AudioOutput),
        image_output: of(TokenClass::ImageOutput),
    }
}

fn read(line: &[u8]) -> Said {
    let Some(line) = members_of::<Line<'_>>(line).filter(|line| line.custom_id.present().is_some())
    else {
        return Said::Foreign;
    };
    if let Some(text) = line.response.object() {
        let response = members_of::<Response<'_>>(text.as_bytes()).unwrap_or_default();
        return of_body(&response, &line);
    }
    if let Some(text) = line.result.object() {
        let outcome = members_of::<Outcome<'_>>(text.as_bytes()).unwrap_or_default();
        return match outcome.r#type.text() {
            Some(r#""succeeded""#) => of_message(outcome.message, &line),
            Some(_) => Said::Free,
            None => Said::Unread,
        };
    }
    // Of a call that was never made, only why is told; the input of a batch has neither.
    if line.error.text().is_some() || line.response.text().is_some() {
        Said::Free
    } else {
        Said::Foreign
    }
}

fn of_body(response: &Response<'_>, line: &Line<'_>) -> Said {
    let Some(body) = response
        .body
        .object()
        .and_then(|text| members_of::<Body<'_>>(text.as_bytes()))
    else {
        return Said::Unread;
    };
    let Some(text) = body.usage.object() else {
        // An error has none; an answer without one is of a kind that is not charged by tokens.
        return Said::Free;
    };
    let reported = if text.contains("\"input_tokens\"") {
        usage::response(body.usage)
    } else {
        usage::openai(body.usage.into(), Output::Nothing)
    };
    let tools = super::responses::tools(body.output);
    match (model_name(body.model), reported) {
        (Some(model), Ok(Some(tokens))) => {
            let ids = [line.id, response.request_id, body.id];
            used((model, tokens, tools), line.custom_id, ids)
        }
        (_, Ok(None) | Err(InvalidUsage::Incomplete)) => Said::Free,
        _ => Said::Unread,
    }
}

fn of_message(message: Raw<'_>, line: &Line<'_>) -> Said {
    let Some(text) = message.object() else {
        return Said::Unread;
    };
    let id = members_of::<Body<'_>>(text.as_bytes())
        .unwrap_or_default()
        .id;
    let (model, reported, tools) = anthropic::message(text.as_bytes());
    match (model, reported) {
        (Some(model), Ok(Some(tokens))) => {
            used((model, tokens, tools), line.custom_id, [line.id, id])
        }
        _ => Said::Unread,
    }
}

/// A call that was charged: its mark is made from the ids that its provider gave it, from the name
/// that it has in its batch, and from what it used, so that nobody can make up another with it.
fn used<const N: usize>(
    (model, tokens, tools): (Box<str>, TokenUsage, ToolUses),
    custom_id: Raw<'_>,
    ids: [Raw<'_>; N],
) -> Said {
    let mut hash = digest::Context::new(&digest::SHA256);
    for id in ids.into_iter().chain([custom_id]) {
        hash.update(id.present().unwrap_or_default().as_bytes());
        hash.update(b"\n");
    }
    hash.update(model.as_bytes());
    for class in TokenClass::ALL {
        hash.update(&tokens.get(class).to_be_bytes());
    }
    let mark = hash.finish().as_ref().first_chunk().copied();
    let has_id = ids.iter().any(|id| id.present().is_some());
    let one = BatchUsage {
        model,
        tokens,
        longest_input: tokens.tokens_in(),
        tools,
        calls: 1,
    };
    Said::Used(one, mark.map(u128::from_be_bytes).filter(|_| has_id))
}
