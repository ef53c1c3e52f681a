//! The ways of speaking, and errors said in each so that the official SDKs understand them.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use serde::Serialize;
use serde_json::value::RawValue;

use crate::eventstream;

/// Whose words a caller speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// OpenAI's, which most compatible servers speak too.
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's.
    Anthropic,
    /// Bedrock's, of AWS.
    Bedrock,
}

/// What went wrong, before it is put into a dialect's words.
#[derive(Debug, Clone, Copy)]
pub struct ErrorBody<'a> {
    /// The status of the answer, or the one that it would have had.
    pub status: StatusCode,
    /// The dialect's class of error; by the status when absent.
    pub error_type: Option<&'a str>,
    /// The stable code, for example `budget_exceeded`.
    pub code: &'a str,
    /// What happened, why, and what to do.
    pub message: &'a str,
    /// The member of the request that is at fault.
    pub param: Option<&'a str>,
    /// More, as the text of a JSON object; left out when it is not JSON.
    pub tollgate: Option<&'a str>,
    /// The id of the request, as in the answer's headers.
    pub request_id: &'a str,
}

#[derive(Serialize)]
struct OpenAiBody<'a> {
    error: OpenAiError<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tollgate: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct OpenAiError<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    r#type: &'static str,
    error: AnthropicError<'a>,
    request_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tollgate: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct BedrockBody<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    tollgate: Option<&'a RawValue>,
}

