//! Would a call pass? The same rules as the gateway's, and nothing is held by asking.

use serde_json::{Value, json};
use tollgate_core::{IntegrationId, TokenUsage};

use crate::client::Client;

/// Tokens that cost one cent at a world's prices.
const CENT: u64 = 10_000;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// An integration that was used, and then limited: tokens were used at no cost to the budget.
struct Used {
    client: Client,
    id: IntegrationId,
}

impl Used {
    /// So many cents spent and calls made, then these limits.
    async fn cents(cents: u64, limits: Value) -> Self {
        let client = Client::start().await;
        let id = client.world.integration(&client.acme, "Production").await;
        if cents > 0 {
            client
                .world
                .call(id, TokenUsage::plain(cents * CENT, 0))
                .await;
        }
        let used = Self { client, id };
        if limits != json!({}) {
            used.change(limits).await;
        }
        used
    }

    async fn change(&self, fields: Value) {
        let path = format!("/api/v1/integrations/{}", self.id);
        let changed = self.client.admin("PATCH", &path).json(&fields).send().await;
        assert_eq!(changed.status, 200, "{}", changed.text);
    }

    async fn check(&self, estimate: Value) -> Value {
        let mut body = json!({ "integration_id": self.id.to_string() });
        for (name, value) in estimate.as_object().unwrap() {
            body[name] = value.clone();
        }
        let asking = self.client.ask("POST", "/api/v1/enforcement/check");
        let answer = asking.key(&self.client.caller).json(&body).send().await;
        answer.json_of(200)
    }

    async fn status(&self) -> Value {
        let path = format!("/api/v1/enforcement/status?integration_id={}", self.id);
        let asking = self.client.ask("GET", &path).key(&self.client.caller);
        asking.send().await.json_of(200)
    }

    async fn close(self) {
        self.client.world.close().await;
    }
}

/// The result and the reasons' codes in one text.
fn said(decision: &Value) -> String {
    let mut text = decision["result"].as_str().unwrap().to_owned();
    for reason in decision["reasons"].as_array().unwrap() {
        text.push(' ');
        text.push_str(reason["code"].as_str().unwrap());
    }
    text
}

/// `name value, name value` as an object.
fn fields(text: &str) -> Value {
    let mut object = json!({});
    for field in text
        .split(',')
        .map(str::trim)
        .filter(|field| !field.is_empty())
    {
        let (name, value) = field.split_once(' ').unwrap();
        object[name] = serde_json::from_str(value).unwrap();
    }
    object
}

#[tokio::test]
async fn the_check_says_what_the_gate_would_say() {
    // Cents spent, limits, estimate, the decision, and the first reason's percentage.
    let table = r#"
        79 | budget_limit_cents 100 | | allowed all_checks_passed | null
        80 | budget_limit_cents 100 | | warned budget_warning | 80.0
        99 | budget_limit_cents 100 | | warned budget_warning | 99.0
        100 | budget_limit_cents 100 | | blocked budget_exceeded | 100.0
        150 | budget_limit_cents 100 | | blocked budget_exceeded | 100.0
        0 | budget_limit_cents 100 | estimated_cost_cents 100 | allowed all_checks_passed | null
        0 | budget_limit_cents 100 | estimated_cost_cents 101 | blocked budget_exceeded | 0.0
        0 | budget_limit_cents 100 | estimated_cost_usd "1.000000001" | blocked budget_exceeded | 0.0
        5 | budget_limit_cents 7 | | allowed all_checks_passed | null
        6 | budget_limit_cents 7 | | warned budget_warning | 85.714
        2 | budget_limit_cents 3 | | allowed all_checks_passed | null
        8 | token_limit_month 100000 | | warned token_warning | 80.0
        10 | token_limit_month 100000 | | blocked token_limit_exceeded | 100.0
        0 | token_limit_month 1000 | estimated_tokens 1001 | blocked token_limit_exceeded | 0.0
        9 | budget_limit_cents 10, token_limit_month 100000 | | warned budget_warning token_warning | 90.0
        9 | budget_limit_cents 10, rate_limit_rpm 1 | | throttled rate_limit_exceeded | 100.0
        10 | budget_limit_cents 10, rate_limit_rpm 1 | | blocked budget_exceeded | 100.0
        9 | budget_limit_cents 10, token_limit_month 90000 | | blocked token_limit_exceeded | 100.0
        0 | budget_limit_cents 1 | model "unheard-of", estimated_tokens 1 | blocked price_unknown | null
        0 | budget_limit_cents 1 | model "test-model", estimated_tokens 5000 | allowed all_checks_passed | null
        0 | budget_limit_cents 1 | model "test-model", estimated_tokens 5001 | blocked budget_exceeded | 0.0
    "#;
    for row in table.lines().map(str::trim).filter(|row| !row.is_empty()) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let [cents, limits, estimate, expected, percent] = cells.as_slice() else {
            panic!("{row}")
        };
        let used = Used::cents(cents.parse().unwrap(), fields(limits)).await;
        let decision = used.check(fields(estimate)).await;
        assert_eq!(&said(&decision), expected, "{row}: {decision}");
        let first = decision["reasons"][0]["threshold_percent"].to_string();
        assert_eq!(&first, percent, "{row}");
        assert_eq!(decision["degraded"], false, "{row}");
        assert_eq!(decision["tenant_id"], "acme", "{row}");
        used.close().await;
    }
}

