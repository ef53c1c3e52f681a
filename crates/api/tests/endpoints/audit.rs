//! The audit trail: read and verified through the API, and written by every route that changes something.

use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::TokenUsage;
use tollgate_core::page::PAGE_ROWS_MAX;
use tollgate_core::role::Role;

use crate::client::Client;

/// The routes that change something, and what each writes: `trail action`, where the trail is `operator` or `tenant`.
/// A route that is not a GET and has no row here fails the test below.
const CHANGES: &[(&str, &[&str])] = &[
    ("POST /api/v1/tenants", &["operator tenant.create"]),
    ("PATCH /api/v1/tenants/{id}", &["operator tenant.update"]),
    ("DELETE /api/v1/tenants/{id}", &["operator tenant.delete"]),
    ("POST /api/v1/keys", &["tenant key.create"]),
    ("POST /api/v1/keys/{id}/rotate", &["tenant key.rotate"]),
    ("DELETE /api/v1/keys/{id}", &["tenant key.revoke"]),
    ("POST /api/v1/integrations", &["tenant integration.create"]),
    (
        "PATCH /api/v1/integrations/{id}",
        &["tenant integration.update"],
    ),
    (
        "DELETE /api/v1/integrations/{id}",
        &["tenant integration.delete"],
    ),
    (
        "POST /api/v1/integrations/{id}/enable",
        &["tenant integration.enable"],
    ),
    (
        "POST /api/v1/integrations/{id}/disable",
        &["tenant integration.disable"],
    ),
    (
        "POST /api/v1/integrations/{id}/test",
        &["tenant integration.health"],
    ),
    (
        "POST /api/v1/integrations/{id}/credential",
        &["tenant integration.credential"],
    ),
    (
        "PUT /api/v1/prices/{provider_type}/{model}",
        &["tenant price.set"],
    ),
    (
        "DELETE /api/v1/prices/{provider_type}/{model}",
        &["tenant price.remove"],
    ),
    // What happens to calls stands in the ledger.
    ("POST /api/v1/telemetry/llm-usage", &[]),
    ("POST /api/v1/telemetry/llm-usage/batch", &[]),
    ("POST /api/v1/enforcement/check", &[]),
    ("POST /api/v1/enforcement/batch", &[]),
    ("POST /api/v1/enforcement/hold", &[]),
    ("DELETE /api/v1/enforcement/hold/{id}", &[]),
    // Nothing waits to be re-wrapped here; each batch that is re-wrapped writes an entry.
    ("POST /api/v1/masterkeys/rewrap", &[]),
    ("POST /api/v1/nodes/{id}/retire", &["operator node.retire"]),
    (
        "POST /api/v1/ledger/rollups/rebuild",
        &["operator rollup.rebuild"],
    ),
];

/// A request that a route takes, and that changes something.
fn body(route: &str, integration: &str) -> Value {
    let usage = json!({
        "integration_id": integration, "call_id": "c-1", "model": MODEL, "tokens_in": 1, "tokens_out": 1,
    });
    match route {
        "POST /api/v1/keys" => json!({ "name": "new", "role": "caller" }),
        "POST /api/v1/integrations" => json!({
            "name": "new", "provider_type": "openai", "credential": { "api_key": "sk-0123456789-abcd" },
        }),
        "POST /api/v1/integrations/{id}/test" => json!({ "force": true }),
        "POST /api/v1/integrations/{id}/credential" => {
            json!({ "credential": { "api_key": "sk-0123456789-next" } })
        }
        "POST /api/v1/enforcement/check" | "POST /api/v1/enforcement/hold" => {
            json!({ "integration_id": integration })
        }
        "POST /api/v1/enforcement/batch" => {
            json!({ "requests": [{ "integration_id": integration }] })
        }
        "POST /api/v1/telemetry/llm-usage" => usage,
        "POST /api/v1/telemetry/llm-usage/batch" => json!({ "records": [usage] }),
        "POST /api/v1/keys/{id}/rotate" => json!({}),
        "PUT /api/v1/prices/{provider_type}/{model}" => price(),
        _ => json!({ "name": "new" }),
    }
}

fn price() -> Value {
    json!({ "rates": { "input": 1, "output": 1 } })
}

