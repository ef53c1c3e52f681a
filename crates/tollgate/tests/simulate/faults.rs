//! The simulated provider's journal, its faults, and clients that go away.

use std::{sync::Arc, time::Duration};

use http::Method;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tollgate::simulate::{Config, Faults};

use super::{Provider, chat, message};

#[tokio::test]
async fn every_billed_request_is_one_line_of_the_journal() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("billed.jsonl");
    let config = Config {
        journal: Some(path.clone()),
        ..Config::default()
    };
    let provider = Provider::start(config).await;
    let body = chat(&json!({"max_tokens": 3})).to_string();
    let mut request = provider.request(Method::POST, "/v1/chat/completions", &body);
    request
        .headers_mut()
        .insert("x-client-request-id", "call-1".parse().unwrap());
    let first = provider.send(request).await;
    let second = provider
        .post("/v1/messages", message(&json!({"max_tokens": 4})))
        .await;
    let written = std::fs::read_to_string(&path).unwrap();
    let lines: Vec<Value> = written
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(lines.len(), 2);
    assert_eq!(lines[0]["client_request_id"], "call-1");
    assert_eq!(lines[0]["request_id"], first.header("x-request-id"));
    assert_eq!(lines[0]["model"], "gpt-4o-mini");
    assert_eq!(lines[0]["path"], "/v1/chat/completions");
    assert_eq!(
        (&lines[0]["tokens_in"], &lines[0]["tokens_out"]),
        (&json!(5), &json!(3))
    );
    assert!(lines[0]["time"].as_str().unwrap().ends_with('Z'));
    assert_eq!(lines[1]["client_request_id"], Value::Null);
    assert_eq!(lines[1]["request_id"], second.header("request-id"));
    assert_ne!(lines[0]["request_id"], lines[1]["request_id"]);
    assert_eq!(provider.get("/__journal").await.json(), Value::from(lines));
}

#[tokio::test]
async fn a_request_that_fails_is_not_billed() {
    let faults = Faults {
        error_rate: 0.5,
        error_status: 429,
        retry_after_s: Some(7),
        ..Faults::default()
    };
    let provider = Provider::with(faults).await;
    let mut statuses = Vec::new();
    for _ in 0..4 {
        // Probes between the calls do not shift which calls fail.
        provider.get("/v1/models").await;
        let reply = provider
            .post("/v1/chat/completions", chat(&json!({"stream": true})))
            .await;
        if reply.status == 429 {
            assert_eq!(reply.header("retry-after"), "7");
            assert_eq!(reply.json()["error"]["code"], "rate_limit_exceeded");
        }
        statuses.push(reply.status.as_u16());
    }
    assert_eq!(statuses, [200, 429, 200, 429]);
    assert_eq!(provider.simulator.billed(), 2);
    provider
        .simulator
        .set_faults(Faults {
            error_rate: 1.0,
            error_status: 529,
            ..faults
        })
        .unwrap();
    let reply = provider.post("/v1/messages", message(&json!({}))).await;
    assert_eq!(reply.status.as_u16(), 529);
    assert_eq!(reply.json()["error"]["type"], "overloaded_error");
}

#[tokio::test]
async fn a_cut_answer_ends_after_exactly_what_was_told_and_is_billed() {
    let provider = Provider::with(Faults::default()).await;
    let body = json!({"stream": true, "max_tokens": 4});
    let whole = provider.post("/v1/chat/completions", chat(&body)).await;
    let events = whole.text().matches("\n\n").count();
    for cut in 0..=events {
        let faults = Faults {
            cut_after: Some(cut.try_into().unwrap()),
            ..Faults::default()
        };
        provider.simulator.set_faults(faults).unwrap();
        let reply = provider.post("/v1/chat/completions", chat(&body)).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.text().matches("\n\n").count(), cut);
        assert_eq!(reply.broken, cut < events, "cut after {cut} of {events}");
    }
    provider
        .simulator
        .set_faults(Faults {
            cut_after: Some(10),
            ..Faults::default()
        })
        .unwrap();
    let reply = provider.post("/v1/messages", message(&json!({}))).await;
    assert_eq!((reply.body.len(), reply.broken), (10, true));
    assert_eq!(provider.billed().len(), events + 3);
    assert_eq!(provider.billed()[1..=events + 1], vec![(5, 4); events + 1]);
}

#[tokio::test]
async fn without_usage_no_answer_mentions_it_and_billing_goes_on() {
    let provider = Provider::with(Faults {
        no_usage: true,
        ..Faults::default()
    })
    .await;
    let asked = json!({"stream": true, "stream_options": {"include_usage": true}});
    for reply in [
        provider
            .post("/v1/chat/completions", chat(&json!({})))
            .await,
        provider.post("/v1/chat/completions", chat(&asked)).await,
        provider
            .post("/v1/messages", message(&json!({"stream": true})))
            .await,
        provider.post("/v1/messages", message(&json!({}))).await,
        provider
            .post(
                "/v1/embeddings",
                json!({"model": "m", "input": "a", "dimensions": 1}),
            )
            .await,
    ] {
        assert_eq!(reply.status, 200);
        assert!(!reply.text().contains("usage"), "{}", reply.text());
    }
    assert_eq!(
        provider.billed(),
        [(5, 16), (5, 16), (5, 16), (5, 16), (1, 0)]
    );
}

