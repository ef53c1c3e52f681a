//! The program as its operator meets it: it starts, keeps what it knows, ends well, and says what is wrong.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tollgate_tests::{
    Caller, Control, Engine, Gateway, Next, Plan, Program, World, found_in, run, until,
};

fn call() -> Value {
    json!({"model": "gpt-4o-mini", "max_tokens": 5, "messages": [{"role": "user", "content": "one two three"}]})
}

#[tokio::test(flavor = "multi_thread")]
async fn dev_prints_one_line_whose_every_key_works_and_keeps_them_for_the_next_start() {
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
    let mut first = Gateway::start(folder.path(), "first", &args, &[]).await;
    for name in [
        "url",
        "admin_url",
        "operator_key",
        "tenant_id",
        "admin_key",
        "caller_key",
        "integrations",
    ] {
        assert!(
            first.ready.get(name).is_some(),
            "no {name}: {}",
            first.ready
        );
    }
    assert_eq!(first.program.output().lines().count(), 1, "one line");
    for name in ["openai", "anthropic"] {
        let id = first.ready["integrations"][name].as_str().unwrap();
        let control = Control::new(&first.admin_url, first.text("admin_key"));
        let record = control.get(&format!("/integrations/{id}")).await;
        assert_eq!(
            (&record["status"], &record["provider_type"]),
            (&json!("enabled"), &json!(name))
        );
        assert!(record.get("credential_ref").is_none(), "{record}");
    }
    let answer = Caller::new(&first.url, first.text("caller_key"))
        .chat(&call())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    first.program.ask_to_end().await;
    assert!(
        first.program.ended().await.success(),
        "{}",
        first.program.messages()
    );

    let mut second = Gateway::start(folder.path(), "second", &args, &[]).await;
    for name in [
        "operator_key",
        "tenant_id",
        "admin_key",
        "caller_key",
        "integrations",
    ] {
        assert_eq!(
            second.ready[name], first.ready[name],
            "{name} changes at a restart"
        );
    }
    let answer = Caller::new(&second.url, second.text("caller_key"))
        .chat(&call())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let control = Control::new(&second.admin_url, second.text("admin_key"));
    assert_eq!(control.list("/telemetry/usage-history").await.len(), 2);
    second.program.kill().await;
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

#[tokio::test(flavor = "multi_thread")]
async fn the_canary_is_nowhere_whatever_happens_to_it() {
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let mut world = World::on(engine).await;
        let tenant = world.tenant().await;
        let integration = tenant.openai(&json!({})).await;
        tenant.anthropic(&json!({})).await;
        let mut answers = Vec::new();
        for status in [0, 401, 429, 500] {
            if status != 0 {
                let faults = json!({"error_rate": 1.0, "error_status": status});
                world.simulator.faults(&faults).await;
            }
            let answer = tenant.caller.chat(&call()).await;
            answers.push(format!("{:?} {}", answer.headers, answer.text()));
        }
        world.simulator.no_faults().await;
        let canary = json!({"api_key": tollgate_tests::CANARY});
        for wrong in [
            json!({"name": "x", "provider_type": "openai", "credential_ref": tollgate_tests::CANARY}),
            json!({"name": "x", "provider_type": "openai", "credential": {"key": tollgate_tests::CANARY}}),
            json!({"name": "x", "provider_type": "custom", "credential": canary, "config": {"base_url": "http://169.254.169.254/"}}),
            json!({"name": "x", "provider_type": "openai", "credential": canary, "credential_ref": "env://X"}),
        ] {
            let answer = tenant
                .control
                .send(http::Method::POST, "/integrations", Some(&wrong))
                .await;
            assert!(
                (400..500).contains(&answer.status),
                "{wrong}: {} {}",
                answer.status,
                answer.text()
            );
            answers.push(format!("{:?} {}", answer.headers, answer.text()));
        }
        let moved = json!({"config": {"base_url": "http://127.0.0.1:9/v1"}});
        let path = format!("/integrations/{}", integration.id);
        let answer = tenant
            .control
            .send(http::Method::PATCH, &path, Some(&moved))
            .await;
        assert!(
            (400..500).contains(&answer.status),
            "a credential goes elsewhere: {}",
            answer.text()
        );
        answers.push(integration.record().await.to_string());
        answers.push(Value::from(tenant.history().await).to_string());
        for page in ["/metrics", "/readyz?verbose"] {
            let answer = Caller::new(&world.gateway.admin_url, "")
                .bare(page, &[], "")
                .await;
            assert_eq!(answer.status, 200, "{page}: {}", answer.text());
            answers.push(answer.text());
        }
        std::fs::write(world.folder().join("answers.txt"), answers.join("\n")).unwrap();
        let log = world.gateway.program.messages();
        assert!(log.contains("TRACE"), "the log is not at its fullest");
        world.kill_and_restart().await;
        world.close().await;
    }
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
    let holds = |file: &std::path::Path| {
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
async fn the_simulator_runs_alone_and_the_canary_is_found_where_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let args = ["simulate", "--json", "--listen", "127.0.0.1:0"];
    let mut program = Program::start(folder.path(), "alone", &args, &[]);
    let ready = program.ready().await;
    let answer = Caller::new(ready["url"].as_str().unwrap(), tollgate_tests::CANARY)
        .chat(&call())
        .await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    program.ask_to_end().await;
    assert!(program.ended().await.success());
    assert!(found_in(folder.path()).is_empty());
}
