//! Further attempts of a call that its provider refused: who is asked, what is booked, and which
//! answer the caller gets.

mod crossing;

use bytes::Bytes;
use cus_models::{CusPolicyResult, CusProviderType};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use serde_json::{Value, json};
use tollgate_app::integrations::{Change, IntegrationPatch, NewIntegration};
use tollgate_app::keys::NewKey;
use tollgate_app::testing::{CANARY, MODEL, World};
use tollgate_app::usage::UsageRow;
use tollgate_core::IntegrationId;
use tollgate_core::role::Role;
use tollgate_gateway::GatewayConfig;

use crate::provider::{Provider, Step, completion, end, json, json_with, stream};
use crate::stage::{Limited, Said, Setting, Stage, figures, hello, hello_streamed};

const OVERLOADED: &str = r#"{"error":{"message":"not now","type":"server_error"}}"#;

/// A stage with a second integration, `backup`, before a provider of its own.
struct Two {
    stage: Stage,
    backup: Provider,
    other: IntegrationId,
}

impl Two {
    /// The first integration falls back to the second.
    async fn set() -> Self {
        Self::with(json!({ "fallback": ["backup"] }), Setting::default()).await
    }

    /// The first integration has this in its config besides.
    async fn with(config: Value, setting: Setting) -> Self {
        let provider = Provider::start().await;
        let stage = Stage::before(provider, World::start().await, setting).await;
        let backup = Provider::start().await;
        let other = add(
            &stage,
            &backup,
            "backup",
            CusProviderType::OpenAi,
            Limited::default(),
        );
        let other = other.await;
        let two = Self {
            stage,
            backup,
            other,
        };
        two.change(two.stage.integration, config).await;
        two
    }

    async fn change(&self, id: IntegrationId, config: Value) {
        let context = self.stage.world.acting_on(&self.stage.tenant);
        let patch = IntegrationPatch {
            config: Change::Set(config.as_object().unwrap().clone()),
            ..IntegrationPatch::default()
        };
        let changed = self.stage.world.app.update_integration(&context, id, patch);
        changed.await.unwrap();
    }

    /// A chat through the first integration, under the call id `mine`.
    fn request(&self, body: &str) -> Request<Full<Bytes>> {
        let path = "/v1/chat/completions";
        let mut request = self.stage.request(Method::POST, path, body);
        for (name, value) in [
            ("x-tollgate-call-id", "mine"),
            ("x-tollgate-integration", "main"),
        ] {
            let value = HeaderValue::from_static(value);
            request.headers_mut().insert(name, value);
        }
        request
    }

    /// The same, sent and answered.
    async fn chat(&self, body: &str) -> Said {
        self.stage.send(self.request(body)).await
    }

    /// The rows by their ids, since the clock stands still; those of refusals last.
    async fn rows(&self, count: usize) -> Vec<UsageRow> {
        let mut rows = self.stage.rows_once(count).await;
        assert_eq!(rows.len(), count, "{rows:?}");
        rows.sort_by_key(|row| {
            let is_refused = row.usage.policy_result == CusPolicyResult::Blocked;
            (is_refused, row.usage.call_id.clone())
        });
        rows
    }

