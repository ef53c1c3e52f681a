//! The program as people and scripts use it: its commands, its exit codes, and how it ends.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test stops where it fails"
)]

#[path = "program/gate.rs"]
mod gate;

use http::StatusCode;
use serde_json::{Value, json};
use tempfile::tempdir;
use tollgate::simulate::{self, Config, Faults, Simulator};

use self::gate::{Gate, run, text};

async fn provider() -> Simulator {
    simulate::start(Config::default()).await.unwrap()
}

fn chat(tokens: u64) -> Value {
    json!({
        "model": "gpt-4o-mini",
        "max_tokens": tokens,
        "messages": [{"role": "user", "content": "Say hello."}],
    })
}

/// What the ledger of the demo tenant adds up to.
async fn summary(gate: &Gate) -> Value {
    let (status, summary) = gate
        .ask("/api/v1/telemetry/usage-summary", "admin_key")
        .await;
    assert_eq!(status, StatusCode::OK, "{summary}");
    summary
}

async fn assert_books_exact(gate: &Gate) {
    let (status, report) = gate.ask("/api/v1/ledger/verify", "operator_key").await;
    assert_eq!(
        (status, &report["exact"]),
        (StatusCode::OK, &json!(true)),
        "{report}"
    );
}

/// The members of the line of `dev --json`, in their documented order.
fn assert_line_shape(said: &str) {
    let parts = said.split("\":");
    let found: Vec<&str> = parts.filter_map(|part| part.rsplit('"').next()).collect();
    let names = [
        "url",
        "admin_url",
        "operator_key",
        "tenant_id",
        "admin_key",
        "caller_key",
        "integrations",
        "openai",
        "anthropic",
        "provider_url",
        "data_dir",
    ];
    assert_eq!(found.get(..names.len()), Some(&names[..]), "{said}");
}

#[tokio::test]
async fn dev_prints_one_line_and_a_call_goes_through_it_into_the_books() {
    let folder = tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let gate = Gate::start(&[
        "dev",
        "--json",
        "--listen",
        "127.0.0.1:0",
        "--data-dir",
        place,
    ])
    .await;
    assert_line_shape(&gate.line);
    let answer = gate.call("/v1/chat/completions", &chat(5)).await;
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["x-tollgate-origin"], "provider");
    let answer: Value = serde_json::from_str(&text(answer).await).unwrap();
    assert_eq!(answer["usage"]["completion_tokens"], 5);

    let mut streamed = chat(7);
    streamed["stream"] = json!(true);
    let stream = text(gate.call("/v1/chat/completions", &streamed).await).await;
    assert!(stream.trim_end().ends_with("data: [DONE]"), "{stream}");
    assert!(
        !stream.contains("\"usage\":{"),
        "a usage that nobody asked for: {stream}"
    );

    let mut message = chat(3);
    message["model"] = json!("claude-sonnet-4-6");
    let message = text(gate.call("/v1/messages", &message).await).await;
    let message: Value = serde_json::from_str(&message).unwrap();
    assert_eq!(message["usage"]["output_tokens"], 3, "{message}");

    let summary = summary(&gate).await;
    assert_eq!(
        (&summary["total_calls"], &summary["total_tokens_out"]),
        (&json!(3), &json!(15))
    );
    assert_books_exact(&gate).await;
    let billed = std::fs::read_to_string(folder.path().join("provider-journal.jsonl")).unwrap();
    assert_eq!(billed.lines().count(), 3);
    gate.ask_to_end().await;
    assert_eq!(gate.ended().await.0, Some(0));
}

#[tokio::test]
async fn a_demonstration_without_a_folder_leaves_nothing_behind() {
    let gate = Gate::start(&["dev", "--json", "--listen", "127.0.0.1:0"]).await;
    let folder = std::path::PathBuf::from(gate.told("data_dir"));
    assert!(folder.join("tollgate.db").exists());
    gate.ask_to_end().await;
    assert_eq!(gate.ended().await.0, Some(0));
    assert!(!folder.exists());
}