/// Something for a route to work on; its id.
async fn subject(client: &Client, route: &str) -> String {
    let path = route.split(' ').nth(1).unwrap();
    match path.split('/').nth(3).unwrap() {
        "tenants" => client.world.tenant("initech").await.to_string(),
        "nodes" => client.world.quiet_node().await.to_string(),
        "keys" => {
            let role = Role::Caller;
            let made = client.world.created_key(Some(&client.acme), role).await;
            made.key.id.to_string()
        }
        "integrations" => {
            let id = client.world.integration(&client.acme, "main").await;
            if path.ends_with("/enable") {
                let disable = format!("/api/v1/integrations/{id}/disable");
                client.admin("POST", &disable).send().await.json_of(200);
            }
            id.to_string()
        }
        "enforcement" => {
            let id = client.world.integration(&client.acme, "main").await;
            let body = json!({ "integration_id": id.to_string() });
            let asking = client.ask("POST", "/api/v1/enforcement/hold");
            let made = asking
                .key(&client.caller)
                .json(&body)
                .send()
                .await
                .json_of(201);
            made["hold_id"].as_str().unwrap().to_owned()
        }
        other => panic!("say here what stands in /{other}/{{id}}"),
    }
}

/// What stands in both trails, oldest first: `trail action`.
async fn written(client: &Client) -> Vec<String> {
    let mut all = Vec::new();
    for (trail, tenant) in [("operator", None), ("tenant", Some(&client.acme))] {
        let mut rows = client.world.audit(tenant).await;
        assert!(rows.len() < usize::from(PAGE_ROWS_MAX));
        rows.reverse();
        all.extend(rows.iter().map(|row| format!("{trail} {}", row.action)));
    }
    all
}

#[tokio::test]
async fn every_route_that_changes_something_writes_exactly_what_its_row_says() {
    for route in tollgate_api::routes() {
        if route.method == "GET" {
            continue;
        }
        let name = format!("{} {}", route.method, route.path);
        let row = CHANGES.iter().find(|(listed, _)| *listed == name);
        let (_, expected) =
            row.unwrap_or_else(|| panic!("{name} has no row in CHANGES: what does it write?"));
        let client = Client::start().await;
        let mut path = route.path.to_owned();
        if path.contains("{id}") {
            path = path.replace("{id}", &subject(&client, &name).await);
        }
        if path.contains("{model}") {
            path = "/api/v1/prices/openai/mine".to_owned();
            if route.method == "DELETE" {
                let set = client.admin("PUT", &path).json(&price()).send();
                set.await.json_of(200);
            }
        }
        let spare = client.world.integration(&client.acme, "spare").await;
        let before = written(&client).await;
        let mut asking = client
            .ask(route.method, &path)
            .json(&body(&name, &spare.to_string()));
        if !Role::Operator.may(route.permission.unwrap()) {
            asking = asking.key(&client.caller);
        } else if expected.iter().any(|entry| entry.starts_with("operator ")) {
            asking = asking.key(&client.operator);
        } else {
            asking = asking.key(&client.operator).tenant("acme");
        }
        let answer = asking.send().await;
        assert!(answer.status < 300, "{name}: {}", answer.text);
        let mut after = written(&client).await;
        for entry in &before {
            let place = after.iter().position(|other| other == entry);
            after.remove(place.unwrap());
        }
        assert_eq!(after, *expected, "{name}");
        client.world.close().await;
    }
    let routes = tollgate_api::routes();
    for (name, _) in CHANGES {
        let is_there =
            |route: &tollgate_api::RouteRow| format!("{} {}", route.method, route.path) == *name;
        assert!(routes.iter().any(is_there), "{name} is no route any more");
    }
}

#[tokio::test]
async fn a_trail_tells_who_did_what_to_what_and_from_what_to_what() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let change = json!({ "budget_limit_cents": 500 });
    let path = format!("/api/v1/integrations/{id}");
    let patched = client.admin("PATCH", &path).json(&change).send().await;
    let request_id = patched.headers["x-request-id"].clone();
    patched.json_of(200);
    let listed = client.get("/api/v1/audit?limit=1").await;
    let entry = &listed["data"][0];
    assert_eq!(entry["action"], "integration.update");
    assert_eq!(entry["target"], format!("integration/{id}"));
    assert_eq!(entry["tenant_id"], "acme");
    assert_eq!(entry["actor"]["kind"], "key");
    assert_eq!(entry["actor"]["name"], "admin key");
    assert_eq!(entry["request_id"], request_id.to_str().unwrap());
    assert_eq!(entry["before"]["budget_limit_cents"], 0);
    assert_eq!(entry["after"]["budget_limit_cents"], 500);
    assert_eq!(entry["created_at"], "2026-11-22T10:00:00Z");
    client.world.close().await;
}