#[tokio::test]
async fn a_thousand_questions_hold_and_count_nothing() {
    let used = Used::cents(
        10,
        json!({ "budget_limit_cents": 100, "rate_limit_rpm": 5 }),
    )
    .await;
    let before = used.status().await;
    for _ in 0..1_000 {
        used.check(json!({ "estimated_cost_cents": 90 })).await;
    }
    let after = used.status().await;
    assert_eq!(after, before);
    assert_eq!(after["budget"]["held_usd"], "0.000000000");
    assert_eq!(after["rate"]["current_rpm"], 1);
    used.close().await;
}

#[tokio::test]
async fn a_reason_bears_its_limits_figures() {
    let used = Used::cents(40, json!({ "budget_limit_cents": 100 })).await;
    let hold = used
        .client
        .world
        .hold(used.id, TokenUsage::plain(50 * CENT, 0))
        .await
        .unwrap();
    let decision = used.check(json!({ "estimated_cost_cents": 20 })).await;
    let reason = &decision["reasons"][0];
    assert_eq!(said(&decision), "blocked budget_held");
    assert_eq!(reason["limit_type"], "budget");
    assert_eq!(reason["limit_value"], 100);
    assert_eq!(reason["current_value"], 40);
    assert_eq!(reason["held_value"], 50);
    assert_eq!(reason["asked_value"], 20);
    assert_eq!(reason["threshold_percent"], 90.0);
    assert_eq!(reason["retry_after_seconds"], 1);
    assert_eq!(reason["resets_at"], "2026-12-01T00:00:00Z");
    let status = used.status().await;
    assert_eq!(status["budget"]["held_usd"], "0.500000000");
    assert_eq!(status["budget"]["remaining_cents"], 10);
    hold.release();
    used.close().await;
}

