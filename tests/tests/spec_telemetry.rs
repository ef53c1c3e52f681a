//! Usage that callers report, and usage as it is read: the cases of the earlier system that concern them, by their numbers.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use http::Method;
use serde_json::{Value, json};
use tollgate_tests::{Answer, Control, Engine, Plan, Run, Tenant, World, call, run, until};

const ONE: &str = "/telemetry/llm-usage";
const BATCH: &str = "/telemetry/llm-usage/batch";

/// A tenant, its integration, and the control plane as the tenant's caller sees it.
struct Stage {
    tenant: Tenant,
    integration: String,
    caller: Control,
}

async fn stage(world: &World) -> Stage {
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await.id;
    let caller = tenant.control.with_key(&tenant.caller.key);
    Stage {
        tenant,
        integration,
        caller,
    }
}

impl Stage {
    fn record(&self, call_id: &str, more: &Value) -> Value {
        let mut record = json!({
            "integration_id": self.integration, "call_id": call_id, "model": "gpt-4o",
            "tokens_in": 1_000, "tokens_out": 100,
        });
        for (name, value) in more.as_object().unwrap() {
            record[name] = value.clone();
        }
        record
    }

    async fn report(&self, call_id: &str, more: &Value) -> Answer {
        self.post(ONE, &self.record(call_id, more)).await
    }

    async fn post(&self, path: &str, body: &Value) -> Answer {
        self.caller.send(Method::POST, path, Some(body)).await
    }

    async fn summary(&self, query: &str) -> Value {
        let path = format!("/telemetry/usage-summary{query}");
        self.tenant.control.get(&path).await
    }
}

fn words(batch: &Answer) -> Vec<String> {
    let results = batch.json()["results"].as_array().unwrap().clone();
    let word = |one: &Value| one["result"].as_str().unwrap().to_owned();
    results.iter().map(word).collect()
}

/// The end of a test in whose ledger there are calls that no simulated provider knows of.
async fn close(mut world: World) {
    world.books_verify().await;
    world.stop_gateway().await;
    world.end_unjoined().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_29_a_batch_has_1_to_100_records() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    for (size, status) in [(0, 422), (101, 422), (100, 200)] {
        let records: Vec<_> = (0..size)
            .map(|n| stage.record(&format!("c-{n}"), &json!({})))
            .collect();
        let answer = stage.post(BATCH, &json!({ "records": records })).await;
        assert_eq!(answer.status, status, "{size}: {}", answer.text());
    }
    assert_eq!(stage.summary("").await["total_calls"], 100);
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_30_a_record_out_of_its_bounds_is_422_and_named() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    for (more, pointer) in [
        (json!({ "call_id": "x".repeat(101) }), "/call_id"),
        (json!({ "tokens_in": -1 }), "/tokens_in"),
        (json!({ "policy_result": "throttled" }), "/policy_result"),
    ] {
        let answer = stage.report("c", &more).await;
        assert_eq!(answer.status, 422, "{}", answer.text());
        assert_eq!(answer.json()["errors"][0]["pointer"], pointer);
    }
    assert_eq!(stage.summary("").await["total_calls"], 0);
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_31_nobody_reports_without_a_tenant() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let record = stage.record("c", &json!({}));
    let nobody = stage
        .caller
        .with_key("")
        .send(Method::POST, ONE, Some(&record))
        .await;
    assert_eq!(nobody.status, 401);
    // An operator belongs to no tenant and a malformed one is nobody's; neither may report in a tenant's name.
    let operator = world.operator.send(Method::POST, ONE, Some(&record)).await;
    assert_eq!(operator.status, 403);
    let malformed = stage.caller.of_tenant("not a tenant");
    assert_eq!(
        malformed
            .send(Method::POST, ONE, Some(&record))
            .await
            .status,
        400
    );
    let other = world.tenant().await;
    let foreign = stage.caller.of_tenant(&other.id);
    assert_eq!(
        foreign.send(Method::POST, ONE, Some(&record)).await.status,
        404
    );
    assert_eq!(stage.summary("").await["total_calls"], 0);
    close(world).await;
}

/// After one call of the id `same`.
async fn case_68(acme: &Stage, globex: &Stage) {
    // 68, and the batch of the done list.
    let batch = json!({ "records": [
        acme.record("same", &json!({})),
        acme.record("b", &json!({})),
        acme.record("b", &json!({})),
        acme.record("c", &json!({ "integration_id": null })),
        acme.record("d", &json!({})),
    ] });
    let told = acme.post(BATCH, &batch).await;
    assert_eq!(told.status, 207);
    assert_eq!(
        words(&told),
        ["duplicate", "accepted", "duplicate", "rejected", "accepted"]
    );
    let batch = json!({ "records": [
        acme.record("same", &json!({})),
        acme.record("e", &json!({})),
        acme.record("e", &json!({})),
        acme.record("f", &json!({ "integration_id": globex.integration })),
        acme.record("g", &json!({ "tokens_out": -5 })),
        acme.record("h", &json!({})),
    ] });
    let told = acme.post(BATCH, &batch).await;
    assert_eq!(
        words(&told),
        [
            "duplicate",
            "accepted",
            "duplicate",
            "rejected",
            "rejected",
            "accepted"
        ]
    );
    assert_eq!(acme.summary("").await["total_calls"], 5);
}

