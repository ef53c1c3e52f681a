//! Backups: made under load, restored elsewhere and in place, and refused where they would do harm.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;
use tollgate_tests::{
    CHAT, Caller, Control, Engine, Gateway, Join, Plan, Run, World, call, run, until,
};

async fn tollgate(command: &[&str], data: &Path, more: &[&str]) -> Run {
    let place = ["--data-dir", data.to_str().unwrap(), "--json"];
    run(&[command, more, &place].concat(), &[], "").await
}

/// Makes a backup of a world that runs.
async fn back_up(world: &World, file: &Path) -> Value {
    let more = [
        "--output",
        file.to_str().unwrap(),
        "--url",
        &world.gateway.admin_url,
    ];
    let made = tollgate(&["backup", "create"], &world.data_dir(), &more).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    serde_json::from_str(&made.out).unwrap()
}

async fn restore(file: &Path, data: &Path, more: &[&str]) -> Run {
    let command = ["backup", "restore", file.to_str().unwrap()];
    tollgate(&command, data, more).await
}

fn clients(caller: &Caller, stop: &Arc<AtomicBool>) -> JoinSet<()> {
    let mut clients = JoinSet::new();
    for _ in 0..8 {
        let (caller, stop) = (caller.clone(), Arc::clone(stop));
        clients.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let answer = caller.post(CHAT, &[], call().to_string()).await;
                assert_eq!(answer.status, 200, "{}", answer.text());
            }
        });
    }
    clients
}

/// A folder with nothing in it but the key file of a world.
fn elsewhere(world: &World) -> PathBuf {
    let folder = world.folder().join("elsewhere");
    std::fs::create_dir(&folder).unwrap();
    std::fs::copy(
        world.data_dir().join("master.key"),
        folder.join("master.key"),
    )
    .unwrap();
    folder
}

/// The store's own files of a data directory: not its locks.
fn store_files(data: &Path) -> Vec<(String, Vec<u8>)> {
    let entries = std::fs::read_dir(data)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_name().unwrap().to_str().unwrap().to_owned();
    let own = entries.filter(|path| {
        let name = name(path);
        name.starts_with("tollgate.db")
            && Path::new(&name).extension().is_none_or(|end| end != "lock")
    });
    let mut files: Vec<_> = own
        .map(|path| (name(&path), std::fs::read(&path).unwrap()))
        .collect();
    files.sort();
    files
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_made_under_load_is_whole_and_serves_elsewhere() {
    let mut world = World::start(Plan::quiet(Engine::Sqlite).provider("--latency-ms=2")).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({"budget_limit_cents": 1_000})).await;
    let stop = Arc::new(AtomicBool::new(false));
    let clients = clients(&tenant.caller, &stop);
    let reached = async || (world.simulator.billed() >= 60).then_some(());
    until("calls before the backup", reached).await;
    let file = world.folder().join("backup.db");
    let made = back_up(&world, &file).await;
    assert!(made["rows"].as_u64().unwrap() > 0, "{made}");
    let goal = world.simulator.billed() + 30;
    let reached = async || (world.simulator.billed() >= goal).then_some(());
    until("calls after the backup", reached).await;
    stop.store(true, Ordering::Relaxed);
    clients.join_all().await;
    world.holds_are_gone().await;
    world.stop_gateway().await;
    let rows = world.ledger();
    Join::of(&world.simulator.lines(), &rows).must_be_exact();
    let made_rows = usize::try_from(made["rows"].as_u64().unwrap()).unwrap();
    assert!(made_rows < rows.len(), "{made_rows} of {}", rows.len());

    let gateway = served_elsewhere(&world, &file, &made).await;
    // What the old node had drawn of the budget is free again, and its keys still work.
    let caller = Caller::new(&gateway.url, &tenant.caller.key);
    let answer = caller.chat(&call()).await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    drop(gateway);
    world.end_unjoined().await;
}

/// Restores a backup where nothing was, and serves it there.
async fn served_elsewhere(world: &World, file: &Path, made: &Value) -> Gateway {
    let data = elsewhere(world);
    let restored = restore(file, &data, &[]).await;
    assert_eq!(restored.code, Some(0), "{}", restored.err);
    let told: Value = serde_json::from_str(&restored.out).unwrap();
    assert_eq!(
        (&told["rows"], &told["cost_nanos"]),
        (&made["rows"], &made["cost_nanos"])
    );
    assert_eq!(told["verified_rows"], made["rows"], "{told}");
    assert_eq!(told["retired_nodes"].as_array().unwrap().len(), 1, "{told}");
    let args = [
        "serve",
        "--json",
        "--data-dir",
        data.to_str().unwrap(),
        "--listen",
        "127.0.0.1:0",
        "--admin-listen",
        "127.0.0.1:0",
    ];
    let env = [("TOLLGATE__PROVIDERS__ALLOW_LOOPBACK", "true")];
    let gateway = Gateway::start(world.folder(), "elsewhere", &args, &env).await;
    let operator = Control::new(&gateway.admin_url, &world.gateway.operator_key);
    let books = operator.get("/ledger/verify").await;
    assert_eq!(
        (&books["exact"], &books["rows"]),
        (&json!(true), &made["rows"]),
        "{books}"
    );
    let cost = rows_cost(&operator).await;
    assert_eq!(cost, made["cost_nanos"].as_i64().unwrap());
    gateway
}