    /// Call id, integration and error code of each row.
    async fn booked(&self, count: usize) -> Vec<(String, Where, String)> {
        let rows = self.rows(count).await;
        let row = |row: &UsageRow| {
            let usage = &row.usage;
            let at = if usage.integration_id == self.other.to_string() {
                Where::Backup
            } else {
                Where::First
            };
            let code = usage.error_code.clone().unwrap_or_default();
            (usage.call_id.clone(), at, code)
        };
        rows.iter().map(row).collect()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Where {
    First,
    Backup,
}

/// Another enabled integration of the stage's tenant.
async fn add(
    stage: &Stage,
    provider: &Provider,
    name: &str,
    provider_type: CusProviderType,
    limits: Limited,
) -> IntegrationId {
    let context = stage.world.acting_on(&stage.tenant);
    let entered = json!({ "api_key": CANARY }).to_string();
    let config = json!({
        "base_url": format!("http://{}", provider.address),
        "prices": {
            MODEL: { "input": 1_000_000_000_i64, "output": 2_000_000_000_i64 },
            "other-model": { "input": 3_000_000_000_i64, "output": 4_000_000_000_i64 },
        },
    });
    let new = NewIntegration {
        name: name.to_owned(),
        provider_type,
        credential: Some(serde_json::from_str(&entered).unwrap()),
        credential_ref: None,
        config: config.as_object().cloned(),
        default_model: None,
        budget_limit_cents: limits.budget_cents,
        token_limit_month: limits.tokens,
        rate_limit_rpm: limits.rpm,
    };
    let made = stage.world.app.create_integration(&context, new).await;
    let id = made.unwrap().record.id.parse().unwrap();
    stage
        .world
        .app
        .enable_integration(&context, id)
        .await
        .unwrap();
    id
}

fn row(id: &str, at: Where, code: &str) -> (String, Where, String) {
    (id.to_owned(), at, code.to_owned())
}

#[tokio::test]
async fn a_call_that_its_provider_refuses_is_answered_by_the_next_integration() {
    for (status, code) in [
        (429, "upstream_rate_limited"),
        (503, "upstream_overloaded"),
        (529, "upstream_overloaded"),
    ] {
        let two = Two::set().await;
        two.stage.provider.script(json(status, OVERLOADED));
        two.backup.script(completion(5, 7));
        let said = two.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::OK);
        let id = two.other.to_string();
        for (header, value) in [
            ("x-tollgate-attempts", "2"),
            ("x-tollgate-integration", &*id),
            ("x-tollgate-call-id", "mine~2"),
            ("x-tollgate-origin", "provider"),
            ("x-tollgate-cost-usd", "0.000019000"),
        ] {
            assert_eq!(said.header(header), Some(value), "{header}");
        }
        assert_eq!(
            two.booked(2).await,
            [
                row("mine", Where::First, code),
                row("mine~2", Where::Backup, "")
            ]
        );
        let rows = two.rows(2).await;
        assert_eq!(
            [figures(&rows[0]), figures(&rows[1])],
            [(0, 0, 0), (5, 7, 19_000)]
        );
        let noted = rows[1].usage.extra_data.clone().unwrap();
        assert_eq!(
            Value::from(noted),
            json!({ "attempt": 2, "attempt_of": "mine" })
        );
        let (first, second) = (&two.stage.provider.seen()[0], &two.backup.seen()[0]);
        assert_eq!(first.body, second.body);
        assert_eq!(first.header("x-client-request-id"), Some("mine"));
        assert_eq!(second.header("x-client-request-id"), Some("mine~2"));
        two.stage.strike().await;
    }
}

#[tokio::test]
async fn nothing_is_tried_again_unless_the_integration_says_so() {
    let two = Two::with(json!({}), Setting::default()).await;
    two.stage.provider.script(json(429, OVERLOADED));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(said.header("x-tollgate-attempts"), None);
    assert!(two.backup.seen().is_empty());
    two.stage.strike().await;
}

#[tokio::test]
async fn a_provider_that_cannot_be_connected_to_leaves_the_call_and_its_id_to_the_next() {
    let setting = Setting {
        more: json!({ "base_url": "http://127.0.0.1:1" }),
        ..Setting::default()
    };
    let two = Two::with(json!({ "fallback": ["backup"] }), setting).await;
    two.backup.script(completion(5, 7));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.header("x-tollgate-attempts"), Some("2"));
    assert_eq!(said.header("x-tollgate-call-id"), Some("mine"));
    assert_eq!(two.booked(1).await, [row("mine", Where::Backup, "")]);
    two.stage.strike().await;
}

