//! The query of a request, held against what the operation's description says of its parameters:
//! every mistake is told at once, in the order of the query.

use axum::extract::{Query, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::StatusCode;
use serde_json::Value;
use std::sync::Arc;
use utoipa::openapi::path::Operation;

use crate::problem::{FieldError, INVALID_VALUE, Problem};

/// The most mistakes that are told, and the longest name that is repeated.
const MISTAKES_MAX: usize = 20;
const NAME_LENGTH_MAX: usize = 100;

/// What the parameters of one operation may be.
#[derive(Debug, Clone)]
pub(crate) struct Parameters(Arc<Vec<Parameter>>);

#[derive(Debug)]
struct Parameter {
    name: String,
    is_number: bool,
    minimum: Option<i64>,
    maximum: Option<i64>,
    one_of: Vec<String>,
}

impl Parameters {
    /// The query parameters that an operation describes.
    pub(crate) fn of(operation: &Operation) -> Self {
        let described = serde_json::json!(operation.parameters);
        let described = described.as_array().map_or(&[][..], Vec::as_slice);
        let in_query = described.iter().filter(|one| one["in"] == "query");
        Self(Arc::new(in_query.map(Parameter::read).collect()))
    }

    fn mistakes(&self, query: &[(String, String)]) -> Vec<FieldError> {
        let mut mistakes = Vec::new();
        for (index, (name, value)) in query.iter().enumerate() {
            let is_again = query.iter().take(index).any(|(earlier, _)| earlier == name);
            let known = self.0.iter().find(|one| one.name == *name);
            let mistake = match known {
                _ if is_again => Some(("duplicate_parameter", "give it once".to_owned())),
                None => Some(("unknown_parameter", self.expected())),
                Some(parameter) => parameter.refuses(value).map(|why| (INVALID_VALUE, why)),
            };
            mistakes.extend(mistake.map(|(code, detail)| FieldError {
                pointer: format!(
                    "?{}",
                    name.chars().take(NAME_LENGTH_MAX).collect::<String>()
                ),
                detail,
                code,
            }));
        }
        mistakes.truncate(MISTAKES_MAX);
        mistakes
    }

    fn expected(&self) -> String {
        let names: Vec<_> = self.0.iter().map(|one| format!("`{}`", one.name)).collect();
        match names.as_slice() {
            [] => "unknown parameter: there are none here".to_owned(),
            names => format!("unknown parameter, expected one of {}", names.join(", ")),
        }
    }
}

impl Parameter {
    fn read(described: &Value) -> Self {
        let schema = &described["schema"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let values = schema["enum"].as_array();
        Self {
            name: text(&described["name"]),
            is_number: schema["type"] == "integer",
            minimum: schema["minimum"].as_i64(),
            maximum: schema["maximum"].as_i64(),
            one_of: values.map_or_else(Vec::new, |values| values.iter().map(text).collect()),
        }
    }

    /// What is wrong with a value, if anything is.
    fn refuses(&self, value: &str) -> Option<String> {
        if self.is_number {
            let fits = value.parse::<i64>().is_ok_and(|number| {
                self.minimum.is_none_or(|least| number >= least)
                    && self.maximum.is_none_or(|most| number <= most)
            });
            return (!fits).then(|| match (self.minimum, self.maximum) {
                (Some(least), Some(most)) => format!("give a whole number from {least} to {most}"),
                _ => "give a whole number".to_owned(),
            });
        }
        let fits = self.one_of.is_empty() || self.one_of.iter().any(|one| one == value);
        (!fits).then(|| format!("give one of {}", self.one_of.join(", ")))
    }
}

/// Lets a request pass whose query is as its operation describes it.
pub(crate) async fn check(
    State(parameters): State<Parameters>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let query = Query::<Vec<(String, String)>>::try_from_uri(request.uri());
    let Ok(Query(query)) = query else {
        let detail = "the query cannot be read";
        return Err(Problem::at(
            StatusCode::BAD_REQUEST,
            "invalid_query",
            "",
            detail,
        ));
    };
    let mistakes = parameters.mistakes(&query);
    if mistakes.is_empty() {
        Ok(next.run(request).await)
    } else {
        Err(Problem::places(
            StatusCode::BAD_REQUEST,
            "invalid_query",
            mistakes,
        ))
    }
}
