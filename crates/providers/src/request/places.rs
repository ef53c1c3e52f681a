//! Where a request's body can be edited.

use std::ops::Range;

use super::{RequestError, flag, object};
use crate::edit::Nested;
use crate::json::{Raw, skip_space, span_of};

/// Where a body can be edited, found while it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Places {
    /// After the opening brace.
    pub(crate) opening: Opening,
    /// The value of `model`, also when it is `null`.
    pub(crate) model: Option<Range<usize>>,
    /// `max_tokens` that is `null`.
    pub(crate) null_max_tokens: Option<Range<usize>>,
    /// `max_completion_tokens` that is `null`.
    pub(crate) null_max_completion_tokens: Option<Range<usize>>,
    /// `max_output_tokens` that is `null`.
    pub(crate) null_max_output_tokens: Option<Range<usize>>,
    /// What the request says of usage in a stream.
    pub(crate) usage_option: UsageOption,
    /// `maxTokens` in `inferenceConfig`.
    pub(crate) inference: Nested,
    /// `maxTokenCount` in `textGenerationConfig`.
    pub(crate) generation: Nested,
}

/// The place after an object's opening brace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Opening {
    /// The first byte after the brace.
    pub(crate) at: usize,
    /// Whether the object has no members.
    pub(crate) empty: bool,
}

/// What a request says of `stream_options.include_usage`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) enum UsageOption {
    /// There are no `stream_options`.
    #[default]
    Absent,
    /// `stream_options` is `null`.
    Null(Range<usize>),
    /// `stream_options` says nothing of usage.
    Unsaid(Opening),
    /// `include_usage` is `false` or `null`.
    Declined(Range<usize>),
    /// `include_usage` is `true`.
    Asked,
}

crate::json::object! {
    StreamOptions {
        include_usage,
    }
}

/// The place after the opening brace of `object`, counted in `text`.
pub(super) fn opening(object: &str, text: &str) -> Opening {
    let trimmed = object.trim_start();
    let inner = trimmed.strip_prefix('{').unwrap_or(trimmed);
    let at = span_of(inner, text).map_or(0, |span| span.start);
    Opening {
        at,
        empty: skip_space(inner.as_bytes()).starts_with(b"}"),
    }
}

pub(super) fn null_span(raw: Raw<'_>, text: &str) -> Option<Range<usize>> {
    if raw.text() == Some("null") {
        raw.span(text)
    } else {
        None
    }
}

pub(super) fn usage_option(raw: Raw<'_>, text: &str) -> Result<UsageOption, RequestError> {
    const WRONG: RequestError = RequestError::Wrong {
        param: "stream_options",
        expected: "an object or null",
    };
    match raw.text() {
        None => return Ok(UsageOption::Absent),
        Some("null") => return raw.span(text).map(UsageOption::Null).ok_or(WRONG),
        Some(_) => {}
    }
    let options = raw.object().ok_or(WRONG)?;
    let include: Raw<'_> = object::<StreamOptions<'_>>(options)?.include_usage;
    match flag(include, "stream_options.include_usage")? {
        Some(true) => Ok(UsageOption::Asked),
        Some(false) => include.span(text).map(UsageOption::Declined).ok_or(WRONG),
        None => Ok(include.span(text).map_or_else(
            || UsageOption::Unsaid(opening(options, text)),
            UsageOption::Declined,
        )),
    }
}
