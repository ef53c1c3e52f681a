//! Reading a JSON body, and finding every mistake in it at once.
//!
//! A reader stops at the first mistake. So the mistake is noted, put right in a copy, and the copy
//! is read again, until it is read to its end or cannot be helped. What is done is never a copy:
//! a body with a mistake is refused.

use http::StatusCode;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use serde_path_to_error::{Path as JsonPath, Segment};
use tollgate_app::wording::without_values;

use crate::problem::{FieldError, INVALID_VALUE, Problem};

/// The most mistakes that are looked for.
const MISTAKES_MAX: usize = 20;

/// Reads a body, or tells all that is wrong with it.
pub(crate) fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let first = match serde_path_to_error::deserialize(&mut json) {
        Ok(value) => {
            json.end().map_err(|error| no_json(&error))?;
            return Ok(value);
        }
        Err(error) => error,
    };
    if !first.inner().is_data() {
        return Err(no_json(first.inner()));
    }
    let body: Value = serde_json::from_slice(bytes).map_err(|error| no_json(&error))?;
    let first = mistake(first.inner(), pointer(first.path()));
    Err(Problem::several(all::<T>(body, first)))
}

fn no_json(error: &serde_json::Error) -> Problem {
    let detail = format!(
        "the body is not JSON: it breaks off or goes wrong at line {}, column {}",
        error.line(),
        error.column()
    );
    Problem::new(StatusCode::BAD_REQUEST, "invalid_json", detail)
}

/// Every mistake of a body whose first one is known.
fn all<T: DeserializeOwned>(mut body: Value, first: FieldError) -> Vec<FieldError> {
    let mut found = Vec::new();
    // A member that stands there twice is gone from the copy: only the first reading sees it.
    if first.code == "duplicate_field" {
        found.push(first.clone());
    }
    let mut tries = 0;
    while let Err(error) = serde_path_to_error::deserialize::<_, T>(&body) {
        let next = mistake(error.inner(), pointer(error.path()));
        let told = found
            .iter()
            .position(|known: &FieldError| is_within(&next.pointer, &known.pointer));
        let place = match told {
            Some(known) => found[known].pointer.clone(),
            None if found.len() < MISTAKES_MAX => {
                tries = 0;
                found.push(next.clone());
                next.pointer.clone()
            }
            None => break,
        };
        let is_helped = match (told, next.code) {
            (None, "missing_field") => put(&mut body, &place, json!("")),
            (None, _) => take(&mut body, &place),
            (Some(_), _) => {
                tries += 1;
                stand_in(&next.detail, tries).is_some_and(|value| put(&mut body, &place, value))
            }
        };
        if !is_helped {
            break;
        }
    }
    if found.is_empty() {
        found.push(first);
    }
    found
}

/// Values to try where one is missing: what the message names, and one of each kind.
fn stand_in(detail: &str, tries: usize) -> Option<Value> {
    let named = detail.split('`').nth(1).unwrap_or_default();
    let values = [
        json!(""),
        json!(named),
        json!(0),
        json!({}),
        json!([]),
        json!(false),
        json!("00000000-0000-4000-8000-000000000000"),
        json!("2026-11-22T10:00:00Z"),
        json!("viewer"),
    ];
    values.into_iter().nth(tries - 1)
}

fn is_within(place: &str, known: &str) -> bool {
    place
        .strip_prefix(known)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Takes what a pointer leads to out of a body.
fn take(body: &mut Value, pointer: &str) -> bool {
    match parent(body, pointer) {
        Some((Value::Object(members), name)) => members.remove(&name).is_some(),
        Some((Value::Array(items), index)) => match index.parse::<usize>() {
            Ok(index) if index < items.len() => {
                items.remove(index);
                // The items after it move up: their pointers would no longer be right.
                items.truncate(index);
                true
            }
            _ => false,
        },
        _ => false,
    }
}

/// Puts a value where a pointer leads to.
fn put(body: &mut Value, pointer: &str, value: Value) -> bool {
    match parent(body, pointer) {
        Some((Value::Object(members), name)) => {
            members.insert(name, value);
            true
        }
        _ => false,
    }
}

fn parent<'b>(body: &'b mut Value, pointer: &str) -> Option<(&'b mut Value, String)> {
    let (above, name) = pointer.rsplit_once('/')?;
    let name = name.replace("~1", "/").replace("~0", "~");
    Some((body.pointer_mut(above)?, name))
}

