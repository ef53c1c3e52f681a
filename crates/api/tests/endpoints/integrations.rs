//! Integrations: what is kept, what is shown, what is refused.

use serde_json::{Value, json};
use tollgate_app::testing::{CANARY, MODEL};
use tollgate_core::TokenUsage;

use crate::client::{Answer, Client};

pub(crate) const PATH: &str = "/api/v1/integrations";

pub(crate) fn body(name: &str) -> Value {
    json!({
        "name": name,
        "provider_type": "openai",
        "credential": { "api_key": CANARY },
        "config": { "base_url": "http://127.0.0.1:9/v1", "hard_cap": true },
        "default_model": "gpt-4o-mini",
        "budget_limit_cents": 5_000,
        "token_limit_month": 100,
        "rate_limit_rpm": 60,
    })
}

/// The body with one member changed, or left out where the value is null.
fn changed(member: &str, value: Value) -> Value {
    let mut body = body("Production");
    if value.is_null() {
        body.as_object_mut().unwrap().remove(member);
    } else {
        body[member] = value;
    }
    body
}

pub(crate) async fn post(client: &Client, body: &Value) -> Answer {
    client.admin("POST", PATH).json(body).send().await
}

pub(crate) async fn patch(client: &Client, id: &str, body: Value) -> Answer {
    client
        .admin("PATCH", &format!("{PATH}/{id}"))
        .json(&body)
        .send()
        .await
}

pub(crate) async fn made(client: &Client, body: &Value) -> (String, Value) {
    let made = post(client, body).await.json_of(201);
    (made["id"].as_str().unwrap().to_owned(), made)
}

#[tokio::test]
async fn an_integration_is_shown_without_its_credential_and_without_where_it_is() {
    let client = Client::start().await;
    let answer = post(&client, &body("Production")).await;
    assert!(!answer.text.contains("canary") && !answer.text.contains("credential_ref"));
    let made = answer.json_of(201);
    assert_eq!(made["status"], "created");
    assert_eq!(made["health_state"], "unknown");
    assert_eq!(made["tenant_id"], "acme");
    assert_eq!(made["config"]["hard_cap"], true);
    assert_eq!(made["credential"]["last4"], "wxyz");
    assert_eq!(
        made["credential"]["fingerprint"].as_str().map(str::len),
        Some(16)
    );
    assert_eq!(made["created_at"], "2026-11-22T10:00:00Z");
    let mut members: Vec<_> = made
        .as_object()
        .unwrap()
        .keys()
        .map(String::as_str)
        .collect();
    members.sort_unstable();
    assert_eq!(
        members,
        [
            "budget_limit_cents",
            "config",
            "created_at",
            "created_by",
            "credential",
            "default_model",
            "deleted_at",
            "health_checked_at",
            "health_message",
            "health_state",
            "id",
            "name",
            "provider_type",
            "rate_limit_rpm",
            "status",
            "tenant_id",
            "token_limit_month",
            "updated_at",
        ]
    );
    let id = made["id"].as_str().unwrap();
    assert_eq!(client.get(&format!("{PATH}/{id}")).await, made);
    assert_eq!(client.get(PATH).await["data"], json!([made]));
    client.world.close().await;
}

#[tokio::test]
async fn the_credential_opens_again_and_is_nowhere_in_clear() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("Production")).await;
    let known = client
        .world
        .app
        .directory()
        .integration(id.parse().unwrap())
        .unwrap();
    let opened = client
        .world
        .app
        .open_credential(&known.snapshot())
        .unwrap()
        .unwrap();
    assert_eq!(opened.expose(), json!({ "api_key": CANARY }).to_string());
    for row in client.world.audit(Some(&client.acme)).await {
        assert!(!format!("{row:?}").contains("canary"), "{row:?}");
        assert!(!format!("{row:?}").contains("credential_ref"), "{row:?}");
    }
    for entry in std::fs::read_dir(client.world.folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            let bytes = std::fs::read(&path).unwrap();
            let found = bytes.windows(9).any(|window| window == b"sk-canary");
            assert!(!found, "{}", path.display());
        }
    }
    client.world.close().await;
}

