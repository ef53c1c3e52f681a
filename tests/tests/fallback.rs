//! A call that its provider refuses, tried again elsewhere: both providers' journals against the ledger.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{
    Answer, CHAT, Engine, Integration, Join, Line, Recorder, Simulator, Tenant, World, answer_of,
    call, call_with, until,
};

/// A world with a tenant that has two integrations, each before a provider of its own.
struct Two {
    world: World,
    tenant: Tenant,
    first: Integration,
    second: Integration,
    backup: Simulator,
    _folder: tempfile::TempDir,
}

impl Two {
    /// The first integration has this in its config.
    async fn on(engine: Engine, config: &Value) -> Self {
        let world = World::on(engine).await;
        let tenant = world.tenant().await;
        let folder = tempfile::tempdir().unwrap();
        let backup = Simulator::start(folder.path(), &[]).await;
        let there = json!({"config": {"base_url": format!("{}/v1", backup.url)}});
        let second = tenant.integration("openai", "backup", &there).await;
        let first = tenant
            .integration("openai", "main", &json!({"config": config}))
            .await;
        Self {
            world,
            tenant,
            first,
            second,
            backup,
            _folder: folder,
        }
    }

    async fn call(&self, headers: &[(&str, &str)], body: &Value) -> Answer {
        let headers = [headers, &[("x-tollgate-integration", "main")]].concat();
        self.tenant
            .caller
            .post(CHAT, &headers, body.to_string())
            .await
    }

    /// The end: both providers' journals agree with the ledger.
    async fn close(mut self) {
        let backup = self.backup.lines();
        let mut lines = self.world.simulator.lines();
        lines.extend(backup.clone());
        self.backup.stop().await;
        let rows = self.world.close().await;
        Join::of(&lines, &rows).must_be_exact();
        for Line {
            client_request_id,
            tokens_in,
            tokens_out,
            ..
        } in backup
        {
            let id = client_request_id.unwrap();
            let row = rows.iter().find(|row| row.call_id == id).unwrap();
            assert_eq!(row.integration_id, self.second.id, "{row:?}");
            if row.error() != "interrupted" {
                assert_eq!((row.tokens_in, row.tokens_out), (tokens_in, tokens_out));
            }
        }
    }
}

fn refusing(status: u16, retry_after_s: u64) -> Value {
    json!({"error_rate": 1.0, "error_status": status, "retry_after_s": retry_after_s})
}

