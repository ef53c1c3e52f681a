//! Requests that are sent again: done once, answered twice.

use serde_json::{Value, json};

use crate::client::{Answer, Client};

const KEYS: &str = "/api/v1/keys";

async fn make_key(client: &Client, idempotency_key: &str, name: &str) -> Answer {
    let body = json!({ "name": name, "role": "viewer" });
    let asking = client.admin("POST", KEYS).json(&body);
    let asking = asking.header("idempotency-key", idempotency_key);
    asking.send().await
}

async fn named(client: &Client, name: &str) -> usize {
    let keys = client.get("/api/v1/keys?limit=200").await;
    let keys = keys["data"].as_array().unwrap().iter();
    keys.filter(|key| key["name"] == name).count()
}

#[tokio::test]
async fn a_request_that_comes_again_gets_the_first_answer_and_is_done_once() {
    let client = Client::start().await;
    let first = make_key(&client, "a", "once").await;
    assert!(first.headers.get("idempotency-replayed").is_none());
    client.world.clock.advance_ms(1_000);
    let again = make_key(&client, "a", "once").await;
    assert_eq!(again.headers["idempotency-replayed"], "true");
    for name in ["etag", "content-type"] {
        assert_eq!(again.headers[name], first.headers[name]);
    }
    assert_ne!(again.headers["x-request-id"], first.headers["x-request-id"]);
    assert_eq!(again.text, first.text);
    assert!(again.json_of(201)["key"].is_string());
    assert_eq!(named(&client, "once").await, 1);
    make_key(&client, "b", "once").await.json_of(201);
    assert_eq!(named(&client, "once").await, 2);
    client.world.close().await;
}

#[tokio::test]
async fn a_used_key_with_another_request_is_refused() {
    let client = Client::start().await;
    make_key(&client, "a", "first").await.json_of(201);
    let other = make_key(&client, "a", "second").await;
    other.problem(422, "idempotency_key_reused");
    assert_eq!(named(&client, "second").await, 0);
    // The key counts for one asker, one tenant, one method and one path.
    let body = json!({ "name": "second", "role": "viewer" });
    let elsewhere = client.ask("POST", KEYS).key(&client.stranger).json(&body);
    let elsewhere = elsewhere.header("idempotency-key", "a").send().await;
    elsewhere.json_of(201);
    for tenant in ["acme", "globex"] {
        let asking = client.operator("POST", KEYS).tenant(tenant).json(&body);
        let made = asking.header("idempotency-key", "a").send().await;
        assert_eq!(made.json_of(201)["tenant_id"], tenant);
    }
    client.world.close().await;
}

#[tokio::test]
async fn of_many_that_come_at_once_one_is_done() {
    let client = Client::start().await;
    let once = || make_key(&client, "same", "rush");
    let answers = tokio::join!(once(), once(), once(), once());
    let mut made: Vec<Value> = Vec::new();
    for answer in [answers.0, answers.1, answers.2, answers.3] {
        if answer.status == 201 {
            made.push(answer.json);
        } else {
            assert_eq!(answer.headers["retry-after"], "1");
            answer.problem(409, "request_in_progress");
        }
    }
    assert!(!made.is_empty() && made.iter().all(|one| *one == made[0]));
    assert_eq!(named(&client, "rush").await, 1);
    client.world.close().await;
}

#[tokio::test]
async fn an_answer_is_kept_for_a_day_also_a_refusal() {
    let client = Client::start().await;
    let refused = make_key(&client, "a", "").await;
    let text = refused.text.clone();
    refused.problem(422, "invalid");
    client.world.clock.advance_ms(24 * 3_600 * 1_000 - 1);
    let again = make_key(&client, "a", "").await;
    assert_eq!((again.status, again.text), (422, text));
    client.world.clock.advance_ms(2);
    make_key(&client, "a", "fresh").await.json_of(201);
    client.world.close().await;
}

#[tokio::test]
async fn an_outage_is_no_answer_to_keep() {
    let client = Client::start().await;
    client.world.lose_store().await;
    make_key(&client, "a", "later")
        .await
        .problem(503, "unavailable");
    client.world.leave().await;
}

#[tokio::test]
async fn a_key_that_cannot_be_one_is_refused() {
    let client = Client::start().await;
    for unfit in ["", "with space", &"x".repeat(256), "caf\u{e9}"] {
        let answer = make_key(&client, unfit, "never").await;
        let problem = answer.problem(400, "invalid_header");
        assert_eq!(problem["errors"][0]["pointer"], "idempotency-key");
    }
    make_key(&client, &"x".repeat(255), "fits")
        .await
        .json_of(201);
    let body = json!({ "name": "never", "role": "viewer" });
    let two = client.admin("POST", KEYS).json(&body);
    let two = two
        .header("idempotency-key", "a")
        .header("idempotency-key", "b");
    two.send().await.problem(400, "invalid_header");
    let large = client.admin("POST", KEYS).text("x".repeat((1 << 20) + 1));
    let large = large.header("idempotency-key", "c").send().await;
    large.problem(413, "body_too_large");
    assert_eq!(named(&client, "never").await, 0);
    client.world.close().await;
}

#[tokio::test]
async fn what_is_kept_of_an_answer_cannot_be_read() {
    let client = Client::start().await;
    let made = make_key(&client, "a-very-telling-key", "secret")
        .await
        .json_of(201);
    let key = made["key"].as_str().unwrap();
    let mut searched = 0;
    for file in std::fs::read_dir(client.world.folder()).unwrap() {
        let path = file.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            for secret in [key, "a-very-telling-key"] {
                let found = bytes
                    .windows(secret.len())
                    .any(|part| part == secret.as_bytes());
                assert!(!found, "{}", path.display());
            }
            searched += bytes.len();
        }
    }
    assert!(searched > 10_000, "{searched}");
    client.world.close().await;
}
