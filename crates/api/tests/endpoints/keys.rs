//! Access keys: shown once, revoked at once, and nobody makes one above its own role.

use serde_json::{Value, json};

use crate::client::Client;

#[tokio::test]
async fn a_key_is_shown_once_and_works_until_it_is_revoked() {
    let client = Client::start().await;
    let body = json!({ "name": "CI", "role": "viewer" });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await
        .json_of(201);
    let key = made["key"].as_str().unwrap().to_owned();
    let id = made["id"].as_str().unwrap();
    let path = format!("/api/v1/keys/{id}");
    assert_eq!(made["tenant_id"], "acme");
    assert!(key.starts_with(made["prefix"].as_str().unwrap()));
    let got = client.admin("GET", &path).send().await;
    assert!(!got.text.contains(&key), "{}", got.text);
    assert_eq!(got.json_of(200)["key"], Value::Null);
    let list = client.admin("GET", "/api/v1/keys").send().await;
    assert!(!list.text.contains(&key) && list.text.contains(id));
    let use_it = || client.ask("GET", "/api/v1/integrations").key(&key).send();
    use_it().await.json_of(200);
    let revoked = client.admin("DELETE", &path).send().await.json_of(200);
    assert_eq!(revoked["revoked_at"], "2026-11-22T10:00:00Z");
    use_it().await.problem(401, "invalid_api_key");
    client.world.clock.advance_ms(1_000);
    let again = client.admin("DELETE", &path).send().await.json_of(200);
    assert_eq!(again["revoked_at"], "2026-11-22T10:00:00Z");
    client.world.close().await;
}

#[tokio::test]
async fn only_an_operator_makes_operator_keys_and_names_no_tenant_for_them() {
    let client = Client::start().await;
    let body = json!({ "name": "root", "role": "operator" });
    let by_admin = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    by_admin.problem(403, "permission_denied");
    let named = client
        .operator("POST", "/api/v1/keys")
        .tenant("acme")
        .json(&body)
        .send()
        .await;
    named.problem(422, "invalid");
    let made = client
        .operator("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await
        .json_of(201);
    assert_eq!(made["tenant_id"], Value::Null);
    let key = made["key"].as_str().unwrap();
    let list = client
        .ask("GET", "/api/v1/keys")
        .key(key)
        .send()
        .await
        .json_of(200);
    assert_eq!(list["data"].as_array().map(Vec::len), Some(2));
    let path = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    client.operator("GET", &path).send().await.json_of(200);
    client
        .operator("GET", &path)
        .tenant("acme")
        .send()
        .await
        .problem(404, "not_found");
    client
        .admin("GET", &path)
        .send()
        .await
        .problem(404, "not_found");
    client.operator("DELETE", &path).send().await.json_of(200);
    client
        .ask("GET", "/api/v1/keys")
        .key(key)
        .send()
        .await
        .problem(401, "invalid_api_key");
    client.world.close().await;
}

#[tokio::test]
async fn an_operator_makes_a_tenants_first_key_by_naming_the_tenant() {
    let client = Client::start().await;
    let body = json!({ "name": "first", "role": "admin" });
    let unnamed = client
        .operator("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    assert_eq!(
        unnamed.problem(400, "invalid_header")["errors"][0]["pointer"],
        "x-tollgate-tenant"
    );
    let made = client
        .operator("POST", "/api/v1/keys")
        .tenant("globex")
        .json(&body)
        .send()
        .await;
    assert_eq!(made.json_of(201)["tenant_id"], "globex");
    client.world.close().await;
}

#[tokio::test]
async fn a_key_is_bound_only_to_an_integration_of_its_own_tenant() {
    let client = Client::start().await;
    let id = client
        .world
        .integration(&client.acme, "Production")
        .await
        .to_string();
    let body = json!({ "name": "bound", "role": "caller", "integration_id": id });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await
        .json_of(201);
    assert_eq!(made["integration_id"], id);
    let stranger = client
        .ask("POST", "/api/v1/keys")
        .key(&client.stranger)
        .json(&body)
        .send()
        .await;
    stranger.problem(404, "not_found");
    client.world.close().await;
}

#[tokio::test]
async fn a_key_that_has_already_expired_is_not_made() {
    let client = Client::start().await;
    for (expires_at, status) in [
        ("2026-11-22T10:00:00Z", 422),
        ("tomorrow", 422),
        ("2026-11-23", 422),
        ("2026-11-22T11:00:01+01:00", 201),
    ] {
        let body = json!({ "name": "short", "role": "viewer", "expires_at": expires_at });
        let answer = client
            .admin("POST", "/api/v1/keys")
            .json(&body)
            .send()
            .await;
        assert_eq!(answer.status, status, "{expires_at}: {}", answer.text);
    }
    client.world.close().await;
}