#[tokio::test]
async fn what_the_provider_may_have_billed_is_never_sent_twice() {
    let config = json!({ "fallback": ["backup"], "retries": 3 });
    for status in [400, 401, 404, 408, 409, 500, 502, 504] {
        let two = Two::with(config.clone(), Setting::default()).await;
        two.stage.provider.script(json(status, OVERLOADED));
        let said = two.chat(&hello()).await;
        assert_ne!(said.status, StatusCode::OK, "{status}");
        assert_eq!(said.header("x-tollgate-attempts"), Some("1"), "{status}");
        assert_eq!(two.stage.provider.seen().len(), 1, "{status}");
        assert!(two.backup.seen().is_empty(), "{status}");
        two.stage.strike().await;
    }
    for steps in [vec![Step::Close], vec![Step::Abort], vec![Step::Wait]] {
        let setting = Setting {
            config: GatewayConfig {
                first_byte_seconds: 1,
                ..GatewayConfig::default()
            },
            ..Setting::default()
        };
        let two = Two::with(config.clone(), setting).await;
        two.stage.provider.script(steps);
        let said = two.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::GATEWAY_TIMEOUT);
        assert!(two.backup.seen().is_empty());
        let rows = two.stage.rows_once(1).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!(rows[0].cost, rows[0].held);
        two.stage.strike().await;
    }
}

#[tokio::test]
async fn nothing_is_tried_again_once_an_answer_has_begun() {
    let two = Two::set().await;
    let mut steps = stream(&["data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n"]);
    steps.push(Step::Abort);
    two.stage.provider.script(steps);
    let request = two.request(&hello_streamed());
    let answer = two.stage.open(request).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let body = answer.into_body().collect().await;
    assert!(body.is_err(), "a broken answer does not end well");
    assert!(two.backup.seen().is_empty());
    two.stage.strike().await;
}

#[tokio::test]
async fn a_stream_that_is_refused_is_another_providers_stream() {
    let two = Two::set().await;
    two.stage.provider.script(json(503, OVERLOADED));
    let events = [
        "data: {\"choices\":[{\"delta\":{\"content\":\"a\"},\"finish_reason\":\"stop\"}]}\n\n",
        "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":7,\"total_tokens\":12}}\n\n",
        "data: [DONE]\n\n",
    ];
    let mut steps = stream(&events);
    steps.push(end());
    two.backup.script(steps);
    let said = two.chat(&hello_streamed()).await;
    assert_eq!(said.status, StatusCode::OK);
    let text = String::from_utf8(said.body.to_vec()).unwrap();
    assert_eq!(text, [events[0], events[2]].concat());
    assert_eq!(
        two.booked(2).await,
        [
            row("mine", Where::First, "upstream_overloaded"),
            row("mine~2", Where::Backup, ""),
        ]
    );
    two.stage.strike().await;
}

#[tokio::test]
async fn a_provider_is_asked_again_after_the_time_that_it_names() {
    let config = json!({ "retries": 2, "fallback": ["backup"] });
    let two = Two::with(config, Setting::default()).await;
    let provider = &two.stage.provider;
    provider.script(json_with(429, "retry-after: 1\r\n", OVERLOADED));
    provider.script(json_with(429, "retry-after-ms: 1\r\n", OVERLOADED));
    provider.script(completion(5, 7));
    let began = tokio::time::Instant::now();
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert!(began.elapsed().as_millis() >= 1_000, "it did not wait");
    assert_eq!(said.header("x-tollgate-attempts"), Some("3"));
    assert!(two.backup.seen().is_empty());
    assert_eq!(
        two.booked(3).await,
        [
            row("mine", Where::First, "upstream_rate_limited"),
            row("mine~2", Where::First, "upstream_rate_limited"),
            row("mine~3", Where::First, ""),
        ]
    );
    two.stage.strike().await;
}

#[tokio::test]
async fn nobody_waits_longer_than_the_integration_allows_or_where_it_does_not_help() {
    for headers in [
        "retry-after: 3600\r\n",
        "retry-after-ms: 1001\r\n",
        "retry-after: Sun, 22 Nov 2026 10:00:09 GMT\r\n",
        "retry-after: 0\r\nx-should-retry: false\r\n",
    ] {
        let config = json!({ "retries": 5, "retry_wait_seconds": 1, "fallback": ["backup"] });
        let two = Two::with(config, Setting::default()).await;
        two.stage
            .provider
            .script(json_with(429, headers, OVERLOADED));
        two.backup.script(completion(5, 7));
        let said = two.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::OK, "{headers}");
        assert_eq!(said.header("x-tollgate-attempts"), Some("2"), "{headers}");
        two.stage.strike().await;
    }
}

