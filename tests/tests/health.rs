//! Health from outside: a provider that is told what to do wrong, and what the gateway makes of it by itself.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

use std::time::Duration;

use serde_json::{Value, json};
use tollgate_tests::{Engine, Integration, Plan, Tenant, World, call, run, until};

/// Within this an integration must have reached its state: three probes that hang for all of the patience, a second
/// and a tenth apart, and a busy machine.
const BOUND: Duration = Duration::from_mins(1);

/// What a provider is told to do, the code and the status that this leads to, and the states on the way there and back.
const FAULTS: [(&str, &str, &str, &[&str]); 6] = [
    (
        r#"{"models_status": 401}"#,
        "credentials_invalid",
        "error",
        &["failing", "healthy"],
    ),
    (
        r#"{"models_status": 403}"#,
        "credentials_invalid",
        "error",
        &["failing", "healthy"],
    ),
    (
        r#"{"models_status": 429}"#,
        "provider_rate_limited",
        "enabled",
        &["degraded", "healthy"],
    ),
    (
        r#"{"models_latency_ms": 2100}"#,
        "provider_slow",
        "enabled",
        &["degraded", "healthy"],
    ),
    (
        r#"{"models_status": 500}"#,
        "provider_unreachable",
        "enabled",
        &["degraded", "failing", "degraded", "healthy"],
    ),
    (
        r#"{"models_hang": true}"#,
        "provider_unreachable",
        "enabled",
        &["degraded", "failing", "degraded", "healthy"],
    ),
];

/// A gateway that probes each second, and waits for an answer far longer than one takes that is slow on purpose.
fn probing(engine: Engine) -> Plan {
    Plan::on(engine)
        .with("TOLLGATE__APP__PROBE_SECONDS", "1")
        .with("TOLLGATE__APP__PROBE_RETRY_SECONDS", "1")
        .with("TOLLGATE__APP__PROBE_RECOVERY_SECONDS", "1")
        .with("TOLLGATE__APP__PROBE_PATIENCE_SECONDS", "6")
}

/// Takes the integrations out of service that are there from the start, as `dev` makes them: their probes count at the
/// provider too, so that of answers which alternate, one integration alone would see any pattern.
async fn only_the_tests_own_are_probed(world: &World) {
    for tenant in world.operator.list("/tenants").await {
        let control = world.operator.of_tenant(tenant["id"].as_str().unwrap());
        for integration in control.list("/integrations").await {
            let id = integration["id"].as_str().unwrap();
            let path = format!("/integrations/{id}/disable");
            let disabled = control.post(&path, &json!({})).await;
            assert_eq!(disabled["status"], "disabled", "{disabled}");
        }
    }
}

async fn health(integration: &Integration) -> Value {
    let path = format!("/integrations/{}/health", integration.id);
    integration.control.get(&path).await
}

/// Waits for a state and its code, no longer than [`BOUND`].
async fn reaches(integration: &Integration, state: &str, code: Option<&str>) -> Value {
    let what = format!("{state} {code:?}");
    let looking = until(&what, async || {
        let health = health(integration).await;
        (health["health_state"] == state && health["code"] == json!(code)).then_some(health)
    });
    let reached = tokio::time::timeout(BOUND, looking).await;
    reached.unwrap_or_else(|_| panic!("{what} not within {} s", BOUND.as_secs()))
}

