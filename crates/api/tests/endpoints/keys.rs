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

#[tokio::test]
async fn a_rotated_key_works_on_for_the_overlap_and_then_stops() {
    let client = Client::start().await;
    let id = client
        .world
        .integration(&client.acme, "Production")
        .await
        .to_string();
    let body = json!({
        "name": "CI", "role": "viewer", "integration_id": id, "expires_at": "2026-12-22T10:00:00Z",
    });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await
        .json_of(201);
    client.world.clock.advance_ms(60_000);
    let old = format!("/api/v1/keys/{}", made["id"].as_str().unwrap());
    let rotate = |body| {
        client
            .admin("POST", &format!("{old}/rotate"))
            .json(&body)
            .send()
    };
    let new = rotate(json!({ "overlap_seconds": 60 })).await.json_of(201);
    for member in ["name", "role", "integration_id", "tenant_id"] {
        assert_eq!(new[member], made[member], "{member}");
    }
    assert_eq!(new["rotated_from"], made["id"]);
    assert_eq!(new["status"], "active");
    // It lives as long as the old one was to: thirty days.
    assert_eq!(new["expires_at"], "2026-12-22T10:01:00Z");
    let shown = client.get(&old).await;
    assert_eq!(shown["status"], "rotating");
    assert_eq!(shown["replaced_by"], new["id"]);
    assert_eq!(shown["expires_at"], "2026-11-22T10:02:00Z");
    let works = async |made: &Value| {
        let key = made["key"].as_str().unwrap();
        let answer = client.ask("GET", "/api/v1/integrations").key(key).send();
        answer.await.status == 200
    };
    assert!(works(&made).await && works(&new).await);
    rotate(json!({})).await.problem(409, "key_replaced");
    client.world.clock.advance_ms(60_000);
    assert!(!works(&made).await && works(&new).await);
    assert_eq!(client.get(&old).await["status"], "expired");
    rotate(json!({})).await.problem(409, "key_ended");

    client.world.close().await;
}

#[tokio::test]
async fn a_key_that_is_rotated_at_once_stops_at_once_and_the_trail_says_who_replaced_it() {
    let client = Client::start().await;
    let body = json!({ "name": "CI", "role": "viewer", "expires_at": "2026-12-22T10:00:00Z" });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    let made = made.json_of(201);
    let path = format!("/api/v1/keys/{}/rotate", made["id"].as_str().unwrap());
    let body = json!({ "overlap_seconds": 0, "expires_at": null });
    let new = client.admin("POST", &path).json(&body).send().await;
    let new = new.json_of(201);
    assert_eq!(new["expires_at"], Value::Null);
    for (made, status) in [(&made, 401), (&new, 200)] {
        let key = made["key"].as_str().unwrap();
        let answer = client.ask("GET", "/api/v1/integrations").key(key).send();
        assert_eq!(answer.await.status, status);
    }
    let old = client.get(path.trim_end_matches("/rotate")).await;
    assert_eq!(old["status"], "revoked");
    let trail = client.world.audit(Some(&client.acme)).await;
    assert_eq!(trail[0].action, "key.rotate");
    let after = trail[0].after.as_deref().unwrap();
    assert!(after.contains(new["id"].as_str().unwrap()), "{after}");
    assert!(!after.contains(new["key"].as_str().unwrap()), "{after}");
    client.world.close().await;
}

#[tokio::test]
async fn a_rotation_that_makes_no_sense_changes_nothing() {
    let client = Client::start().await;
    let body = json!({ "name": "CI", "role": "caller" });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    let path = format!("/api/v1/keys/{}", made.json_of(201)["id"].as_str().unwrap());
    for (body, pointer) in [
        (json!({ "overlap_seconds": -1 }), "/overlap_seconds"),
        (json!({ "overlap_seconds": 2_592_001 }), "/overlap_seconds"),
        (
            json!({ "expires_at": "2026-11-22T10:00:00Z" }),
            "/expires_at",
        ),
        (json!({ "overlap": 1 }), "/overlap"),
    ] {
        let asked = client.admin("POST", &format!("{path}/rotate")).json(&body);
        let problem = asked.send().await.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], pointer);
    }
    assert_eq!(client.get(&path).await["status"], "active");
    client.world.close().await;
}