#[tokio::test]
async fn a_call_in_flight_ends_whole_when_the_program_is_asked_to_end() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    provider
        .set_faults(Faults {
            chunk_interval_ms: 20,
            ..Faults::default()
        })
        .unwrap();
    let mut streamed = chat(30);
    streamed["stream"] = json!(true);
    let answer = gate.call("/v1/chat/completions", &streamed).await;
    gate.ask_to_end().await;
    // Whoever distributes calls is told, while those in flight still run.
    while !gate.read("/readyz").await.contains("draining") {}
    let stream = text(answer).await;
    assert!(stream.trim_end().ends_with("data: [DONE]"), "{stream}");
    let (code, said) = gate.ended().await;
    assert_eq!(code, Some(0), "{said}");

    let gate = Gate::dev(folder.path(), &provider.url()).await;
    assert_eq!(summary(&gate).await["total_tokens_out"], 30);
    assert_books_exact(&gate).await;
}

#[tokio::test]
async fn a_killed_program_comes_back_with_the_same_keys_and_books_what_was_in_flight() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    let done = gate.call("/v1/chat/completions", &chat(4)).await;
    assert_eq!(done.status(), StatusCode::OK);
    drop(text(done).await);
    // The provider has billed it, and will never answer.
    provider
        .set_faults(Faults {
            hang: true,
            ..Faults::default()
        })
        .unwrap();
    let body = chat(9);
    tokio::select! {
        answer = gate.call("/v1/chat/completions", &body) => panic!("an answer: {}", answer.status()),
        () = provider.billed_reaches(2) => {}
    }
    let before = gate.line.clone();
    let told = gate.ready.clone();
    gate.kill().await;

    provider.set_faults(Faults::default()).unwrap();
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    for name in [
        "operator_key",
        "tenant_id",
        "admin_key",
        "caller_key",
        "integrations",
    ] {
        assert_eq!(gate.ready[name], told[name], "{name} changed from {before}");
    }
    let (_, history) = gate
        .ask("/api/v1/telemetry/usage-history", "admin_key")
        .await;
    let rows = history["data"].as_array().unwrap();
    let codes: Vec<&Value> = rows.iter().map(|row| &row["error_code"]).collect();
    assert_eq!(codes, [&json!("interrupted"), &Value::Null], "{history}");
    assert_eq!(
        gate.call("/v1/chat/completions", &chat(1)).await.status(),
        StatusCode::OK
    );
    assert_books_exact(&gate).await;
}

#[tokio::test]
async fn nothing_is_served_without_a_master_key_and_init_makes_one_once() {
    let folder = tempdir().unwrap();
    let place = folder.path().join("data");
    let place = place.to_str().unwrap();
    let refused = run(&["serve", "--data-dir", place], &[], "").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.err.contains("tollgate init"), "{refused:?}");
    let init = ["init", "--json", "--data-dir", place];
    for is_first in [true, false] {
        let made = run(&init, &[], "").await;
        assert_eq!(made.code, Some(0), "{made:?}");
        let made: Value = serde_json::from_str(&made.out).unwrap();
        assert_eq!(made["operator_key"].is_string(), is_first, "{made}");
    }
    let key_file = std::fs::metadata(folder.path().join("data/master.key")).unwrap();
    assert_eq!(
        std::os::unix::fs::PermissionsExt::mode(&key_file.permissions()) & 0o777,
        0o600
    );
    let checked = run(&["serve", "--check", "--data-dir", place], &[], "").await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
}

