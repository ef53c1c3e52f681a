//! Batches: set off at no cost, and booked once, at half price, when their results are read.

use cus_models::CusProviderType;
use http::{Method, StatusCode};
use http_body_util::BodyExt;
use serde_json::json as value;
use tollgate_app::testing::MODEL;
use tollgate_core::usage::UsageSource;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Step, completion, json};
use crate::stage::{Limited, Stage, figures, hello};

const CONTENT: &str = "/v1/files/file-out/content";

fn line(id: u32, prompt: u64, completion: u64) -> String {
    let body = value!({
        "object": "chat.completion", "model": MODEL, "choices": [],
        "usage": { "prompt_tokens": prompt, "completion_tokens": completion,
                   "total_tokens": prompt + completion },
    });
    let response = value!({ "status_code": 200, "request_id": "r", "body": body });
    value!({ "id": "batch_req_1", "custom_id": id.to_string(), "response": response, "error": null })
        .to_string()
        + "\n"
}

/// A result of a model without a price, which the provider gave no id.
fn nameless(model: &str) -> String {
    let body = value!({
        "model": model, "usage": { "prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10 },
    });
    let response = value!({ "status_code": 200, "body": body });
    value!({ "custom_id": "a", "response": response, "error": null }).to_string() + "\n"
}

/// A file, cut in the middle of its second line if asked to.
fn file(text: &str, cut: Option<usize>) -> Vec<Step> {
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/octet-stream\r\ncontent-length: {}\r\n\r\n",
        text.len()
    );
    let shown = &text.as_bytes()[..cut.unwrap_or(text.len())];
    let mut steps = vec![Step::Send([head.as_bytes(), shown].concat())];
    if cut.is_some() {
        steps.push(Step::Close);
    }
    steps
}

#[tokio::test]
async fn the_results_of_a_batch_are_booked_once_at_half_price_however_often_they_are_read() {
    let stage = Stage::set().await;
    let results = [line(1, 100, 10), line(2, 200, 20)].concat();
    for _ in 0..3 {
        stage.provider.script(file(&results, None));
        let said = stage.send(stage.request(Method::GET, CONTENT, "")).await;
        assert_eq!(
            (said.status, said.body),
            (StatusCode::OK, results.clone().into())
        );
        assert_eq!(stage.rows_once(1).await.len(), 1);
    }
    let row = stage.row().await;
    // Half of 300 × $1 and 30 × $2 a million.
    assert_eq!(
        (figures(&row), row.source),
        ((300, 30, 180_000), UsageSource::Provider)
    );
    assert_eq!(row.held.get(), 0);
    stage.strike().await;
}

#[tokio::test]
async fn a_copy_of_results_under_another_id_and_in_another_order_is_no_other_batch() {
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    let stage = Stage::limited(limits, value!({})).await;
    // Half of a million at $1: fifty cents, of which the budget holds two.
    let (first, second) = (line(1, 400_000, 0), line(2, 600_000, 0));
    let results = [[first.clone(), second.clone()], [second, first]].map(|lines| lines.concat());
    for round in 0..6 {
        stage.provider.script(file(&results[round % 2], None));
        let path = format!("/v1/files/file-{round}/content");
        stage.send(stage.request(Method::GET, &path, "")).await;
        assert_eq!(stage.rows_once(1).await.len(), 1, "round {round}");
    }
    assert_eq!(figures(&stage.row().await).2, 500_000_000);
    // What was read again was not taken from the budget again, neither here nor in the store.
    stage.provider.script(completion(5, 7));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    // Another batch is, at once.
    stage.provider.script(file(&line(3, 1_000_000, 0), None));
    let other = stage.request(Method::GET, "/v1/files/file-9/content", "");
    stage.send(other).await;
    assert_eq!(stage.rows_once(3).await.len(), 3);
    let said = stage.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::PAYMENT_REQUIRED);
    stage.strike().await;
}