#[tokio::test]
async fn a_trail_is_paged_and_filtered() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("/api/v1/integrations/{id}/disable");
    client.admin("POST", &path).send().await.json_of(200);
    let mut seqs = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = client.get(&format!("/api/v1/audit?limit=2{cursor}")).await;
        let rows = page["data"].as_array().unwrap();
        seqs.extend(rows.iter().map(|row| row["seq"].as_i64().unwrap()));
        let Some(next) = page["next_cursor"].as_str() else {
            break;
        };
        cursor = format!("&cursor={next}");
    }
    assert_eq!(seqs, [6, 5, 4, 3, 2, 1]);
    let newest = client.get("/api/v1/audit?limit=1").await;
    let actor = newest["data"][0]["actor"]["id"].as_str().unwrap();
    for (query, rows) in [
        ("action=integration.enable".to_owned(), 1),
        ("target=integration".to_owned(), 3),
        (format!("target=integration/{id}"), 3),
        (format!("actor={actor}"), 1),
        ("actor=console&target=key".to_owned(), 3),
        ("from=2026-11-23".to_owned(), 0),
        ("to=2026-11-22&action=key.create".to_owned(), 3),
    ] {
        let found = client.get(&format!("/api/v1/audit?{query}")).await;
        assert_eq!(
            found["data"].as_array().map(Vec::len),
            Some(rows),
            "{query}"
        );
    }
    for query in [
        "actor=somebody",
        "all=perhaps",
        "action=",
        "target=%00",
        "since=1",
    ] {
        let refused = client.admin("GET", &format!("/api/v1/audit?{query}"));
        refused.send().await.problem(400, "invalid_query");
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_trail_is_verified_against_itself_and_against_a_head_that_was_kept() {
    let client = Client::start().await;
    let report = client.get("/api/v1/audit/verify").await;
    assert_eq!(
        (&report["ok"], &report["entries"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(report["first_bad"], Value::Null);
    let hash = report["head"]["hash"].as_str().unwrap().to_owned();
    client.world.integration(&client.acme, "Production").await;
    let later = client
        .get(&format!("/api/v1/audit/verify?head=3:{hash}"))
        .await;
    assert_eq!(
        (&later["ok"], &later["head"]["seq"]),
        (&json!(true), &json!(5))
    );
    let other = client
        .get(&format!("/api/v1/audit/verify?head=2:{hash}"))
        .await;
    assert_eq!(other["ok"], false);
    assert_eq!(other["first_bad"]["seq"], 2);
    assert_eq!(other["first_bad"]["reason"], "other_history");
    let cut = client
        .get(&format!("/api/v1/audit/verify?head=9:{hash}"))
        .await;
    assert_eq!(cut["first_bad"]["reason"], "tail_cut");
    assert_eq!(cut["first_bad"]["seq"], 6);
    for head in ["9", "0:00", "x"] {
        let refused = client.admin("GET", &format!("/api/v1/audit/verify?head={head}"));
        refused.send().await.problem(400, "invalid_query");
    }
    client.world.close().await;
}

#[tokio::test]
async fn each_sees_its_own_trail_and_the_operator_every_one() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    client.world.call(id, TokenUsage::plain(1_000, 0)).await;
    let theirs = client.ask("GET", "/api/v1/audit").key(&client.stranger);
    let theirs = theirs.send().await.json_of(200);
    assert_eq!(theirs["data"].as_array().map(Vec::len), Some(1));
    assert_eq!(theirs["data"][0]["tenant_id"], "globex");
    let rebuild = client.operator("POST", "/api/v1/ledger/rollups/rebuild");
    rebuild.send().await.json_of(200);
    let own = client
        .operator("GET", "/api/v1/audit")
        .send()
        .await
        .json_of(200);
    assert_eq!(own["data"][0]["action"], "rollup.rebuild");
    assert_eq!(own["data"][0]["tenant_id"], Value::Null);
    assert_eq!(own["data"][0]["after"], json!({ "days": 1, "changed": 0 }));
    assert_eq!(own["data"][0]["actor"]["name"], "operator key");
    let acmes = client.operator("GET", "/api/v1/audit").tenant("acme");
    assert_eq!(
        acmes.send().await.json_of(200)["data"][0]["tenant_id"],
        "acme"
    );
    let every = client
        .operator("GET", "/api/v1/audit?all=true")
        .send()
        .await;
    let every = every.json_of(200);
    let every = every["data"].as_array().unwrap();
    assert_eq!(every.len(), 4 + 5 + 1);
    let verified = client.operator("GET", "/api/v1/audit/verify?all=true");
    let verified = verified.send().await.json_of(200);
    assert_eq!(
        (&verified["ok"], &verified["trails"]),
        (&json!(true), &json!(3))
    );
    assert_eq!(
        (&verified["entries"], &verified["head"]),
        (&json!(10), &Value::Null)
    );
    for path in ["/api/v1/audit?all=true", "/api/v1/audit/verify?all=true"] {
        client
            .admin("GET", path)
            .send()
            .await
            .problem(403, "permission_denied");
        let named = client.operator("GET", path).tenant("acme").send().await;
        named.problem(400, "invalid_query");
    }
    let head = format!("/api/v1/audit/verify?all=true&head=1:{}", "0".repeat(64));
    client
        .operator("GET", &head)
        .send()
        .await
        .problem(422, "invalid");
    client.world.close().await;
}
