//! Holds for direct calls: on the same limits as the gateway's calls, ended once.

use serde_json::{Value, json};
use tollgate_app::testing::MODEL;
use tollgate_core::role::Role;
use tollgate_core::{IntegrationId, TokenUsage};

use crate::client::{Answer, Client};

/// Tokens that cost one cent at a world's prices.
const CENT: u64 = 10_000;

struct Limited {
    client: Client,
    id: IntegrationId,
}

impl Limited {
    async fn to(limits: Value) -> Self {
        let client = Client::start().await;
        let id = client.world.integration(&client.acme, "Production").await;
        let path = format!("/api/v1/integrations/{id}");
        let changed = client.admin("PATCH", &path).json(&limits).send().await;
        assert_eq!(changed.status, 200, "{}", changed.text);
        Self { client, id }
    }

    async fn ask_hold(&self, cents: u64) -> Answer {
        self.ask_for(json!({ "estimated_cost_cents": cents })).await
    }

    async fn ask_for(&self, mut body: Value) -> Answer {
        body["integration_id"] = json!(self.id.to_string());
        let asking = self.client.ask("POST", "/api/v1/enforcement/hold");
        asking.key(&self.client.caller).json(&body).send().await
    }

    async fn hold(&self, cents: u64) -> String {
        let held = self.ask_hold(cents).await.json_of(201);
        held["hold_id"].as_str().unwrap().to_owned()
    }

    async fn release(&self, hold: &str) -> Answer {
        let path = format!("/api/v1/enforcement/hold/{hold}");
        let asking = self.client.ask("DELETE", &path);
        asking.key(&self.client.caller).send().await
    }

    /// Reports a call of so many cents that names a hold; what became of the hold.
    async fn report(&self, call_id: &str, cents: u64, hold: &str) -> Value {
        let body = json!({
            "integration_id": self.id.to_string(), "call_id": call_id, "model": MODEL,
            "tokens_in": cents * CENT, "tokens_out": 0, "hold_id": hold,
        });
        let asking = self.client.ask("POST", "/api/v1/telemetry/llm-usage");
        let answer = asking.key(&self.client.caller).json(&body).send().await;
        answer.json_of(201)["hold"].clone()
    }

    /// Used and held cents, and calls of the last minute.
    async fn figures(&self) -> (Value, Value, Value) {
        let path = format!("/api/v1/integrations/{}/limits", self.id);
        let limits = self.client.get(&path).await;
        let budget = &limits["budget"];
        let rate = &limits["rate"]["current_rpm"];
        (
            budget["used_usd"].clone(),
            budget["held_usd"].clone(),
            rate.clone(),
        )
    }

    async fn assert_figures(&self, used: &str, held: &str, calls: u64) {
        assert_eq!(
            self.figures().await,
            (json!(used), json!(held), json!(calls))
        );
    }

    async fn close(self) {
        self.client.world.close().await;
    }
}

#[tokio::test]
async fn a_hold_is_taken_and_its_report_replaces_it_by_what_was_used() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100, "rate_limit_rpm": 10 })).await;
    let asked = json!({
        "estimated_cost_cents": 60, "estimated_tokens": 600_000, "model": MODEL, "call_id": "c-1",
        "expires_in_seconds": 60,
    });
    let answer = limited.ask_for(asked).await.json_of(201);
    assert_eq!(answer["result"], "allowed");
    assert_eq!(
        answer["held"],
        json!({ "cost_usd": "0.600000000", "tokens": 600_000 })
    );
    assert_eq!(answer["expires_at"], "2026-11-22T10:01:00Z");
    assert_eq!(answer["call_id"], "c-1");
    limited
        .assert_figures("0.000000000", "0.600000000", 1)
        .await;
    let hold = answer["hold_id"].as_str().unwrap();
    assert_eq!(limited.report("c-1", 25, hold).await, "settled");
    limited
        .assert_figures("0.250000000", "0.000000000", 1)
        .await;
    let history = limited.client.get("/api/v1/telemetry/usage-history").await;
    let row = &history["data"][0];
    assert_eq!(
        (&row["hold_id"], &row["hold_outcome"]),
        (&json!(hold), &json!("settled"))
    );
    let gone = limited.release(hold).await.problem(409, "hold_ended");
    assert!(
        gone["detail"].as_str().unwrap().contains("settled"),
        "{gone}"
    );
    // What was not used is there for others, to the cent.
    limited
        .client
        .world
        .call(limited.id, TokenUsage::plain(75 * CENT, 0))
        .await;
    limited.ask_hold(1).await.problem(402, "budget_exceeded");
    limited.close().await;
}