/// The changes of health that the trail tells of, oldest first, as the states that they led to.
async fn transitions(tenant: &Tenant) -> Vec<String> {
    let mut trail = tenant.control.list("/audit").await;
    trail.reverse();
    let changes = [
        "integration.health",
        "integration.error",
        "integration.recover",
    ];
    let of_health = trail
        .iter()
        .filter(|entry| changes.contains(&entry["action"].as_str().unwrap()));
    of_health
        .map(|entry| entry["after"]["health_state"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_of_a_provider_leads_to_its_state_in_time_and_bills_nothing() {
    let world = World::start(probing(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    reaches(&integration, "healthy", None).await;
    let mut expected = vec!["healthy"];
    for (faults, code, status, steps) in FAULTS {
        let state = if steps.contains(&"failing") {
            "failing"
        } else {
            "degraded"
        };
        let told: Value = serde_json::from_str(faults).unwrap();
        world.simulator.faults(&told).await;
        let health = reaches(&integration, state, Some(code)).await;
        assert_eq!(health["status"], status, "{faults}");
        assert_eq!(health["evidence"], "probe");
        world.simulator.no_faults().await;
        let health = reaches(&integration, "healthy", None).await;
        assert_eq!(health["status"], "enabled", "after {faults}");
        expected.extend(steps);
    }
    assert_eq!(transitions(&tenant).await, expected);
    assert!(world.simulator.probes().await >= 14);
    assert_eq!(world.simulator.billed(), 0, "a probe is free");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_refuses_connections_is_out_until_it_is_back() {
    let world = World::start(probing(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    let nobody = json!({"config": {"base_url": "http://127.0.0.1:9/v1"}});
    let integration = tenant.openai(&nobody).await;
    reaches(&integration, "failing", Some("provider_unreachable")).await;
    let refused = until("a refused call", async || {
        let answer = tenant.caller.chat(&call()).await;
        (answer.status == 403).then_some(answer)
    });
    let refused = refused.await;
    assert!(refused.text().contains("provider_unreachable"));
    let back = json!({
        "config": {"base_url": format!("{}/v1", world.simulator.url)},
        "credential": {"api_key": tollgate_tests::CANARY},
    });
    integration.update(&back).await;
    reaches(&integration, "healthy", None).await;
    let passes = until("a call that passes", async || {
        let answer = tenant.caller.chat(&call()).await;
        (answer.status == 200).then_some(())
    });
    passes.await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_alternate_change_the_state_once_and_no_more() {
    // No answer is so late on a busy machine that it is one more failure between two others.
    let plan = probing(Engine::Sqlite).with("TOLLGATE__APP__PROBE_PATIENCE_SECONDS", "60");
    let world = World::start(plan).await;
    only_the_tests_own_are_probed(&world).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    reaches(&integration, "healthy", None).await;
    let faults = json!({"error_rate": 0.5, "error_status": 500});
    world.simulator.faults(&faults).await;
    let before = world.simulator.probes().await;
    let many = until("eight more probes", async || {
        (world.simulator.probes().await >= before + 8).then_some(())
    });
    many.await;
    assert_eq!(transitions(&tenant).await, ["healthy", "degraded"]);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_calls_make_an_integration_degraded_and_answered_ones_healthy_again() {
    // Probes are too far apart to have a say here.
    let plan = Plan::on(Engine::Sqlite)
        .with("TOLLGATE__APP__PROBE_SECONDS", "3600")
        .with("TOLLGATE__APP__PROBE_RETRY_SECONDS", "3600");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    reaches(&integration, "healthy", None).await;
    let faults = json!({"error_rate": 1.0, "error_status": 503});
    world.simulator.faults(&faults).await;
    let answer = tenant.caller.chat(&call()).await;
    assert_eq!(answer.status, 503);
    let degraded = reaches(&integration, "degraded", Some("provider_unreachable")).await;
    assert_eq!(degraded["evidence"], "traffic");
    for _ in 0..10 {
        let answer = tenant.caller.chat(&call()).await;
        assert_eq!(answer.header("x-tollgate-origin"), "provider");
    }
    world.simulator.no_faults().await;
    let healed = until("healthy by calls", async || {
        tenant.caller.chat(&call()).await;
        let health = health(&integration).await;
        (health["health_state"] == "healthy").then_some(health)
    });
    assert_eq!(healed.await["evidence"], "traffic");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_credential_is_replaced_at_the_command_line_once_it_is_proven() {
    let plan = Plan::on(Engine::Sqlite).provider("--require-key=sk-the-right-one");
    let world = World::start(plan).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let (url, key) = (&*world.gateway.admin_url, &*world.gateway.operator_key);
    let env = [("TOLLGATE_ADMIN_URL", url), ("TOLLGATE_KEY", key)];
    let command = async |args: &[&str], stdin: &str| {
        let tail = ["--tenant", &tenant.id, "--json"];
        run(&[&["integration"], args, &tail].concat(), &env, stdin).await
    };
    let id = integration.id.as_str();
    let tested = command(&["test", id], "").await;
    assert_eq!(tested.code, Some(0), "{}", tested.err);
    let tested: Value = serde_json::from_str(&tested.out).unwrap();
    assert_eq!(tested["status"], "error", "{tested}");
    let refused = command(&["credential", id], "sk-another-wrong-one").await;
    assert_ne!(refused.code, Some(0));
    assert!(refused.err.contains("refuses"), "{}", refused.err);
    let replaced = command(&["credential", id], "sk-the-right-one").await;
    assert_eq!(replaced.code, Some(0), "{}", replaced.err);
    let health = command(&["health", id], "").await;
    let health: Value = serde_json::from_str(&health.out).unwrap();
    assert_eq!(
        (&health["status"], &health["health_state"]),
        (&json!("enabled"), &json!("healthy"))
    );
    let all = command(&["health"], "").await;
    assert!(all.out.contains(r#""overall":"healthy""#), "{}", all.out);
    let answer = tenant.caller.chat(&call()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_on_postgres_goes_on_with_what_was_known() {
    let mut world = World::start(probing(Engine::Postgres)).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    reaches(&integration, "healthy", None).await;
    world.simulator.faults(&json!({"models_status": 401})).await;
    reaches(&integration, "failing", Some("credentials_invalid")).await;
    world.kill_and_restart().await;
    let control = world.again(&tenant).control;
    let id = integration.id.clone();
    let integration = Integration { id, control };
    assert_eq!(health(&integration).await["status"], "error");
    world.simulator.no_faults().await;
    let healed = reaches(&integration, "healthy", None).await;
    assert_eq!(healed["status"], "enabled");
    world.close().await;
}