#[tokio::test]
async fn a_request_that_hangs_is_billed_and_a_stop_ends_it_without_an_answer() {
    let provider = Provider::with(Faults {
        hang: true,
        ..Faults::default()
    })
    .await;
    let request = provider.request(
        Method::POST,
        "/v1/chat/completions",
        &chat(&json!({})).to_string(),
    );
    let mut answer = std::pin::pin!(provider.client.request(request));
    tokio::select! {
        answer = &mut answer => panic!("answered: {answer:?}"),
        () = provider.simulator.billed_reaches(1) => {}
    }
    provider.simulator.stop().await;
    assert!(answer.await.is_err());
}

#[tokio::test]
async fn a_stalled_stream_stays_open_after_what_was_told() {
    let provider = Provider::with(Faults {
        stall_after: Some(2),
        ..Faults::default()
    })
    .await;
    let body = chat(&json!({"stream": true})).to_string();
    let request = provider.request(Method::POST, "/v1/chat/completions", &body);
    let mut incoming = provider.client.request(request).await.unwrap().into_body();
    let mut text = String::new();
    while text.matches("\n\n").count() < 2 {
        let frame = incoming
            .frame()
            .await
            .unwrap()
            .unwrap()
            .into_data()
            .unwrap();
        text.push_str(str::from_utf8(&frame).unwrap());
    }
    let silence = tokio::time::timeout(Duration::from_millis(50), incoming.frame()).await;
    assert!(silence.is_err());
    assert_eq!(provider.simulator.billed(), 1);
}

#[tokio::test]
async fn faults_are_scripted_at_run_time() {
    let provider = Provider::with(Faults {
        cached_tokens: 1,
        ..Faults::default()
    })
    .await;
    let faults = provider
        .post("/__faults", json!({"error_rate": 1, "error_status": 503}))
        .await;
    assert_eq!(faults.json()["error_status"], 503);
    assert_eq!(faults.json()["cached_tokens"], 1);
    assert_eq!(
        provider
            .post("/v1/chat/completions", chat(&json!({})))
            .await
            .status,
        503
    );
    let refused = provider.post("/__faults", json!({"error_rat": 0})).await;
    assert_eq!(refused.status, 400);
    assert!(refused.text().contains("error_rat"));
    assert_eq!(provider.get("/__faults").await.json(), faults.json());
    assert_eq!(
        provider
            .post("/__faults", json!({"error_rate": 0}))
            .await
            .status,
        200
    );
    assert_eq!(
        provider
            .post("/v1/chat/completions", chat(&json!({})))
            .await
            .status,
        200
    );
    assert_eq!(provider.simulator.billed(), 1);
    assert_eq!(provider.post("/__reset", json!({})).await.status, 200);
    let start = Faults {
        cached_tokens: 1,
        ..Faults::default()
    };
    assert_eq!(provider.simulator.faults(), start);
    assert_eq!(provider.get("/__journal").await.json(), json!([]));
}

#[tokio::test]
async fn latency_and_intervals_delay_answers_by_what_was_told() {
    let faults = Faults {
        latency_ms: 20,
        chunk_interval_ms: 5,
        ..Faults::default()
    };
    let provider = Provider::with(faults).await;
    let started = tokio::time::Instant::now();
    let body = json!({"stream": true, "max_tokens": 4});
    let reply = provider.post("/v1/chat/completions", chat(&body)).await;
    // Role, four pieces, finish, end: six intervals.
    assert_eq!(reply.text().matches("\n\n").count(), 7);
    assert!(started.elapsed() >= Duration::from_millis(20 + 6 * 5));
    assert_eq!(reply.header("openai-processing-ms"), "20");
}

#[tokio::test]
async fn a_client_that_goes_away_pays_all_the_same() {
    let faults = Faults {
        chunk_interval_ms: 60_000,
        ..Faults::default()
    };
    let provider = Provider::with(faults).await;
    let body = chat(&json!({"stream": true, "max_tokens": 50})).to_string();
    let request = provider.request(Method::POST, "/v1/chat/completions", &body);
    let mut incoming = provider.client.request(request).await.unwrap().into_body();
    incoming.frame().await.unwrap().unwrap();
    drop(incoming);
    assert_eq!(provider.billed(), [(5, 50)]);
    let lines: Vec<Arc<str>> = provider.simulator.journal_lines();
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn a_large_prompt_is_counted_to_the_word() {
    let provider = Provider::with(Faults::default()).await;
    let prompt = "a ".repeat(5_000_000);
    let body =
        json!({"model": "m", "messages": [{"role": "user", "content": prompt}], "max_tokens": 1});
    assert_eq!(
        provider.post("/v1/chat/completions", body).await.status,
        200
    );
    assert_eq!(provider.billed(), [(5_000_000, 1)]);
}