#[tokio::test]
async fn fifty_who_ask_at_once_for_a_budget_of_ten_get_ten() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    let answers = futures_util::future::join_all((0..50).map(|_| limited.ask_hold(10))).await;
    let (taken, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|one| one.status == 201);
    assert_eq!((taken.len(), refused.len()), (10, 40));
    for one in refused {
        one.problem(429, "budget_held");
    }
    let warned = taken.iter().filter(|one| one.json["result"] == "warned");
    assert_eq!(warned.count(), 2, "from eighty percent on");
    limited
        .assert_figures("0.000000000", "1.000000000", 10)
        .await;
    for (number, one) in taken.iter().enumerate() {
        let hold = one.json["hold_id"].as_str().unwrap();
        assert_eq!(
            limited.report(&format!("c-{number}"), 10, hold).await,
            "settled"
        );
    }
    limited
        .assert_figures("1.000000000", "0.000000000", 10)
        .await;
    limited.ask_hold(1).await.problem(402, "budget_exceeded");
    limited.close().await;
}

#[tokio::test]
async fn calls_of_the_gateway_and_holds_share_the_limits() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100, "rate_limit_rpm": 3 })).await;
    let hold = limited.hold(60).await;
    let world = &limited.client.world;
    assert!(
        world
            .hold(limited.id, TokenUsage::plain(41 * CENT, 0))
            .await
            .is_err()
    );
    let call = world
        .hold(limited.id, TokenUsage::plain(40 * CENT, 0))
        .await
        .unwrap();
    let throttled = limited.ask_hold(1).await;
    let retry = throttled.headers["retry-after"]
        .to_str()
        .unwrap()
        .to_owned();
    let problem = throttled.problem(429, "budget_held");
    assert_eq!(
        (retry.as_str(), &problem["reason"]["limit_type"]),
        ("1", &json!("budget"))
    );
    call.release();
    limited.release(&hold).await;
    limited
        .assert_figures("0.000000000", "0.000000000", 0)
        .await;
    let (first, second) = (limited.hold(1).await, limited.hold(1).await);
    let third = limited.hold(1).await;
    let throttled = limited.ask_hold(1).await;
    assert_eq!(throttled.headers["retry-after"], "60");
    throttled.problem(429, "rate_limit_exceeded");
    assert!(
        world
            .hold(limited.id, TokenUsage::plain(1, 0))
            .await
            .is_err()
    );
    assert_eq!(limited.release(&first).await.status, 204);
    assert_eq!(
        limited.release(&first).await.status,
        204,
        "again it changes nothing"
    );
    let fourth = limited.hold(1).await;
    for hold in [second, third, fourth] {
        assert_eq!(limited.release(&hold).await.status, 204);
    }
    limited.close().await;
}

#[tokio::test]
async fn a_hold_that_nobody_ends_expires_and_its_call_stays_counted() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    let hold = limited.hold(100).await;
    limited.client.world.clock.advance_ms(599_999);
    limited.client.world.app.sweep_holds().await.unwrap();
    limited.ask_hold(1).await.problem(429, "budget_held");
    limited.client.world.clock.advance_ms(1);
    limited.client.world.app.sweep_holds().await.unwrap();
    limited
        .assert_figures("0.000000000", "0.000000000", 0)
        .await;
    limited.release(&hold).await.problem(409, "hold_ended");
    let other = limited.hold(40).await;
    // The call was made all the same: it is booked, and says that its hold was gone.
    assert_eq!(limited.report("late", 70, &hold).await, "expired");
    limited
        .assert_figures("0.700000000", "0.400000000", 1)
        .await;
    limited.ask_hold(1).await.problem(429, "budget_held");
    limited.release(&other).await;
    let short = limited
        .ask_for(json!({ "expires_in_seconds": 1 }))
        .await
        .json_of(201);
    limited.client.world.clock.advance_ms(1_000);
    limited.client.world.app.sweep_holds().await.unwrap();
    assert_eq!(limited.figures().await.2, json!(1), "it may have been used");
    assert_eq!(
        limited
            .release(short["hold_id"].as_str().unwrap())
            .await
            .status,
        409
    );
    limited.close().await;
}

