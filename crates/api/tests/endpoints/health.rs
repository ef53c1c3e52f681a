//! Health of integrations: probes that are asked for, the way into `error` and the only ways out.

use serde_json::{Value, json};
use tollgate_app::health::NoAnswer;
use tollgate_app::testing::{CANARY, Scripted};
use tollgate_core::IntegrationId;

use crate::client::Client;

const PATH: &str = "/api/v1/integrations";

async fn probed(client: &Client, id: IntegrationId, answer: Scripted) -> Value {
    client.world.provider.script([answer]);
    let path = format!("{PATH}/{id}/test");
    let forced = json!({ "force": true });
    client
        .admin("POST", &path)
        .json(&forced)
        .send()
        .await
        .json_of(200)
}

async fn actions(client: &Client) -> Vec<String> {
    let trail = client.world.audit(Some(&client.acme)).await;
    let actions = trail.into_iter().rev().map(|row| row.action);
    actions
        .filter(|action| action.starts_with("integration."))
        .collect()
}

#[tokio::test]
async fn a_probe_tells_state_cause_and_latency_and_is_made_once_a_minute() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let path = format!("{PATH}/{id}/test");
    let health = client.get(&format!("{PATH}/{id}/health")).await;
    assert_eq!(health["health_state"], "unknown", "{health}");
    assert_eq!(health["evidence"], Value::Null);
    client.world.provider.script([Scripted::Answer(200, 2_001)]);
    let first = client.admin("POST", &path).send().await.json_of(200);
    assert_eq!(first["cached"], false);
    assert_eq!(
        (&first["health_state"], &first["code"], &first["latency_ms"]),
        (&json!("degraded"), &json!("provider_slow"), &json!(2_001))
    );
    assert_eq!(first["evidence"], "probe");
    let bearer = client.world.provider.last_authorization();
    assert_eq!(bearer, format!("Bearer {CANARY}"));
    for (millis, body, cached, probes) in [
        (50_000, json!({}), true, 1),
        (11_000, json!({}), false, 2),
        (1_000, json!({ "force": true }), false, 3),
        (1_000, json!({ "force": false }), true, 3),
    ] {
        client.world.clock.advance_ms(millis);
        let again = client.admin("POST", &path).json(&body).send().await;
        assert_eq!(again.json_of(200)["cached"], cached, "{millis} {body}");
        assert_eq!(client.world.provider.probes(), probes, "{millis} {body}");
    }
    client.world.close().await;
}

#[tokio::test]
async fn a_refused_credential_is_an_error_until_a_probe_passes() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    for status in [401, 403] {
        let refused = probed(&client, id, Scripted::Answer(status, 1)).await;
        assert_eq!(
            (
                &refused["status"],
                &refused["health_state"],
                &refused["code"]
            ),
            (
                &json!("error"),
                &json!("failing"),
                &json!("credentials_invalid")
            )
        );
        for answer in [
            Scripted::Answer(429, 1),
            Scripted::Answer(404, 1),
            Scripted::Answer(500, 1),
            Scripted::Nothing(NoAnswer::TooSlow),
        ] {
            let still = probed(&client, id, answer).await;
            assert_eq!(still["status"], "error", "{answer:?}");
        }
        let passed = probed(&client, id, Scripted::Answer(200, 1)).await;
        assert_eq!(
            (&passed["status"], &passed["health_state"], &passed["code"]),
            (&json!("enabled"), &json!("healthy"), &Value::Null)
        );
    }
    assert_eq!(
        actions(&client).await,
        [
            "integration.create",
            "integration.enable",
            "integration.error",
            "integration.recover",
            "integration.error",
            "integration.recover"
        ]
    );
    client.world.close().await;
}

#[tokio::test]
async fn an_integration_leaves_error_for_the_status_that_it_had() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let act = |verb: &str| client.admin("POST", &format!("{PATH}/{id}/{verb}")).send();
    act("disable").await.json_of(200);
    probed(&client, id, Scripted::Answer(401, 1)).await;
    act("enable").await.problem(409, "integration_in_error");
    let passed = probed(&client, id, Scripted::Answer(200, 1)).await;
    assert_eq!(passed["status"], "disabled");
    client.world.close().await;
}