#[tokio::test]
async fn what_breaks_a_rule_is_refused_with_its_place_and_never_repeated() {
    let client = Client::start().await;
    let raw = "sk-canary-in-the-wrong-field";
    for (member, value, pointer) in [
        ("name", json!(""), "/name"),
        ("name", json!("x".repeat(256)), "/name"),
        ("budget_limit_cents", json!(-1), "/budget_limit_cents"),
        ("token_limit_month", json!(-1), "/token_limit_month"),
        ("rate_limit_rpm", json!(-1), "/rate_limit_rpm"),
        ("rate_limit_rpm", json!(raw), "/rate_limit_rpm"),
        ("default_model", json!("x".repeat(101)), "/default_model"),
        ("provider_type", json!(raw), "/provider_type"),
        ("credential", Value::Null, "/credential"),
        ("credential", json!(raw), "/credential"),
        ("credential", json!({ "api_key": "" }), "/credential"),
        ("credential", json!({ "api_key": 7 }), "/credential"),
        ("credential", json!({ "key": raw }), "/credential"),
        (
            "credential_ref",
            json!("env://TOLLGATE_CRED_TEST"),
            "/credential",
        ),
        ("config", json!({ "hard_cop": true }), "/config"),
        ("config", json!({ "hard_cap": raw }), "/config"),
        (
            "config",
            json!({ "base_url": "http://example.com" }),
            "/config/base_url",
        ),
        (
            "config",
            json!({ "base_url": "https://10.0.0.1" }),
            "/config/base_url",
        ),
        (
            "config",
            json!({ "base_url": format!("https://{raw}@example.com") }),
            "/config/base_url",
        ),
        (
            "config",
            json!({ "prices": { MODEL: { "input": -1, "output": 1 } } }),
            "/config/prices",
        ),
        ("status", json!("enabled"), "/status"),
    ] {
        let answer = post(&client, &changed(member, value.clone())).await;
        assert!(!answer.text.contains("canary"), "{}", answer.text);
        let problem = answer.problem(422, "invalid");
        assert_eq!(
            problem["errors"][0]["pointer"], pointer,
            "{member}: {value}"
        );
    }
    assert_eq!(client.get(PATH).await["data"], json!([]));
    client.world.close().await;
}

#[tokio::test]
async fn a_reference_is_taken_only_where_the_operator_allows_it() {
    let client = Client::start().await;
    let referring = |text: &str| {
        let mut body = changed("credential", Value::Null);
        body["credential_ref"] = json!(text);
        body
    };
    for text in [
        "sk-canary-raw-key",
        "env://PATH",
        "env://TOLLGATE_CRED_",
        "vault://secret/openai#key",
        "encrypted://4f0c4a1e-0000-4000-8000-000000000000",
    ] {
        let answer = post(&client, &referring(text)).await;
        assert!(!answer.text.contains("canary"), "{}", answer.text);
        assert_eq!(
            answer.problem(422, "invalid")["errors"][0]["pointer"],
            "/credential_ref"
        );
    }
    let (id, made) = made(&client, &referring("env://TOLLGATE_CRED_TEST")).await;
    assert_eq!(made["credential"], Value::Null);
    let known = client
        .world
        .app
        .directory()
        .integration(id.parse().unwrap())
        .unwrap();
    let opened = client
        .world
        .app
        .open_credential(&known.snapshot())
        .unwrap()
        .unwrap();
    assert_eq!(opened.expose(), CANARY);
    let moving = json!({ "config": { "base_url": "http://127.0.0.1:10/v1" } });
    patch(&client, &id, moving.clone())
        .await
        .problem(422, "credential_required");
    let mut again = moving;
    again["credential_ref"] = json!("env://TOLLGATE_CRED_TEST");
    patch(&client, &id, again).await.json_of(200);
    client.world.close().await;
}

#[tokio::test]
async fn a_name_is_taken_until_its_integration_is_deleted() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("Production")).await;
    post(&client, &body("Production"))
        .await
        .problem(409, "integration_name_taken");
    let gone = client.admin("DELETE", &format!("{PATH}/{id}")).send().await;
    assert_eq!((gone.status, gone.text.as_str()), (204, ""));
    for (method, path) in [
        ("GET", ""),
        ("GET", "/limits"),
        ("POST", "/enable"),
        ("DELETE", ""),
    ] {
        let answer = client
            .admin(method, &format!("{PATH}/{id}{path}"))
            .send()
            .await;
        answer.problem(404, "not_found");
    }
    assert!(
        client
            .world
            .app
            .directory()
            .integration(id.parse().unwrap())
            .is_none()
    );
    made(&client, &body("Production")).await;
    client.world.close().await;
}

#[tokio::test]
async fn an_integration_is_switched_on_and_off_and_the_directory_knows_at_once() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("Production")).await;
    let known = client
        .world
        .app
        .directory()
        .integration(id.parse().unwrap())
        .unwrap();
    for (verb, status) in [
        ("enable", "enabled"),
        ("disable", "disabled"),
        ("enable", "enabled"),
        ("enable", "enabled"),
    ] {
        client.world.clock.advance_ms(1);
        let answer = client
            .admin("POST", &format!("{PATH}/{id}/{verb}"))
            .send()
            .await;
        assert_eq!(answer.json_of(200)["status"], status);
        assert_eq!(known.snapshot().record.status.as_str(), status);
    }
    let trail = client.world.audit(Some(&client.acme)).await;
    let enabled = trail
        .iter()
        .filter(|row| row.action == "integration.enable");
    assert_eq!(enabled.count(), 2);
    client.world.close().await;
}

