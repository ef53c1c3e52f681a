//! Why a call is not answered by its provider: said in the caller's dialect, with what to do.

use std::borrow::Cow;
use std::fmt::Write as _;

use http::StatusCode;
use tollgate_app::refusal::status_of;
use tollgate_core::Nanos;
use tollgate_core::limit::LimitKind;
use tollgate_core::verdict::{ReasonCode, Refusal};
use tollgate_providers::RequestError;

/// What the caller's SDK is told about trying again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Retry {
    /// What the status means.
    ByStatus,
    /// It will not help.
    Never,
    /// After so many milliseconds.
    After(i64),
}

/// A call that Tollgate itself answers with an error; boxed, because it is rare and large.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Box<ErrorAnswer>);

/// What such an answer says.
#[derive(Debug)]
pub(crate) struct ErrorAnswer {
    pub(crate) status: StatusCode,
    pub(crate) error_type: Option<&'static str>,
    pub(crate) code: &'static str,
    pub(crate) message: String,
    pub(crate) param: Option<Cow<'static, str>>,
    pub(crate) retry: Retry,
    /// The `tollgate` member of the error, as a JSON object.
    pub(crate) detail: String,
}

impl Refused {
    pub(crate) fn new(status: StatusCode, code: &'static str, message: String) -> Self {
        let detail = format!(r#"{{"code":"{code}"}}"#);
        Self(Box::new(ErrorAnswer {
            status,
            error_type: None,
            code,
            message,
            param: None,
            retry: Retry::ByStatus,
            detail,
        }))
    }

    pub(crate) fn never_again(mut self) -> Self {
        self.0.retry = Retry::Never;
        self
    }

    /// Tells the caller to try again after so many milliseconds.
    pub(crate) fn after_millis(mut self, millis: i64) -> Self {
        self.0.retry = Retry::After(millis);
        self
    }

    pub(crate) fn about(mut self, param: impl Into<Cow<'static, str>>) -> Self {
        self.0.param = Some(param.into());
        self
    }

    pub(crate) fn missing_key() -> Self {
        let message =
            "no key: send a Tollgate access key as `Authorization: Bearer` or `x-api-key`";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            message.to_owned(),
        )
    }

    /// A request that is signed with an access key of AWS's own.
    pub(crate) fn signed_request() -> Self {
        let message = "the request is signed with an access key that is none of Tollgate's: send \
                       a Tollgate key as a bearer (AWS_BEARER_TOKEN_BEDROCK), or as the access \
                       key id, or in the header x-tollgate-key";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            message.to_owned(),
        )
    }

    /// The same words for a key that is unknown, malformed, revoked, expired or suspended.
    pub(crate) fn unknown_key() -> Self {
        let message = "the key is not valid: it is unknown, or was revoked, or has expired";
        Self::new(
            StatusCode::UNAUTHORIZED,
            "invalid_api_key",
            message.to_owned(),
        )
    }

    pub(crate) fn request(error: &RequestError) -> Self {
        let mut refused = Self::new(StatusCode::BAD_REQUEST, error.code(), error.to_string());
        refused.0.param = error.param().map(Cow::Borrowed);
        refused
    }

    pub(crate) fn unavailable() -> Self {
        Self::limit(&Refusal {
            retry_after_ms: Some(2_000),
            ..Refusal::plain(ReasonCode::LimitsUnavailable)
        })
    }

    /// The journal did not take the call, so it did not leave.
    pub(crate) fn not_written_down() -> Self {
        let mut refused = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "journal_unavailable",
            "this node cannot write the call down: its disk has no room or fails, so the call did \
             not leave and costs nothing; try again"
                .to_owned(),
        );
        refused.0.retry = Retry::After(2_000);
        refused
    }

    /// A decision against the call.
    pub(crate) fn limit(refusal: &Refusal) -> Self {
        let status = status_of(refusal.code);
        let code = refusal.code.as_str();
        let retry = match refusal.retry_after_ms {
            Some(millis) => Retry::After(millis),
            None => Retry::Never,
        };
        Self(Box::new(ErrorAnswer {
            status,
            error_type: None,
            code,
            message: refusal.message(),
            param: None,
            retry,
            detail: detail(refusal),
        }))
    }
}

fn detail(refusal: &Refusal) -> String {
    let mut json = format!(r#"{{"code":"{}""#, refusal.code.as_str());
    let mut member = |name: &str, value: String| {
        // Writing into a String cannot fail.
        let _written = write!(json, r#","{name}":{value}"#);
    };
    if let Some(figures) = &refusal.figures {
        let value = |value: i64| match figures.kind {
            LimitKind::Budget => format!(r#""{}""#, Nanos::new(value)),
            LimitKind::Tokens | LimitKind::Rate => value.to_string(),
        };
        let unit = match figures.kind {
            LimitKind::Budget => "usd",
            LimitKind::Tokens => "tokens",
            LimitKind::Rate => "requests_per_minute",
        };
        member("limit_type", format!(r#""{}""#, figures.kind.as_str()));
        member("unit", format!(r#""{unit}""#));
        member("limit", value(figures.limit));
        member("spent", value(figures.spent));
        member("held", value(figures.held));
        member("asked", value(figures.asked));
    }
    if let Some(at) = refusal.resets_at {
        member("resets_at", format!(r#""{at}""#));
    }
    json.push('}');
    json
}