fn mistake(error: &serde_json::Error, mut place: String) -> FieldError {
    let raw = error.to_string();
    let detail = without_values(&raw);
    if detail.contains(" field `")
        && let Some(name) = detail.split('`').nth(1)
        && !place.ends_with(&format!("/{name}"))
    {
        place.push('/');
        place.push_str(&escaped(name));
    }
    let code = match detail.split_once(" field `") {
        Some(("unknown", _)) => "unknown_field",
        Some(("missing", _)) => "missing_field",
        Some(("duplicate", _)) => "duplicate_field",
        _ if raw.starts_with("invalid type") => "wrong_type",
        _ => INVALID_VALUE,
    };
    FieldError {
        pointer: place,
        detail,
        code,
    }
}

fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}

/// A path as a JSON pointer (RFC 6901).
fn pointer(path: &JsonPath) -> String {
    let mut text = String::new();
    for segment in path {
        text.push('/');
        match segment {
            Segment::Seq { index } => text.push_str(&index.to_string()),
            Segment::Map { key } | Segment::Enum { variant: key } => text.push_str(&escaped(key)),
            Segment::Unknown => text.push('?'),
        }
    }
    if text == "/?" { String::new() } else { text }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Asked {
        #[serde(rename = "limits")]
        _limits: Vec<Limit>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Limit {
        #[serde(rename = "cents")]
        _cents: i64,
    }

    fn refusal(json: &str) -> (StatusCode, String) {
        let problem = read::<Asked>(json.as_bytes()).unwrap_err();
        (problem.status(), format!("{problem:?}"))
    }

    #[test]
    fn a_wrong_value_is_placed_and_not_repeated() {
        let (status, text) = refusal(r#"{"limits":[{"cents":1},{"cents":"sk-canary"}]}"#);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(text.contains("/limits/1/cents"), "{text}");
        assert!(
            text.contains("give i64") && !text.contains("canary"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_name_is_placed_and_named() {
        let (status, text) = refusal(r#"{"limits":[{"cents":1,"cent":2}]}"#);
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            text.contains("unknown field `cent`") && text.contains("/limits/0/cent\""),
            "{text}"
        );
    }

    #[test]
    fn what_is_no_json_is_a_bad_request() {
        for json in ["", "{", r#"{"limits":[]} x"#, "{\"limits\":[],}"] {
            assert_eq!(refusal(json).0, StatusCode::BAD_REQUEST, "{json}");
        }
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Many {
        #[serde(rename = "name")]
        _name: String,
        #[serde(rename = "kind")]
        _kind: Kind,
        #[serde(rename = "limit", default)]
        _limit: i64,
        #[serde(rename = "inner")]
        _inner: Limit,
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "snake_case")]
    enum Kind {
        Plain,
    }

    #[test]
    fn every_mistake_is_found_in_one_go() {
        let body = r#"{"nam":1,"limit":"x","inner":{"cent":2},"kind":"odd","last":0}"#;
        let problem = read::<Many>(body.as_bytes()).unwrap_err();
        let mut found: Vec<_> = problem
            .errors()
            .iter()
            .map(|error| (error.pointer.as_str(), error.code))
            .collect();
        found.sort_unstable();
        let expected = [
            ("/inner/cent", "unknown_field"),
            ("/inner/cents", "missing_field"),
            ("/kind", "invalid_value"),
            ("/last", "unknown_field"),
            ("/limit", "wrong_type"),
            ("/nam", "unknown_field"),
            ("/name", "missing_field"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_member_that_stands_there_twice_is_told_with_the_rest() {
        let body = r#"{"name":"a","name":"b","kind":"plain","inner":{},"x":1}"#;
        let problem = read::<Many>(body.as_bytes()).unwrap_err();
        let codes: Vec<_> = problem.errors().iter().map(|error| error.code).collect();
        assert!(
            codes.contains(&"duplicate_field") && codes.contains(&"unknown_field"),
            "{codes:?}"
        );
    }
}
