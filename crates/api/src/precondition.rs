//! Conditional requests (RFC 9110): `ETag` on answers, `If-Match` on changes, `If-None-Match` on
//! reads. Whether a change may go on is decided by the use case, where the state is.

use axum::Json;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde::Serialize;
use tollgate_app::revision::{Precondition, Revised, Revision};

use crate::problem::Problem;

/// Changes of one thing that honor `If-Match`; any other request with it is refused.
const CONDITIONAL: [(&str, &str); 9] = [
    ("PATCH", "/api/v1/tenants/{id}"),
    ("DELETE", "/api/v1/tenants/{id}"),
    ("POST", "/api/v1/keys/{id}/rotate"),
    ("POST", "/api/v1/integrations/{id}/credential"),
    ("DELETE", "/api/v1/keys/{id}"),
    ("PATCH", "/api/v1/integrations/{id}"),
    ("DELETE", "/api/v1/integrations/{id}"),
    ("POST", "/api/v1/integrations/{id}/enable"),
    ("POST", "/api/v1/integrations/{id}/disable"),
];

/// Whether requests of this route may say which state they are for.
pub(crate) fn is_conditional(method: &str, path: &str) -> bool {
    CONDITIONAL.contains(&(method, path))
}

/// A thing as JSON, with its revision as a strong `ETag`.
pub(crate) struct Tagged<T> {
    revision: Revision,
    body: T,
}

impl<T> Tagged<T> {
    /// A thing, with more than is shown of it otherwise.
    pub(crate) const fn new(revision: Revision, body: T) -> Self {
        Self { revision, body }
    }

    /// A thing as it is shown.
    pub(crate) fn of<R: Revised + Into<T>>(thing: R) -> Self {
        Self {
            revision: thing.revision(),
            body: thing.into(),
        }
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.body).into_response();
        response.headers_mut().insert(ETAG, etag(self.revision));
        response
    }
}

/// A revision as a strong entity tag.
pub(crate) fn etag(revision: Revision) -> HeaderValue {
    // Hexadecimal digits and a hyphen: always a header.
    HeaderValue::try_from(format!("\"{revision}\""))
        .unwrap_or_else(|_unfit| HeaderValue::from_static("\"\""))
}

/// What `If-Match` asks for.
pub(crate) fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    Ok(match tags(headers, &IF_MATCH)? {
        None => Precondition::None,
        Some(Tags::Any) => Precondition::Exists,
        // A weak tag never fits here, and one that is not ours fits nothing.
        Some(Tags::Of(tags)) => Precondition::OneOf(
            tags.iter()
                .filter(|tag| !tag.is_weak)
                .filter_map(|tag| tag.text.parse().ok())
                .collect(),
        ),
    })
}

/// Answers a read with 304 where the asker has what it would get.
pub(crate) async fn spare(request: Request, next: Next) -> Result<Response, Problem> {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let known = if reads {
        tags(request.headers(), &IF_NONE_MATCH)?
    } else {
        None
    };
    let mut response = next.run(request).await;
    let Some(known) = known else {
        return Ok(response);
    };
    let tag = response
        .headers()
        .get(ETAG)
        .and_then(|tag| tag.to_str().ok())
        .map(|tag| tag.trim_matches('"').to_owned());
    let is_known = match (&known, tag) {
        (_, None) => false,
        (Tags::Any, Some(_)) => true,
        (Tags::Of(tags), Some(tag)) => tags.iter().any(|known| known.text == tag),
    };
    if is_known && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = axum::body::Body::empty();
        response.headers_mut().remove(CONTENT_TYPE);
        response.headers_mut().remove(CONTENT_LENGTH);
    }
    Ok(response)
}

enum Tags {
    Any,
    Of(Vec<Tag>),
}

#[derive(Debug, PartialEq, Eq)]
struct Tag {
    is_weak: bool,
    text: String,
}

/// The entity tags of a header, if it is there.
fn tags(headers: &HeaderMap, name: &HeaderName) -> Result<Option<Tags>, Problem> {
    let mut found = Vec::new();
    let lines: Vec<_> = headers.get_all(name).iter().collect();
    if lines.is_empty() {
        return Ok(None);
    }
    for line in &lines {
        let text = line.to_str().unwrap_or("\u{0}").trim();
        if text == "*" && lines.len() == 1 {
            return Ok(Some(Tags::Any));
        }
        let read = list(text).ok_or_else(|| {
            let detail = "give one or more ETags, each in double quotes, or *";
            Problem::header(name.as_str(), detail)
        })?;
        found.extend(read);
    }
    Ok(Some(Tags::Of(found)))
}

/// A list of entity tags: `"a", W/"b"`.
fn list(mut text: &str) -> Option<Vec<Tag>> {
    let mut tags = Vec::new();
    loop {
        let quoted = text.strip_prefix("W/");
        let is_weak = quoted.is_some();
        let (tag, rest) = quoted.unwrap_or(text).strip_prefix('"')?.split_once('"')?;
        if !tag.bytes().all(|byte| byte.is_ascii_graphic()) {
            return None;
        }
        tags.push(Tag {
            is_weak,
            text: tag.to_owned(),
        });
        let rest = rest.trim();
        if rest.is_empty() {
            return Some(tags);
        }
        text = rest.strip_prefix(',')?.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_of_tags_is_read_and_rubbish_is_not() {
        let strong = |text: &str| Tag {
            is_weak: false,
            text: text.to_owned(),
        };
        assert_eq!(list("\"a\""), Some(vec![strong("a")]));
        assert_eq!(list("\"a,b\" , \"c\"").map(|tags| tags.len()), Some(2));
        assert!(list("W/\"a\"").is_some_and(|tags| tags[0].is_weak));
        for text in [
            "",
            "a",
            "\"a",
            "\"a\",",
            "\"a\" \"b\"",
            "w/\"a\"",
            "\"a b\"",
            "*, \"a\"",
        ] {
            assert_eq!(list(text), None, "{text:?}");
        }
    }
}