#[tokio::test]
async fn the_first_operator_makes_a_tenant_in_what_is_served() {
    let folder = tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let made = run(&["init", "--json", "--data-dir", place], &[], "").await;
    let made: Value = serde_json::from_str(&made.out).unwrap();
    let key = made["operator_key"].as_str().unwrap();
    let gate = Gate::start(&[
        "serve",
        "--json",
        "--data-dir",
        place,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ])
    .await;
    let admin_url = gate.told("admin_url");
    let env = [("TOLLGATE_ADMIN_URL", admin_url), ("TOLLGATE_KEY", key)];
    let made = run(
        &["tenant", "create", "Acme", "--id", "acme", "--json"],
        &env,
        "",
    )
    .await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert_eq!(
        serde_json::from_str::<Value>(&made.out).unwrap()["id"],
        "acme"
    );
    let again = run(&["init", "--data-dir", place], &[], "").await;
    assert_eq!((again.code, &*again.out), (Some(0), ""), "{again:?}");
    let examined = run(
        &["doctor", "--data-dir", place, "--url", admin_url],
        &[],
        "",
    )
    .await;
    assert_eq!(examined.code, Some(0), "{examined:?}");
    let metrics = gate.read("/metrics").await;
    assert!(
        metrics.contains("tollgate_ready{check=\"store\"} 1"),
        "{metrics}"
    );
    gate.ask_to_end().await;
    let (code, said) = gate.ended().await;
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("ready: gateway http://127.0.0.1:"), "{said}");
    assert!(!said.contains(key));
}

#[tokio::test]
async fn the_doctor_finds_what_is_missing() {
    let folder = tempdir().unwrap();
    let place = folder.path().join("nothing");
    let args = [
        "doctor",
        "--json",
        "--url",
        "http://127.0.0.1:1",
        "--data-dir",
    ];
    let examined = run(
        &[args.as_slice(), &[place.to_str().unwrap()]].concat(),
        &[],
        "",
    )
    .await;
    assert_eq!(examined.code, Some(8), "{examined:?}");
    let report: Value = serde_json::from_str(&examined.out).unwrap();
    let failing = report["checks"].as_array().unwrap().iter();
    let failing = failing
        .filter(|check| check["state"] == "failing")
        .map(|check| &check["check"]);
    let failing: Vec<&Value> = failing.collect();
    assert!(failing.contains(&&json!("master key")), "{report}");
    assert!(failing.contains(&&json!("data directory")), "{report}");
    assert!(!place.exists(), "a doctor changes nothing");
}

#[tokio::test]
async fn commands_end_with_the_documented_exit_codes() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    let openai = gate.ready["integrations"]["openai"].as_str().unwrap();
    let missing = "00000000-0000-4000-8000-000000000000";
    let table: [(&str, &[&str], i32); 15] = [
        (
            "admin_key",
            &["integration", "update", "--hard-cap", openai],
            0,
        ),
        ("admin_key", &["usage", "summary"], 0),
        ("admin_key", &["integration", "limits", openai, "--json"], 0),
        (
            "admin_key",
            &[
                "integration",
                "update",
                openai,
                "--budget-cents",
                "0",
                "--rpm",
                "9",
            ],
            0,
        ),
        ("operator_key", &["ledger", "verify"], 0),
        ("operator_key", &["rollup", "rebuild"], 0),
        ("operator_key", &["key", "list", "--tenant", "demo"], 0),
        ("admin_key", &["integration", "sing"], 2),
        (
            "admin_key",
            &["integration", "update", openai, "--rpm", "-1"],
            2,
        ),
        ("admin_key", &["integration", "update", openai], 2),
        ("admin_key", &["key", "list", "--key", "tg_admin_canary"], 2),
        ("admin_key", &["integration", "get", missing], 3),
        ("admin_key", &["tenant", "list"], 4),
        (
            "operator_key",
            &["tenant", "create", "Demo", "--id", "demo"],
            5,
        ),
        (
            "admin_key",
            &["usage", "summary", "--url", "http://127.0.0.1:1"],
            7,
        ),
    ];
    for (key, args, code) in table {
        let ended = gate.command(key, args, "").await;
        assert_eq!(ended.code, Some(code), "{args:?}: {ended:?}");
        assert!(!ended.err.contains("canary"), "{ended:?}");
        assert_eq!(code != 0, ended.out.is_empty(), "{args:?}: {ended:?}");
    }
    let no_key = run(&["usage", "summary"], &[], "").await;
    assert_eq!(no_key.code, Some(4), "{no_key:?}");
}