#[tokio::test]
async fn an_unreachable_provider_fails_after_three_and_recovers_by_itself() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let down = Scripted::Nothing(NoAnswer::Unreachable);
    for (answer, state, failures) in [
        (down, "degraded", 1),
        (Scripted::Answer(500, 1), "degraded", 2),
        (Scripted::Nothing(NoAnswer::TooSlow), "failing", 3),
        (down, "failing", 4),
        (Scripted::Answer(200, 1), "degraded", 0),
        (Scripted::Answer(200, 1), "healthy", 0),
    ] {
        let health = probed(&client, id, answer).await;
        assert_eq!(health["health_state"], state, "{answer:?}");
        assert_eq!(health["consecutive_failures"], failures, "{answer:?}");
        assert_eq!(health["status"], "enabled");
    }
    assert_eq!(
        actions(&client).await[2..],
        ["integration.health"; 4],
        "each change of state is written down, and nothing else"
    );
    client.world.close().await;
}

#[tokio::test]
async fn a_new_credential_takes_the_place_of_the_old_one_once_it_is_proven() {
    let client = Client::start().await;
    let id = client.world.integration(&client.acme, "Production").await;
    let before = client.get(&format!("{PATH}/{id}")).await;
    let path = format!("{PATH}/{id}/credential");
    let replace = |more: Value| {
        let mut body = json!({ "credential": { "api_key": "sk-new-0123456789-next" } });
        body.as_object_mut()
            .unwrap()
            .extend(more.as_object().cloned().unwrap());
        client.admin("POST", &path).json(&body).send()
    };
    client.world.provider.script([Scripted::Answer(403, 1)]);
    replace(json!({})).await.problem(422, "credential_refused");
    client.world.provider.script([Scripted::Answer(503, 1)]);
    replace(json!({})).await.problem(409, "credential_unproven");
    let same = client.get(&format!("{PATH}/{id}")).await;
    assert_eq!(same, before, "nothing has changed");
    let unproven = replace(json!({ "unproven": true })).await.json_of(200);
    assert_eq!(unproven["credential"]["last4"], "next");
    assert_eq!(unproven["health_state"], "unknown");

    probed(&client, id, Scripted::Answer(401, 1)).await;
    client.world.provider.script([Scripted::Answer(500, 1)]);
    let kept = replace(json!({ "unproven": true })).await.json_of(200);
    assert_eq!(kept["status"], "error", "nothing was proven");
    client.world.provider.script([Scripted::Answer(200, 1)]);
    let healed = replace(json!({})).await.json_of(200);
    assert_eq!(
        (&healed["status"], &healed["health_state"]),
        (&json!("enabled"), &json!("healthy"))
    );
    assert_eq!(
        client.world.provider.last_authorization(),
        "Bearer sk-new-0123456789-next"
    );
    let trail = client.world.audit(Some(&client.acme)).await;
    assert_eq!(trail[0].action, "integration.credential");
    assert!(
        !format!("{trail:?}").contains("sk-new"),
        "no secret is kept"
    );
    let bare = client.admin("POST", &path).json(&json!({})).send().await;
    assert_eq!(
        bare.problem(422, "invalid")["errors"][0]["pointer"],
        "/credential"
    );
    client.world.close().await;
}

#[tokio::test]
async fn the_health_of_several_is_the_worst_of_those_in_service() {
    let client = Client::start().await;
    let summary = async || client.get(&format!("{PATH}/health")).await;
    assert_eq!(summary().await["overall"], "unknown");
    let [first, second, third] = [
        client.world.integration(&client.acme, "one").await,
        client.world.integration(&client.acme, "two").await,
        client.world.integration(&client.acme, "three").await,
    ];
    assert_eq!(summary().await["overall"], "unknown");
    probed(&client, first, Scripted::Answer(200, 1)).await;
    assert_eq!(summary().await["overall"], "healthy");
    probed(&client, second, Scripted::Answer(429, 1)).await;
    assert_eq!(summary().await["overall"], "degraded");
    probed(&client, third, Scripted::Answer(401, 1)).await;
    let failing = summary().await;
    let expected = json!({
        "overall": "failing", "unknown": 0, "healthy": 1, "degraded": 1, "failing": 1,
        "in_error": 1, "not_in_service": 0,
    });
    assert_eq!(failing, expected);
    client.world.close().await;
}