async fn rows_cost(operator: &Control) -> i64 {
    let status = operator.get("/ledger/status").await;
    tollgate_tests::nanos_of_usd(status["ledger"]["cost_usd"].as_str().unwrap())
}

/// Keeps everybody from writing to the store until it is dropped.
async fn locked(database: &Path) -> Child {
    const SCRIPT: &str = "\
import sqlite3, sys, time
store = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=30)
store.execute('BEGIN IMMEDIATE')
print('locked', flush=True)
sys.stdin.read()
";
    let mut python = Command::new("python3");
    python.args(["-c", SCRIPT]).arg(database).kill_on_drop(true);
    let mut child = python
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert_eq!(lines.next_line().await.unwrap().as_deref(), Some("locked"));
    child
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_and_the_journal_that_survived_make_complete_books() {
    let mut world = World::start(Plan::quiet(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    for _ in 0..20 {
        assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    }
    world.holds_are_gone().await;
    let file = world.folder().join("backup.db");
    let made = back_up(&world, &file).await;
    assert_eq!(made["rows"], 20, "{made}");
    // From here on the store takes nothing: what is called now is in the journal alone.
    let mut lock = locked(&world.data_dir().join("tollgate.db")).await;
    for _ in 0..7 {
        assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    }
    world.gateway.program.kill().await;
    lock.kill().await.unwrap();
    let refused = restore(&file, &world.data_dir(), &[]).await;
    assert_eq!(refused.code, Some(5), "{}", refused.err);
    let restored = restore(&file, &world.data_dir(), &["--replace"]).await;
    assert_eq!(restored.code, Some(0), "{}", restored.err);
    let told: Value = serde_json::from_str(&restored.out).unwrap();
    assert_eq!(
        told["retired_nodes"],
        json!([]),
        "the node of this folder goes on: {told}"
    );
    // Out of the way of those who look for the store in the folder.
    let aside = told["moved_aside"].as_str().unwrap();
    std::fs::rename(aside, world.folder().join("old.db")).unwrap();
    world.restart().await;
    assert_eq!(world.close().await.len(), 27);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_that_would_do_harm_leaves_the_store_as_it_was() {
    let mut world = World::start(Plan::quiet(Engine::Sqlite)).await;
    let tenant = world.tenant().await;
    tenant.openai(&json!({})).await;
    assert_eq!(tenant.caller.chat(&call()).await.status, 200);
    let file = world.folder().join("backup.db");
    back_up(&world, &file).await;
    let running = restore(&file, &world.data_dir(), &["--replace"]).await;
    assert_eq!(running.code, Some(5), "{}", running.err);
    world.holds_are_gone().await;
    world.stop_gateway().await;
    let before = store_files(&world.data_dir());
    let whole = std::fs::read(&file).unwrap();
    let flipped: Vec<u8> = whole
        .iter()
        .enumerate()
        .map(|(at, byte)| if at % 3_001 == 3_000 { !byte } else { *byte })
        .collect();
    let cut = whole[..whole.len() / 2].to_vec();
    let wrong = [
        ("flipped", flipped),
        ("cut", cut),
        ("text", b"not a database".to_vec()),
        ("empty", Vec::new()),
    ];
    for (name, bytes) in wrong {
        let bad = world.folder().join(format!("{name}.db"));
        std::fs::write(&bad, bytes).unwrap();
        let refused = restore(&bad, &world.data_dir(), &["--replace"]).await;
        assert_eq!(refused.code, Some(8), "{name}: {}", refused.err);
        assert!(
            refused.err.contains("is not restored"),
            "{name}: {}",
            refused.err
        );
        assert!(
            store_files(&world.data_dir()) == before,
            "{name}: the store was touched"
        );
    }
    // A plain copy of a store says nothing of itself.
    let copy = world.data_dir().join("tollgate.db");
    let refused = restore(&copy, &world.data_dir(), &["--replace"]).await;
    assert_eq!(refused.code, Some(8), "{}", refused.err);
    // With another installation's keys nothing in it would open.
    let foreign = world.folder().join("foreign");
    let made = tollgate(&["init"], &foreign, &[]).await;
    assert_eq!(made.code, Some(0), "{}", made.err);
    let refused = restore(&file, &foreign, &["--replace"]).await;
    assert_eq!(refused.code, Some(8), "{}", refused.err);
    assert!(
        refused.err.contains("another installation"),
        "{}",
        refused.err
    );
    assert!(store_files(&world.data_dir()) == before);
    world.restart().await;
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgres_the_commands_say_what_to_use_instead() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let env = [(
        "TOLLGATE__STORE__URL",
        "postgres://tollgate@localhost/tollgate",
    )];
    for command in [&["backup", "create"][..], &["backup", "restore", "file.db"]] {
        let args = [command, &["--data-dir", data]].concat();
        let refused = run(&args, &env, "").await;
        assert_eq!(refused.code, Some(2), "{}", refused.err);
        assert!(refused.err.contains("pg_dump"), "{}", refused.err);
    }
}
