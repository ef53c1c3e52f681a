//! Cases 43 to 64 of the recorded behavior: what the original enforcement did, kept or mended, and what a hold adds.
//! Where Tollgate differs on purpose stands in `docs/deviations.md`.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use http::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tollgate_tests::{Answer, Control, Engine, Integration, Plan, Tenant, World, until};

const MODEL: &str = "priced";

/// Tokens that cost one cent.
const CENT: u64 = 10_000;

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// A tenant whose application calls its provider itself.
struct Direct {
    tenant: Tenant,
    application: Control,
}

impl Direct {
    async fn of(world: &World) -> Self {
        let tenant = world.tenant().await;
        Self::again(world, &tenant)
    }

    fn again(world: &World, tenant: &Tenant) -> Self {
        let tenant = world.again(tenant);
        let application = tenant.control.with_key(&tenant.caller.key);
        Self {
            tenant,
            application,
        }
    }

    /// An integration whose calls have cost so many cents, with these limits.
    async fn used(&self, name: &str, cents: u64, limits: &Value) -> Integration {
        let prices = json!({ "config": { "prices": { MODEL: { "input": 1_000_000_000, "output": 1_000_000_000 } } } });
        let one = self.tenant.integration("openai", name, &prices).await;
        if cents > 0 {
            let id = &one.id;
            self.report(&one, &format!("{id}-used"), cents, None).await;
        }
        if *limits != json!({}) {
            one.update(limits).await;
        }
        one
    }

    /// A report of a call of so many cents.
    async fn report(
        &self,
        one: &Integration,
        call_id: &str,
        cents: u64,
        hold: Option<&str>,
    ) -> Value {
        let mut body = json!({
            "integration_id": one.id, "call_id": call_id, "model": MODEL,
            "tokens_in": cents * CENT, "tokens_out": 0,
        });
        if let Some(hold) = hold {
            body["hold_id"] = json!(hold);
        }
        self.application.post("/telemetry/llm-usage", &body).await
    }

    async fn check(&self, one: &Integration, estimate: &Value) -> Value {
        let mut body = json!({ "integration_id": one.id });
        for (name, value) in estimate.as_object().into_iter().flatten() {
            body[name] = value.clone();
        }
        self.application.post("/enforcement/check", &body).await
    }

    /// The result, its reasons, and the first reason's percentage.
    async fn says(&self, one: &Integration, estimate: &Value) -> String {
        said(&self.check(one, estimate).await)
    }

    async fn hold(&self, one: &Integration, cents: u64) -> Answer {
        let body = json!({ "integration_id": one.id, "estimated_cost_cents": cents });
        let asked = self
            .application
            .send(Method::POST, "/enforcement/hold", Some(&body));
        asked.await
    }

    async fn status(&self, one: &Integration) -> Value {
        let path = format!("/enforcement/status?integration_id={}", one.id);
        self.application.get(&path).await
    }
}

/// The end of a test whose calls the simulated provider never saw.
async fn end(mut world: World) {
    world.books_verify().await;
    world.stop_gateway().await;
    world.end_unjoined().await;
}

fn said(decision: &Value) -> String {
    let mut text = decision["result"].as_str().unwrap().to_owned();
    for reason in decision["reasons"].as_array().unwrap() {
        text.push(' ');
        text.push_str(reason["code"].as_str().unwrap());
    }
    let percent = &decision["reasons"][0]["threshold_percent"];
    if !percent.is_null() {
        text.push(' ');
        text.push_str(&percent.to_string());
    }
    text
}

#[tokio::test]
async fn cases_43_to_46_the_state_of_an_integration_comes_first() {
    let world = World::start_on_sqlite().await;
    let direct = Direct::of(&world).await;
    let unknown = json!({ "integration_id": NOBODY });
    let answer = direct
        .application
        .send(Method::POST, "/enforcement/check", Some(&unknown))
        .await;
    assert_eq!(answer.status, 200, "43");
    assert_eq!(
        said(&answer.json()),
        "hard_blocked integration_not_found",
        "43"
    );
    let one = direct.used("disabled", 0, &json!({})).await;
    one.act("disable").await;
    assert_eq!(
        direct.says(&one, &json!({})).await,
        "hard_blocked integration_disabled",
        "44"
    );
    let created = direct.tenant.created("openai", "created", &json!({})).await;
    assert_eq!(
        direct.says(&created, &json!({})).await,
        "hard_blocked integration_not_enabled",
        "46"
    );
    end(world).await;
}

