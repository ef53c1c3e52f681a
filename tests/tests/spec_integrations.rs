//! The earlier system's cases 32 to 39: the life of an integration; and what becomes of keys and
//! tenants. Where Tollgate answers otherwise, `docs/deviations.md` says why.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{CHAT, Engine, Tenant, World, call, must_refuse, until};

async fn status(tenant: &Tenant, method: Method, path: &str, body: Option<&Value>) -> u16 {
    tenant.control.send(method, path, body).await.status
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_32_to_36_an_integration_is_kept_as_it_was_made_and_is_its_tenants_alone() {
    let mut world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let budget = json!({ "budget_limit_cents": 100 });
    let made = tenant.created("openai", "main", &budget).await;
    let path = format!("/integrations/{}", made.id);
    let record = tenant.control.get(&path).await;
    // 32: it is the same in another request, and after a restart.
    assert_eq!(
        (&record["status"], &record["health_state"]),
        (&json!("created"), &json!("unknown"))
    );
    world.kill_and_restart().await;
    let tenant = world.again(&tenant);
    assert_eq!(tenant.control.get(&path).await, record);
    // 33: a name is one tenant's once, and free to others.
    let body = json!({
        "name": "main", "provider_type": "openai", "credential": { "api_key": "sk-simulated" },
    });
    let again = status(&tenant, Method::POST, "/integrations", Some(&body)).await;
    assert_eq!(again, 409);
    let stranger = world.tenant().await;
    let theirs = status(&stranger, Method::POST, "/integrations", Some(&body)).await;
    assert_eq!(theirs, 201);
    // 34: how the credential is recognized, and nothing of it.
    for shown in [
        record.clone(),
        tenant.control.get("/integrations").await["data"][0].clone(),
    ] {
        assert_eq!(shown.get("credential_ref"), None);
        assert!(shown["credential"]["fingerprint"].is_string(), "{shown}");
    }
    // 35: to another tenant it is not there.
    assert_eq!(status(&stranger, Method::GET, &path, None).await, 404);
    // 36: an update of the budget leaves the rest.
    let mut changed = tenant
        .control
        .patch(&path, &json!({ "budget_limit_cents": 5 }))
        .await;
    assert_eq!(changed["budget_limit_cents"], 5);
    for member in ["budget_limit_cents", "updated_at"] {
        changed[member] = record[member].clone();
    }
    assert_eq!(changed, record);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_37_to_39_a_deleted_integration_refuses_everything_and_frees_its_name() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    let path = format!("/integrations/{}", integration.id);
    // 37: deleted once; then, as what never was, it is not there.
    tenant.control.delete(&path).await;
    assert_eq!(status(&tenant, Method::DELETE, &path, None).await, 404);
    let nobody = "/integrations/00000000-0000-4000-8000-000000000000";
    assert_eq!(status(&tenant, Method::DELETE, nobody, None).await, 404);
    // 38: nowhere to be seen, switched on, called or reported for; its name is free.
    assert!(tenant.control.list("/integrations").await.is_empty());
    assert_eq!(status(&tenant, Method::GET, &path, None).await, 404);
    let enable = format!("{path}/enable");
    assert_eq!(status(&tenant, Method::POST, &enable, None).await, 404);
    must_refuse(
        &tenant.caller.chat(&call()).await,
        404,
        "integration_not_found",
    );
    let caller = tenant.control.with_key(&tenant.caller.key);
    let usage = json!({
        "integration_id": integration.id, "call_id": "late", "model": "gpt-4o-mini",
        "tokens_in": 1, "tokens_out": 1,
    });
    let reported = caller.send(Method::POST, "/telemetry/llm-usage", Some(&usage));
    let reported = reported.await;
    assert_eq!(reported.status, 422, "{}", reported.text());
    assert!(
        tenant
            .history()
            .await
            .iter()
            .all(|row| row["call_id"] != "late")
    );
    // 39: a change does not bring it back.
    let change = json!({ "default_model": "gpt-4o" });
    assert_eq!(
        status(&tenant, Method::PATCH, &path, Some(&change)).await,
        404
    );
    assert_eq!(status(&tenant, Method::GET, &path, None).await, 404);
    tenant.openai(&json!({})).await;
    world.close().await;
}

/// Calls with a key until it is refused; how often it worked.
async fn works_until_refused(tenant: &Tenant, key: &str) -> u32 {
    let caller = tenant.caller.with_key(key);
    let mut worked = 0;
    until("the key stops working", async || {
        let answer = caller.post(CHAT, &[], call().to_string()).await;
        if answer.status == 200 {
            worked += 1;
            return None;
        }
        must_refuse(&answer, 401, "invalid_api_key");
        Some(())
    })
    .await;
    worked
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotated_key_works_under_calls_for_the_overlap_and_the_new_one_from_the_first() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let path = format!("/keys/{}", tenant.key_id);
    let body = json!({ "overlap_seconds": 2 });
    let new = tenant.control.post(&format!("{path}/rotate"), &body).await;
    assert_eq!(tenant.control.get(&path).await["status"], "rotating");
    let renewed = tenant.caller.with_key(new["key"].as_str().unwrap());
    assert_eq!(renewed.chat(&call()).await.status, 200);
    let worked = works_until_refused(&tenant, &tenant.caller.key).await;
    assert!(worked > 0, "the old key works during the overlap");
    assert_eq!(tenant.control.get(&path).await["status"], "expired");
    assert_eq!(renewed.chat(&call()).await.status, 200);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tenant_is_refused_by_both_listeners_and_leaves_its_ledger() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    tenant.history().await;
    let path = format!("/tenants/{}", tenant.id);
    let erased = world.operator.delete(&path).await;
    assert_eq!(erased["credentials_erased"], 1);
    must_refuse(&tenant.caller.chat(&call()).await, 401, "invalid_api_key");
    let caller = tenant.control.with_key(&tenant.caller.key);
    let listed = caller.send(Method::GET, "/integrations", None).await;
    assert_eq!(listed.status, 401);
    let again = world.operator.send(Method::DELETE, &path, None).await;
    assert_eq!(again.status, 404);
    let rows = world.close().await;
    assert_eq!(rows.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_admins_who_edit_the_same_limits_at_once_one_wins_and_the_other_loses_nothing() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let world = World::on(engine).await;
        let tenant = world.tenant().await;
        let made = tenant.created("openai", "main", &json!({})).await;
        let path = format!("/integrations/{}", made.id);
        let role = json!({ "name": "second admin", "role": "admin" });
        let second = tenant.control.post("/keys", &role).await;
        let second = tenant.control.with_key(second["key"].as_str().unwrap());
        for round in 1..=10 {
            let seen = tenant.control.send(Method::GET, &path, None).await;
            let budget = json!({ "budget_limit_cents": round * 100 });
            let tokens = json!({ "token_limit_month": round * 1_000, "rate_limit_rpm": round });
            let (one, other) = tokio::join!(
                tenant.control.patch_seen(&path, &seen, &budget),
                second.patch_seen(&path, &seen, &tokens)
            );
            let ((winner, loser), (lost, admin)) = if one.status == 200 {
                ((&one, &other), (&tokens, &second))
            } else {
                ((&other, &one), (&budget, &tenant.control))
            };
            assert_eq!((winner.status, loser.status), (200, 412), "round {round}");
            assert_eq!(loser.json()["code"], "precondition_failed");
            let now = tenant.control.send(Method::GET, &path, None).await;
            assert_eq!(now.json(), winner.json(), "the loser changed nothing");
            // Having read what the winner made, the loser says it again, and both stand.
            assert_eq!(admin.patch_seen(&path, &now, lost).await.status, 200);
            let record = tenant.control.get(&path).await;
            for (name, value) in [&budget, &tokens]
                .into_iter()
                .flat_map(|one| one.as_object().unwrap())
            {
                assert_eq!(&record[name], value, "round {round}");
            }
        }
        world.close().await;
    }
}
