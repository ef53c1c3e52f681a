//! Settings of further attempts: what is taken, and what is said of what is not.

use serde_json::{Value, json};

use crate::client::Client;
use crate::integrations::{PATH, body, made, patch, post};

/// The settings of an integration that falls back to these.
fn falling(list: &Value) -> Value {
    json!({ "config": { "fallback": list } })
}

#[tokio::test]
async fn a_fallback_is_another_integration_of_the_tenant_that_speaks_the_same_words() {
    let client = Client::start().await;
    made(&client, &body("Backup")).await;
    let mut words = body("Words");
    words["provider_type"] = json!("anthropic");
    words["config"] = json!({ "base_url": "http://127.0.0.1:9" });
    made(&client, &words).await;
    let mut signed = body("Signed");
    signed["provider_type"] = json!("bedrock");
    signed["config"] = json!({ "base_url": "http://127.0.0.1:9", "region": "us-east-1" });
    let (bedrock, _) = made(&client, &signed).await;
    let foreign = client.world.tenant("foreign").await;
    let foreign = client.world.integration(&foreign, "Foreign").await;
    let (id, _) = made(&client, &body("Production")).await;
    let long: Vec<_> = (0..9).map(|_| "Backup").collect();
    for (list, says) in [
        (json!(["Nobody"]), "entry 1 is no integration"),
        (
            json!(["Backup", foreign.to_string()]),
            "entry 2 is no integration",
        ),
        (json!(["Foreign"]), "entry 1 is no integration"),
        (json!(["Backup", "Words"]), "give the `model`"),
        (json!(["Production"]), "entry 1 is the integration itself"),
        (json!([id]), "entry 1 is the integration itself"),
        (json!(long), "at most 8"),
        (json!([""]), "by its id or its name"),
        (
            json!([{ "integration": "Backup", "model": "" }]),
            "by its id or its name",
        ),
    ] {
        let answer = patch(&client, &id, falling(&list)).await;
        let problem = answer.problem(422, "invalid");
        let error = &problem["errors"][0];
        assert_eq!(error["pointer"], "/config/fallback", "{list}");
        assert!(
            error["detail"].as_str().unwrap().contains(says),
            "{problem}"
        );
    }
    let in_other_words = json!([{ "integration": "Words", "model": "m" }]);
    patch(&client, &id, falling(&in_other_words))
        .await
        .json_of(200);
    // Calls in AWS's words are not translated.
    let refused = patch(&client, &bedrock, falling(&in_other_words)).await;
    let refused = refused.problem(422, "invalid");
    let detail = refused["errors"][0]["detail"].as_str().unwrap();
    assert!(detail.contains("are not translated"), "{refused}");
    client.world.close().await;
}

#[tokio::test]
async fn a_new_integrations_fallback_is_looked_at_too() {
    let client = Client::start().await;
    made(&client, &body("Backup")).await;
    let mut created = body("Another");
    created["config"]["fallback"] = json!(["Nobody"]);
    let refused = post(&client, &created).await.problem(422, "invalid");
    assert_eq!(refused["errors"][0]["pointer"], "/config/fallback");
    created["config"]["fallback"] = json!(["Backup"]);
    made(&client, &created).await;
    client.world.close().await;
}

#[tokio::test]
async fn settings_of_further_attempts_are_read_strictly_and_kept_as_they_were_entered() {
    let client = Client::start().await;
    let (backup, _) = made(&client, &body("Backup")).await;
    let (id, _) = made(&client, &body("Production")).await;
    for list in [json!("Backup"), json!([7]), json!([{ "name": "Backup" }])] {
        let answer = patch(&client, &id, falling(&list)).await;
        let problem = answer.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/config", "{list}");
    }
    for (member, value) in [("retries", 6), ("retry_wait_seconds", 61)] {
        let answer = patch(&client, &id, json!({ "config": { member: value } })).await;
        let problem = answer.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], format!("/config/{member}"));
    }
    let list = json!([
        "Backup",
        { "integration": backup, "model": "m" },
        { "integration": id, "model": "m" },
    ]);
    let kept = patch(&client, &id, falling(&list)).await.json_of(200);
    assert_eq!(kept["config"]["fallback"], list);
    // What is gone is passed over by calls, and does not stand in the way of other changes.
    let path = format!("{PATH}/{backup}");
    let gone = client.admin("DELETE", &path).send().await;
    assert_eq!(gone.status, 204);
    let renamed = patch(&client, &id, json!({ "name": "Europe" })).await;
    renamed.json_of(200);
    let again = patch(&client, &id, falling(&json!(["Backup"]))).await;
    again.problem(422, "invalid");
    client.world.close().await;
}

#[tokio::test]
async fn only_a_server_of_ones_own_speaks_as_it_is_said() {
    let client = Client::start().await;
    let mut own = body("Own");
    own["provider_type"] = json!("custom");
    own["config"] = json!({ "base_url": "http://127.0.0.1:9", "dialect": "anthropic" });
    let (id, kept) = made(&client, &own).await;
    assert_eq!(kept["config"]["dialect"], "anthropic");
    made(&client, &body("Backup")).await;
    let mut words = body("Words");
    words["provider_type"] = json!("anthropic");
    words["config"] = json!({ "base_url": "http://127.0.0.1:9", "fallback": ["Own"] });
    made(&client, &words).await;
    let refused = patch(&client, &id, falling(&json!(["Backup"]))).await;
    let refused = refused.problem(422, "invalid");
    assert_eq!(refused["errors"][0]["pointer"], "/config/fallback");
    let spoken = |dialect: &str| json!({ "config": { "dialect": dialect } });
    let unknown = patch(&client, &id, spoken("klingon")).await;
    unknown.problem(422, "invalid");
    let mut other = body("Other");
    other["config"]["dialect"] = json!("anthropic");
    let refused = post(&client, &other).await.problem(422, "invalid");
    assert_eq!(refused["errors"][0]["pointer"], "/config/dialect");
    client.world.close().await;
}