#[tokio::test]
async fn case_45_an_integration_whose_credential_was_refused_is_hard_blocked() {
    let world = World::start(Plan::on(Engine::Sqlite).provider("--require-key=another")).await;
    let direct = Direct::of(&world).await;
    let one = direct.tenant.openai(&json!({})).await;
    let body = json!({"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "x"}]});
    direct.tenant.caller.chat(&body).await;
    until("the integration to be out of service", async || {
        let text = direct.says(&one, &json!({})).await;
        (text == "hard_blocked integration_error").then_some(())
    })
    .await;
    end(world).await;
}

#[tokio::test]
async fn cases_47_to_56_the_first_limit_that_refuses_gives_the_only_reason() {
    // The case; cents used; limits; estimate; what is said.
    let table = "
        47 | 79  | budget_limit_cents 100 | | allowed all_checks_passed
        47 | 80  | budget_limit_cents 100 | | warned budget_warning 80.0
        47 | 99  | budget_limit_cents 100 | | warned budget_warning 99.0
        47 | 100 | budget_limit_cents 100 | | blocked budget_exceeded 100.0
        47 | 150 | budget_limit_cents 100 | | blocked budget_exceeded 100.0
        48 | 0   | budget_limit_cents 100 | estimated_cost_cents 99 | allowed all_checks_passed
        48 | 0   | budget_limit_cents 100 | estimated_cost_cents 100 | allowed all_checks_passed
        48 | 0   | budget_limit_cents 100 | estimated_cost_cents 101 | blocked budget_exceeded 0.0
        49 | 5   | budget_limit_cents 7 | | allowed all_checks_passed
        49 | 6   | budget_limit_cents 7 | | warned budget_warning 85.714
        50 | 2   | budget_limit_cents 3 | | allowed all_checks_passed
        51 | 7   | token_limit_month 90000 | | allowed all_checks_passed
        51 | 8   | token_limit_month 100000 | | warned token_warning 80.0
        51 | 1   | token_limit_month 10000 | | blocked token_limit_exceeded 100.0
        51 | 0   | token_limit_month 1000 | estimated_tokens 1000 | allowed all_checks_passed
        51 | 0   | token_limit_month 1000 | estimated_tokens 1001 | blocked token_limit_exceeded 0.0
        53 | 85  | budget_limit_cents 100, token_limit_month 944444 | | warned budget_warning token_warning 85.0
        56 | 85  | budget_limit_cents 100, token_limit_month 850000 | | blocked token_limit_exceeded 100.0
    ";
    let world = World::start_on_sqlite().await;
    let direct = Direct::of(&world).await;
    for (number, row) in table
        .lines()
        .map(str::trim)
        .filter(|row| !row.is_empty())
        .enumerate()
    {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let object = |text: &str| -> Value {
            let fields = text
                .split(',')
                .filter_map(|field| field.trim().split_once(' '));
            fields
                .map(|(name, value)| (name.to_owned(), json!(value.parse::<u64>().unwrap())))
                .collect()
        };
        let name = format!("row {number}");
        let one = direct
            .used(&name, cells[1].parse().unwrap(), &object(cells[2]))
            .await;
        assert_eq!(
            direct.says(&one, &object(cells[3])).await,
            cells[4],
            "{row}"
        );
    }
    end(world).await;
}

#[tokio::test]
async fn cases_52_54_and_55_the_rate_comes_after_the_month() {
    let world = World::start_on_sqlite().await;
    let direct = Direct::of(&world).await;
    let one = direct
        .used(
            "rate",
            85,
            &json!({ "budget_limit_cents": 100, "rate_limit_rpm": 10 }),
        )
        .await;
    for _ in 0..9 {
        assert_eq!(direct.hold(&one, 0).await.status, 201);
    }
    assert_eq!(
        direct.says(&one, &json!({})).await,
        "warned budget_warning 85.0",
        "52"
    );
    assert_eq!(direct.hold(&one, 0).await.status, 201);
    let throttled = direct.check(&one, &json!({})).await;
    assert_eq!(
        said(&throttled),
        "throttled rate_limit_exceeded 100.0",
        "52, 54"
    );
    let retry = throttled["reasons"][0]["retry_after_seconds"]
        .as_i64()
        .unwrap();
    assert!((1..=60).contains(&retry), "{retry}");
    direct.report(&one, "more", 15, None).await;
    assert_eq!(
        direct.says(&one, &json!({})).await,
        "blocked budget_exceeded 100.0",
        "55"
    );
    one.update(&json!({ "budget_limit_cents": 0, "rate_limit_rpm": 20 }))
        .await;
    assert_eq!(
        direct.says(&one, &json!({})).await,
        "allowed all_checks_passed",
        "52: no warning"
    );
    end(world).await;
}

#[tokio::test]
async fn cases_57_to_59_without_the_store_what_was_drawn_decides() {
    let world = World::on(Engine::Postgres).await;
    let direct = Direct::of(&world).await;
    let plain = json!({ "budget_limit_cents": 100 });
    let limits = json!({ "budget_limit_cents": 1000, "token_limit_month": 1_000_000 });
    let rated = json!({ "budget_limit_cents": 100, "rate_limit_rpm": 1 });
    let mut all = Vec::new();
    for (name, cents, limits) in [("57", 1, &plain), ("58", 80, &limits), ("59", 1, &rated)] {
        let one = direct.used(name, cents, limits).await;
        // This draws what is left for this node.
        assert_eq!(direct.hold(&one, 1).await.status, 201);
        all.push(one);
    }
    let undrawn = direct.used("undrawn", 1, &plain).await;
    world.cluster().freeze();
    let expected = [
        "allowed all_checks_passed",
        "warned token_warning 80.0",
        // Nodes that share a store count the minute there; one alone would still say `throttled`.
        "blocked limits_unavailable",
        "blocked limits_unavailable",
    ];
    for (one, expected) in all.iter().chain([&undrawn]).zip(expected) {
        let decision = direct
            .check(one, &json!({ "estimated_cost_cents": 1 }))
            .await;
        assert!(said(&decision).starts_with(expected), "{decision}");
        assert_eq!(decision["degraded"], true, "{decision}");
    }
    assert_eq!(direct.hold(&undrawn, 1).await.status, 503);
    world.cluster().thaw();
    until("the store to be asked again", async || {
        let decision = direct.check(&undrawn, &json!({})).await;
        (decision["degraded"] == false).then_some(())
    })
    .await;
    end(world).await;
}

/// The year and the month of a time.
fn month(time: &Value) -> (u32, u32) {
    let (year, rest) = time.as_str().unwrap().split_once('-').unwrap();
    let month = rest.split_once('-').unwrap().0;
    (year.parse().unwrap(), month.parse().unwrap())
}

#[tokio::test]
async fn cases_60_to_64_figures_batches_and_ids() {
    let world = World::start_on_sqlite().await;
    let direct = Direct::of(&world).await;
    let one = direct
        .used("over", 150, &json!({ "budget_limit_cents": 100 }))
        .await;
    let status = direct.status(&one).await;
    assert_eq!(status["budget"]["remaining_cents"], 0, "60");
    assert_eq!(status["budget"]["percent"], 150.0, "60");
    let batch = async |requests: Value| {
        let body = json!({ "requests": requests });
        direct.application.post("/enforcement/batch", &body).await
    };
    assert_eq!(
        batch(json!([])).await,
        json!({ "data": [], "total": 0 }),
        "61"
    );
    let answers = batch(json!([
        { "integration_id": NOBODY }, { "integration_id": one.id },
    ]))
    .await;
    let order: Vec<_> = answers["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(said)
        .collect();
    let missing = "hard_blocked integration_not_found";
    assert_eq!(order, [missing, "blocked budget_exceeded 100.0"], "61");
    let malformed = json!({ "integration_id": "not-a-uuid" });
    let many = json!({ "requests": [{ "integration_id": one.id }, malformed] });
    for (path, body, pointer) in [
        ("/enforcement/check", &malformed, "/integration_id"),
        ("/enforcement/batch", &many, "/requests/1/integration_id"),
    ] {
        let answer = direct.application.send(Method::POST, path, Some(body));
        let answer = answer.await;
        assert_eq!(answer.status, 422, "62");
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer, "62");
    }
    let limits = one.limits().await;
    assert_eq!(limits["budget"]["percent"], 100.0, "63");
    assert_eq!(limits["tokens"]["percent"], 0.0, "63");
    // The months' arithmetic, December among it, is tested with a clock of its own in the core; here it is that of today.
    let (year, number) = month(&limits["period_start"]);
    let next = if number == 12 {
        (year + 1, 1)
    } else {
        (year, number + 1)
    };
    assert_eq!(month(&limits["period_end"]), next, "64");
    end(world).await;
}

/// Many at once, through holds and through the gateway's limits, on either engine; then a kill, and the reports.
async fn holds_survive_a_kill(engine: Engine) {
    let mut world = World::on(engine).await;
    let tenant = world.tenant().await;
    let direct = Direct::again(&world, &tenant);
    let one = direct
        .used("budget", 0, &json!({ "budget_limit_cents": 100 }))
        .await;
    let mut asking = JoinSet::new();
    for _ in 0..50 {
        let (application, id) = (direct.application.clone(), one.id.clone());
        asking.spawn(async move {
            let body = json!({ "integration_id": id, "estimated_cost_cents": 10, "expires_in_seconds": 3600 });
            application.send(Method::POST, "/enforcement/hold", Some(&body)).await
        });
    }
    let answers = asking.join_all().await;
    let holds: Vec<String> = answers
        .iter()
        .filter(|answer| answer.status == 201)
        .map(|answer| answer.json()["hold_id"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(holds.len(), 10);
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer.status, 201 | 429))
    );
    world.gateway.program.kill().await;
    world.restart().await;
    let direct = Direct::again(&world, &tenant);
    let status = direct.status(&one).await;
    assert_eq!(status["budget"]["held_usd"], "1.000000000");
    assert_eq!(direct.hold(&one, 1).await.status, 429, "still held");
    for (number, hold) in holds.iter().enumerate() {
        let call_id = format!("call-{number}");
        let told = direct.report(&one, &call_id, 5, Some(hold)).await;
        assert_eq!(
            (&told["result"], &told["hold"]),
            (&json!("accepted"), &json!("settled"))
        );
        let again = direct.report(&one, &call_id, 5, Some(hold)).await;
        assert_eq!(again["result"], "duplicate");
    }
    let budget = &direct.status(&one).await["budget"];
    assert_eq!(budget["used_usd"], "0.500000000");
    assert_eq!(budget["held_usd"], "0.000000000");
    assert_eq!(direct.hold(&one, 50).await.status, 201);
    assert_eq!(direct.hold(&one, 1).await.status, 429);
    end(world).await;
}

#[tokio::test]
async fn ten_of_fifty_holds_survive_a_kill_and_are_settled_once_on_sqlite() {
    holds_survive_a_kill(Engine::Sqlite).await;
}

#[tokio::test]
async fn ten_of_fifty_holds_survive_a_kill_and_are_settled_once_on_postgres() {
    holds_survive_a_kill(Engine::Postgres).await;
}

#[tokio::test]
async fn a_hold_expires_by_itself() {
    let world = World::start_on_sqlite().await;
    let direct = Direct::of(&world).await;
    let one = direct
        .used("budget", 0, &json!({ "budget_limit_cents": 100 }))
        .await;
    let body =
        json!({ "integration_id": one.id, "estimated_cost_cents": 100, "expires_in_seconds": 1 });
    let answer = direct.application.post("/enforcement/hold", &body).await;
    until("the hold to expire", async || {
        let status = direct.status(&one).await;
        (status["budget"]["held_usd"] == "0.000000000").then_some(())
    })
    .await;
    let hold = answer["hold_id"].as_str();
    let told = direct.report(&one, "late", 30, hold).await;
    assert_eq!(
        (&told["result"], &told["hold"]),
        (&json!("accepted"), &json!("expired"))
    );
    assert_eq!(one.used_nanos().await, 300_000_000);
    end(world).await;
}