#[tokio::test]
async fn where_the_next_has_no_budget_left_the_first_providers_answer_is_passed() {
    let two = Two::with(json!({}), Setting::default()).await;
    let provider = Provider::start().await;
    let limits = Limited {
        tokens: 1,
        ..Limited::default()
    };
    add(
        &two.stage,
        &provider,
        "poor",
        CusProviderType::OpenAi,
        limits,
    )
    .await;
    two.change(two.stage.integration, json!({ "fallback": ["poor"] }))
        .await;
    two.stage
        .provider
        .script(json_with(429, "retry-after: 9\r\n", OVERLOADED));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(said.body, OVERLOADED);
    let first = two.stage.integration.to_string();
    for (header, value) in [
        ("retry-after", "9"),
        ("x-tollgate-origin", "provider"),
        ("x-tollgate-attempts", "1"),
        ("x-tollgate-integration", &*first),
        ("x-tollgate-call-id", "mine"),
    ] {
        assert_eq!(said.header(header), Some(value), "{header}");
    }
    assert!(provider.seen().is_empty());
    let rows = two.rows(2).await;
    assert_eq!(
        rows[0].usage.error_code.as_deref(),
        Some("upstream_rate_limited")
    );
    assert_eq!(rows[1].usage.policy_result, CusPolicyResult::Blocked);
    assert_eq!(rows[1].cost, rows[0].cost);
    two.stage.strike().await;
}

#[tokio::test]
async fn a_call_that_its_own_integration_does_not_admit_goes_nowhere_else() {
    let setting = Setting {
        limits: Limited {
            tokens: 1,
            ..Limited::default()
        },
        ..Setting::default()
    };
    let two = Two::with(json!({ "fallback": ["backup"], "retries": 2 }), setting).await;
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::PAYMENT_REQUIRED);
    assert_eq!(said.header("x-tollgate-origin"), Some("gateway"));
    assert!(two.stage.provider.seen().is_empty() && two.backup.seen().is_empty());
    two.stage.strike().await;
}

#[tokio::test]
async fn an_entry_that_cannot_serve_the_call_is_passed_over() {
    let two = Two::with(json!({}), Setting::default()).await;
    let nobody = Provider::start().await;
    let app = &two.stage.world.app;
    let context = two.stage.world.acting_on(&two.stage.tenant);
    let mut list = Vec::new();
    for name in ["gone", "off", "refused", "later"] {
        let limits = Limited::default();
        let id = add(&two.stage, &nobody, name, CusProviderType::OpenAi, limits).await;
        list.push((name, id));
    }
    let names: Vec<&str> = list
        .iter()
        .map(|(name, _)| *name)
        .chain(["backup"])
        .collect();
    two.change(two.stage.integration, json!({ "fallback": names }))
        .await;
    app.delete_integration(&context, list[0].1).await.unwrap();
    app.disable_integration(&context, list[1].1).await.unwrap();
    two.stage.world.refuse_credential(list[2].1).await;
    app.delete_integration(&context, list[3].1).await.unwrap();
    // Of the same name again, and of another dialect: looked at when the call needs it.
    let anthropic = CusProviderType::Anthropic;
    add(&two.stage, &nobody, "later", anthropic, Limited::default()).await;
    two.stage.provider.script(json(429, OVERLOADED));
    two.backup.script(completion(5, 7));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    assert_eq!(said.header("x-tollgate-attempts"), Some("2"));
    assert!(nobody.seen().is_empty());
    // A list whose integrations have gone does not stand in the way of other changes.
    two.change(two.stage.integration, json!({ "on_disconnect": "cancel" }))
        .await;
    two.stage.strike().await;
}

#[tokio::test]
async fn a_list_that_leads_back_ends_and_the_last_providers_answer_is_passed() {
    let two = Two::set().await;
    two.change(two.other, json!({ "fallback": ["main"], "retries": 1 }))
        .await;
    two.stage.provider.script(json(429, OVERLOADED));
    two.backup
        .script(json_with(503, "retry-after-ms: 1\r\n", OVERLOADED));
    two.backup.script(json(529, OVERLOADED));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status.as_u16(), 529);
    assert_eq!(said.header("x-tollgate-attempts"), Some("3"));
    assert_eq!(
        two.booked(3).await,
        [
            row("mine", Where::First, "upstream_rate_limited"),
            row("mine~2", Where::Backup, "upstream_overloaded"),
            row("mine~3", Where::Backup, "upstream_overloaded"),
        ]
    );
    two.stage.strike().await;
}

