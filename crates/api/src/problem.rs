//! Errors as problem documents (RFC 9457), and the id that every request has.

use std::borrow::Cow;

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, ETAG, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::Serialize;
use tollgate_app::AppError;
use tollgate_app::revision::Revision;
use tollgate_app::rules::BrokenRule;
use utoipa::ToSchema;

use crate::precondition::etag;
use crate::v1::enforcement::ReasonBody;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const REQUEST_ID_MAX: usize = 128;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");
/// Seconds after which to ask again for what could not be reached.
const RETRY_SECONDS: &str = "1";
/// The code of a request whose like is being done.
const IN_PROGRESS: &str = "request_in_progress";

/// The id of a request: the caller's own, or a new one.
#[derive(Debug, Clone)]
pub(crate) struct RequestId(pub(crate) String);

/// Why a request was not done.
#[derive(Debug, Clone)]
pub(crate) struct Problem {
    status: StatusCode,
    code: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    /// The present `ETag` of what was to be changed.
    revision: Option<Revision>,
    /// The limit or state that refuses.
    reason: Option<Box<ReasonBody>>,
}

/// An error as JSON (RFC 9457).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub(crate) struct ProblemBody {
    /// A name of the kind of problem: `urn:tollgate:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The status in words.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, why, and what to do.
    detail: String,
    /// The path that was asked.
    instance: String,
    /// The stable code of the problem.
    code: &'static str,
    /// The request's id, which is also in the log.
    request_id: String,
    /// The places that are wrong, where there are such.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<FieldError>,
    /// The limit or the state that refuses, with its figures, where one does.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<Box<ReasonBody>>,
}

/// One wrong place of a request.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct FieldError {
    /// A JSON pointer into the body (`/config/base_url`), a query parameter (`?limit`) or a header.
    pub(crate) pointer: String,
    /// What is wrong with it, and what is right.
    pub(crate) detail: String,
    /// The stable code of the mistake.
    #[schema(schema_with = crate::openapi::mistake)]
    pub(crate) code: &'static str,
}

/// The code of a value that breaks a rule.
pub(crate) const INVALID_VALUE: &str = "invalid_value";

impl Problem {
    pub(crate) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            errors: Vec::new(),
            revision: None,
            reason: None,
        }
    }

    /// A header that cannot be what it should.
    pub(crate) fn header(name: &str, detail: &str) -> Self {
        Self::at(StatusCode::BAD_REQUEST, "invalid_header", name, detail)
    }

    /// The same, with the limit or state that refuses and when it is worth trying again.
    pub(crate) fn because(self, reason: ReasonBody) -> Self {
        Self {
            reason: Some(Box::new(reason)),
            ..self
        }
    }

    /// The same for every key that does not work, whatever the reason.
    pub(crate) fn unauthorized() -> Self {
        let detail =
            "no key, or one that does not work: send a live key as `Authorization: Bearer`";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", detail)
    }

    /// A place in the request that breaks a rule.
    pub(crate) fn at(
        status: StatusCode,
        code: &'static str,
        pointer: impl Into<String>,
        detail: impl Into<String>,
    ) -> Self {
        let (pointer, detail) = (pointer.into(), detail.into());
        let whole = if pointer.is_empty() {
            detail.clone()
        } else {
            format!("{pointer}: {detail}")
        };
        Self {
            errors: vec![FieldError {
                pointer,
                detail,
                code: INVALID_VALUE,
            }],
            ..Self::new(status, code, whole)
        }
    }

    /// A field of the body that cannot be as it is.
    fn unfit(code: &'static str, field: &'static str, reason: String) -> Self {
        let pointer = format!("/{}", field.replace('.', "/"));
        Self::at(StatusCode::UNPROCESSABLE_ENTITY, code, pointer, reason)
    }

    /// Several places of the body that break rules.
    pub(crate) fn several(errors: Vec<FieldError>) -> Self {
        Self::places(StatusCode::UNPROCESSABLE_ENTITY, "invalid", errors)
    }

    /// One or more places that are wrong, all told in the detail too.
    pub(crate) fn places(status: StatusCode, code: &'static str, errors: Vec<FieldError>) -> Self {
        let told = |error: &FieldError| match error.pointer.as_str() {
            "" => error.detail.clone(),
            place => format!("{place}: {}", error.detail),
        };
        let whole: Vec<_> = errors.iter().map(told).collect();
        Self {
            errors,
            ..Self::new(status, code, whole.join("; "))
        }
    }

    /// A problem that only its status tells about.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let (code, detail) = match status {
            StatusCode::NOT_FOUND => ("not_found", "there is nothing at this path"),
            StatusCode::METHOD_NOT_ALLOWED => (
                "method_not_allowed",
                "this path has other methods: the `allow` header names them",
            ),
            StatusCode::PAYLOAD_TOO_LARGE => {
                ("body_too_large", "the body has more than 1 MiB: send less")
            }
            StatusCode::UNSUPPORTED_MEDIA_TYPE => (
                "unsupported_media_type",
                "send JSON, with `content-type: application/json`",
            ),
            _ if status.is_client_error() => ("bad_request", "the request cannot be read"),
            _ => (
                "internal",
                "an internal error; the log has its cause under the request's id",
            ),
        };
        Self::new(status, code, detail)
    }

    /// The first place that is wrong, as a JSON pointer, and what is wrong with it.
    pub(crate) fn place(self) -> (String, String) {
        match self.errors.into_iter().next() {
            Some(error) => (error.pointer, error.detail),
            None => (String::new(), self.detail.into_owned()),
        }
    }

    #[cfg(test)]
    pub(crate) fn errors(&self) -> &[FieldError] {
        &self.errors
    }

    #[cfg(test)]
    pub(crate) const fn status(&self) -> StatusCode {
        self.status
    }

    fn render(self, path: &str, request_id: &str) -> Response {
        let reason = self.reason.as_ref();
        let retry_seconds = reason.and_then(|reason| reason.retry_after_seconds);
        let body = ProblemBody {
            kind: format!("urn:tollgate:problem:{}", self.code),
            title: self.status.canonical_reason().unwrap_or("Error"),
            status: self.status.as_u16(),
            detail: self.detail.into_owned(),
            instance: path.to_owned(),
            code: self.code,
            request_id: request_id.to_owned(),
            errors: self.errors,
            reason: self.reason,
        };
        let mut response = (self.status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, PROBLEM_JSON);
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(revision) = self.revision {
            headers.insert(ETAG, etag(revision));
        }
        let comes_by_itself = self.status == StatusCode::SERVICE_UNAVAILABLE;
        if let Some(seconds) = retry_seconds {
            headers.insert(RETRY_AFTER, HeaderValue::from(seconds));
        } else if comes_by_itself || self.code == IN_PROGRESS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static(RETRY_SECONDS));
        }
        response
    }
}