async fn a_refused_call_is_answered_elsewhere(engine: Engine) {
    let two = Two::on(engine, &json!({"fallback": ["backup"]})).await;
    for (number, status) in [429, 503, 529].into_iter().enumerate() {
        two.world.simulator.faults(&refusing(status, 7)).await;
        let id = format!("order-{number}");
        let answer = two.call(&[("x-tollgate-call-id", &id)], &call()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        assert_eq!(answer.header("x-tollgate-attempts"), "2");
        assert_eq!(answer.header("x-tollgate-integration"), two.second.id);
        assert_eq!(answer.header("x-tollgate-call-id"), format!("{id}~2"));
        let refused = two.tenant.row(&id).await;
        assert_eq!(refused["cost_usd"], "0.000000000", "{refused}");
        assert_eq!(refused["integration_id"], two.first.id, "{refused}");
        let answered = two.tenant.row(&format!("{id}~2")).await;
        assert_eq!(answered["cost_usd"], answer.header("x-tollgate-cost-usd"));
        assert_eq!(answered["extra_data"]["attempt_of"], id, "{answered}");
        let again = two.call(&[("x-tollgate-call-id", &id)], &call()).await;
        assert_eq!(again.status, 409, "{}", again.text());
    }
    let stream = call_with("stream", &json!(true));
    let answer = two.call(&[], &stream).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert!(answer.text().contains("[DONE]"), "{}", answer.text());
    assert_eq!((two.world.simulator.billed(), two.backup.billed()), (0, 4));
    assert_eq!(two.first.used_nanos().await, 0);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_answered_by_the_next_integration_on_sqlite() {
    a_refused_call_is_answered_elsewhere(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_call_is_answered_by_the_next_integration_on_postgres() {
    a_refused_call_is_answered_elsewhere(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_provider_that_is_not_there_is_passed_over_and_leaves_no_row() {
    let config = json!({"base_url": "http://127.0.0.1:1/v1", "fallback": ["backup"]});
    let two = Two::on(Engine::Sqlite, &config).await;
    let answer = two.call(&[("x-tollgate-call-id", "order")], &call()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-call-id"), "order");
    assert_eq!(answer.header("x-tollgate-attempts"), "2");
    two.tenant.row("order").await;
    assert_eq!(two.tenant.history().await.len(), 1);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_provider_may_have_billed_is_not_sent_again() {
    let config = json!({"fallback": ["backup"], "retries": 5});
    let two = Two::on(Engine::Sqlite, &config).await;
    for faults in [
        json!({"error_rate": 1.0, "error_status": 500}),
        json!({"error_rate": 1.0, "error_status": 502}),
        // A plain answer that breaks off after its first bytes.
        json!({"error_rate": 0.0, "cut_after": 20}),
    ] {
        two.world.simulator.faults(&faults).await;
        let answer = two.call(&[], &call()).await;
        assert!(answer.status >= 500, "{faults}: {}", answer.text());
        assert_eq!(answer.header("x-tollgate-attempts"), "1", "{faults}");
    }
    assert_eq!(two.backup.billed(), 0);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_next_has_no_budget_left_the_providers_own_answer_is_passed() {
    let two = Two::on(Engine::Sqlite, &json!({"fallback": ["backup"]})).await;
    two.second.update(&json!({"token_limit_month": 1})).await;
    two.world.simulator.faults(&refusing(429, 7)).await;
    let answer = two.call(&[], &call()).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-origin"), "provider");
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("x-tollgate-integration"), two.first.id);
    assert_eq!(two.backup.billed(), 0);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_integration_is_asked_for_the_model_that_its_entry_names() {
    let entry = json!([{"integration": "backup", "model": "gpt-4o"}]);
    let two = Two::on(Engine::Sqlite, &json!({"fallback": entry})).await;
    two.world.simulator.faults(&refusing(429, 7)).await;
    let answer = two.call(&[], &call()).await;
    assert_eq!(answer.json()["model"], "gpt-4o", "{}", answer.text());
    let row = two.tenant.row(answer.header("x-tollgate-call-id")).await;
    assert_eq!(row["model"], "gpt-4o", "{row}");
    two.close().await;
}

async fn a_kill_between_two_attempts(engine: Engine) {
    let mut two = Two::on(engine, &json!({"fallback": ["backup"]})).await;
    two.world.simulator.faults(&refusing(429, 7)).await;
    two.backup.faults(&json!({"hang": true})).await;
    let caller = two.tenant.caller.clone();
    let mut asking = JoinSet::new();
    asking.spawn(async move {
        let headers = [
            ("x-tollgate-integration", "main"),
            ("x-tollgate-call-id", "order"),
        ];
        drop(caller.attempt(CHAT, &headers, call().to_string()).await);
    });
    let billed = async || (two.backup.billed() == 1).then_some(());
    until("the second attempt at its provider", billed).await;
    two.world.gateway.program.kill().await;
    asking.join_all().await;
    two.world.restart().await;
    two.tenant = two.world.again(&two.tenant);
    two.second.control = two.tenant.control.clone();
    let refused = two.tenant.row("order").await;
    assert_eq!(refused["error_code"], "upstream_rate_limited", "{refused}");
    assert_eq!(refused["cost_usd"], "0.000000000", "{refused}");
    let interrupted = two.tenant.row("order~2").await;
    assert_eq!(interrupted["error_code"], "interrupted", "{interrupted}");
    assert_eq!(interrupted["extra_data"]["attempt_of"], "order");
    assert_eq!(two.tenant.history().await.len(), 2);
    two.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_attempts_leaves_one_row_for_each_on_sqlite() {
    a_kill_between_two_attempts(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_between_two_attempts_leaves_one_row_for_each_on_postgres() {
    a_kill_between_two_attempts(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_attempt_brings_the_credential_of_its_own_integration_and_nothing_of_the_other() {
    let refusal = answer_of("429 Too Many Requests", &["retry-after: 0"], "{}");
    let (one, other) = (
        Recorder::start(refusal.clone()).await,
        Recorder::start(refusal).await,
    );
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let at = |recorder: &Recorder, key: &str, more: Value| {
        let mut config = json!({"base_url": format!("{}/v1", recorder.url)});
        let members = more.as_object().unwrap().clone();
        config.as_object_mut().unwrap().extend(members);
        json!({"credential": {"api_key": key}, "config": config})
    };
    let second = at(&other, "sk-of-the-second", json!({}));
    tenant.integration("openai", "backup", &second).await;
    let first = at(
        &one,
        "sk-of-the-first",
        json!({"fallback": ["backup"], "retries": 1}),
    );
    tenant.integration("openai", "main", &first).await;
    let headers = [("x-tollgate-integration", "main")];
    let answer = tenant.caller.post(CHAT, &headers, call().to_string()).await;
    assert_eq!(answer.status, 429, "{}", answer.text());
    assert_eq!(answer.header("x-tollgate-attempts"), "3");
    let sent = (one.requests(), other.requests());
    assert_eq!((sent.0.len(), sent.1.len()), (2, 1));
    for (requests, own, foreign) in [
        (&sent.0, "sk-of-the-first", "sk-of-the-second"),
        (&sent.1, "sk-of-the-second", "sk-of-the-first"),
    ] {
        for request in requests {
            assert!(request.contains(own) && !request.contains(foreign));
            assert!(request.ends_with(&call().to_string()), "{request}");
        }
    }
    world.close().await;
}
