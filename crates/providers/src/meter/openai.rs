//! Answers in OpenAI's dialect.
//!
//! Most events of a stream carry a few letters: they are counted without being parsed. An event
//! is parsed when its text may hold usage, an error or the model's name. A name cannot be found
//! inside a string, because its quotes are escaped there; the parser has the last word.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use serde::de::IgnoredAny;

use super::counting::{text_tokens, tokens_named, value_tokens};
use super::echo::Echo;
use super::usage::{self, OpenAiUsage, Output};
use super::{Fate, Observed};
use crate::json::{Raw, members_of, object, skip_space, values_named};
use crate::operation::Operation;
use crate::request::Bounds;
use crate::sse::Event;

struct Needles {
    usage: Finder<'static>,
    error: Finder<'static>,
    finish: Finder<'static>,
    delta: Finder<'static>,
    text: Finder<'static>,
    kind: Finder<'static>,
}

/// How the events are called that end the streamed answer to a form.
const LAST_EVENT: &[u8] = b"\"transcript.text.done\"";

static NEEDLES: LazyLock<Needles> = LazyLock::new(|| Needles {
    usage: Finder::new(b"\"usage\""),
    error: Finder::new(b"\"error\""),
    finish: Finder::new(b"\"finish_reason\""),
    delta: Finder::new(b"\"delta\""),
    text: Finder::new(b"\"text\""),
    kind: Finder::new(b"\"type\""),
});

/// Reads a stream's events, or a whole answer.
#[derive(Debug)]
pub(super) struct Reader {
    operation: Operation,
    /// How many events may still be parsed to learn the model's name.
    looks: u8,
    pub(super) echo: Echo,
}

object! {
    Answer {
        model,
        usage in OpenAiUsage,
        error,
        choices,
        service_tier,
    }
}

impl Reader {
    pub(super) fn new(operation: Operation) -> Self {
        Self {
            operation,
            looks: 3,
            echo: Echo::default(),
        }
    }

    /// Reads one event of a stream, of these bytes.
    pub(super) fn see(
        &mut self,
        bytes: &[u8],
        event: &Event<'_>,
        observed: &mut Observed,
        bounds: Bounds,
    ) -> Fate {
        let data: &[u8] = &event.data;
        if data.trim_ascii() == b"[DONE]" {
            observed.complete = true;
            return Fate::Pass;
        }
        let pieces = if self.operation == Operation::Completions {
            &NEEDLES.text
        } else {
            &NEEDLES.delta
        };
        observed.count(tokens_named(data, pieces));
        let finishes = values_named(data, &NEEDLES.finish).any(|value| value.starts_with(b"\""));
        observed.finish_seen |= finishes;
        if self.operation.is_about_sound() {
            let kinds = values_named(data, &NEEDLES.kind);
            observed.complete |= kinds.into_iter().any(|kind| kind.starts_with(LAST_EVENT));
        }
        let has_usage = values_named(data, &NEEDLES.usage).any(|value| value.starts_with(b"{"));
        let seeks_model = observed.model.is_none() && self.looks > 0;
        if !has_usage && !seeks_model && !event.mentions(&NEEDLES.error) {
            if !finishes && !self.operation.takes_form() {
                self.echo.keep(bytes, data, pieces);
            }
            return Fate::Pass;
        }
        self.looks = self.looks.saturating_sub(1);
        let Some(answer) = members_of::<Answer<'_>>(data) else {
            return Fate::Pass;
        };
        let Answer { usage, choices, .. } = &answer;
        let only_usage = usage.raw().object().is_some() && is_empty_list(*choices);
        self.take(answer, observed, bounds);
        if only_usage {
            Fate::UsageOnly
        } else {
            Fate::Pass
        }
    }

    /// Reads an answer that is no stream.
    pub(super) fn whole(&self, body: &[u8], observed: &mut Observed, bounds: Bounds) {
        if self.operation.is_about_sound() && !skip_space(body).starts_with(b"{") {
            // Speech is written down as plain text or subtitles, too, without a word of usage.
            observed.complete = true;
            observed.count(text_tokens(body));
            return;
        }
        let Some(answer) = members_of::<Answer<'_>>(body) else {
            observed.unreadable = true;
            return;
        };
        observed.complete = true;
        let choices = answer.choices.text().unwrap_or_default().as_bytes();
        self.take(answer, observed, bounds);
        observed.finish_seen =
            values_named(choices, &NEEDLES.finish).any(|value| value.starts_with(b"\""));
        if observed.usage.is_none() {
            observed.count(value_tokens(choices));
            if self.operation.is_about_sound() {
                observed.count(tokens_named(body, &NEEDLES.text));
            }
        }
    }

    fn take(&self, answer: Answer<'_>, observed: &mut Observed, bounds: Bounds) {
        let output = if self.operation.may_stream() {
            Output::Tokens
        } else {
            Output::Nothing
        };
        let reported = if self.operation.is_about_sound() {
            usage::sound(answer.usage.raw())
        } else {
            usage::openai(answer.usage, output)
        };
        observed.report(reported, bounds);
        observed.error_seen |= answer.error.present().is_some();
        observed.halved |= answer.service_tier.text() == Some(r#""flex""#);
        if observed.model.is_none() {
            observed.name_model(answer.model);
        }
    }
}

fn is_empty_list(raw: Raw<'_>) -> bool {
    let list = raw.text().map(serde_json::from_str::<[IgnoredAny; 0]>);
    list.is_some_and(|list| list.is_ok())
}
