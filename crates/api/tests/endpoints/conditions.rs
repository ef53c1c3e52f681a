//! Conditional requests: who changes what somebody else changed meanwhile is told, and loses nothing.

use serde_json::{Value, json};

use crate::client::{Answer, Client};

fn etag(answer: &Answer) -> String {
    answer.headers["etag"].to_str().unwrap().to_owned()
}

async fn patch(client: &Client, path: &str, tag: &str, body: Value) -> Answer {
    let asking = client.admin("PATCH", path).header("if-match", tag);
    asking.json(&body).send().await
}

#[tokio::test]
async fn a_change_of_what_was_changed_meanwhile_is_refused_with_the_present_etag() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}");
    let seen = etag(&client.admin("GET", &path).send().await);
    let first = patch(&client, &path, &seen, json!({ "rate_limit_rpm": 5 })).await;
    assert_ne!(etag(&first), seen);
    let present = etag(&first);
    first.json_of(200);
    let late = patch(&client, &path, &seen, json!({ "rate_limit_rpm": 7 })).await;
    assert_eq!(etag(&late), present);
    late.problem(412, "precondition_failed");
    for verb in ["enable", "disable"] {
        let asking = client.admin("POST", &format!("{path}/{verb}"));
        let late = asking.header("if-match", &seen).send().await;
        late.problem(412, "precondition_failed");
    }
    let late = client.admin("DELETE", &path).header("if-match", &seen);
    late.send().await.problem(412, "precondition_failed");
    assert_eq!(client.get(&path).await["rate_limit_rpm"], 5);
    let weak = format!("W/{present}");
    let weak = patch(&client, &path, &weak, json!({ "rate_limit_rpm": 7 })).await;
    weak.problem(412, "precondition_failed");
    let listed = format!("\"unknown\", {present}");
    let again = patch(&client, &path, &listed, json!({ "rate_limit_rpm": 7 })).await;
    again.json_of(200);
    let any = patch(&client, &path, "*", json!({ "rate_limit_rpm": 9 })).await;
    let present = etag(&any);
    any.json_of(200);
    let gone = client.admin("DELETE", &path).header("if-match", &present);
    assert_eq!(gone.send().await.status, 204);
    let never = patch(&client, &path, "*", json!({ "rate_limit_rpm": 9 })).await;
    never.problem(404, "not_found");
    client.world.close().await;
}

#[tokio::test]
async fn of_two_admins_who_change_the_same_limits_at_once_one_wins_and_the_other_is_told() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}");
    for round in 1..=20 {
        let seen = etag(&client.admin("GET", &path).send().await);
        let (budget, rate) = (
            json!({ "budget_limit_cents": round }),
            json!({ "rate_limit_rpm": round }),
        );
        let conditional = round % 2 == 0;
        let edit = async |body: &Value| {
            let asking = client.admin("PATCH", &path).json(body);
            let asking = if conditional {
                asking.header("if-match", &seen)
            } else {
                asking
            };
            asking.send().await
        };
        let (one, other) = tokio::join!(edit(&budget), edit(&rate));
        let now = client.get(&path).await;
        let mut wins = 0;
        for (answer, name) in [(one, "budget_limit_cents"), (other, "rate_limit_rpm")] {
            let is_kept = now[name] == round;
            if answer.status == 200 {
                wins += 1;
                assert!(is_kept, "{name} of round {round} was lost");
                continue;
            }
            assert!(!is_kept, "{name} of round {round} was refused and kept");
            if conditional {
                answer.problem(412, "precondition_failed");
            } else {
                answer.problem(409, "integration_changed");
            }
        }
        assert!(wins == 1 || (wins == 2 && !conditional), "{wins}");
    }
    client.world.close().await;
}

#[tokio::test]
async fn what_the_asker_has_already_is_not_sent_again() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let keys = client.get("/api/v1/keys").await;
    let key = keys["data"][0]["id"].as_str().unwrap();
    for path in [
        format!("/api/v1/integrations/{id}"),
        format!("/api/v1/keys/{key}"),
    ] {
        let tag = etag(&client.admin("GET", &path).send().await);
        for known in [
            tag.clone(),
            format!("W/{tag}"),
            "*".to_owned(),
            format!("\"a\", {tag}"),
        ] {
            let same = client.admin("GET", &path).header("if-none-match", &known);
            let same = same.send().await;
            assert_eq!((same.status, same.text.as_str()), (304, ""), "{known}");
            assert_eq!(etag(&same), tag);
        }
        let other = client.admin("GET", &path).header("if-none-match", "\"a\"");
        other.send().await.json_of(200);
    }
    for (name, value) in [
        ("if-match", "rubbish"),
        ("if-match", "*"),
        ("if-none-match", "a"),
    ] {
        let path = format!("/api/v1/integrations/{id}");
        let asking = client.admin("GET", &path).header(name, value);
        let answer = asking.send().await.problem(400, "invalid_header");
        assert_eq!(answer["errors"][0]["pointer"], name);
    }
    client.world.close().await;
}

#[tokio::test]
async fn tenants_and_keys_are_guarded_by_their_etags_too() {
    let client = Client::start().await;
    let path = "/api/v1/tenants/globex";
    let seen = etag(&client.operator("GET", path).send().await);
    let rename = async |name: &str| {
        let asking = client.operator("PATCH", path).header("if-match", &seen);
        asking.json(&json!({ "name": name })).send().await
    };
    rename("One").await.json_of(200);
    rename("Two").await.problem(412, "precondition_failed");
    let name = client.operator("GET", path).send().await.json_of(200)["name"].clone();
    assert_eq!(name, "One");
    let keys = client.get("/api/v1/keys").await;
    let caller = keys["data"].as_array().unwrap().iter();
    let caller = caller.clone().find(|key| key["role"] == "caller").unwrap();
    let path = format!("/api/v1/keys/{}", caller["id"].as_str().unwrap());
    let revoke = async |tag: &str| {
        let asking = client.admin("DELETE", &path).header("if-match", tag);
        asking.send().await
    };
    revoke("\"0-0\"").await.problem(412, "precondition_failed");
    let seen = etag(&client.admin("GET", &path).send().await);
    revoke(&seen).await.json_of(200);
    client.world.close().await;
}
