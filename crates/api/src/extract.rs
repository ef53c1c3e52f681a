//! What is taken out of a request: a JSON body, query parameters, an id in the path.
//!
//! Unknown names are refused and named; values are never repeated, because one may be a secret
//! that was put into the wrong place.

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, Error};
use tollgate_core::period::{day_of, start_of_day};

use crate::mistakes::read;
use crate::problem::Problem;

/// A JSON body.
pub(crate) struct Body<T>(pub(crate) T);

/// A JSON body that may be absent; then it is as if it were an empty object.
pub(crate) struct OptionalBody<T>(pub(crate) T);

/// Query parameters.
pub(crate) struct Params<T>(pub(crate) T);

/// The id in the path; a text that can be none is the id of nothing.
pub(crate) struct Id<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequest<S> for Body<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        let is_patch = request.method() == Method::PATCH;
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejected| Problem::of_status(rejected.status()))?;
        let value = read(&bytes)?;
        if is_patch && is_empty_object(&bytes) {
            let detail = "nothing to change: give at least one member";
            let status = StatusCode::UNPROCESSABLE_ENTITY;
            return Err(Problem::at(status, "invalid", "", detail));
        }
        Ok(Self(value))
    }
}

impl<S: Send + Sync, T: DeserializeOwned + Default> FromRequest<S> for OptionalBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let is_declared = is_json(request.headers());
        let bytes = Bytes::from_request(request, state).await;
        let bytes = bytes.map_err(|rejected| Problem::of_status(rejected.status()))?;
        if bytes.is_empty() {
            return Ok(Self(T::default()));
        }
        if !is_declared {
            return Err(Problem::of_status(StatusCode::UNSUPPORTED_MEDIA_TYPE));
        }
        read(&bytes).map(Self)
    }
}

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let read = Query::try_from_uri(&parts.uri).map(|Query(params)| Self(params));
        read.map_err(|rejected| {
            let text = rejected.body_text();
            let known = ["unknown field", "duplicate field", "missing field"];
            let found = known
                .iter()
                .find_map(|opening| text.split_once(opening).map(|at| (opening, at)));
            let Some((opening, (_, rest))) = found else {
                return bad_parameter("", "the query cannot be read");
            };
            let detail = format!("{opening}{rest}");
            let name = quoted(&detail).unwrap_or_default().to_owned();
            bad_parameter(&name, &detail.replace("field", "parameter"))
        })
    }
}

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let nothing = || Problem::of_status(StatusCode::NOT_FOUND);
        let Ok(Path(text)) = Path::<String>::from_request_parts(parts, state).await else {
            return Err(nothing());
        };
        text.parse().map(Self).map_err(|_no_such_id| nothing())
    }
}

/// The first name between backticks.
fn quoted(text: &str) -> Option<&str> {
    text.split('`').nth(1)
}

/// A problem with a query parameter.
pub(crate) fn bad_parameter(name: &str, detail: &str) -> Problem {
    let pointer = if name.is_empty() {
        String::new()
    } else {
        format!("?{name}")
    };
    Problem::at(StatusCode::BAD_REQUEST, "invalid_query", pointer, detail)
}

/// Reads a query parameter; `expected` completes "give …".
pub(crate) fn parameter<T: FromStr>(
    name: &str,
    text: Option<&str>,
    expected: &str,
) -> Result<Option<T>, Problem> {
    let read = |text: &str| {
        text.parse()
            .ok()
            .ok_or_else(|| bad_parameter(name, &format!("give {expected}")))
    };
    text.map(read).transpose()
}

const DAY_OR_TIME: &str = "a day (2026-11-22) or a time with its offset (2026-11-22T10:00:00Z)";

/// Reads a day; a time stands for its day in UTC.
pub(crate) fn day_parameter(name: &str, text: Option<&str>) -> Result<Option<Date>, Problem> {
    let read = |text: &str| {
        let day = text
            .parse::<Timestamp>()
            .map(day_of)
            .or_else(|_no_time| text.parse::<Date>());
        day.ok()
            .ok_or_else(|| bad_parameter(name, &format!("give {DAY_OR_TIME}")))
    };
    text.map(read).transpose()
}

/// Reads the first moment of a span of time; a day stands for its beginning in UTC.
pub(crate) fn from_parameter(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    moment("from", text, Some)
}

/// Reads the moment before which a span of time ends; a day is part of the span.
pub(crate) fn to_parameter(text: Option<&str>) -> Result<Option<Timestamp>, Problem> {
    moment("to", text, |day| day.tomorrow().ok())
}

fn moment(
    name: &str,
    text: Option<&str>,
    meant: impl Fn(Date) -> Option<Date>,
) -> Result<Option<Timestamp>, Problem> {
    let read = |text: &str| {
        let time = text.parse::<Timestamp>().ok();
        let day = || text.parse::<Date>().ok().and_then(&meant).map(start_of_day);
        time.or_else(day)
            .ok_or_else(|| bad_parameter(name, &format!("give {DAY_OR_TIME}")))
    };
    text.map(read).transpose()
}

/// Reads a text by its own rules; the error is the type's own, which never repeats the text.
pub(crate) fn parsed<'de, T, D>(deserializer: D) -> Result<T, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let text = String::deserialize(deserializer)?;
    text.parse()
        .map_err(|error: T::Err| D::Error::custom(format_args!("give a fitting text: {error}")))
}

/// Reads a text by its own rules, if it is there.
pub(crate) fn parsed_option<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: FromStr<Err: std::fmt::Display>,
    D: Deserializer<'de>,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let parsed = text.parse().map(Some);
    parsed.map_err(|error: T::Err| D::Error::custom(format_args!("give a fitting text: {error}")))
}

/// Reads a member that may be absent and may not be null.
pub(crate) fn present<'de, T, D>(deserializer: D) -> Result<Option<T>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    T::deserialize(deserializer).map(Some)
}

/// Reads a time with its offset, if it is there.
pub(crate) fn time_option<'de, D>(deserializer: D) -> Result<Option<Timestamp>, D::Error>
where
    D: Deserializer<'de>,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let needed = "give a time with its offset, for example 2026-11-22T10:00:00Z";
    text.parse()
        .map(Some)
        .map_err(|_not_repeated: jiff::Error| D::Error::custom(needed))
}

fn is_empty_object(bytes: &[u8]) -> bool {
    let is_space = |byte: &&u8| !byte.is_ascii_whitespace();
    bytes.iter().filter(is_space).eq(b"{}")
}

/// `application/json`, and types that end in `+json`, with whatever parameters.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    let essence = value
        .split(';')
        .next()
        .unwrap_or_default()
        .trim()
        .to_ascii_lowercase();
    essence == "application/json"
        || (essence.starts_with("application/") && essence.ends_with("+json"))
}