#[tokio::test]
async fn a_credential_comes_from_standard_input_and_is_never_shown() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    let args = [
        "integration",
        "create",
        "second",
        "--provider-type",
        "openai",
        "--credential",
        "-",
        "--base-url",
        &provider.url(),
        "--json",
    ];
    let made = gate
        .command("admin_key", &args, "sk-canary-0123456789\n")
        .await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let integration: Value = serde_json::from_str(&made.out).unwrap();
    assert_eq!(integration["credential"]["last4"], "6789");
    let id = integration["id"].as_str().unwrap();
    let enabled = gate
        .command("admin_key", &["integration", "enable", id], "")
        .await;
    assert!(enabled.out.contains("enabled"), "{enabled:?}");
    let deleted = gate
        .command("admin_key", &["integration", "delete", id], "")
        .await;
    assert_eq!(deleted.code, Some(0), "{deleted:?}");
    let listed = gate
        .command("admin_key", &["integration", "list"], "")
        .await;
    assert!(!listed.out.contains("second"), "{listed:?}");
    for ended in [made, enabled, deleted, listed] {
        assert!(!format!("{ended:?}").contains("canary"), "{ended:?}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_told_and_another_control_plane_port_is_found() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let refused = run(&["dev", "--listen", &address], &[], "").await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains(&address) && refused.err.contains("name another"),
        "{refused:?}"
    );
}

#[tokio::test]
async fn settings_with_mistakes_are_told_all_at_once() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("tollgate.toml");
    std::fs::write(&file, "[gateway]\nlisten = 'x'\nnonsense = 1\n").unwrap();
    let env = [("TOLLGATE__LOG__FORMAT", "xml")];
    let args = ["serve", "--config", file.to_str().unwrap()];
    let refused = run(&args, &env, "").await;
    assert_eq!(refused.code, Some(2), "{refused:?}");
    let places = [
        "tollgate.toml:2:",
        "tollgate.toml:3:",
        "TOLLGATE__LOG__FORMAT:",
    ];
    assert!(
        places.iter().all(|place| refused.err.contains(place)),
        "{refused:?}"
    );
    let checked = run(&[args.as_slice(), &["--check"]].concat(), &env, "").await;
    assert_eq!(checked.code, Some(8), "{checked:?}");
}

#[tokio::test]
async fn completions_are_printed_for_every_shell() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = run(&["completions", shell], &[], "").await;
        assert_eq!(ended.code, Some(0), "{shell}");
        assert!(ended.out.contains("integration"), "{shell}");
    }
}

#[tokio::test]
async fn a_store_in_use_gets_no_other_master_key() {
    let (folder, other) = (tempdir().unwrap(), tempdir().unwrap());
    let (place, elsewhere) = (folder.path().to_str().unwrap(), other.path());
    for place in [place, elsewhere.to_str().unwrap()] {
        let made = run(&["init", "--data-dir", place], &[], "").await;
        assert_eq!(made.code, Some(0), "{made:?}");
    }
    let key_file = folder.path().join("master.key");
    std::fs::remove_file(&key_file).unwrap();
    for (command, code) in [("init", 1), ("dev", 1), ("serve", 2)] {
        let refused = run(&[command, "--data-dir", place], &[], "").await;
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(
            refused.err.contains("restore it from your backup"),
            "{refused:?}"
        );
        assert!(!key_file.exists());
    }
    std::fs::copy(elsewhere.join("master.key"), &key_file).unwrap();
    for (args, code) in [
        (["serve", "--data-dir", place].as_slice(), 1),
        (&["serve", "--check", "--data-dir", place], 8),
        (
            &["doctor", "--data-dir", place, "--url", "http://127.0.0.1:1"],
            8,
        ),
    ] {
        let refused = run(args, &[], "").await;
        assert_eq!(refused.code, Some(code), "{refused:?}");
        let said = format!("{}{}", refused.out, refused.err);
        assert!(said.contains("begun with"), "{said}");
    }
}