#[tokio::test]
async fn error_is_left_neither_by_enabling_nor_by_disabling() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("Production")).await;
    let ask = |verb| {
        let path = format!("{PATH}/{id}/{verb}");
        let client = &client;
        async move { client.admin("POST", &path).send().await }
    };
    ask("enable").await.json_of(200);
    client.world.refuse_credential(id.parse().unwrap()).await;
    for verb in ["enable", "disable", "enable"] {
        let conflict = ask(verb).await.problem(409, "integration_in_error");
        assert!(
            conflict["detail"].as_str().unwrap().contains("credential"),
            "{conflict}"
        );
    }
    let shown = client.get(&format!("{PATH}/{id}")).await;
    assert_eq!(
        (&shown["status"], &shown["health_state"]),
        (&json!("error"), &json!("failing"))
    );
    client.world.close().await;
}

#[tokio::test]
async fn a_patch_changes_what_it_names_and_nothing_else() {
    let client = Client::start().await;
    let (id, before) = made(&client, &body("Production")).await;
    client.world.clock.advance_ms(1_000);
    let change = json!({
        "name": "Europe",
        "budget_limit_cents": null,
        "rate_limit_rpm": 7,
        "default_model": null,
        "config": { "hard_cap": null, "default_max_output_tokens": 100 },
    });
    let after = patch(&client, &id, change).await.json_of(200);
    assert_eq!(after["name"], "Europe");
    assert_eq!(after["budget_limit_cents"], 0);
    assert_eq!(after["token_limit_month"], before["token_limit_month"]);
    assert_eq!(after["rate_limit_rpm"], 7);
    assert_eq!(after["default_model"], Value::Null);
    let config = json!({ "base_url": "http://127.0.0.1:9/v1", "default_max_output_tokens": 100 });
    assert_eq!(after["config"], config);
    assert_eq!(after["credential"], before["credential"]);
    assert_eq!(after["updated_at"], "2026-11-22T10:00:01Z");
    let known = client
        .world
        .app
        .directory()
        .integration(id.parse().unwrap())
        .unwrap();
    assert_eq!(known.snapshot().record.rate_limit_rpm, 7);
    for bad in [
        json!({ "status": "enabled" }),
        json!({ "name": "" }),
        json!({ "rate_limit_rpm": -1 }),
    ] {
        patch(&client, &id, bad).await.problem(422, "invalid");
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_credential_is_not_sent_elsewhere_unless_it_is_entered_again() {
    let client = Client::start().await;
    let (id, before) = made(&client, &body("Production")).await;
    for config in [
        json!({ "base_url": "http://127.0.0.1:10/v1" }),
        json!({ "base_url": null }),
        json!({ "region": "eu-west-1" }),
        Value::Null,
    ] {
        let moved = patch(&client, &id, json!({ "config": config }))
            .await
            .problem(422, "credential_required");
        assert_eq!(moved["errors"][0]["pointer"], "/credential");
    }
    let again = json!({
        "config": { "base_url": "http://127.0.0.1:10/v1" },
        "credential": { "api_key": "sk-canary-another-one-abcd" },
    });
    let after = patch(&client, &id, again).await;
    assert!(!after.text.contains("canary"));
    let after = after.json_of(200);
    assert_eq!(after["credential"]["last4"], "abcd");
    assert_ne!(
        after["credential"]["fingerprint"],
        before["credential"]["fingerprint"]
    );
    let known = client
        .world
        .app
        .directory()
        .integration(id.parse().unwrap())
        .unwrap();
    let opened = client
        .world
        .app
        .open_credential(&known.snapshot())
        .unwrap()
        .unwrap();
    assert!(opened.expose().contains("another-one"));
    let endpoint = known.snapshot().endpoint.clone().unwrap().unwrap();
    assert_eq!(endpoint.authority().as_str(), "127.0.0.1:10");
    client.world.close().await;
}

#[tokio::test]
async fn the_list_is_filtered_by_status_and_provider() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("One")).await;
    let mut claude = changed("provider_type", json!("anthropic"));
    claude["name"] = json!("Two");
    made(&client, &claude).await;
    client
        .admin("POST", &format!("{PATH}/{id}/enable"))
        .send()
        .await
        .json_of(200);
    for (query, names) in [
        ("status=enabled", json!(["One"])),
        ("status=created", json!(["Two"])),
        ("provider_type=anthropic", json!(["Two"])),
        ("provider_type=anthropic&status=enabled", json!([])),
    ] {
        let list = client.get(&format!("{PATH}?{query}")).await;
        let found: Vec<_> = list["data"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["name"])
            .collect();
        assert_eq!(json!(found), names, "{query}");
    }
    let wrong = client
        .admin("GET", &format!("{PATH}?status=on"))
        .send()
        .await;
    wrong.problem(400, "invalid_query");
    client.world.close().await;
}

