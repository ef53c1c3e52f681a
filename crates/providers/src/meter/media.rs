//! Answers that are images or sound: only their usage is looked at, where they have one.

use super::Observed;
use super::usage;
use crate::json::{members_of, object};
use crate::operation::Operation;
use crate::request::Bounds;
use crate::sse::Event;

/// Reads a whole answer.
#[derive(Debug)]
pub(super) struct Reader {
    operation: Operation,
}

object! {
    Answer {
        r#type as "type",
        usage,
        error,
    }
}

impl Reader {
    pub(super) const fn new(operation: Operation) -> Self {
        Self { operation }
    }

    /// Reads an answer that is no stream.
    pub(super) fn whole(&self, body: &[u8], observed: &mut Observed, bounds: Bounds) {
        let Some(answer) = members_of::<Answer<'_>>(body) else {
            observed.unreadable = true;
            return;
        };
        observed.complete = true;
        observed.finish_seen = true;
        observed.error_seen = answer.error.present().is_some();
        let reported = if self.operation.makes_images() {
            usage::images(answer.usage)
        } else {
            usage::response(answer.usage)
        };
        observed.report(reported, bounds);
        // Older models make images at a price for each, and say nothing of tokens.
        observed.unreported = observed.usage.is_none();
    }
}

/// Reads one event of a stream: previews and sound pass, and the last event has the usage.
pub(super) fn see(event: &Event<'_>, observed: &mut Observed, bounds: Bounds) {
    let Some(answer) = members_of::<Answer<'_>>(&event.data) else {
        return;
    };
    let kind = answer.r#type.text().unwrap_or_default();
    observed.error_seen |= answer.error.present().is_some() || kind == r#""error""#;
    let reported = match kind {
        r#""speech.audio.done""# => usage::response(answer.usage),
        r#""image_generation.completed""# | r#""image_edit.completed""# => {
            usage::images(answer.usage)
        }
        _ => return,
    };
    observed.complete = true;
    observed.finish_seen = true;
    observed.report(reported, bounds);
    observed.unreported = observed.usage.is_none();
}
