//! Tenants: made, renamed, suspended and resumed by the operator.

use serde_json::json;

use crate::client::Client;

#[tokio::test]
async fn a_tenant_is_made_once_and_found_again() {
    let client = Client::start().await;
    let post = |body| {
        client
            .operator("POST", "/api/v1/tenants")
            .json(&body)
            .send()
    };
    let made = post(json!({ "id": "initech", "name": "Initech" }))
        .await
        .json_of(201);
    assert_eq!(made["id"], "initech");
    assert_eq!(made["status"], "active");
    assert_eq!(made["created_at"], "2026-11-22T10:00:00Z");
    post(json!({ "id": "initech", "name": "Other" }))
        .await
        .problem(409, "tenant_exists");
    let unnamed = post(json!({ "name": "Umbrella" })).await.json_of(201);
    assert_eq!(unnamed["id"].as_str().map(str::len), Some(36));
    let bad_id = post(json!({ "id": "a b", "name": "Spaced" }))
        .await
        .problem(422, "invalid");
    assert_eq!(bad_id["errors"][0]["pointer"], "/id");
    let blank = post(json!({ "name": " " })).await.problem(422, "invalid");
    assert_eq!(blank["errors"][0]["pointer"], "/name");
    let got = client
        .operator("GET", "/api/v1/tenants/initech")
        .send()
        .await
        .json_of(200);
    assert_eq!(got, made);
    client
        .operator("GET", "/api/v1/tenants/none")
        .send()
        .await
        .problem(404, "not_found");
    client.world.close().await;
}

#[tokio::test]
async fn the_list_of_tenants_comes_in_pages_without_gaps_or_repeats() {
    let client = Client::start().await;
    for n in 0..5 {
        client.world.clock.advance_ms(i64::from(n % 2));
        client.world.tenant(&format!("t{n}")).await;
    }
    let mut seen = Vec::new();
    let mut path = "/api/v1/tenants?limit=2".to_owned();
    loop {
        let page = client.operator("GET", &path).send().await.json_of(200);
        let rows = page["data"].as_array().unwrap();
        seen.extend(
            rows.iter()
                .map(|row| row["id"].as_str().unwrap().to_owned()),
        );
        let Some(cursor) = page["next_cursor"].as_str() else {
            break;
        };
        path = format!("/api/v1/tenants?limit=2&cursor={cursor}");
    }
    let mut sorted = seen.clone();
    sorted.sort();
    assert_eq!(sorted, ["acme", "globex", "t0", "t1", "t2", "t3", "t4"]);
    client.world.close().await;
}

#[tokio::test]
async fn a_suspended_tenants_keys_are_refused_at_once_until_it_is_resumed() {
    let client = Client::start().await;
    let patch = |body| {
        client
            .operator("PATCH", "/api/v1/tenants/acme")
            .json(&body)
            .send()
    };
    let ask = || client.admin("GET", "/api/v1/integrations").send();
    ask().await.json_of(200);
    client.world.clock.advance_ms(1_000);
    let suspended = patch(json!({ "status": "suspended" })).await.json_of(200);
    assert_eq!(suspended["status"], "suspended");
    assert_eq!(suspended["updated_at"], "2026-11-22T10:00:01Z");
    ask().await.problem(401, "invalid_api_key");
    // The operator still gets at it.
    let list = client
        .operator("GET", "/api/v1/integrations")
        .tenant("acme")
        .send()
        .await;
    list.json_of(200);
    patch(json!({ "status": "active", "name": "ACME" }))
        .await
        .json_of(200);
    ask().await.json_of(200);
    patch(json!({ "status": "gone" }))
        .await
        .problem(422, "invalid");
    let trail = client.world.audit(None).await;
    let actions: Vec<_> = trail.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(
        actions
            .iter()
            .filter(|action| **action == "tenant.suspend")
            .count(),
        1
    );
    assert_eq!(
        actions
            .iter()
            .filter(|action| **action == "tenant.resume")
            .count(),
        1
    );
    client.world.close().await;
}

#[tokio::test]
async fn a_deleted_tenant_is_refused_at_once_and_never_comes_back() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    client
        .world
        .call(id, tollgate_core::TokenUsage::plain(1_000, 500))
        .await;
    let path = "/api/v1/tenants/acme";
    let delete = || client.operator("DELETE", path).send();
    client
        .admin("DELETE", path)
        .send()
        .await
        .problem(403, "permission_denied");
    let erased = delete().await.json_of(200);
    assert_eq!(
        erased,
        json!({ "id": "acme", "keys_revoked": 3, "integrations_deleted": 1, "credentials_erased": 1 })
    );
    for key in [&client.admin, &client.viewer, &client.caller] {
        let asked = client.ask("GET", "/api/v1/integrations").key(key);
        asked.send().await.problem(401, "invalid_api_key");
    }
    assert!(client.world.app.directory().integration(id).is_none());
    assert!(client.world.app.directory().integrations().is_empty());
    delete().await.problem(404, "not_found");
    client
        .operator("GET", path)
        .send()
        .await
        .problem(404, "not_found");
    let asked = client.operator("GET", "/api/v1/keys").tenant("acme");
    asked.send().await.problem(404, "not_found");
    let list = client.operator("GET", "/api/v1/tenants").send().await;
    assert_eq!(list.json_of(200)["data"].as_array().map(Vec::len), Some(1));
    let body = json!({ "id": "acme", "name": "Again" });
    let again = client
        .operator("POST", "/api/v1/tenants")
        .json(&body)
        .send();
    again.await.problem(409, "tenant_deleted");
    // What was booked stays, and so does what was done.
    let status = client.operator("GET", "/api/v1/ledger/status").send().await;
    assert_eq!(status.json_of(200)["ledger"]["rows"], 1);
    assert!(!client.world.audit(Some(&client.acme)).await.is_empty());
    let trail = client.world.audit(None).await;
    assert_eq!(trail[0].action, "tenant.delete");
    assert!(trail[0].before.as_deref().unwrap().contains("acme"));
    assert_eq!(
        trail[0].after.as_deref(),
        Some(r#"{"keys_revoked":3,"integrations_deleted":1,"credentials_erased":1}"#)
    );
    client.world.close().await;
}

#[tokio::test]
async fn tenants_are_listed_by_status() {
    let client = Client::start().await;
    let body = json!({ "status": "suspended" });
    let patch = client.operator("PATCH", "/api/v1/tenants/acme").json(&body);
    patch.send().await.json_of(200);
    for (status, id) in [("suspended", "acme"), ("active", "globex")] {
        let list = client.operator("GET", &format!("/api/v1/tenants?status={status}"));
        let list = list.send().await.json_of(200);
        assert_eq!(list["data"].as_array().map(Vec::len), Some(1));
        assert_eq!(list["data"][0]["id"], id);
    }
    let unknown = client
        .operator("GET", "/api/v1/tenants?status=deleted")
        .send();
    unknown.await.problem(400, "invalid_query");
    client.world.close().await;
}