#[tokio::test]
async fn init_makes_the_settings_file_that_the_environment_names() {
    let folder = tempdir().unwrap();
    let file = folder.path().join("named.toml");
    let env = [("TOLLGATE_CONFIG", file.to_str().unwrap())];
    let place = folder.path().join("data");
    let made = run(&["init", "--data-dir", place.to_str().unwrap()], &env, "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    assert!(file.exists() && !place.join("tollgate.toml").exists());
}

#[tokio::test]
async fn what_is_asked_wrongly_ends_with_the_code_of_usage() {
    let folder = tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (missing, empty, trace) = (path("missing"), path("empty"), path("trace.csv"));
    std::fs::write(&empty, "\n").unwrap();
    std::fs::write(&trace, "a,b\n1,2\n").unwrap();
    let key = [
        ("TOLLGATE_KEY", "tg_x"),
        ("TOLLGATE__VAULT__KEY_FILE", "env:NOT_SET"),
    ];
    for args in [
        ["usage", "summary", "--key-file", &missing],
        ["usage", "summary", "--key-file", &empty],
        ["serve", "--config", &missing, "--json"],
        ["serve", "--json", "--data-dir", &missing],
        ["replay", &trace, "--url", "http://127.0.0.1:1"],
        ["simulate", "--json", "--error-rate", "2"],
        ["simulate", "--json", "--error-status", "200"],
    ] {
        let refused = run(&args, &key, "").await;
        assert_eq!(refused.code, Some(2), "{args:?}: {refused:?}");
    }
}

#[tokio::test]
async fn a_replay_that_no_call_survives_says_why() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let trace = folder.path().join("trace.csv");
    let rows = "TIMESTAMP,ContextTokens,GeneratedTokens\n2026-01-01 00:00:00,1,1\n";
    std::fs::write(&trace, rows).unwrap();
    let gate = Gate::dev(&folder.path().join("data"), &provider.url()).await;
    let wrong = [("TOLLGATE_KEY", "tg_call_wrong")];
    for (url, code) in [("http://127.0.0.1:1", 7), (gate.told("url"), 4)] {
        let args = ["replay", trace.to_str().unwrap(), "--url", url];
        let ended = run(&args, &wrong, "").await;
        assert_eq!(ended.code, Some(code), "{ended:?}");
    }
    let asked = gate
        .command(
            "admin_key",
            &["usage", "summary", "--url", gate.told("url")],
            "",
        )
        .await;
    assert!(asked.err.contains("not a control plane"), "{asked:?}");
}

#[tokio::test]
async fn what_is_printed_leads_on() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let gate = Gate::dev(folder.path(), &provider.url()).await;
    let args = [
        "integration",
        "create",
        "third",
        "--provider-type",
        "openai",
        "--credential",
        "-",
        "--tenant",
        "demo",
    ];
    let made = gate.command("operator_key", &args, "sk-0123456789").await;
    assert!(made.err.contains(" --tenant demo`"), "{made:?}");
    text(gate.call("/v1/chat/completions", &chat(1)).await).await;
    let history = gate.command("admin_key", &["usage", "history"], "").await;
    let openai = gate.ready["integrations"]["openai"].as_str().unwrap();
    assert!(
        history.out.contains("INTEGRATION") && history.out.contains(openai),
        "{history:?}"
    );
    let verified = gate
        .command("operator_key", &["rollup", "verify"], "")
        .await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(!verified.out.contains("balances"), "{verified:?}");
}

#[tokio::test]
async fn a_journal_in_use_is_a_clash_and_no_internal_error() {
    let (folder, provider) = (tempdir().unwrap(), provider().await);
    let _gate = Gate::dev(folder.path(), &provider.url()).await;
    let other = tempdir().unwrap();
    let place = other.path().to_str().unwrap();
    let made = run(&["init", "--data-dir", place], &[], "").await;
    assert_eq!(made.code, Some(0), "{made:?}");
    let journal = folder.path().join("journal");
    let env = [("TOLLGATE__APP__JOURNAL_DIR", journal.to_str().unwrap())];
    let args = [
        "serve",
        "--data-dir",
        place,
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let refused = run(&args, &env, "").await;
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(
        refused.err.contains("in use by another process") && !refused.err.contains("internal"),
        "{refused:?}"
    );
}
