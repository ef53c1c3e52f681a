//! Responses of OpenAI's: whole, or as a stream of typed events, of which the last has all of it.

use std::sync::LazyLock;

use memchr::memmem::Finder;
use tollgate_core::price::fees::ToolUses;

use super::Observed;
use super::counting::{tokens_named, value_tokens};
use super::usage;
use crate::json::{Raw, members_of, object};
use crate::request::Bounds;
use crate::sse::Event;

/// The longest id of a response that is asked for again, in bytes.
const ID_MAX: usize = 256;

static DELTA: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new(b"\"delta\""));

/// Reads a stream's events.
#[derive(Debug, Default)]
pub(super) struct Reader {
    /// Whether the response was seen as it began.
    begun: bool,
}

object! {
    Told {
        r#type as "type",
        response,
    }
}

object! {
    Response {
        id,
        model,
        status,
        usage,
        error,
        output,
        service_tier,
    }
}

object! {
    Item {
        r#type as "type",
        action,
    }
}

impl Reader {
    /// Reads one event of a stream.
    pub(super) fn see(&mut self, event: &Event<'_>, observed: &mut Observed, bounds: Bounds) {
        let data: &[u8] = &event.data;
        // Some servers leave the name of the event to its data.
        let name = event.name.unwrap_or_else(|| kind(data));
        match name {
            b"response.created" | b"response.queued" | b"response.in_progress" if self.begun => {}
            b"response.created"
            | b"response.queued"
            | b"response.in_progress"
            | b"response.completed"
            | b"response.incomplete"
            | b"response.failed"
            | b"response.cancelled" => {
                self.begun = true;
                let told = members_of::<Told<'_>>(data).unwrap_or_default();
                let text = told.response.object().unwrap_or_default();
                if let Some(response) = members_of::<Response<'_>>(text.as_bytes()) {
                    take(&response, observed, bounds);
                }
            }
            b"error" => observed.error_seen = true,
            // Sound is not text: its letters say nothing of its tokens.
            b"response.audio.delta" | b"response.output_audio.delta" => observed.count(1),
            other if other.ends_with(b".delta") => {
                observed.count(tokens_named(data, &DELTA).max(1));
            }
            _ => {}
        }
    }
}

/// Reads an answer that is no stream.
pub(super) fn whole(body: &[u8], observed: &mut Observed, bounds: Bounds) {
    let Some(response) = members_of::<Response<'_>>(body) else {
        observed.unreadable = true;
        return;
    };
    observed.complete = true;
    take(&response, observed, bounds);
    observed.complete = true;
    if observed.usage.is_none() {
        let output = response.output.text().unwrap_or_default();
        observed.count(value_tokens(output.as_bytes()));
    }
}

/// Takes what a response says of itself: as it begins, or as it ends.
fn take(response: &Response<'_>, observed: &mut Observed, bounds: Bounds) {
    if observed.model.is_none() {
        observed.name_model(response.model);
    }
    observed.report(usage::response(response.usage), bounds);
    observed.error_seen |= response.error.present().is_some();
    observed.tools = tools(response.output);
    observed.halved = response.service_tier.text() == Some(r#""flex""#);
    let is_pending = matches!(
        response.status.text(),
        Some(r#""queued""# | r#""in_progress""#)
    );
    if is_pending {
        observed.pending = id(response.id);
    } else {
        observed.pending = None;
        observed.complete = true;
        observed.finish_seen = true;
    }
}

/// How often a response used tools that OpenAI runs and charges by use: of a web search only the
/// search itself, and not the pages that it opened.
pub(super) fn tools(output: Raw<'_>) -> ToolUses {
    let mut uses = ToolUses::NONE;
    let text = output.text().unwrap_or_default();
    if !text.contains("_call\"") {
        return uses;
    }
    let items: Vec<Raw<'_>> = serde_json::from_str(text).unwrap_or_default();
    for item in items {
        let item: Item<'_> = item
            .object()
            .and_then(|text| members_of(text.as_bytes()))
            .unwrap_or_default();
        let searches = || {
            let action: Item<'_> = item
                .action
                .object()
                .and_then(|text| members_of(text.as_bytes()))
                .unwrap_or_default();
            matches!(action.r#type.text(), None | Some(r#""search""#))
        };
        let count = match item.r#type.text() {
            Some(r#""web_search_call""#) if searches() => &mut uses.web_search,
            Some(r#""file_search_call""#) => &mut uses.file_search,
            Some(r#""code_interpreter_call""#) => &mut uses.code_interpreter,
            _ => continue,
        };
        *count = count.saturating_add(1);
    }
    uses
}

/// An id that can stand in a path.
fn id(raw: Raw<'_>) -> Option<Box<str>> {
    let id: &str = serde_json::from_str(raw.present()?).ok()?;
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let fits = !id.is_empty() && id.len() <= ID_MAX && !id.starts_with('.');
    (fits && id.bytes().all(plain)).then(|| id.into())
}

/// What an event says that it is.
fn kind(data: &[u8]) -> &[u8] {
    let told = members_of::<Told<'_>>(data).unwrap_or_default();
    let text = told.r#type.text().unwrap_or_default();
    text.trim_matches('"').as_bytes()
}