#[tokio::test]
async fn results_that_two_read_at_once_are_booked_once() {
    let stage = Stage::set().await;
    let results = [line(1, 100, 10), line(2, 200, 20)].concat();
    let mut steps = file(&results, None);
    let Step::Send(whole) = steps.remove(0) else {
        panic!("a file is sent in one piece");
    };
    let (before, after) = whole.split_at(whole.len() - 5);
    stage.provider.script(vec![
        Step::Send(before.to_vec()),
        Step::Wait,
        Step::Send(after.to_vec()),
    ]);
    let slow = stage.send(stage.request(Method::GET, CONTENT, ""));
    let quick = async {
        stage.provider.arrived(1).await;
        stage.provider.script(file(&results, None));
        stage.send(stage.request(Method::GET, CONTENT, "")).await;
        // The second reader comes to the end when the first one's row is in the ledger.
        stage.rows_once(1).await;
        stage.provider.go();
    };
    tokio::join!(slow, quick);
    assert_eq!(figures(&stage.row().await), (300, 30, 180_000));
    stage.strike().await;
}

#[tokio::test]
async fn results_without_ids_are_known_by_where_they_were_read() {
    let stage = Stage::set().await;
    let results = nameless(MODEL);
    for (place, rows) in [("file-1", 1), ("file-1", 1), ("file-2", 2)] {
        stage.provider.script(file(&results, None));
        let path = format!("/v1/files/{place}/content");
        stage.send(stage.request(Method::GET, &path, "")).await;
        assert_eq!(stage.rows_once(rows).await.len(), rows, "{place}");
    }
    stage.strike().await;
}

