//! The program as its operator meets it: it starts, keeps what it knows, ends well, and says what is wrong.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};
use tollgate_tests::{
    CANARY, Caller, Control, Engine, Gateway, Integration, Next, Plan, Program, Tenant, World,
    call, found_in, run, until,
};

/// Starts a demonstration with its own simulator on a data directory.
async fn dev(folder: &Path, name: &str) -> Gateway {
    let data_dir = folder.join("data");
    let place = [
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    let args = [&["dev", "--json"], &place[..]].concat();
    Gateway::start(folder, name, &args, &[]).await
}

async fn must_end_well(mut gateway: Gateway) {
    gateway.program.ask_to_end().await;
    let status = gateway.program.ended().await;
    assert!(status.success(), "{status}: {}", gateway.program.messages());
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_prints_one_line_whose_every_key_works() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = dev(folder.path(), "dev").await;
    let ready = gateway.ready.clone();
    for name in [
        "url",
        "admin_url",
        "operator_key",
        "tenant_id",
        "admin_key",
        "caller_key",
    ] {
        assert!(ready[name].is_string(), "no {name}: {ready}");
    }
    let control = Control::new(&gateway.admin_url, gateway.text("admin_key"));
    for name in ["openai", "anthropic"] {
        let id = ready["integrations"][name].as_str().unwrap();
        let record = control.get(&format!("/integrations/{id}")).await;
        let seen = (
            &record["status"],
            &record["provider_type"],
            &record["tenant_id"],
        );
        assert_eq!(seen, (&json!("enabled"), &json!(name), &ready["tenant_id"]));
        assert!(record.get("credential_ref").is_none(), "{record}");
    }
    let operator = Control::new(&gateway.admin_url, gateway.text("operator_key"));
    assert_eq!(operator.list("/tenants").await.len(), 1);
    let answer = Caller::new(&gateway.url, gateway.text("caller_key"))
        .chat(&call())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let journal = std::fs::read_to_string(folder.path().join("data/provider-journal.jsonl"));
    assert_eq!(
        journal.unwrap().lines().count(),
        1,
        "the built-in provider keeps its own books"
    );
    assert_eq!(gateway.program.output().lines().count(), 1, "one line");
    must_end_well(gateway).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_keeps_keys_integrations_and_books_for_its_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut ready = Value::Null;
    for start in 1..=3 {
        let gateway = dev(folder.path(), &format!("start-{start}")).await;
        let names = [
            "operator_key",
            "tenant_id",
            "admin_key",
            "caller_key",
            "integrations",
        ];
        for name in names.into_iter().filter(|_| start > 1) {
            assert_eq!(
                gateway.ready[name], ready[name],
                "{name} changes at a restart"
            );
        }
        ready = gateway.ready.clone();
        let answer = Caller::new(&gateway.url, gateway.text("caller_key"))
            .chat(&call())
            .await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let control = Control::new(&gateway.admin_url, gateway.text("admin_key"));
        assert_eq!(control.list("/telemetry/usage-history").await.len(), start);
        must_end_well(gateway).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_program_on_the_same_data_directory_is_refused_with_the_reason() {
    let world = World::on(Engine::Sqlite).await;
    let data_dir = world.data_dir();
    let args = [
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    let second = run(&args, &[], "").await;
    assert!(second.code.is_some_and(|code| code != 0), "{second:?}");
    assert!(
        second.err.contains("in use") || second.err.contains("another"),
        "{}",
        second.err
    );
    assert!(!second.err.contains("panicked"), "{}", second.err);
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    assert_eq!(
        tenant.caller.chat(&call()).await.status,
        200,
        "the first is not disturbed"
    );
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_word_to_end_lets_a_running_stream_end_first() {
    let mut world = World::start(Plan::on(Engine::Sqlite).provider("--chunk-interval-ms=60")).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let mut body = call();
    body["stream"] = json!(true);
    body["max_tokens"] = json!(20);
    let mut stream = tenant.caller.open("/v1/chat/completions", &body).await;
    assert!(matches!(stream.next().await, Next::Event(_)));
    world.gateway.program.ask_to_end().await;
    let late = Caller::new(&world.gateway.url, &tenant.caller.key);
    let refused = async || {
        let answer = late
            .attempt("/v1/chat/completions", &[], call().to_string())
            .await;
        answer.is_err().then_some(())
    };
    until("no new connection is taken", refused).await;
    let (events, end) = stream.rest().await;
    assert_eq!(end, Next::End);
    assert_eq!(events.last().unwrap(), "data: [DONE]");
    assert!(
        world.gateway.program.ended().await.success(),
        "{}",
        world.gateway.program.messages()
    );
    let rows = world.ledger();
    assert!(
        rows.iter().all(|row| row.usage_source == "provider"),
        "{rows:?}"
    );
    world.restart().await;
    world.close().await;
}

/// Uses the canary in ways that fail, each of which could tell it: what came back.
async fn misuse(tenant: &Tenant, integration: &Integration) -> Vec<String> {
    let canary = json!({"api_key": CANARY});
    let mut asked = Vec::new();
    for wrong in [
        json!({"name": "x", "provider_type": "openai", "credential_ref": CANARY}),
        json!({"name": "x", "provider_type": "openai", "credential": {"key": CANARY}}),
        json!({"name": "x", "provider_type": "openai", "credential": CANARY}),
        json!({"name": "x", "provider_type": CANARY, "credential": canary}),
        json!({"name": "x", "provider_type": "custom", "credential": canary, "config": {"base_url": "http://169.254.169.254/"}}),
        json!({"name": "x", "provider_type": "openai", "credential": canary, "credential_ref": "env://X"}),
    ] {
        asked.push((http::Method::POST, "/integrations".to_owned(), wrong));
    }
    // A credential never goes elsewhere than where it was entered for.
    let moved = json!({"config": {"base_url": "http://127.0.0.1:9/v1"}});
    asked.push((
        http::Method::PATCH,
        format!("/integrations/{}", integration.id),
        moved,
    ));
    let mut answers = Vec::new();
    for (method, path, body) in asked {
        let answer = tenant.control.send(method, &path, Some(&body)).await;
        assert!(
            (400..500).contains(&answer.status),
            "{body}: {} {}",
            answer.status,
            answer.text()
        );
        answers.push(format!("{:?} {}", answer.headers, answer.text()));
    }
    answers
}

/// Calls that the provider fails in every way that it knows: what came back.
async fn fail(world: &World, tenant: &Tenant) -> Vec<String> {
    let mut answers = Vec::new();
    for status in [429, 500, 401] {
        assert_eq!(tenant.caller.chat(&call()).await.status, 200);
        world
            .simulator
            .faults(&json!({"error_rate": 1.0, "error_status": status}))
            .await;
        let answer = tenant.caller.chat(&call()).await;
        answers.push(format!("{:?} {}", answer.headers, answer.text()));
        world.simulator.no_faults().await;
    }
    answers
}

async fn the_canary_is_nowhere(engine: Engine) {
    let mut world = World::on(engine).await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let mut answers = fail(&world, &tenant).await;
    answers.extend(misuse(&tenant, &integration).await);
    answers.push(integration.record().await.to_string());
    answers.push(Value::from(tenant.history().await).to_string());
    for page in ["/metrics", "/readyz?verbose"] {
        let answer = Caller::new(&world.gateway.admin_url, "")
            .bare(page, &[], "")
            .await;
        assert_eq!(answer.status, 200, "{page}: {}", answer.text());
        answers.push(answer.text());
    }
    // Beside what the programs write: closing the world looks at both.
    std::fs::write(world.folder().join("answers.txt"), answers.join("\n")).unwrap();
    assert!(
        world.gateway.program.messages().contains("TRACE"),
        "the log is not at its fullest"
    );
    world.kill_and_restart().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_is_nowhere_whatever_happens_to_it() {
    the_canary_is_nowhere(Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_is_nowhere_on_postgres_either() {
    the_canary_is_nowhere(Engine::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_loopback_is_listened_on_and_the_journal_has_no_prompt() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    let prompt = "the-prompt-that-nobody-keeps-7f3a";
    let mut body = call();
    body["messages"][0]["content"] = json!(prompt);
    assert_eq!(tenant.caller.chat(&body).await.status, 200);
    for url in [&world.gateway.url, &world.gateway.admin_url] {
        assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    }
    let folder = world.folder().to_owned();
    let holds = |file: &Path| {
        std::fs::read(file)
            .unwrap_or_default()
            .windows(prompt.len())
            .any(|part| part == prompt.as_bytes())
    };
    let files = [
        folder.clone(),
        folder.join("data"),
        folder.join("data/journal"),
    ];
    for file in files
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).into_iter().flatten().flatten())
    {
        assert!(
            !holds(&file.path()),
            "a prompt stands in {}",
            file.path().display()
        );
    }
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_that_are_wrong_are_all_told_at_once_with_their_place() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let args = [
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        data_dir.to_str().unwrap(),
    ];
    let env = [
        ("TOLLGATE__GATEWAY__FIRST_BYTE_SECONDS", "soon"),
        ("TOLLGATE__GATEWAY__NO_SUCH_THING", "1"),
        ("TOLLGATE__NOWHERE__X", "1"),
    ];
    let wrong = run(&args, &env, "").await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    for (variable, _) in env {
        assert!(wrong.err.contains(variable), "{}", wrong.err);
    }
    let keyless = folder.path().join("keyless");
    let args = [
        "serve",
        "--data-dir",
        keyless.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let serve = run(&args, &[], "").await;
    assert!(
        serve.code.is_some_and(|code| code != 0),
        "it starts without a master key: {serve:?}"
    );
    assert!(serve.err.contains("key"), "{}", serve.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_speak_to_a_running_gateway_and_end_with_the_code_of_what_happened() {
    let world = World::on(Engine::Sqlite).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    let operator = world.gateway.operator_key.clone();
    let url = world.gateway.admin_url.clone();
    let ask = async |args: &[&str], key: &str| {
        let args = [args, &["--json", "--url", &url]].concat();
        run(&args, &[("TOLLGATE_KEY", key)], "").await
    };
    for (args, code) in [
        (vec!["ledger", "verify"], 0),
        (vec!["ledger", "status"], 0),
        (vec!["rollup", "verify"], 0),
        (vec!["rollup", "rebuild"], 0),
        (vec!["tenant", "list"], 0),
        (vec!["tenant", "get", "no-such-tenant"], 3),
        (vec!["integration", "list", "--tenant", &tenant.id], 0),
        (vec!["key", "list", "--tenant", &tenant.id], 0),
        (vec!["usage", "summary", "--tenant", &tenant.id], 0),
        (vec!["usage", "history", "--tenant", &tenant.id], 0),
        (vec!["usage", "daily", "--tenant", &tenant.id], 0),
        (vec!["tenant", "no-such-verb"], 2),
    ] {
        let ran = ask(&args, &operator).await;
        assert_eq!(ran.code, Some(code), "{args:?}: {} {}", ran.out, ran.err);
        if code == 0 {
            let shown: Result<Value, _> = serde_json::from_str(&ran.out);
            assert!(shown.is_ok(), "{args:?}: {}", ran.out);
        }
    }
    assert_eq!(
        ask(&["tenant", "list"], &tenant.caller.key).await.code,
        Some(4)
    );
    assert_eq!(ask(&["tenant", "list"], "rubbish").await.code, Some(4));
    world.close().await;
    let args = ["tenant", "list", "--url", &url];
    assert_eq!(
        run(&args, &[("TOLLGATE_KEY", &operator)], "").await.code,
        Some(7),
        "nobody listens"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_canary_that_gets_into_the_books_is_found_there() {
    let folder = tempfile::tempdir().unwrap();
    let gateway = dev(folder.path(), "dev").await;
    let caller = Caller::new(&gateway.url, gateway.text("caller_key"));
    let headers = [("x-tollgate-session-id", CANARY)];
    let answer = caller
        .post("/v1/chat/completions", &headers, call().to_string())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    must_end_well(gateway).await;
    let found = found_in(folder.path());
    assert!(
        found.iter().any(|file| file.ends_with("tollgate.db")),
        "{found:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_simulator_runs_alone() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["simulate", "--json", "--listen", "127.0.0.1:0"];
    let mut program = Program::start(folder.path(), "alone", &args, &[]);
    let ready = program.ready().await;
    let answer = Caller::new(ready["url"].as_str().unwrap(), "any key")
        .chat(&call())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    program.ask_to_end().await;
    assert!(program.ended().await.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn init_makes_what_is_missing_and_changes_nothing_that_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let data_dir = folder.path().join("data");
    let place = ["--json", "--data-dir", data_dir.to_str().unwrap()];
    let args = [&["init"], &place[..]].concat();
    let made = run(&args, &[], "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let files = ["tollgate.toml", "master.key"].map(|name| data_dir.join(name));
    let before = files.clone().map(|file| std::fs::read(file).unwrap());
    let again = run(&args, &[], "").await;
    assert_eq!(again.code, Some(0), "{again:?}");
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert!(
        again["operator_key"].is_null(),
        "a key is shown again: {again}"
    );
    assert_eq!(
        files.clone().map(|file| std::fs::read(file).unwrap()),
        before
    );
    for file in &files {
        let permissions = std::fs::metadata(file).unwrap().permissions();
        assert_eq!(
            permissions.mode() & 0o077,
            0,
            "others can read {}",
            file.display()
        );
    }
    let config = made["config"].as_str().unwrap();
    let check = run(&["serve", "--check", "--config", config], &[], "").await;
    assert_eq!(check.code, Some(0), "{check:?}");
    let listen = ["--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0"];
    let serve = [&["serve", "--json", "--config", config], &listen[..]].concat();
    let gateway = Gateway::start(folder.path(), "serve", &serve, &[]).await;
    let operator = Control::new(&gateway.admin_url, made["operator_key"].as_str().unwrap());
    assert_eq!(operator.list("/tenants").await.len(), 0);
    let env = [("TOLLGATE_ADMIN_URL", gateway.admin_url.as_str())];
    let doctor = run(&["doctor", "--json", "--config", config], &env, "").await;
    assert_eq!(doctor.code, Some(0), "{doctor:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&doctor.out).unwrap()["ok"],
        true,
        "{doctor:?}"
    );
    must_end_well(gateway).await;
    for shell in ["bash", "zsh", "fish"] {
        let completions = run(&["completions", shell], &[], "").await;
        assert!(
            completions.code == Some(0) && completions.out.contains("integration"),
            "{shell}"
        );
    }
}
