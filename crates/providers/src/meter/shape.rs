//! How answers come, as their heads tell.

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

/// How an answer comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AnswerShape {
    /// As one JSON text.
    Whole,
    /// As a stream of events in text.
    Stream,
    /// As a stream of events in binary frames.
    Frames,
    /// In an encoding (compressed) that is not undone: it passes, and nothing of it is read.
    Opaque,
}

impl AnswerShape {
    /// The shape that an answer's headers tell. A provider may answer a request for a stream
    /// with an error that is none, and may compress although it was asked not to.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let mut encodings = headers.get_all(CONTENT_ENCODING).into_iter();
        let is_plain = |value: &http::HeaderValue| {
            let name = value.as_bytes().trim_ascii();
            name.is_empty() || name.eq_ignore_ascii_case(b"identity")
        };
        if !encodings.all(is_plain) {
            return Self::Opaque;
        }
        let kind = headers
            .get(CONTENT_TYPE)
            .map(http::HeaderValue::as_bytes)
            .unwrap_or_default();
        let is_called = |name: &[u8]| {
            let beginning = kind.get(..name.len());
            beginning.is_some_and(|it| it.eq_ignore_ascii_case(name))
        };
        if is_called(b"text/event-stream") {
            Self::Stream
        } else if is_called(b"application/vnd.amazon.eventstream") {
            Self::Frames
        } else {
            Self::Whole
        }
    }

    /// Whether it comes as events, each to be handed on at once.
    #[must_use]
    pub const fn is_stream(self) -> bool {
        matches!(self, Self::Stream | Self::Frames)
    }
}