#[tokio::test]
async fn another_model_is_written_in_place_and_priced_as_itself() {
    let config = json!({ "fallback": [{ "integration": "backup", "model": "other-model" }] });
    let two = Two::with(config, Setting::default()).await;
    two.stage.provider.script(json(429, OVERLOADED));
    two.backup.script(completion(5, 7));
    let body = hello().replace(',', ", \n");
    let said = two.chat(&body).await;
    assert_eq!(said.status, StatusCode::OK);
    let sent = String::from_utf8(two.backup.seen()[0].body.clone()).unwrap();
    assert_eq!(sent, body.replace(MODEL, "other-model"));
    let rows = two.rows(2).await;
    let models = [&*rows[0].usage.model, &*rows[1].usage.model];
    assert_eq!(models, [MODEL, "other-model"]);
    assert_eq!(figures(&rows[1]), (5, 7, 5 * 3_000 + 7 * 4_000));
    two.stage.strike().await;
}

#[tokio::test]
async fn the_same_integration_may_be_asked_for_another_model() {
    let config = json!({
        "fallback": [{ "integration": "main", "model": "other-model" }],
        "prices": { "other-model": { "input": 1, "output": 1 } },
    });
    let two = Two::with(config, Setting::default()).await;
    two.stage.provider.script(json(429, OVERLOADED));
    two.stage.provider.script(completion(5, 7));
    let said = two.chat(&hello()).await;
    assert_eq!(said.status, StatusCode::OK);
    let seen = two.stage.provider.seen();
    assert!(
        seen[1]
            .body
            .windows(11)
            .any(|bytes| bytes == b"other-model")
    );
    two.stage.strike().await;
}

#[tokio::test]
async fn a_key_that_is_bound_to_an_integration_does_not_leave_it() {
    let two = Two::with(
        json!({ "fallback": ["backup"], "retries": 1 }),
        Setting::default(),
    )
    .await;
    let context = two.stage.world.acting_on(&two.stage.tenant);
    let bound = NewKey {
        name: "bound".to_owned(),
        role: Role::Caller,
        integration_id: Some(two.stage.integration),
        expires_at: None,
    };
    let key = two
        .stage
        .world
        .app
        .create_key(&context, bound)
        .await
        .unwrap();
    for _ in 0..2 {
        let refusal = json_with(429, "retry-after-ms: 1\r\n", OVERLOADED);
        two.stage.provider.script(refusal);
    }
    let mut request = two.request(&hello());
    let bearer = format!("Bearer {}", key.secret.reveal()).parse().unwrap();
    request.headers_mut().insert("authorization", bearer);
    let said = two.stage.send(request).await;
    assert_eq!(said.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(said.header("x-tollgate-attempts"), Some("2"));
    assert!(two.backup.seen().is_empty());
    two.stage.strike().await;
}

#[tokio::test]
async fn a_call_id_is_used_up_by_its_attempts() {
    let two = Two::set().await;
    two.stage.provider.script(json(429, OVERLOADED));
    two.backup.script(completion(5, 7));
    assert_eq!(two.chat(&hello()).await.status, StatusCode::OK);
    two.stage.rows_once(2).await;
    assert_eq!(two.chat(&hello()).await.status, StatusCode::CONFLICT);
    assert_eq!(
        (two.stage.provider.seen().len(), two.backup.seen().len()),
        (1, 1)
    );
    two.stage.strike().await;
}

#[tokio::test]
async fn a_caller_who_goes_away_while_it_waits_leaves_nothing_behind() {
    let two = Two::with(json!({ "retries": 1 }), Setting::default()).await;
    two.stage
        .provider
        .script(json_with(429, "retry-after: 9\r\n", OVERLOADED));
    let request = two.request(&hello());
    tokio::select! {
        _ = two.stage.open(request) => panic!("it does not wait"),
        rows = two.stage.rows_once(1) => assert_eq!(rows.len(), 1),
    }
    assert_eq!(two.stage.provider.seen().len(), 1);
    two.stage.strike().await;
}