#[tokio::test]
async fn a_batch_settles_each_hold_once() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    let (one, two) = (limited.hold(30).await, limited.hold(30).await);
    let record = |call_id: &str, hold: &str| {
        json!({
            "integration_id": limited.id.to_string(), "call_id": call_id, "model": MODEL,
            "tokens_in": 10 * CENT, "tokens_out": 0, "hold_id": hold,
        })
    };
    let records = json!({ "records": [
        record("a", &one), record("b", &one), record("a", &one), record("c", &two),
        record("d", "00000000-0000-4000-8000-000000000000"),
    ] });
    let asking = limited
        .client
        .ask("POST", "/api/v1/telemetry/llm-usage/batch");
    let answer = asking
        .key(&limited.client.caller)
        .json(&records)
        .send()
        .await
        .json_of(200);
    let told: Vec<_> = answer["results"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| {
            format!(
                "{} {}",
                one["result"].as_str().unwrap(),
                one["hold"].as_str().unwrap()
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            "accepted settled",
            "accepted settled_before",
            "duplicate settled",
            "accepted settled",
            "accepted unknown",
        ]
    );
    limited
        .assert_figures("0.400000000", "0.000000000", 2)
        .await;
    limited.close().await;
}

#[tokio::test]
async fn a_call_belongs_to_the_month_in_which_it_was_held() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    // Ten seconds before the month ends.
    limited
        .client
        .world
        .clock
        .advance_ms(((8 * 24 + 13) * 3_600 + 3_590) * 1_000);
    let hold = limited.hold(80).await;
    limited.client.world.clock.advance_ms(20_000);
    limited
        .assert_figures("0.000000000", "0.000000000", 1)
        .await;
    assert_eq!(limited.report("late", 50, &hold).await, "settled");
    limited
        .assert_figures("0.000000000", "0.000000000", 1)
        .await;
    let history = limited
        .client
        .get("/api/v1/telemetry/usage-history?from=2026-11-01")
        .await;
    assert_eq!(history["data"][0]["created_at"], "2026-11-30T23:59:50Z");
    limited.close().await;
}

#[tokio::test]
async fn a_refusal_has_the_gateways_status_and_holds_nothing() {
    let limited =
        Limited::to(json!({ "budget_limit_cents": 100, "token_limit_month": 1_000 })).await;
    let refused = limited.ask_hold(101).await;
    assert!(
        !refused.headers.contains_key("retry-after"),
        "it will not help"
    );
    let problem = refused.problem(402, "budget_exceeded");
    assert_eq!(problem["reason"]["limit_value"], 100);
    assert_eq!(problem["reason"]["asked_value"], 101);
    assert_eq!(problem["reason"]["resets_at"], "2026-12-01T00:00:00Z");
    let tokens = json!({ "estimated_tokens": 1_001 });
    limited
        .ask_for(tokens)
        .await
        .problem(402, "token_limit_exceeded");
    let unpriced = json!({ "model": "unheard-of", "estimated_tokens": 1 });
    limited
        .ask_for(unpriced)
        .await
        .problem(403, "price_unknown");
    for wrong in [0, 3_601] {
        let problem = limited
            .ask_for(json!({ "expires_in_seconds": wrong }))
            .await;
        let problem = problem.problem(422, "invalid");
        assert_eq!(problem["errors"][0]["pointer"], "/expires_in_seconds");
    }
    limited
        .assert_figures("0.000000000", "0.000000000", 0)
        .await;
    let path = format!("/api/v1/integrations/{}/disable", limited.id);
    limited
        .client
        .admin("POST", &path)
        .send()
        .await
        .json_of(200);
    limited
        .ask_hold(1)
        .await
        .problem(403, "integration_disabled");
    limited.close().await;
}

#[tokio::test]
async fn anothers_hold_is_not_there() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    let hold = limited.hold(10).await;
    let globex = "globex".parse().unwrap();
    let stranger = limited.client.world.key(Some(&globex), Role::Caller).await;
    for id in [
        hold.as_str(),
        "00000000-0000-4000-8000-000000000000",
        "not-an-id",
    ] {
        let path = format!("/api/v1/enforcement/hold/{id}");
        let asking = limited.client.ask("DELETE", &path).key(&stranger);
        asking.send().await.problem(404, "not_found");
    }
    let body = json!({ "integration_id": limited.id.to_string() });
    let asking = limited
        .client
        .ask("POST", "/api/v1/enforcement/hold")
        .key(&stranger);
    asking
        .json(&body)
        .send()
        .await
        .problem(404, "integration_not_found");
    limited
        .assert_figures("0.000000000", "0.100000000", 1)
        .await;
    assert_eq!(limited.release(&hold).await.status, 204);
    limited.close().await;
}

#[tokio::test]
async fn without_the_store_nothing_is_held() {
    let limited = Limited::to(json!({ "budget_limit_cents": 100 })).await;
    limited
        .client
        .world
        .call(limited.id, TokenUsage::plain(1, 0))
        .await;
    limited.client.world.lose_store().await;
    let refused = limited.ask_hold(1).await;
    assert_eq!(refused.status, 503, "{}", refused.text);
    limited.client.world.leave().await;
}
