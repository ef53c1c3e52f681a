//! The small calls that most tests make, and what a refusal must look like in each dialect.

use serde_json::{Value, json};

use crate::client::Answer;

/// The path of chat calls.
pub const CHAT: &str = "/v1/chat/completions";

/// The path of messages.
pub const MESSAGES: &str = "/v1/messages";

/// A chat call of three tokens that asks for five.
pub fn call() -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})
}

/// The same with another value of a member.
pub fn call_with(member: &str, value: &Value) -> Value {
    let mut body = call();
    body[member] = value.clone();
    body
}

/// A message of three tokens that asks for five.
pub fn message() -> Value {
    json!({"model": "claude-haiku-4-5", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})
}

/// An error of the gateway in OpenAI's dialect, with every member that its SDKs read.
pub fn must_refuse(answer: &Answer, status: u16, code: &str) {
    let json = answer.json();
    let error = &json["error"];
    assert_eq!(
        (answer.status, error["code"].as_str()),
        (status, Some(code)),
        "{json}"
    );
    assert!(
        error["message"].is_string() && error["type"].is_string(),
        "{json}"
    );
    assert!(error.get("param").is_some(), "{json}");
    assert_eq!(answer.tollgate()["code"], code, "{json}");
    assert_eq!(answer.header("x-tollgate-origin"), "gateway");
    must_have_ids(answer);
}

/// The same in Anthropic's.
pub fn must_refuse_in_anthropics(answer: &Answer, status: u16, kind: &str) {
    let json = answer.json();
    assert_eq!(
        (answer.status, json["error"]["type"].as_str()),
        (status, Some(kind)),
        "{json}"
    );
    assert_eq!(json["type"], "error", "{json}");
    assert!(
        json["error"]["message"].is_string() && json["request_id"].is_string(),
        "{json}"
    );
    must_have_ids(answer);
}

/// The request's id, under both vendors' names.
pub fn must_have_ids(answer: &Answer) {
    let id = answer.header("x-request-id");
    assert!(!id.is_empty(), "{:?}", answer.headers);
    assert_eq!(id, answer.header("request-id"));
}
