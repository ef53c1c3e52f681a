//! The installation as it was specified: which master keys are taken, and that nothing starts without one.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::path::Path;

use serde_json::Value;
use tempfile::{TempDir, tempdir};
use tollgate_tests::{Run, World, run};

/// An installation that was begun.
async fn installation() -> TempDir {
    let folder = tempdir().unwrap();
    let made = tollgate(folder.path(), &["init"]).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    folder
}

async fn tollgate(data: &Path, command: &[&str]) -> Run {
    let place = ["--data-dir", data.to_str().unwrap()];
    run(&[command, &place].concat(), &[], "").await
}

/// What every command that needs the keys says; the exit code is that of wrong settings.
async fn must_not_start(data: &Path, because: &str) {
    let refused = tollgate(data, &["serve"]).await;
    assert_eq!(refused.code, Some(2), "{}", refused.err);
    assert!(refused.err.contains(because), "{}", refused.err);
}

#[tokio::test]
async fn case_76_a_master_key_of_another_length_is_refused() {
    let folder = installation().await;
    let file = folder.path().join("master.key");
    let good = std::fs::read_to_string(&file).unwrap();
    let (_, key) = good
        .lines()
        .find(|line| line.starts_with("k1:"))
        .unwrap()
        .split_once(':')
        .unwrap();
    // 31, 33 and 16 bytes, nothing, and what is no base64.
    let wrong = [
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHg==",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8g",
        "AAECAwQFBgcICQoLDA0ODw==",
        "",
        "not base64 at all, but of forty-four letters!",
    ];
    for key_text in wrong {
        std::fs::write(&file, good.replace(key, key_text)).unwrap();
        must_not_start(folder.path(), "a key is 32 random bytes in base64").await;
    }
}

#[tokio::test]
async fn case_76_nothing_starts_without_a_master_key_outside_of_dev() {
    let folder = installation().await;
    let file = folder.path().join("master.key");
    let good = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> = good
        .lines()
        .filter(|line| !line.starts_with("k1:"))
        .collect();
    std::fs::write(&file, without.join("\n")).unwrap();
    must_not_start(folder.path(), "it holds no master key").await;
    std::fs::remove_file(&file).unwrap();
    must_not_start(folder.path(), "there is no master key file").await;
    // And none is made in silence beside a store that has one.
    let refused = tollgate(folder.path(), &["init"]).await;
    assert_eq!(refused.code, Some(1), "{}", refused.err);
    assert!(
        refused.err.contains("restore it from your backup"),
        "{}",
        refused.err
    );
    assert!(!file.exists());
    std::fs::write(&file, good).unwrap();
    let checked = tollgate(folder.path(), &["serve", "--check"]).await;
    assert_eq!(checked.code, Some(0), "{}", checked.err);
}

#[tokio::test]
async fn migrations_are_looked_at_and_applied_without_a_server() {
    let folder = tempdir().unwrap();
    let none = tollgate(folder.path(), &["migrate", "status"]).await;
    assert_eq!(none.code, Some(3), "{}", none.err);
    // The tables need the key file: new tables may have to be filled under its pepper.
    let began = installation().await;
    let key = began.path().join("master.key");
    std::fs::copy(key, folder.path().join("master.key")).unwrap();
    let done = tollgate(folder.path(), &["migrate", "up", "--json"]).await;
    assert_eq!(done.code, Some(0), "{}", done.err);
    let status = tollgate(folder.path(), &["migrate", "status", "--json"]).await;
    let [done, status] =
        [done.out, status.out].map(|out| serde_json::from_str::<Value>(&out).unwrap());
    assert_eq!(done, status);
    assert_eq!(status["pending"], serde_json::json!([]));
    assert_eq!(status["applied"][0]["name"], "books");
}

#[tokio::test]
async fn the_settings_in_force_are_shown_with_their_places_and_without_secrets() {
    let folder = installation().await;
    let env = [
        (
            "TOLLGATE__STORE__URL",
            "postgres://tollgate:pass-canary@localhost/tollgate",
        ),
        ("TOLLGATE__APP__LEDGER_BATCH_ROWS", "77"),
    ];
    let data = folder.path().to_str().unwrap();
    let args = [
        "config",
        "show",
        "--json",
        "--data-dir",
        data,
        "--listen",
        "127.0.0.1:7",
    ];
    let shown = run(&args, &env, "").await;
    assert_eq!(shown.code, Some(0), "{}", shown.err);
    assert!(!shown.out.contains("canary"), "{}", shown.out);
    let shown: Value = serde_json::from_str(&shown.out).unwrap();
    let row = |name: &str| {
        let rows = shown["data"].as_array().unwrap().iter();
        let row = rows.clone().find(|row| row["name"] == name).unwrap();
        (
            row["value"].clone(),
            row["source"].as_str().unwrap().to_owned(),
        )
    };
    assert_eq!(
        row("gateway.listen"),
        ("127.0.0.1:7".into(), "--listen".to_owned())
    );
    assert_eq!(
        row("app.ledger_batch_rows"),
        (77.into(), "TOLLGATE__APP__LEDGER_BATCH_ROWS".to_owned())
    );
    assert_eq!(row("store.url").1, "TOLLGATE__STORE__URL");
    assert!(row("admin.listen").1.contains("tollgate.toml:"), "{shown}");
    assert_eq!(
        row("gateway.stop_seconds"),
        (30.into(), "default".to_owned())
    );
    let wrong = [
        ("TOLLGATE__APP__LEDGER_BATCH_ROWS", "many"),
        ("TOLLGATE__GATEWAY__NOTHING", "1"),
    ];
    let checked = run(&["config", "check", "--data-dir", data], &wrong, "").await;
    assert_eq!(checked.code, Some(8), "{}", checked.err);
    for (name, _) in wrong {
        assert!(checked.err.contains(name), "{}", checked.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nodes_are_listed_and_the_one_that_answers_is_not_retired() {
    let world = World::start_on_sqlite().await;
    let env = [("TOLLGATE_KEY", world.gateway.operator_key.as_str())];
    let url = ["--json", "--url", world.gateway.admin_url.as_str()];
    let listed = run(&[&["node", "list"], &url[..]].concat(), &env, "").await;
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let node = &listed["data"][0];
    assert_eq!(
        (&node["status"], &node["answering"]),
        (&"running".into(), &true.into()),
        "{listed}"
    );
    let id = node["id"].as_str().unwrap();
    let itself = run(
        &[&["node", "retire", id, "--force"], &url[..]].concat(),
        &env,
        "",
    )
    .await;
    assert_eq!(itself.code, Some(5), "{}", itself.err);
    let unknown = "00000000-0000-4000-8000-000000000000";
    let unknown = run(&[&["node", "retire", unknown], &url[..]].concat(), &env, "").await;
    assert_eq!(unknown.code, Some(3), "{}", unknown.err);
    world.close().await;
}