#[tokio::test]
async fn the_last_operator_key_is_not_revoked_and_can_be_rotated() {
    let client = Client::start().await;
    let list = client.operator("GET", "/api/v1/keys?status=active").send();
    let id = list.await.json_of(200)["data"][0]["id"].clone();
    let path = format!("/api/v1/keys/{}", id.as_str().unwrap());
    let revoke = || client.operator("DELETE", &path).send();
    let refused = revoke().await.problem(409, "last_operator_key");
    assert!(
        refused["detail"]
            .as_str()
            .unwrap()
            .contains("create another")
    );
    let body = json!({ "overlap_seconds": 0 });
    let rotate = client.operator("POST", &format!("{path}/rotate"));
    let new = rotate.json(&body).send().await.json_of(201);
    revoke().await.problem(401, "invalid_api_key");
    let key = new["key"].as_str().unwrap();
    client
        .ask("GET", "/api/v1/tenants")
        .key(key)
        .send()
        .await
        .json_of(200);
    client.world.close().await;
}

#[tokio::test]
async fn keys_are_listed_by_role_and_status_and_show_their_last_use_at_once() {
    let client = Client::start().await;
    let ids = async |query: &str| {
        let list = client.get(&format!("/api/v1/keys{query}")).await;
        let rows = list["data"].as_array().unwrap().clone();
        rows.iter()
            .map(|row| row["role"].as_str().unwrap().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(ids("").await.len(), 3);
    assert_eq!(ids("?role=caller").await, ["caller"]);
    assert_eq!(ids("?status=active").await.len(), 3);
    assert_eq!(ids("?status=revoked").await.len(), 0);
    for query in ["?role=root", "?status=gone"] {
        let asked = client.admin("GET", &format!("/api/v1/keys{query}"));
        asked.send().await.problem(400, "invalid_query");
    }
    let used = client.get("/api/v1/keys?role=admin").await;
    assert_eq!(used["data"][0]["last_used_at"], "2026-11-22T10:00:00Z");
    let unused = client.get("/api/v1/keys?role=caller").await;
    assert_eq!(unused["data"][0]["last_used_at"], Value::Null);
    client.world.close().await;
}

/// A new key of a role that is bound to an integration.
async fn bound(client: &Client, role: &str, id: tollgate_core::IntegrationId) -> String {
    let body = json!({ "name": "bound", "role": role, "integration_id": id });
    let made = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    made.json_of(201)["key"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_bound_key_sees_its_own_integration_and_no_other() {
    let client = Client::start().await;
    let own = client.world.integration(&client.acme, "Own").await;
    let other = client.world.integration(&client.acme, "Other").await;
    for id in [own, other, other] {
        let used = tollgate_core::TokenUsage::plain(1_000, 500);
        client.world.call(id, used).await;
    }
    for role in ["viewer", "caller"] {
        let key = bound(&client, role, own).await;
        let get = |path: &str| client.ask("GET", path).key(&key).send();
        for (path, pointer) in [
            ("/api/v1/integrations", "/data/0/id"),
            ("/api/v1/telemetry/usage-daily", "/data/0/integration_id"),
            ("/api/v1/telemetry/usage-history", "/data/0/integration_id"),
            (
                "/api/v1/telemetry/usage-summary",
                "/by_integration/0/integration_id",
            ),
        ] {
            let answer = get(path).await.json_of(200);
            assert_eq!(answer.pointer(pointer), Some(&json!(own)), "{path}");
            let second = pointer.replace('0', "1");
            assert_eq!(answer.pointer(&second), None, "{path}");
        }
        for path in [
            "/api/v1/integrations/{}",
            "/api/v1/integrations/{}/limits",
            "/api/v1/integrations/{}/health",
            "/api/v1/telemetry/usage-summary?integration_id={}",
            "/api/v1/telemetry/usage-history?integration_id={}",
            "/api/v1/telemetry/usage-daily?integration_id={}",
        ] {
            get(&path.replace("{}", &own.to_string()))
                .await
                .json_of(200);
            let answer = get(&path.replace("{}", &other.to_string())).await;
            answer.problem(404, "not_found");
        }
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_bound_caller_asks_about_its_own_integration_and_an_admin_is_never_bound() {
    let client = Client::start().await;
    let own = client.world.integration(&client.acme, "Own").await;
    let other = client.world.integration(&client.acme, "Other").await;
    let key = bound(&client, "caller", own).await;
    for (id, result) in [(own, "allowed"), (other, "hard_blocked")] {
        let asked = client.ask("POST", "/api/v1/enforcement/check").key(&key);
        let asked = asked.json(&json!({ "integration_id": id })).send().await;
        assert_eq!(asked.json_of(200)["result"], result);
    }
    let status = client.ask("GET", "/api/v1/enforcement/status").key(&key);
    let status = status.send().await.json_of(200);
    assert_eq!(status["data"].as_array().map(Vec::len), Some(1));
    let body = json!({ "name": "bound", "role": "admin", "integration_id": own });
    let refused = client
        .admin("POST", "/api/v1/keys")
        .json(&body)
        .send()
        .await;
    assert_eq!(
        refused.problem(422, "invalid")["errors"][0]["pointer"],
        "/integration_id"
    );
    client.world.close().await;
}
