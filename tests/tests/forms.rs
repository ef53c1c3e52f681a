//! Forms of several parts through the shipped program: what arrives is what was sent, and what is booked is what the
//! provider billed.

use serde_json::json;
use tollgate_tests::{Engine, Form, World, cost_of};

const TRANSCRIPTIONS: &str = "/v1/audio/transcriptions";

#[tokio::test(flavor = "multi_thread")]
async fn a_form_arrives_as_it_was_sent_wherever_its_model_stands() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let model = ("model", "gpt-4o-transcribe");
    let mut sent = Vec::new();
    for bytes in [1_000, 3_000_000] {
        for form in [
            Form::new()
                .field(model)
                .file("a.mp3", bytes)
                .field(("stream", "false")),
            Form::new().file("größe.mp3", bytes).field(model),
        ] {
            let kind = form.content_type();
            let answer = tenant
                .caller
                .post(TRANSCRIPTIONS, &[("content-type", &kind)], form.whole())
                .await;
            assert_eq!(answer.status, 200, "{}", answer.text());
            assert_eq!(answer.json()["usage"]["type"], "tokens");
            sent.push((answer.header("x-tollgate-call-id").to_owned(), form));
        }
    }
    let arrived = world.simulator.forms().await;
    assert_eq!(arrived.len(), sent.len());
    for ((call_id, form), arrived) in sent.iter().zip(&arrived) {
        assert_eq!(arrived["client_request_id"], call_id.as_str());
        assert_eq!(arrived["bytes"], form.length());
        assert_eq!(arrived["sha256"], form.sha256());
        assert_eq!(arrived["content_type"], form.content_type());
    }
    let lines = world.simulator.lines();
    let rows = world.close().await;
    for line in &lines {
        let id = line.client_request_id.as_deref().unwrap();
        let row = rows.iter().find(|row| row.call_id == id).unwrap();
        assert_eq!(
            (row.tokens_in, row.tokens_out),
            (line.tokens_in, line.tokens_out)
        );
        assert_eq!((row.usage_source.as_str(), row.error()), ("provider", ""));
        assert_eq!(row.cost_nanos, cost_of(row));
        assert!(
            row.cost_nanos > 0 && row.held_nanos >= row.cost_nanos,
            "{row:?}"
        );
    }
}