#[tokio::test]
async fn an_integration_that_is_not_there_is_a_decision_and_not_an_error() {
    let used = Used::cents(0, json!({ "budget_limit_cents": 100 })).await;
    let client = &used.client;
    let ask = |body: Value, key: &str| {
        client
            .ask("POST", "/api/v1/enforcement/check")
            .key(key)
            .json(&body)
    };
    let nobody = ask(json!({ "integration_id": NOBODY }), &client.caller)
        .send()
        .await;
    let nobody = nobody.json_of(200);
    assert_eq!(said(&nobody), "hard_blocked integration_not_found");
    assert_eq!(nobody["reasons"][0]["limit_type"], "status");
    let foreign = client.world.tenant("initech").await;
    let stranger = client
        .world
        .key(Some(&foreign), tollgate_core::role::Role::Caller)
        .await;
    let theirs = ask(json!({ "integration_id": used.id.to_string() }), &stranger)
        .send()
        .await;
    let mut theirs = theirs.json_of(200);
    assert_eq!(said(&theirs), "hard_blocked integration_not_found");
    // Not even its name is told: the answer differs in nothing but the id that was asked about.
    theirs["integration_id"] = nobody["integration_id"].clone();
    theirs["tenant_id"] = nobody["tenant_id"].clone();
    assert_eq!(theirs, nobody);
    let malformed = ask(json!({ "integration_id": "not-a-uuid" }), &client.caller)
        .send()
        .await;
    let problem = malformed.problem(422, "invalid");
    assert_eq!(problem["errors"][0]["pointer"], "/integration_id");
    assert!(!problem.to_string().contains("not-a-uuid"));
    used.close().await;
}

#[tokio::test]
async fn the_states_of_an_integration_come_before_its_limits() {
    let used = Used::cents(100, json!({ "budget_limit_cents": 100 })).await;
    let path = format!("/api/v1/integrations/{}/disable", used.id);
    used.client.admin("POST", &path).send().await.json_of(200);
    assert_eq!(
        said(&used.check(json!({})).await),
        "hard_blocked integration_disabled"
    );
    let path = format!("/api/v1/integrations/{}/enable", used.id);
    used.client.admin("POST", &path).send().await.json_of(200);
    used.client.world.refuse_credential(used.id).await;
    assert_eq!(
        said(&used.check(json!({})).await),
        "hard_blocked integration_error"
    );
    let new = json!({ "name": "New", "provider_type": "openai", "credential": { "api_key": "k" } });
    let made = used
        .client
        .admin("POST", "/api/v1/integrations")
        .json(&new)
        .send()
        .await;
    let body = json!({ "integration_id": made.json_of(201)["id"] });
    let asking = used.client.ask("POST", "/api/v1/enforcement/check");
    let created = asking
        .key(&used.client.caller)
        .json(&body)
        .send()
        .await
        .json_of(200);
    assert_eq!(said(&created), "hard_blocked integration_not_enabled");
    used.close().await;
}

