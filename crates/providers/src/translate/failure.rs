//! A provider's error, read from any dialect's words.

use std::borrow::Cow;

use http::StatusCode;
use serde::Deserialize;

use super::step::{Step, Text};
use crate::json::Raw;

/// What a provider says of its error.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Its class of the error, or its code.
    pub(super) kind: Option<String>,
    pub(super) message: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Body<'a> {
    #[serde(borrow)]
    error: Raw<'a>,
    message: Option<Text<'a>>,
    #[serde(rename = "Message")]
    capital_message: Option<Text<'a>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Inner<'a> {
    #[serde(borrow)]
    message: Option<Text<'a>>,
    r#type: Raw<'a>,
    code: Raw<'a>,
}

impl Told {
    /// Reads a body or the data of an event; what is not understood says nothing.
    pub(super) fn read(data: &[u8]) -> Self {
        let Ok(body) = serde_json::from_slice::<Body<'_>>(data) else {
            return Self::default();
        };
        let outer = body.message.or(body.capital_message);
        let outer = outer.map(|Text(text)| text.into_owned());
        let Some(error) = body.error.present() else {
            return Self {
                kind: None,
                message: outer,
            };
        };
        let Ok(inner) = serde_json::from_str::<Inner<'_>>(error) else {
            // Some servers say their error as a text alone.
            return Self {
                kind: None,
                message: word(error).or(outer),
            };
        };
        let kind = inner.code.present().and_then(word);
        Self {
            kind: kind.or_else(|| inner.r#type.present().and_then(word)),
            message: inner.message.map(|Text(text)| text.into_owned()).or(outer),
        }
    }
}

/// The text of a JSON string.
fn word(raw: &str) -> Option<String> {
    serde_json::from_str(raw).ok()
}

/// The step for an error in the middle of a stream.
pub(super) fn step(told: &Told) -> Step<'_> {
    Step::Error {
        kind: told.kind.as_deref().map(Cow::Borrowed),
        message: told.message.as_deref().map_or(
            Cow::Borrowed("the provider failed while it answered"),
            Cow::Borrowed,
        ),
    }
}

/// The status that an error in the middle of a stream would have had, by its class.
pub(super) fn status_of(kind: Option<&str>) -> StatusCode {
    let kind = kind.unwrap_or_default().to_ascii_lowercase();
    let is = |words: &[&str]| words.iter().any(|word| kind.contains(word));
    if is(&["rate_limit", "throttling", "insufficient_quota"]) {
        StatusCode::TOO_MANY_REQUESTS
    } else if is(&["overloaded", "serviceunavailable"]) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is(&["timeout"]) {
        StatusCode::GATEWAY_TIMEOUT
    } else if is(&["invalid_request", "validation"]) {
        StatusCode::BAD_REQUEST
    } else {
        StatusCode::INTERNAL_SERVER_ERROR
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialects_error_is_understood() {
        let told = |kind: Option<&str>, message: &str| Told {
            kind: kind.map(str::to_owned),
            message: Some(message.to_owned()),
        };
        let table = [
            (
                r#"{"error":{"message":"m","type":"t","param":null,"code":"c"}}"#,
                told(Some("c"), "m"),
            ),
            (
                r#"{"error":{"message":"m","type":"t","code":null}}"#,
                told(Some("t"), "m"),
            ),
            (
                r#"{"error":{"message":"m","type":"t","code":404}}"#,
                told(Some("t"), "m"),
            ),
            (
                r#"{"type":"error","error":{"type":"overloaded_error","message":"m"}}"#,
                told(Some("overloaded_error"), "m"),
            ),
            (r#"{"message":"m"}"#, told(None, "m")),
            (r#"{"Message":"m"}"#, told(None, "m")),
            (r#"{"error":"m"}"#, told(None, "m")),
            ("<html>", Told::default()),
            ("{}", Told::default()),
        ];
        for (body, expected) in table {
            assert_eq!(Told::read(body.as_bytes()), expected, "{body}");
        }
    }

    #[test]
    fn an_error_in_a_stream_has_the_status_of_its_class() {
        for (kind, status) in [
            (Some("overloaded_error"), 503),
            (Some("throttlingException"), 429),
            (Some("rate_limit_exceeded"), 429),
            (Some("validationException"), 400),
            (Some("modelTimeoutException"), 504),
            (Some("other"), 500),
            (None, 500),
        ] {
            assert_eq!(status_of(kind).as_u16(), status, "{kind:?}");
        }
    }
}
