//! Attempts at integrations of other dialects: each is sent the caller's own request, in its words.

use super::*;

const SPOKEN: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"other-model","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","stop_sequence":null,"usage":{"input_tokens":5,"output_tokens":7}}"#;

async fn with_other_words(list: Value) -> (Two, Provider) {
    let two = Two::with(json!({}), Setting::default()).await;
    let other = Provider::start().await;
    let anthropic = CusProviderType::Anthropic;
    add(&two.stage, &other, "words", anthropic, Limited::default()).await;
    two.change(two.stage.integration, json!({ "fallback": list }))
        .await;
    two.stage.provider.script(json(429, OVERLOADED));
    (two, other)
}

#[tokio::test]
async fn an_integration_of_another_dialect_answers_in_the_callers_words() {
    let list = json!([{ "integration": "words", "model": "other-model" }]);
    let (two, other) = with_other_words(list).await;
    other.script(json(200, SPOKEN));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.json()["choices"][0]["message"]["content"], "hello");
    assert_eq!(said.header("x-tollgate-attempts"), Some("2"));
    let sent: Value = serde_json::from_slice(&other.seen()[0].body).unwrap();
    assert_eq!(
        (&sent["model"], &sent["max_tokens"]),
        (&json!("other-model"), &json!(100))
    );
    assert!(other.seen()[0].head.starts_with("POST /v1/messages "));
    let rows = two.rows(2).await;
    assert_eq!(&*rows[1].usage.model, "other-model");
    assert_eq!(figures(&rows[1]), (5, 7, 5 * 3_000 + 7 * 4_000));
    two.stage.strike().await;
}

#[tokio::test]
async fn what_was_said_in_other_words_is_said_in_the_callers_own_to_the_next() {
    let list = json!([{ "integration": "words", "model": "other-model" }, "backup"]);
    let (two, other) = with_other_words(list).await;
    other.script(json(
        529,
        r#"{"type":"error","error":{"type":"overloaded_error","message":"no"}}"#,
    ));
    two.backup.script(completion(5, 7));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.header("x-tollgate-attempts"), Some("3"));
    assert_eq!(two.backup.seen()[0].body, hello().as_bytes());
    two.stage.strike().await;
}

#[tokio::test]
async fn what_cannot_be_said_in_its_words_is_not_asked_of_an_integration() {
    let list = json!([{ "integration": "words", "model": "other-model" }, "backup"]);
    let (two, other) = with_other_words(list).await;
    two.backup.script(completion(5, 7));
    let body = hello().replacen('{', r#"{"n":2,"#, 1);
    let said = two.chat(&body).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.header("x-tollgate-attempts"), Some("2"));
    assert!(other.seen().is_empty());
    two.stage.strike().await;
}
