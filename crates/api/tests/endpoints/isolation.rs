//! Another tenant's things are not there: every route with an id, asked by a stranger.

use serde_json::{Value, json};

use crate::client::Client;

/// A body that the route would take.
fn body_for(path: &str) -> Value {
    match path.rsplit('/').next() {
        Some("rotate") => json!({}),
        Some("test") => json!({ "force": true }),
        Some("credential") => json!({ "credential": { "api_key": "sk-mine-now" } }),
        _ => json!({ "name": "Mine now" }),
    }
}

#[tokio::test]
async fn every_route_with_an_id_answers_a_stranger_as_if_nothing_were_there() {
    let client = Client::start().await;
    let integration = client
        .world
        .integration(&client.acme, "Production")
        .await
        .to_string();
    let keys = client.get("/api/v1/keys").await;
    let key = keys["data"][0]["id"].as_str().unwrap().to_owned();
    let mut crossed = 0;
    for route in tollgate_api::routes()
        .iter()
        .filter(|route| route.path.contains("{id}"))
    {
        let id = match route.path.split('/').nth(3).unwrap() {
            "integrations" => integration.as_str(),
            "keys" => key.as_str(),
            // Only the operator knows tenants and nodes, and every one of them.
            // And callers alone hold: `holds.rs` crosses tenants itself.
            "tenants" | "nodes" | "enforcement" => continue,
            other => panic!("say here whose id stands in /{other}/{{id}}"),
        };
        let theirs = route.path.replace("{id}", id);
        let patch = body_for(route.path);
        let ask = |path: &str, key: &str| client.ask(route.method, path).key(key).json(&patch);
        let crossing = ask(&theirs, &client.stranger).send().await;
        let nobody = ask(
            &route
                .path
                .replace("{id}", "00000000-0000-4000-8000-000000000000"),
            &client.stranger,
        );
        let rubbish = ask(&route.path.replace("{id}", "not-an-id"), &client.stranger)
            .send()
            .await;
        let same = nobody.send().await.problem(404, "not_found");
        assert_eq!(
            crossing.problem(404, "not_found")["detail"],
            same["detail"],
            "{}",
            route.path
        );
        rubbish.problem(404, "not_found");
        let named = ask(&theirs, &client.stranger).tenant("acme").send().await;
        named.problem(404, "not_found");
        crossed += 1;
    }
    assert_eq!(crossed, 12);
    assert_eq!(client.world.provider.probes(), 0);
    let still = client
        .get(&format!("/api/v1/integrations/{integration}"))
        .await;
    assert_eq!(
        (&still["name"], &still["status"]),
        (&json!("Production"), &json!("enabled"))
    );
    client.world.close().await;
}

#[tokio::test]
async fn lists_and_sums_hold_only_ones_own() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    client
        .world
        .call(id, tollgate_core::TokenUsage::plain(1_000, 500))
        .await;
    for path in [
        "/api/v1/integrations",
        "/api/v1/telemetry/usage-history",
        "/api/v1/telemetry/usage-daily",
        &format!("/api/v1/telemetry/usage-history?integration_id={id}"),
    ] {
        let mine = client.get(path).await;
        assert_eq!(mine["data"].as_array().map(Vec::len), Some(1), "{path}");
        let theirs = client
            .ask("GET", path)
            .key(&client.stranger)
            .send()
            .await
            .json_of(200);
        assert_eq!(theirs["data"], json!([]), "{path}");
    }
    let sums = client
        .ask("GET", "/api/v1/telemetry/usage-summary")
        .key(&client.stranger);
    assert_eq!(sums.send().await.json_of(200)["total_calls"], 0);
    client.world.close().await;
}

#[tokio::test]
async fn an_operator_acts_on_a_tenant_only_by_naming_one_that_is_there() {
    let client = Client::start().await;
    let path = "/api/v1/integrations";
    client
        .operator("GET", path)
        .send()
        .await
        .problem(400, "invalid_header");
    client
        .operator("GET", path)
        .tenant("nobody")
        .send()
        .await
        .problem(404, "not_found");
    client
        .operator("GET", path)
        .tenant("")
        .send()
        .await
        .problem(400, "invalid_header");
    client
        .operator("GET", path)
        .tenant("acme")
        .send()
        .await
        .json_of(200);
    let both = client
        .operator("GET", path)
        .tenant("acme")
        .tenant("globex")
        .send()
        .await;
    both.problem(400, "conflicting_tenants");
    client.world.close().await;
}