#[tokio::test]
async fn a_batch_is_answered_in_order_as_if_those_that_pass_were_in_flight() {
    let used = Used::cents(0, json!({ "budget_limit_cents": 100, "rate_limit_rpm": 3 })).await;
    let id = used.id.to_string();
    let body = json!({ "requests": [
        { "integration_id": id, "estimated_cost_cents": 60 },
        { "integration_id": id, "estimated_cost_cents": 60 },
        { "integration_id": id, "estimated_cost_cents": 40 },
        { "integration_id": NOBODY },
        { "integration_id": id, "estimated_cost_cents": 0 },
    ] });
    let asking = used.client.ask("POST", "/api/v1/enforcement/batch");
    let answer = asking
        .key(&used.client.caller)
        .json(&body)
        .send()
        .await
        .json_of(200);
    let said: Vec<_> = answer["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(said)
        .collect();
    assert_eq!(
        said,
        [
            "allowed all_checks_passed",
            "blocked budget_held",
            "allowed all_checks_passed",
            "hard_blocked integration_not_found",
            "warned budget_warning",
        ]
    );
    assert_eq!(answer["total"], 5);
    assert_eq!(answer["data"][3]["integration_id"], NOBODY);
    let status = used.status().await;
    assert_eq!(status["budget"]["held_usd"], "0.000000000");
    used.close().await;
}

#[tokio::test]
async fn a_batch_holds_up_to_a_hundred_questions_and_may_be_empty() {
    let used = Used::cents(0, json!({})).await;
    let batch = |requests: Value| {
        let asking = used.client.ask("POST", "/api/v1/enforcement/batch");
        let body = json!({ "requests": requests });
        asking.key(&used.client.caller).json(&body).send()
    };
    let empty = batch(json!([])).await.json_of(200);
    assert_eq!(empty, json!({ "data": [], "total": 0 }));
    let one = json!({ "integration_id": used.id.to_string() });
    assert_eq!(
        batch(json!(vec![one.clone(); 100])).await.json_of(200)["total"],
        100
    );
    let many = batch(json!(vec![one.clone(); 101]))
        .await
        .problem(422, "invalid");
    assert_eq!(many["errors"][0]["pointer"], "/requests");
    let wrong = json!([one, { "integration_id": NOBODY, "estimated_tokens": -1 }]);
    let wrong = batch(wrong).await.problem(422, "invalid");
    assert_eq!(
        wrong["errors"][0]["pointer"],
        "/requests/1/estimated_tokens"
    );
    for rubbish in ["", ".", "not-a-uuid"] {
        let wrong = json!([one, { "integration_id": rubbish }]);
        let wrong = batch(wrong).await.problem(422, "invalid");
        assert_eq!(wrong["errors"][0]["pointer"], "/requests/1/integration_id");
    }
    used.close().await;
}

#[tokio::test]
async fn the_status_shows_what_is_used_beyond_the_limit() {
    let used = Used::cents(150, json!({ "budget_limit_cents": 100 })).await;
    let status = used.status().await;
    assert_eq!(status["result"], "blocked");
    assert_eq!(status["budget"]["percent"], 150.0);
    assert_eq!(status["budget"]["used_cents"], 150);
    assert_eq!(status["budget"]["remaining_cents"], 0);
    assert_eq!(status["resets_at"], "2026-12-01T00:00:00Z");
    assert_eq!(status["tokens"]["has_limit"], false);
    assert_eq!(status["tokens"]["percent"], 0.0);
    let other = used
        .client
        .world
        .integration(&used.client.acme, "Second")
        .await;
    let asking = used.client.ask("GET", "/api/v1/enforcement/status?limit=1");
    let page = asking.key(&used.client.caller).send().await.json_of(200);
    assert_eq!(page["data"].as_array().map(Vec::len), Some(1));
    assert!(page["next_cursor"].is_string());
    let asking = used.client.ask("GET", "/api/v1/enforcement/status");
    let all = asking.key(&used.client.caller).send().await.json_of(200);
    let ids: Vec<_> = all["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["integration_id"])
        .collect();
    assert_eq!(ids.len(), 2);
    assert!(ids.contains(&&json!(other.to_string())));
    let path = format!("/api/v1/enforcement/status?integration_id={NOBODY}");
    let missing = used
        .client
        .ask("GET", &path)
        .key(&used.client.caller)
        .send()
        .await;
    missing.problem(404, "not_found");
    used.close().await;
}

#[tokio::test]
async fn without_the_store_the_allowance_decides_and_the_answer_says_so() {
    // Tokens used of 100,000, calls a minute, the decision when the store is gone.
    let table = [
        (1, 0, "allowed all_checks_passed"),
        (8, 0, "warned token_warning"),
        (8, 2, "throttled rate_limit_exceeded"),
    ];
    for (cents, rpm, expected) in table {
        let limits = json!({ "budget_limit_cents": 100, "token_limit_month": 100_000, "rate_limit_rpm": rpm });
        let used = Used::cents(cents, limits).await;
        // The next call draws, so that this node has something to hand out.
        used.client
            .world
            .call(used.id, TokenUsage::plain(1, 0))
            .await;
        used.client.world.lose_store().await;
        let decision = used.check(json!({ "estimated_cost_cents": 1 })).await;
        assert_eq!(said(&decision), expected);
        assert_eq!(decision["degraded"], true);
        used.client.world.leave().await;
    }
    let used = Used::cents(1, json!({ "budget_limit_cents": 100 })).await;
    used.client.world.lose_store().await;
    let decision = used.check(json!({ "estimated_cost_cents": 1 })).await;
    assert_eq!(
        said(&decision),
        "blocked limits_unavailable",
        "nothing was drawn"
    );
    assert_eq!(decision["degraded"], true);
    used.client.world.leave().await;
}