#[tokio::test]
async fn limits_show_what_is_settled_and_what_is_held() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let limits =
        json!({ "budget_limit_cents": 1, "token_limit_month": 10_000, "rate_limit_rpm": 3 });
    patch(&client, &id.to_string(), limits).await.json_of(200);
    // 1000 tokens in and 500 out at $1 and $2 a million: $0.002.
    client.world.call(id, TokenUsage::plain(1_000, 500)).await;
    let hold = client
        .world
        .hold(id, TokenUsage::plain(2_000, 0))
        .await
        .unwrap();
    let path = format!("{PATH}/{id}/limits");
    let shown = client.get(&path).await;
    assert_eq!(
        shown,
        json!({
            "period_start": "2026-11-01T00:00:00Z",
            "period_end": "2026-12-01T00:00:00Z",
            "budget": {
                "limit_cents": 1, "used_cents": 0, "used_usd": "0.002000000",
                "held_usd": "0.002000000", "remaining_usd": "0.006000000", "percent": 20.0,
            },
            "tokens": { "limit": 10_000, "used": 1_500, "held": 2_000, "remaining": 6_500, "percent": 15.0 },
            "rate": { "limit_rpm": 3, "current_rpm": 2, "percent": 66.6 },
        })
    );
    hold.release();
    let shown = client.get(&path).await;
    assert_eq!(shown["budget"]["held_usd"], "0.000000000");
    client.world.close().await;
}

#[tokio::test]
async fn providers_say_what_they_need() {
    let client = Client::start().await;
    let list = client
        .ask("GET", "/api/v1/providers")
        .key(&client.caller)
        .send()
        .await
        .json_of(200);
    let types: Vec<_> = list["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["provider_type"].as_str().unwrap())
        .collect();
    assert_eq!(
        types,
        ["openai", "anthropic", "azure_openai", "bedrock", "custom"]
    );
    assert_eq!(list["data"][0]["credential_fields"][0]["name"], "api_key");
    assert_eq!(list["data"][0]["credential_fields"][0]["kind"], "secret");
    client.world.close().await;
}

#[tokio::test]
async fn every_change_is_in_the_audit_trail_with_who_what_before_and_after() {
    let client = Client::start().await;
    let (id, _) = made(&client, &body("Production")).await;
    let path = format!("{PATH}/{id}");
    let renamed = client.admin("PATCH", &path).header("x-request-id", "req-7");
    renamed
        .json(&json!({ "name": "Europe" }))
        .send()
        .await
        .json_of(200);
    client
        .admin("POST", &format!("{path}/enable"))
        .send()
        .await
        .json_of(200);
    client.admin("DELETE", &path).send().await;
    let trail = client.world.audit(Some(&client.acme)).await;
    let target = format!("integration/{id}");
    let rows: Vec<_> = trail
        .iter()
        .rev()
        .filter(|row| row.target == target)
        .collect();
    let actions: Vec<_> = rows.iter().map(|row| row.action.as_str()).collect();
    assert_eq!(
        actions,
        [
            "integration.create",
            "integration.update",
            "integration.enable",
            "integration.delete",
        ]
    );
    let keys = client.get("/api/v1/keys").await;
    let admin = keys["data"]
        .as_array()
        .unwrap()
        .iter()
        .find(|key| key["role"] == "admin")
        .unwrap();
    for row in &rows {
        assert_eq!(
            json!(row.actor),
            json!({ "kind": "key", "id": admin["id"] })
        );
    }
    let update = rows[1];
    assert_eq!(update.request_id.as_deref(), Some("req-7"));
    let json_of =
        |text: &Option<String>| -> Value { serde_json::from_str(text.as_ref().unwrap()).unwrap() };
    assert_eq!(json_of(&update.before)["name"], "Production");
    assert_eq!(json_of(&update.after)["name"], "Europe");
    assert_eq!(json_of(&update.after)["credential"]["last4"], "wxyz");
    assert_eq!((&rows[0].before, &rows[3].after), (&None, &None));
    client.world.close().await;
}
