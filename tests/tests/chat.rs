//! `tollgate chat`: the answer on standard output, what it cost on standard error, and the exit codes.
#![expect(clippy::panic, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tollgate_tests::{Engine, Run, Tenant, World, run};

struct Asking<'w> {
    world: &'w World,
    tenant: &'w Tenant,
}

impl Asking<'_> {
    async fn ask(&self, args: &[&str], input: &str) -> Run {
        let env = [
            ("TOLLGATE_URL", &*self.world.gateway.url),
            ("TOLLGATE_ADMIN_URL", &*self.world.gateway.admin_url),
            ("TOLLGATE_KEY", &*self.tenant.caller.key),
        ];
        run(&[&["chat"], args].concat(), &env, input).await
    }
}

/// The value of a line of the card.
fn line<'r>(run: &'r Run, name: &str) -> &'r str {
    let found = run.err.lines().find_map(|line| {
        let (found, value) = line.split_once(' ')?;
        (found == name).then(|| value.trim())
    });
    found.unwrap_or_else(|| panic!("no {name} in {}", run.err))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_question_is_answered_and_what_it_cost_is_told() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let limits =
        json!({"budget_limit_cents": 100, "token_limit_month": 100_000, "rate_limit_rpm": 60});
    let integration = tenant.openai(&limits).await;
    let asking = Asking {
        world: &world,
        tenant: &tenant,
    };
    let model = ["--model", "gpt-4o-mini", "--max-tokens", "5"];
    for (more, streamed) in [
        (&[][..], true),
        (&["--no-stream"], false),
        (&["--no-stream", "--stream"], true),
    ] {
        let args = [&["one two three"][..], &model, more].concat();
        let told = asking.ask(&args, "").await;
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(told.out.split_whitespace().count(), 5, "{}", told.out);
        assert_eq!(line(&told, "cost_usd"), "0.000003450", "{more:?}");
        assert_eq!(
            (line(&told, "tokens_in"), line(&told, "tokens_out")),
            ("3", "5")
        );
        assert_eq!(line(&told, "verdict"), "allowed");
        assert_eq!(line(&told, "integration_id"), integration.id);
        assert!(
            line(&told, "remaining.budget_usd").starts_with("0.9999"),
            "{}",
            told.err
        );
        line(&told, "remaining.requests_this_minute");
        line(&told, "latency_ms");
        let row = tenant.row(line(&told, "call_id")).await;
        assert_eq!(row["cost_usd"], "0.000003450", "{streamed} {row}");
    }
    let told = asking
        .ask(
            &["-", "--json", "--model", "gpt-4o-mini", "--max-tokens", "5"],
            "one two three",
        )
        .await;
    assert_eq!(told.code, Some(0), "{}", told.err);
    let json: Value = serde_json::from_str(&told.out).unwrap();
    assert_eq!(
        json["answer"].as_str().unwrap().split_whitespace().count(),
        5,
        "{json}"
    );
    assert_eq!(json["cost_usd"], "0.000003450", "{json}");
    assert_eq!(json["remaining"]["requests_this_minute"], 56, "{json}");
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_words_are_the_integrations_and_the_model_is_its_own() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant
        .anthropic(&json!({"default_model": "claude-haiku-4-5"}))
        .await;
    let asking = Asking {
        world: &world,
        tenant: &tenant,
    };
    for args in [&["one two three"][..], &["one two three", "--no-stream"]] {
        let told = asking
            .ask(&[args, &["--max-tokens", "5"]].concat(), "")
            .await;
        assert_eq!(told.code, Some(0), "{}", told.err);
        assert_eq!(told.out.split_whitespace().count(), 5, "{}", told.out);
        assert_eq!(line(&told, "model"), "claude-haiku-4-5");
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_has_the_gateways_words_and_an_exit_code() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 1})).await;
    let asking = Asking {
        world: &world,
        tenant: &tenant,
    };
    let model = ["one", "--model", "gpt-4o-mini"];
    let told = asking.ask(&["one"], "").await;
    assert_eq!(told.code, Some(2), "{}", told.err);
    assert!(told.err.contains("--model MODEL"), "{}", told.err);
    let told = asking
        .ask(&[&model[..], &["--max-tokens", "100000"]].concat(), "")
        .await;
    assert_eq!((told.code, &*told.out), (Some(6), ""), "{}", told.err);
    let told = asking
        .ask(&[&model[..], &["--integration", "nobody"]].concat(), "")
        .await;
    assert_eq!(told.code, Some(3), "{}", told.err);
    world
        .simulator
        .faults(&json!({"error_rate": 1.0, "error_status": 500}))
        .await;
    let told = asking.ask(&model, "").await;
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(
        told.err.contains("the provider answered 500"),
        "{}",
        told.err
    );
    world
        .simulator
        .faults(&json!({"error_rate": 0.0, "cut_after": 2}))
        .await;
    let told = asking
        .ask(&[&model[..], &["--max-tokens", "5"]].concat(), "")
        .await;
    assert_eq!(told.code, Some(1), "{}", told.err);
    assert!(told.err.contains("broke off"), "{}", told.err);
    integration.act("disable").await;
    let told = asking.ask(&model, "").await;
    assert_eq!(told.code, Some(4), "{}", told.err);
    let env = [
        ("TOLLGATE_URL", "http://127.0.0.1:1"),
        ("TOLLGATE_KEY", &*tenant.caller.key),
    ];
    let told = run(&["chat", "one"], &env, "").await;
    assert_eq!(told.code, Some(7), "{}", told.err);
    assert!(!told.err.contains(&tenant.caller.key), "{}", told.err);
    let told = run(&["chat", "-", "--key", "-"], &[], "x").await;
    assert_eq!(told.code, Some(2), "{}", told.err);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_control_plane_an_answer_as_a_whole_still_tells_its_cost() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let env = [
        ("TOLLGATE_URL", &*world.gateway.url),
        ("TOLLGATE_ADMIN_URL", "http://127.0.0.1:1"),
        ("TOLLGATE_KEY", &*tenant.caller.key),
    ];
    let args = [
        "chat",
        "one two three",
        "--model",
        "gpt-4o-mini",
        "--max-tokens",
        "5",
    ];
    let told = run(&[&args[..], &["--no-stream"]].concat(), &env, "").await;
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert_eq!(line(&told, "cost_usd"), "0.000003450");
    let told = run(&args, &env, "").await;
    assert_eq!(told.code, Some(0), "{}", told.err);
    assert_eq!(line(&told, "tokens_out"), "5");
    assert!(told.err.contains("is not known here"), "{}", told.err);
    world.close().await;
}