impl Dialect {
    /// The dialect of a request for models, which both have at the same path.
    pub(crate) fn of_models(headers: &HeaderMap) -> Self {
        if headers.contains_key("anthropic-version") {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// The dialect's class of errors with this status.
    #[must_use]
    pub fn error_type(self, status: StatusCode) -> &'static str {
        match (self, status.as_u16()) {
            (Self::OpenAi, 402) => "insufficient_quota",
            (Self::OpenAi, 403) => "permission_denied",
            (Self::Anthropic, 401) => "authentication_error",
            (Self::Anthropic, 402) => "billing_error",
            (Self::Anthropic, 403) => "permission_error",
            (Self::Anthropic, 404) => "not_found_error",
            (Self::Anthropic, 503 | 529) => "overloaded_error",
            (Self::Anthropic, 504) => "timeout_error",
            (Self::Bedrock, 401) => "UnrecognizedClientException",
            (Self::Bedrock, 402) => "ServiceQuotaExceededException",
            (Self::Bedrock, 403) => "AccessDeniedException",
            (Self::Bedrock, 404) => "ResourceNotFoundException",
            (Self::Bedrock, 408 | 504) => "ModelTimeoutException",
            (Self::Bedrock, 409) => "ConflictException",
            (Self::Bedrock, 424) => "ModelErrorException",
            (Self::Bedrock, 429) => "ThrottlingException",
            (Self::Bedrock, 503) => "ServiceUnavailableException",
            (Self::Bedrock, 400..500) => "ValidationException",
            (Self::Bedrock, _) => "InternalServerException",
            (_, 413) => "request_too_large",
            (_, 429) => "rate_limit_error",
            (_, 400..500) => "invalid_request_error",
            (Self::OpenAi, _) => "server_error",
            (Self::Anthropic, _) => "api_error",
        }
    }

    /// The status by which a caller learns that trying again will not help. AWS's clients look at
    /// nothing else: they try 502 and 504 again whatever they are told besides.
    #[must_use]
    pub fn final_status(self, status: StatusCode) -> StatusCode {
        match (self, status.as_u16()) {
            (Self::Bedrock, 502) => StatusCode::FAILED_DEPENDENCY,
            (Self::Bedrock, 504) => StatusCode::REQUEST_TIMEOUT,
            _ => status,
        }
    }

    /// The header in which the class of an error stands, where the dialect has one.
    #[must_use]
    pub const fn error_header(self) -> Option<HeaderName> {
        match self {
            Self::OpenAi | Self::Anthropic => None,
            Self::Bedrock => Some(HeaderName::from_static("x-amzn-errortype")),
        }
    }

    /// The JSON body of an error answer.
    #[must_use]
    pub fn error_body(self, error: &ErrorBody<'_>) -> Bytes {
        self.body(error).into()
    }

    /// The event that ends a broken stream. As text it begins with a blank line, so that it is read
    /// as an event of its own whatever was sent before it; as a frame it needs whole ones before it.
    #[must_use]
    pub fn error_event(self, error: &ErrorBody<'_>) -> Bytes {
        let opening: &[u8] = match self {
            Self::OpenAi => b"\n\ndata: ",
            Self::Anthropic => b"\n\nevent: error\ndata: ",
            Self::Bedrock => {
                let headers = [
                    (":exception-type", "modelStreamErrorException"),
                    (":content-type", "application/json"),
                    (":message-type", "exception"),
                ];
                return eventstream::frame(&headers, &self.body(error)).into();
            }
        };
        [opening, &self.body(error), b"\n\n"].concat().into()
    }

    /// The event that ends a broken stream of typed events, as responses of OpenAI's are: typed as
    /// their own errors are, and with the member by which the SDKs know one in any stream.
    #[must_use]
    pub fn typed_error_event(error: &ErrorBody<'_>) -> Bytes {
        let body = serde_json::json!({
            "type": "error",
            "code": error.code,
            "message": error.message,
            "param": error.param,
            "error": {
                "message": error.message,
                "type": Self::OpenAi.error_type(error.status),
                "param": error.param,
                "code": error.code,
            },
        });
        format!("\n\nevent: error\ndata: {body}\n\n").into()
    }

    fn body(self, error: &ErrorBody<'_>) -> Vec<u8> {
        let error_type = error
            .error_type
            .unwrap_or_else(|| self.error_type(error.status));
        let tollgate = error
            .tollgate
            .and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        // An event's data is one line, so a member with line breaks cannot stand in it.
        let tollgate = tollgate.filter(|raw| !raw.get().contains(['\r', '\n']));
        let body = match self {
            Self::OpenAi => serde_json::to_vec(&OpenAiBody {
                error: OpenAiError {
                    message: error.message,
                    r#type: error_type,
                    param: error.param,
                    code: error.code,
                },
                tollgate,
            }),
            Self::Anthropic => serde_json::to_vec(&AnthropicBody {
                r#type: "error",
                error: AnthropicError {
                    r#type: error_type,
                    message: error.message,
                },
                request_id: error.request_id,
                tollgate,
            }),
            Self::Bedrock => serde_json::to_vec(&BedrockBody {
                message: error.message,
                tollgate,
            }),
        };
        // Writing texts into memory cannot fail.
        body.unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BROKE: ErrorBody<'_> = ErrorBody {
        status: StatusCode::PAYMENT_REQUIRED,
        error_type: None,
        code: "budget_exceeded",
        message: "The month's budget is \"spent\".\nRaise it.",
        param: None,
        tollgate: Some(r#"{"code":"budget_exceeded","limit":"1.00"}"#),
        request_id: "req_1",
    };

    #[test]
    fn an_error_is_said_in_the_words_of_each_dialect() {
        let text = |bytes: Bytes| String::from_utf8(bytes.to_vec()).unwrap();
        insta::assert_snapshot!(text(Dialect::OpenAi.error_body(&BROKE)), @r#"{"error":{"message":"The month's budget is \"spent\".\nRaise it.","type":"insufficient_quota","param":null,"code":"budget_exceeded"},"tollgate":{"code":"budget_exceeded","limit":"1.00"}}"#);
        insta::assert_snapshot!(text(Dialect::Anthropic.error_body(&BROKE)), @r#"{"type":"error","error":{"type":"billing_error","message":"The month's budget is \"spent\".\nRaise it."},"request_id":"req_1","tollgate":{"code":"budget_exceeded","limit":"1.00"}}"#);
    }

    #[test]
    fn an_error_event_is_one_event_even_after_half_a_line() {
        for (dialect, line) in [
            (Dialect::OpenAi, "data: {"),
            (Dialect::Anthropic, "event: error\ndata: {"),
        ] {
            let event = dialect.error_event(&BROKE);
            let text = String::from_utf8(event.to_vec()).unwrap();
            assert!(text.starts_with(&format!("\n\n{line}")), "{text}");
            assert!(text.ends_with("}\n\n"), "{text}");
            assert_eq!(text.trim().lines().count(), line.lines().count());
        }
    }

    #[test]
    fn a_member_that_is_not_json_on_one_line_is_left_out() {
        for text in ["{", "{\n}", "{\r}"] {
            let body = Dialect::OpenAi.error_body(&ErrorBody {
                tollgate: Some(text),
                ..BROKE
            });
            let read: serde_json::Value = serde_json::from_slice(&body).unwrap();
            assert!(read.get("tollgate").is_none(), "{text:?}");
        }
    }
}
