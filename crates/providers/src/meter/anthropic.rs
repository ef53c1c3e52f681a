//! Answers in Anthropic's dialect.
//!
//! A tool's input is raw JSON in these answers and may have a `usage` of its own, so nothing is
//! taken from a text that was only searched: what is not a piece of output is parsed.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use tollgate_core::TokenUsage;
use tollgate_core::price::fees::ToolUses;

use super::Observed;
use super::counting::{tokens_named, value_tokens};
use super::echo::Echo;
use super::observed::model_name;
use super::usage::{AnthropicCounts, AnthropicUsage, InvalidUsage, Reported};
use crate::json::{Nested, members_of, object};
use crate::request::Bounds;
use crate::sse::Event;

struct Needles {
    delta: Finder<'static>,
    block: Finder<'static>,
    result: Finder<'static>,
}

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    delta: Finder::new(b"\"delta\""),
    block: Finder::new(b"\"content_block\""),
    result: Finder::new(b"_tool_result\""),
});

/// Reads a stream's events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    counts: AnthropicCounts,
    /// A count that could not be read, so that those that follow do not hide it.
    invalid: Option<InvalidUsage>,
    pub(super) echo: Echo,
}

object! {
    Told {
        r#type as "type",
        message,
        delta,
        usage in AnthropicUsage,
        error,
    }
}

object! {
    Message {
        r#type as "type",
        model,
        usage in AnthropicUsage,
        stop_reason,
        content,
        error,
    }
}

impl Reader {
    /// Reads one event of a stream, of these bytes.
    pub(super) fn see(
        &mut self,
        bytes: &[u8],
        event: &Event<'_>,
        observed: &mut Observed,
        bounds: Bounds,
    ) {
        match event.name {
            Some(b"content_block_delta") => {
                observed.count(tokens_named(&event.data, &NEEDLES.delta).max(1));
                self.echo.keep(bytes, &event.data, &NEEDLES.delta);
            }
            Some(b"content_block_start") => count_block(&event.data, observed),
            Some(b"content_block_stop" | b"ping") => {}
            _ => self.read(&event.data, observed, bounds),
        }
    }

    fn read(&mut self, data: &[u8], observed: &mut Observed, bounds: Bounds) {
        let Some(told) = members_of::<Told<'_>>(data) else {
            return;
        };
        match told.r#type.text() {
            Some(r#""message_start""#) => {
                let message = told
                    .message
                    .object()
                    .and_then(|text| members_of(text.as_bytes()));
                let message: Message<'_> = message.unwrap_or_default();
                observed.name_model(message.model);
                self.take(message.usage);
                let input = self.invalid.map_or_else(|| self.counts.input(), Err);
                self.invalid = observed.begin(input, bounds).err();
            }
            Some(r#""message_delta""#) => {
                let delta = told
                    .delta
                    .object()
                    .and_then(|text| members_of(text.as_bytes()));
                let delta: Message<'_> = delta.unwrap_or_default();
                observed.finish_seen |= delta.stop_reason.present().is_some();
                if self.take(told.usage) {
                    observed.tools = self.counts.tools();
                    let all = self.invalid.map_or_else(|| self.counts.all(), Err);
                    observed.report(all, bounds);
                }
            }
            Some(r#""message_stop""#) => observed.complete = true,
            Some(r#""error""#) => observed.error_seen = true,
            // Without the name of the event, which some servers leave out.
            Some(r#""content_block_delta""#) => {
                observed.count(tokens_named(data, &NEEDLES.delta).max(1));
            }
            Some(r#""content_block_start""#) => count_block(data, observed),
            _ => observed.error_seen |= told.error.present().is_some(),
        }
    }

    /// Takes the counts of an event; whether it has any.
    fn take(&mut self, usage: Nested<'_, AnthropicUsage<'_>>) -> bool {
        match self.counts.take(usage) {
            Ok(said) => said,
            Err(invalid) => {
                self.invalid = Some(invalid);
                true
            }
        }
    }
}

/// Counts what a block begins with, unless the provider's own tools found it.
fn count_block(data: &[u8], observed: &mut Observed) {
    if NEEDLES.result.find(data).is_none() {
        observed.count(tokens_named(data, &NEEDLES.block));
    }
}

/// Reads an answer that is no stream.
pub(super) fn whole(body: &[u8], observed: &mut Observed, bounds: Bounds) {
    let Some(message) = members_of::<Message<'_>>(body) else {
        observed.unreadable = true;
        return;
    };
    observed.complete = true;
    observed.finish_seen = message.stop_reason.present().is_some();
    observed.error_seen = message.error.present().is_some();
    observed.name_model(message.model);
    let mut counts = AnthropicCounts::default();
    let is_message = message.r#type.text() == Some(r#""message""#);
    match counts.take(message.usage) {
        Ok(true) if is_message => {
            observed.tools = counts.tools();
            if observed.begin(counts.input(), bounds).is_ok() {
                observed.report(counts.all(), bounds);
            }
        }
        Ok(_) => {}
        Err(invalid) => observed.report(Err(invalid), bounds),
    }
    if observed.usage.is_none() {
        observed.count(value_tokens(
            message.content.text().unwrap_or_default().as_bytes(),
        ));
    }
}

/// What one message says of itself among others: its model, its usage, its uses of tools.
pub(super) fn message(text: &[u8]) -> (Option<Box<str>>, Reported<Option<TokenUsage>>, ToolUses) {
    let message = members_of::<Message<'_>>(text).unwrap_or_default();
    let mut counts = AnthropicCounts::default();
    let usage = match counts.take(message.usage) {
        Ok(true) => counts.all(),
        Ok(false) => Ok(None),
        Err(invalid) => Err(invalid),
    };
    (model_name(message.model), usage, counts.tools())
}
