//! Answers of Bedrock: its own words for every model (`converse`), or each maker's in an envelope
//! of Bedrock's (`invoke`).
//!
//! What a maker's own usage says comes first, because it knows kinds of tokens that Bedrock's
//! counts do not; then Bedrock's counts, in the answer's head or in the last event.

use std::sync::LazyLock;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::HeaderMap;
use memchr::memmem::Finder;
use serde::Deserialize;

use super::counting::{tokens_named, value_tokens};
use super::usage::{self, BedrockCounts, Output, Reported};
use super::{Observed, anthropic};
use crate::eventstream::Frame;
use crate::json::{members_of, object, parsed};
use crate::operation::Operation;
use crate::request::Bounds;
use crate::sse::Event;
use tollgate_core::TokenUsage;

/// The counts in the head of an answer that is no stream.
const COUNTS: [&str; 4] = [
    "x-amzn-bedrock-input-token-count",
    "x-amzn-bedrock-output-token-count",
    "x-amzn-bedrock-cache-read-input-token-count",
    "x-amzn-bedrock-cache-write-input-token-count",
];

struct Needles {
    delta: Finder<'static>,
    start: Finder<'static>,
    metrics: Finder<'static>,
}

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    delta: Finder::new(b"\"delta\""),
    start: Finder::new(b"\"start\""),
    metrics: Finder::new(b"\"amazon-bedrock-invocationMetrics\""),
});

/// Reads a stream's frames, or a whole answer.
#[derive(Debug)]
pub(super) struct Reader {
    operation: Operation,
    /// What the head of the answer counts.
    head: BedrockCounts,
    /// A stream in the words of the maker that most streams are in.
    anthropic: anthropic::Reader,
}

object! {
    /// An answer or an event in Bedrock's own words.
    Converse {
        usage,
        output,
        stop_reason as "stopReason",
    }
}

/// A piece of a maker's stream, in Bedrock's envelope.
#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(borrow)]
    bytes: &'a str,
}

object! {
    /// A maker's own answer or event: what is looked at of it.
    Told {
        r#type as "type",
        usage,
        embedding,
        embeddings,
        embeddings_by_type as "embeddingsByType",
        llama_input as "prompt_token_count",
        llama_output as "generation_token_count",
        titan_input as "inputTextTokenCount",
        metrics as "amazon-bedrock-invocationMetrics",
    }
}

impl Reader {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            head: BedrockCounts::default(),
            anthropic: anthropic::Reader::default(),
        }
    }

    /// Takes the counts in the head of the answer.
    pub(super) fn head(&mut self, headers: &HeaderMap) {
        let [input, output, read, written] = COUNTS.map(|name| {
            let value = headers.get(name)?.to_str().ok()?;
            value.trim().parse().ok()
        });
        self.head = BedrockCounts {
            input,
            output,
            read,
            written,
            ..BedrockCounts::default()
        };
    }

    /// Reads one frame of a stream.
    pub(super) fn see(&mut self, frame: &Frame<'_>, observed: &mut Observed, bounds: Bounds) {
        if frame.header(":message-type") != Some("event") {
            observed.error_seen = true;
            return;
        }
        let payload = frame.payload;
        match frame.header(":event-type") {
            Some("chunk") => self.chunk(payload, observed, bounds),
            Some("contentBlockDelta") => {
                observed.count(tokens_named(payload, &NEEDLES.delta).max(1));
            }
            Some("contentBlockStart") => observed.count(tokens_named(payload, &NEEDLES.start)),
            Some("messageStop") => observed.finish_seen = true,
            Some("metadata") => {
                if let Some(told) = members_of::<Converse<'_>>(payload) {
                    observed.report(usage::converse(told.usage), bounds);
                    observed.complete = true;
                }
            }
            _ => {}
        }
    }

    /// Reads an answer that is no stream.
    pub(super) fn whole(&mut self, body: &[u8], observed: &mut Observed, bounds: Bounds) {
        if self.operation == Operation::Converse {
            converse(body, observed, bounds);
            return;
        }
        let Some(told) = members_of::<Told<'_>>(body) else {
            // Some answers are no JSON; what they used may stand in the head all the same.
            observed.unreadable = true;
            observed.report(self.head.all(), bounds);
            return;
        };
        if told.r#type.text() == Some(r#""message""#) {
            anthropic::whole(body, observed, bounds);
        }
        observed.complete = true;
        let is_settled = observed.usage.is_some() || observed.invalid_usage.is_some();
        if !is_settled {
            observed.report(self.invoked(&told), bounds);
        }
        if observed.usage.is_none() && observed.counted_output == 0 {
            observed.count(value_tokens(body));
        }
    }

    /// The usage of an answer in its maker's words, else in Bedrock's.
    fn invoked(&self, told: &Told<'_>) -> Reported<Option<TokenUsage>> {
        let vectors = [told.embedding, told.embeddings, told.embeddings_by_type];
        let is_embedding = vectors.iter().any(|it| it.present().is_some());
        let in_own_words = [
            usage::converse(told.usage),
            usage::openai(told.usage.into(), Output::Tokens),
            BedrockCounts::from_raw(told.llama_input, told.llama_output).and_then(|it| it.all()),
        ];
        let own = in_own_words.into_iter().find_map(|it| it.ok().flatten());
        if let Some(own) = own {
            return Ok(Some(own));
        }
        let mut head = self.head;
        if head.input.is_none() {
            head.input = usage::count(told.titan_input)?;
        }
        if is_embedding {
            head.output = head.output.or(Some(0));
        }
        head.all()
    }

    /// Reads one piece of a maker's own stream.
    fn chunk(&mut self, payload: &[u8], observed: &mut Observed, bounds: Bounds) {
        let bytes = parsed::<Envelope<'_>>(payload).and_then(|it| STANDARD.decode(it.bytes).ok());
        let Some(bytes) = bytes else {
            observed.count(u64::try_from(payload.len()).unwrap_or(u64::MAX));
            return;
        };
        let Some(told) = members_of::<Told<'_>>(&bytes) else {
            observed.count(u64::try_from(bytes.len()).unwrap_or(u64::MAX));
            return;
        };
        let data = std::borrow::Cow::Borrowed(bytes.as_slice());
        let has_type = told.r#type.present().is_some();
        if has_type {
            self.anthropic
                .see(&bytes, &Event { name: None, data }, observed, bounds);
        }
        if NEEDLES.metrics.find(&bytes).is_none() {
            if !has_type {
                observed.count(value_tokens(&bytes).max(1));
            }
            return;
        }
        observed.complete = true;
        if observed.usage.is_none() && observed.invalid_usage.is_none() {
            observed.report(usage::invocation(told.metrics), bounds);
        }
    }
}

/// Reads a whole answer in Bedrock's own words.
fn converse(body: &[u8], observed: &mut Observed, bounds: Bounds) {
    let Some(told) = members_of::<Converse<'_>>(body) else {
        observed.unreadable = true;
        return;
    };
    observed.complete = true;
    observed.finish_seen = told.stop_reason.present().is_some();
    observed.report(usage::converse(told.usage), bounds);
    if observed.usage.is_none() {
        let output = told.output.text().unwrap_or_default();
        observed.count(value_tokens(output.as_bytes()));
    }
}

#[cfg(test)]
mod tests;