/// The one place where a meaning becomes a status.
impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        let detail = error.to_string();
        match error {
            AppError::NotFound(_) => Self::new(StatusCode::NOT_FOUND, "not_found", detail),
            AppError::Conflict { code, .. } => Self::new(StatusCode::CONFLICT, code, detail),
            AppError::PreconditionFailed(current) => Self {
                revision: Some(current),
                ..Self::new(
                    StatusCode::PRECONDITION_FAILED,
                    "precondition_failed",
                    detail,
                )
            },
            AppError::KeyReused => {
                let status = StatusCode::UNPROCESSABLE_ENTITY;
                Self::new(status, "idempotency_key_reused", detail)
            }
            AppError::InProgress => Self::new(StatusCode::CONFLICT, IN_PROGRESS, detail),
            // Headers have hyphens, fields of a body have none.
            AppError::Invalid { field, reason } if field.contains('-') => {
                Self::header(field, &reason)
            }
            AppError::Invalid { field, reason } => Self::unfit("invalid", field, reason),
            AppError::Refused {
                code,
                field,
                reason,
            } => Self::unfit(code, field, reason),
            AppError::Rules(broken) => {
                let fault = |rule: BrokenRule| FieldError {
                    pointer: format!("/{}", rule.field.replace('.', "/")),
                    detail: rule.reason,
                    code: INVALID_VALUE,
                };
                Self::several(broken.into_iter().map(fault).collect())
            }
            AppError::Forbidden(_) => Self::new(StatusCode::FORBIDDEN, "permission_denied", detail),
            AppError::Unavailable(_) => {
                Self::new(StatusCode::SERVICE_UNAVAILABLE, "unavailable", detail)
            }
            AppError::Internal(cause) => {
                tracing::error!(error = %cause, "an internal error");
                Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", detail)
            }
        }
    }
}

impl IntoResponse for Problem {
    /// Only carries the problem to [`dress`], which knows the request.
    fn into_response(self) -> Response {
        let mut response = self.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}

/// Gives every request an id, and every error its document.
pub(crate) async fn dress(mut request: Request, next: Next) -> Response {
    let id = request_id(&request);
    let path = request.uri().path().to_owned();
    request.extensions_mut().insert(RequestId(id.clone()));
    let asks_for_methods = request.method() == http::Method::OPTIONS;
    let mut response = told(next.run(request).await, &path, &id);
    if asks_for_methods && response.status() == StatusCode::METHOD_NOT_ALLOWED {
        let allow = response.headers_mut().remove(ALLOW);
        response = StatusCode::NO_CONTENT.into_response();
        response
            .headers_mut()
            .extend(allow.map(|allow| (ALLOW, allow)));
    }
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// An answer whose problem, if it has one, is written out.
pub(crate) fn told(mut response: Response, path: &str, request_id: &str) -> Response {
    let problem = response
        .extensions_mut()
        .remove::<Problem>()
        .or_else(|| bare(&response));
    let Some(problem) = problem else {
        return response;
    };
    let kept = std::mem::take(response.headers_mut());
    response = problem.render(path, request_id);
    for name in [ALLOW, http::header::CACHE_CONTROL] {
        if let Some(value) = kept.get(&name) {
            response.headers_mut().insert(name, value.clone());
        }
    }
    response
}

/// An answer that only its status tells about.
pub(crate) fn of(status: StatusCode) -> Response {
    Problem::of_status(status).into_response()
}

/// The problem of an error that came without a document: from the router itself.
fn bare(response: &Response) -> Option<Problem> {
    let status = response.status();
    let is_text = |value: &HeaderValue| value.as_bytes().starts_with(b"text/plain");
    let is_bare = response.headers().get(CONTENT_TYPE).is_none_or(is_text);
    let is_error = status.is_client_error() || status.is_server_error();
    (is_error && is_bare).then(|| Problem::of_status(status))
}

fn request_id(request: &Request) -> String {
    let given = request
        .headers()
        .get(REQUEST_ID)
        .and_then(|value| value.to_str().ok());
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let fits =
        |text: &&str| !text.is_empty() && text.len() <= REQUEST_ID_MAX && text.bytes().all(allowed);
    given
        .filter(fits)
        .map_or_else(cus_models::generate_uuid, str::to_owned)
}