async fn cases_65_to_68(engine: Engine) {
    let world = World::on(engine).await;
    let (acme, globex) = (stage(&world).await, stage(&world).await);
    // 65: accepted with an id; the same again is a duplicate, and one row.
    let first = acme.report("same", &json!({})).await;
    assert_eq!(
        (first.status, &first.json()["result"]),
        (201, &json!("accepted"))
    );
    let again = acme.report("same", &json!({})).await;
    assert_eq!(
        (again.status, &again.json()["result"]),
        (200, &json!("duplicate"))
    );
    assert_eq!(again.json()["id"], first.json()["id"]);
    let other = acme.report("same", &json!({ "tokens_in": 1 })).await;
    assert_eq!(
        (other.status, other.json()["code"].clone()),
        (409, json!("call_id_conflict"))
    );
    assert_eq!(acme.tenant.history().await.len(), 1);
    // 66: another tenant's call of that id is another call.
    let theirs = globex.report("same", &json!({})).await;
    assert_eq!(theirs.status, 201);
    assert_ne!(theirs.json()["id"], first.json()["id"]);
    // 67: an integration that is unknown or another tenant's, alone and in a batch.
    for id in [&globex.integration, "00000000-0000-4000-8000-000000000000"] {
        let foreign = json!({ "integration_id": id });
        let refused = acme.report("foreign", &foreign).await;
        assert_eq!(
            (refused.status, refused.json()["code"].clone()),
            (422, json!("integration_not_found"))
        );
        let batch = json!({ "records": [acme.record("foreign", &foreign)] });
        assert_eq!(words(&acme.post(BATCH, &batch).await), ["rejected"]);
    }
    case_68(&acme, &globex).await;
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_65_to_68_each_record_has_a_fate_of_its_own_on_sqlite() {
    cases_65_to_68(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_65_to_68_each_record_has_a_fate_of_its_own_on_postgres() {
    cases_65_to_68(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_69_a_key_with_a_wrong_secret_is_401() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let key = &stage.tenant.caller.key;
    let (kept, last) = key.split_at(key.len() - 1);
    let wrong = format!("{kept}{}", if last == "a" { "b" } else { "a" });
    let record = stage.record("c", &json!({}));
    let refused = stage
        .caller
        .with_key(&wrong)
        .send(Method::POST, ONE, Some(&record))
        .await;
    assert_eq!(refused.status, 401, "{}", refused.text());
    assert_eq!(stage.summary("").await["total_calls"], 0);
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cases_70_and_71_the_last_day_counts_whole_and_averages_are_exact() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let path = format!("/integrations/{}", stage.integration);
    let today = stage.tenant.control.get(&path).await["created_at"].clone();
    let today = today.as_str().unwrap().split('T').next().unwrap();
    let today: jiff::civil::Date = today.parse().unwrap();
    let noon = today.yesterday().unwrap();
    let first = noon.checked_sub(jiff::Span::new().days(30)).unwrap();
    for (call_id, latency_ms) in [("a", 0), ("b", 0)] {
        let more = json!({ "created_at": format!("{noon}T12:00:00Z"), "latency_ms": latency_ms });
        assert_eq!(stage.report(call_id, &more).await.status, 201);
    }
    let sums = stage.summary(&format!("?from={first}&to={noon}")).await;
    assert_eq!(
        sums["total_calls"], 2,
        "the last day is included to its end"
    );
    assert_eq!(
        sums["avg_latency_ms"], 0,
        "an average of nothing but zeros is zero"
    );
    let before = noon.yesterday().unwrap();
    let sums = stage.summary(&format!("?from={first}&to={before}")).await;
    assert_eq!(
        (&sums["total_calls"], &sums["avg_latency_ms"]),
        (&json!(0), &Value::Null)
    );
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_72_pages_of_the_history_stay_valid_while_calls_come_in() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let records: Vec<_> = (0..100)
        .map(|n| stage.record(&format!("c-{n}"), &json!({})))
        .collect();
    stage.post(BATCH, &json!({ "records": records })).await;
    let path = "/telemetry/usage-history?limit=50";
    let first = stage.tenant.control.get(path).await;
    // These are newer than the cursor: they neither push calls onto the next page nor out of it.
    for n in 0..5 {
        assert_eq!(
            stage.report(&format!("new-{n}"), &json!({})).await.status,
            201
        );
    }
    let cursor = first["next_cursor"].as_str().unwrap();
    let second = stage
        .tenant
        .control
        .get(&format!("{path}&cursor={cursor}"))
        .await;
    assert_eq!(second["next_cursor"], Value::Null);
    let rows = [first, second].map(|page| page["data"].as_array().unwrap().clone());
    let mut seen: Vec<_> = rows
        .iter()
        .flatten()
        .map(|row| row["call_id"].to_string())
        .collect();
    seen.sort();
    seen.dedup();
    assert_eq!(seen.len(), 100);
    let too_long = stage
        .tenant
        .control
        .send(Method::GET, "/telemetry/usage-history?limit=201", None)
        .await;
    assert_eq!(too_long.status, 400);
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_73_without_the_store_a_report_fails_and_a_retry_books_it_once() {
    let world = World::start(Plan::quiet(Engine::Postgres)).await;
    let stage = stage(&world).await;
    assert_eq!(stage.report("before", &json!({})).await.status, 201);
    world.cluster().freeze();
    let failed = stage.report("c", &json!({})).await;
    world.cluster().thaw();
    assert_eq!(failed.status, 503, "{}", failed.text());
    assert!(!failed.header("retry-after").is_empty());
    let booked = async || {
        let again = stage.report("c", &json!({})).await;
        [200, 201].contains(&again.status).then_some(())
    };
    until("the report is booked", booked).await;
    assert_eq!(stage.summary("").await["total_calls"], 2);
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_through_the_gateway_that_its_sdk_reports_too_is_booked_once() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let answer = stage.tenant.caller.chat(&call()).await;
    assert_eq!(answer.status, 200);
    let reported = stage
        .report(answer.header("x-tollgate-call-id"), &json!({}))
        .await;
    assert_eq!(reported.status, 409, "{}", reported.text());
    let rows = world.close().await;
    assert_eq!(rows.len(), 1);
}

async fn usage(world: &World, stage: &Stage, args: &[&str], input: &str) -> Run {
    let mut all = vec!["usage"];
    all.extend_from_slice(args);
    all.extend_from_slice(&["--url", &world.gateway.admin_url]);
    run(&all, &[("TOLLGATE_KEY", &stage.tenant.caller.key)], input).await
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_reports_lines_and_says_which_are_not_booked() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let flags = [
        "report",
        "--integration",
        &stage.integration,
        "--call-id",
        "flags",
        "--model",
        "gpt-4o",
        "--tokens-in",
        "10",
        "--tokens-out",
        "5",
        "--json",
    ];
    let one = usage(&world, &stage, &flags, "").await;
    assert_eq!(one.code, Some(0), "{}", one.err);
    assert_eq!(
        serde_json::from_str::<Value>(&one.out).unwrap()["result"],
        "accepted"
    );
    let mut lines: Vec<String> = (0..250)
        .map(|n| stage.record(&format!("line-{n}"), &json!({})).to_string())
        .collect();
    lines[120] = stage.record("bad", &json!({ "tokens_in": -1 })).to_string();
    lines[201] = "{\"call_id\":".to_owned();
    let many = usage(
        &world,
        &stage,
        &["report", "--records", "-"],
        &lines.join("\n"),
    )
    .await;
    assert_eq!(many.code, Some(1), "{}", many.err);
    assert!(
        many.err
            .contains("248 accepted, 0 there already, 2 not booked"),
        "{}",
        many.err
    );
    assert!(
        many.err.contains("line 121: rejected") && many.err.contains(&lines[120]),
        "{}",
        many.err
    );
    assert!(
        many.err.contains("line 202: it is not JSON"),
        "{}",
        many.err
    );
    close(world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_reports_a_file_again_and_exports_what_is_booked() {
    let world = World::start_on_sqlite().await;
    let stage = stage(&world).await;
    let lines: Vec<String> = (0..248)
        .map(|n| stage.record(&format!("line-{n}"), &json!({})).to_string())
        .collect();
    let file = lines.join("\n");
    for said in [
        "248 accepted, 0 there already",
        "0 accepted, 248 there already",
    ] {
        let told = usage(
            &world,
            &stage,
            &["report", "--records", "-", "--json"],
            &file,
        )
        .await;
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(told.out.lines().count(), 248);
        assert!(told.err.contains(said), "{}", told.err);
    }
    let file = usage(&world, &stage, &["export", "--format", "jsonl"], "").await;
    assert_eq!(
        (file.code, file.out.lines().count()),
        (Some(0), 248),
        "{}",
        file.err
    );
    let table = usage(&world, &stage, &["summary", "--by-model"], "").await;
    assert!(
        table.out.contains("gpt-4o") && table.out.contains("248"),
        "{}",
        table.out
    );
    close(world).await;
}
