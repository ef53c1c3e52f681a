//! What the requests of a batch say of themselves, where they stand in the body that sets it off.

use std::collections::BTreeSet;

use serde::Deserialize;

use super::{RequestError, RequestFacts, model, object};
use crate::json::{self, Raw};
use crate::operation::Operation;

const REQUESTS: &str = "requests";

json::object! {
    /// A batch whose requests stand in its body.
    Batch {
        requests,
    }
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Request<'a> {
    #[serde(borrow)]
    params: Params<'a>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Params<'a> {
    #[serde(borrow)]
    model: Raw<'a>,
}

impl RequestFacts {
    /// The models that the requests of a batch ask for, each once: none where the batch names a
    /// file that the provider keeps. A member that decides and stands there twice is an error.
    pub fn batch_models(
        operation: Operation,
        body: &[u8],
    ) -> Result<BTreeSet<Box<str>>, RequestError> {
        let mut models = BTreeSet::new();
        if operation != Operation::CreateMessageBatch {
            return Ok(models);
        }
        let wrong = RequestError::Wrong {
            param: REQUESTS,
            expected: "a list of requests, each with one `params` that has one `model`",
        };
        let text = std::str::from_utf8(body).or(Err(wrong.clone()))?;
        let batch: Batch<'_> = object(text).or(Err(wrong.clone()))?;
        let list = batch.requests.text().unwrap_or("[]");
        let requests: Vec<Request<'_>> = serde_json::from_str(list).or(Err(wrong))?;
        for request in requests {
            let named = model(request.params.model)?;
            models.extend(named.map(|name| (&*name).into()));
        }
        Ok(models)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn models(body: &str) -> Result<Vec<Box<str>>, RequestError> {
        let found = RequestFacts::batch_models(Operation::CreateMessageBatch, body.as_bytes());
        found.map(|found| found.into_iter().collect())
    }

    #[test]
    fn each_model_of_a_batch_is_found_once() {
        let body = r#"{"requests":[
            {"custom_id":"a","params":{"model":"one","max_tokens":5}},
            {"custom_id":"b","params":{"model":"tw\u006f","messages":[{"model":"not this"}]}},
            {"custom_id":"c","params":{"model":"one"}},
            {"custom_id":"d","params":{}},
            {"custom_id":"e"}]}"#;
        assert_eq!(models(body), Ok(vec!["one".into(), "two".into()]));
        assert_eq!(models("{}"), Ok(vec![]));
        let file = br#"{"input_file_id":"file-1"}"#;
        let none = RequestFacts::batch_models(Operation::CreateBatch, file);
        assert_eq!(none, Ok(BTreeSet::new()));
    }

    #[test]
    fn what_two_readers_could_read_differently_is_refused() {
        for body in [
            r#"{"requests":[{"params":{"model":"cheap","model":"dear"}}]}"#,
            r#"{"requests":[{"params":{"model":"cheap"},"params":{"model":"dear"}}]}"#,
            r#"{"requests":[],"requests":[{"params":{"model":"dear"}}]}"#,
            r#"{"requests":{"params":{"model":"dear"}}}"#,
            r#"{"requests":[{"params":{"model":7}}]}"#,
            "[]",
            "",
        ] {
            assert!(models(body).is_err(), "{body}");
        }
    }
}