#[tokio::test]
async fn a_batch_of_a_model_without_a_price_is_refused_under_a_budget_or_says_so() {
    let limits = Limited {
        budget_cents: 100,
        ..Limited::default()
    };
    for (limits, code) in [(limits, Some("price_unknown")), (Limited::default(), None)] {
        let config = GatewayConfig::default();
        let kind = CusProviderType::Anthropic;
        let stage = Stage::with(kind, limits, value!({}), config).await;
        let of = |model: &str| value!({ "custom_id": model, "params": { "model": model } });
        let body = value!({ "requests": [of(MODEL), of("unheard-of")] }).to_string();
        if code.is_none() {
            stage.provider.script(json(200, r#"{"id":"msgbatch_1"}"#));
        }
        let path = "/v1/messages/batches";
        let said = stage.send(stage.request(Method::POST, path, &body)).await;
        if let Some(code) = code {
            assert_eq!(said.status, StatusCode::FORBIDDEN);
            assert_eq!(said.json()["tollgate"]["code"], code);
            let row = stage.row().await;
            assert_eq!(row.usage.error_code.as_deref(), Some(code));
            assert_eq!(row.usage.model, "unheard-of");
            assert!(stage.provider.seen().is_empty());
        } else {
            assert_eq!(said.status, StatusCode::OK);
        }
        stage.strike().await;

        // Where the requests stand in a file, nobody knows before its results are read.
        let stage = Stage::limited(limits, value!({})).await;
        stage.provider.script(file(&nameless("unheard-of"), None));
        stage.send(stage.request(Method::GET, CONTENT, "")).await;
        let row = stage.row().await;
        assert_eq!(figures(&row), (7, 3, 0));
        assert_eq!(row.usage.error_code.as_deref(), code);
        stage.strike().await;
    }
}

#[tokio::test]
async fn results_that_break_off_are_booked_when_they_come_whole() {
    let stage = Stage::set().await;
    let results = [line(1, 100, 10), line(2, 200, 20)].concat();
    stage
        .provider
        .script(file(&results, Some(results.len() - 20)));
    let said = stage.send(stage.request(Method::GET, CONTENT, "")).await;
    assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT);
    assert!(stage.rows().await.is_empty());
    stage.provider.script(file(&results, None));
    stage.send(stage.request(Method::GET, CONTENT, "")).await;
    assert_eq!(figures(&stage.row().await), (300, 30, 180_000));
    stage.strike().await;
}

#[tokio::test]
async fn results_whose_reader_goes_away_are_read_on_and_booked() {
    let config = GatewayConfig {
        whole_answer_bytes_max: 10,
        ..GatewayConfig::default()
    };
    let more = value!({ "on_disconnect": "cancel" });
    let limits = Limited::default();
    let stage = Stage::with(CusProviderType::OpenAi, limits, more, config).await;
    let (first, second) = (line(1, 100, 10), line(2, 200, 20));
    let mut steps = file(&[first.clone(), second.clone()].concat(), None);
    let Step::Send(whole) = steps.remove(0) else {
        panic!("a file is sent in one piece");
    };
    let (before, after) = whole.split_at(whole.len() - second.len());
    stage.provider.script(vec![
        Step::Send(before.to_vec()),
        Step::Wait,
        Step::Send(after.to_vec()),
    ]);
    let mut answer = stage.open(stage.request(Method::GET, CONTENT, "")).await;
    answer.body_mut().frame().await.unwrap().unwrap();
    drop(answer);
    stage.provider.go();
    assert_eq!(figures(&stage.row().await), (300, 30, 180_000));
    stage.strike().await;
}

#[tokio::test]
async fn a_file_that_holds_no_results_passes_and_leaves_no_row() {
    let stage = Stage::set().await;
    for text in [
        "not json\n",
        "{\"custom_id\":\"a\",\"method\":\"POST\",\"url\":\"/v1/chat/completions\",\"body\":{\"usage\":{}}}\n",
        "",
    ] {
        stage.provider.script(file(text, None));
        let said = stage.send(stage.request(Method::GET, CONTENT, "")).await;
        assert_eq!(said.body, text);
    }
    assert!(stage.rows().await.is_empty());
    stage.strike().await;
}

#[tokio::test]
async fn a_batch_is_set_off_only_where_a_call_would_be_and_holds_nothing() {
    let stage = Stage::set().await;
    let body =
        r#"{"input_file_id":"file-1","endpoint":"/v1/chat/completions","completion_window":"24h"}"#;
    stage.provider.script(json(200, r#"{"id":"batch_1"}"#));
    let said = stage
        .send(stage.request(Method::POST, "/v1/batches", body))
        .await;
    assert_eq!(said.body, r#"{"id":"batch_1"}"#);
    assert_eq!(stage.provider.seen()[0].body, body.as_bytes());
    assert!(stage.rows().await.is_empty());
    stage.strike().await;

    let capped = Stage::limited(Limited::default(), value!({ "hard_cap": true })).await;
    let said = capped
        .send(capped.request(Method::POST, "/v1/batches", body))
        .await;
    assert_eq!(said.status, StatusCode::FORBIDDEN);
    assert_eq!(said.json()["error"]["code"], "batch_not_capped");
    assert!(capped.provider.seen().is_empty());
    capped.strike().await;

    let limits = Limited {
        budget_cents: 1,
        ..Limited::default()
    };
    let spent = Stage::limited(limits, value!({})).await;
    let results = line(1, 10_000_000, 10_000_000);
    spent.provider.script(file(&results, None));
    spent.send(spent.request(Method::GET, CONTENT, "")).await;
    spent.rows_once(1).await;
    let said = spent
        .send(spent.request(Method::POST, "/v1/batches", body))
        .await;
    assert_eq!(said.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(said.json()["error"]["code"], "budget_exceeded");
    spent.strike().await;
}

#[tokio::test]
async fn a_batch_of_messages_says_that_its_results_are_here() {
    let stage = Stage::with(
        CusProviderType::Anthropic,
        Limited::default(),
        value!({}),
        GatewayConfig::default(),
    )
    .await;
    let told = r#"{"id":"msgbatch_1","processing_status":"ended","results_url":"https://api.anthropic.com/v1/messages/batches/msgbatch_1/results"}"#;
    stage.provider.script(json(200, told));
    let said = stage
        .send(stage.request(Method::GET, "/v1/messages/batches/msgbatch_1", ""))
        .await;
    let path = said.json()["results_url"].as_str().unwrap().to_owned();
    assert_eq!(path, "/v1/messages/batches/msgbatch_1/results");
    let message = value!({
        "type": "message", "model": MODEL,
        "usage": { "input_tokens": 40, "output_tokens": 6 },
    });
    let result =
        value!({ "custom_id": "a", "result": { "type": "succeeded", "message": message } });
    for _ in 0..2 {
        stage.provider.script(file(&format!("{result}\n"), None));
        stage.send(stage.request(Method::GET, &path, "")).await;
    }
    assert_eq!(figures(&stage.row().await), (40, 6, 26_000));
    stage.strike().await;
}
