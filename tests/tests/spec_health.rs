//! Cases 40, 42, 44 to 46 and 82 to 85 of the behavior that this project was created from: lifecycle and health.

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Engine, Integration, Tenant, World, call, until};

async fn tested(integration: &Integration) -> Value {
    let path = format!("/integrations/{}/test", integration.id);
    let forced = json!({"force": true});
    integration.control.post(&path, &forced).await
}

/// The code that a call is refused with.
async fn refusal(tenant: &Tenant, code: &str) {
    let refused = until(code, async || {
        let answer = tenant.caller.chat(&call()).await;
        answer.text().contains(code).then_some(answer)
    });
    assert_eq!(refused.await.status, 403);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_40_what_is_unknown_or_in_error_cannot_be_enabled() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let enable = async |id: &str| {
        let path = format!("/integrations/{id}/enable");
        tenant.control.send(Method::POST, &path, None).await
    };
    let unknown = enable("00000000-0000-4000-8000-000000000000").await;
    assert_eq!(unknown.status, 404);
    let integration = tenant.openai(&json!({})).await;
    world.simulator.faults(&json!({"models_status": 401})).await;
    tested(&integration).await;
    let refused = enable(&integration.id).await;
    assert_eq!(refused.status, 409);
    assert_eq!(refused.json()["code"], "integration_in_error");
    world.simulator.no_faults().await;
    tested(&integration).await;
    let enabled = enable(&integration.id).await.json();
    assert_eq!(enabled["id"], integration.id.as_str());
    assert_eq!(enabled["status"], "enabled");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_42_a_test_asks_the_provider() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    for integration in [
        tenant.openai(&json!({})).await,
        tenant.anthropic(&json!({})).await,
        tenant.integration("custom", "custom", &json!({})).await,
    ] {
        let before = world.simulator.probes().await;
        let healthy = tested(&integration).await;
        assert_eq!(world.simulator.probes().await, before + 1);
        assert_eq!(
            (&healthy["health_state"], &healthy["cached"]),
            (&json!("healthy"), &json!(false))
        );
    }
    assert_eq!(world.simulator.billed(), 0);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_44_to_46_the_first_rule_that_refuses_gives_the_reason() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.created("openai", "openai", &json!({})).await;
    refusal(&tenant, "integration_not_enabled").await;
    integration.act("enable").await;
    world.simulator.faults(&json!({"models_status": 500})).await;
    for _ in 0..3 {
        tested(&integration).await;
    }
    refusal(&tenant, "provider_unreachable").await;
    integration.act("disable").await;
    assert_eq!(integration.record().await["health_state"], "failing");
    refusal(&tenant, "integration_disabled").await;
    world.simulator.faults(&json!({"models_status": 403})).await;
    assert_eq!(tested(&integration).await["status"], "error");
    refusal(&tenant, "integration_error").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_45_an_enabled_integration_whose_credential_cannot_be_used_says_so() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let made = json!({
        "name": "unset", "provider_type": "openai", "credential_ref": "env://TOLLGATE_CRED_UNSET",
    });
    let made = tenant.control.post("/integrations", &made).await;
    let integration = Integration {
        id: made["id"].as_str().unwrap().to_owned(),
        control: tenant.control.clone(),
    };
    integration.act("enable").await;
    for state in ["degraded", "degraded", "failing"] {
        let found = tested(&integration).await;
        assert_eq!(found["health_state"], state);
        assert_eq!(found["code"], "integration_unusable");
        assert_eq!(found["status"], "enabled");
    }
    refusal(&tenant, "credentials_invalid").await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_82_and_83_each_answer_has_its_state_and_its_code() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    for (number, (faults, states, code)) in [
        (json!({}), ["healthy"; 3], Value::Null),
        (
            json!({"models_latency_ms": 2_001}),
            ["degraded"; 3],
            json!("provider_slow"),
        ),
        (
            json!({"models_status": 429}),
            ["degraded"; 3],
            json!("provider_rate_limited"),
        ),
        (
            json!({"models_status": 401}),
            ["failing"; 3],
            json!("credentials_invalid"),
        ),
        (
            json!({"models_status": 403}),
            ["failing"; 3],
            json!("credentials_invalid"),
        ),
        (
            json!({"models_status": 500}),
            ["degraded", "degraded", "failing"],
            json!("provider_unreachable"),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        world.simulator.faults(&faults).await;
        let name = format!("integration {number}");
        let integration = tenant.integration("openai", &name, &json!({})).await;
        for state in states {
            let found = tested(&integration).await;
            assert_eq!(found["health_state"], state, "{faults}");
            assert_eq!(found["code"], code, "{faults}");
        }
        world.simulator.no_faults().await;
    }
    let nobody = json!({"config": {"base_url": "http://127.0.0.1:9/v1"}});
    let refused = tenant.integration("openai", "refused", &nobody).await;
    for state in ["degraded", "degraded", "failing"] {
        let found = tested(&refused).await;
        assert_eq!(found["health_state"], state);
        assert_eq!(found["latency_ms"], Value::Null);
    }
    world.close().await;
}

/// That a minute makes the difference is tested with a clock that can be set, in the control plane's own tests.
#[tokio::test(flavor = "multi_thread")]
async fn case_84_a_second_test_at_once_is_answered_from_the_first_unless_forced() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let path = format!("/integrations/{}/test", integration.id);
    let control = &integration.control;
    let asks: Vec<Value> = vec![
        control.act(&path).await,
        control.act(&path).await,
        control.post(&path, &json!({"force": true})).await,
        control.post(&path, &json!({})).await,
    ];
    let cached: Vec<&Value> = asks.iter().map(|answer| &answer["cached"]).collect();
    assert_eq!(cached, [false, true, false, true]);
    assert_eq!(world.simulator.probes().await, 2);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_85_all_together_are_as_healthy_as_the_worst() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let overall = async || tenant.control.get("/integrations/health").await["overall"].clone();
    assert_eq!(overall().await, "unknown");
    let mut faults = json!({});
    for (number, status, expected) in [
        (0, None, "healthy"),
        (1, Some(429), "degraded"),
        (2, Some(401), "failing"),
    ] {
        let name = format!("integration {number}");
        let integration = tenant.integration("openai", &name, &json!({})).await;
        if number == 0 {
            assert_eq!(overall().await, "unknown");
        }
        faults["models_status"] = json!(status);
        world.simulator.faults(&faults).await;
        tested(&integration).await;
        assert_eq!(overall().await, expected);
    }
    world.close().await;
}
