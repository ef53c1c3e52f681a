//! The audit trail as whoever has the database and the commands sees it: what is done to the file while the program is
//! stopped is named by `tollgate audit verify`.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::Command;

use serde_json::{Value, json};
use tollgate_tests::{Engine, Plan, Run, Tenant, World, run};

/// Runs statements on the SQLite file as any tool would; what it complains about, if it does.
fn change(world: &World, statements: &str) -> Result<(), String> {
    let script = "import sqlite3, sys; books = sqlite3.connect(sys.argv[1]); books.executescript(sys.argv[2])";
    let file = world.data_dir().join("tollgate.db");
    let output = Command::new("python3")
        .args(["-c", script])
        .arg(file)
        .arg(statements)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr).into_owned();
    if output.status.success() {
        Ok(())
    } else {
        Err(complaint)
    }
}

async fn audit(world: &World, args: &[&str]) -> Run {
    let place = ["--url", &world.gateway.admin_url];
    let args = [&["audit"], args, &place].concat();
    run(&args, &[("TOLLGATE_KEY", &world.gateway.operator_key)], "").await
}

async fn verify(world: &World, tenant: &Tenant) -> (Option<i32>, Value) {
    let found = audit(world, &["verify", "--json", "--tenant", &tenant.id]).await;
    let report: Value = serde_json::from_str(&found.out).unwrap();
    (found.code, report["first_bad"].clone())
}

const TRIGGERS: [&str; 4] = [
    "audit_log_no_update",
    "audit_log_no_delete",
    "audit_heads_no_delete",
    "audit_heads_no_return",
];

/// A tenant with a few entries, and the head of its trail as the command printed it.
async fn trail(world: &World) -> (Tenant, i64, String) {
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({"budget_limit_cents": 100})).await;
    for cents in [200, 300, 400] {
        let patch = json!({ "budget_limit_cents": cents });
        integration.update(&patch).await;
    }
    let entries = tenant.control.list("/audit").await;
    let last = entries[0]["seq"].as_i64().unwrap();
    let whole = audit(world, &["verify", "--tenant", &tenant.id]).await;
    assert_eq!(whole.code, Some(0), "{}", whole.err);
    let head = whole.out.trim().to_owned();
    assert!(head.starts_with(&format!("{last}:")), "{head}");
    (tenant, last, head)
}

/// The tables refuse; then their triggers are dropped, as only the file's owner can.
fn open_to_change(world: &World) {
    for statement in [
        "UPDATE audit_log SET action = 'x'",
        "DELETE FROM audit_log",
        "DELETE FROM audit_heads",
    ] {
        let refused = change(world, statement).unwrap_err();
        assert!(refused.contains("append-only"), "{statement}: {refused}");
    }
    for trigger in TRIGGERS {
        change(world, &format!("DROP TRIGGER {trigger}")).unwrap();
    }
}

/// What may be done to a trail of so many entries, and what is then named.
fn damages(of: &str, last: i64) -> Vec<(String, i64, &'static str)> {
    let next = last + 1;
    let swap = format!(
        "UPDATE audit_log SET seq = -2 WHERE {of} AND seq = 2; UPDATE audit_log SET seq = 2 WHERE {of} AND seq = 3; \
         UPDATE audit_log SET seq = 3 WHERE {of} AND seq = -2"
    );
    let forge = format!(
        "INSERT INTO audit_log SELECT tenant_id, {next}, actor, action, target, before, after, request_id, created_at, \
         hash FROM audit_log WHERE {of} AND seq = 2; UPDATE audit_heads SET seq = {next} WHERE {of}"
    );
    let flip = format!("UPDATE audit_log SET after = replace(after, '300', '301') WHERE {of}");
    let blame =
        format!("UPDATE audit_log SET actor = '{{\"kind\":\"system\"}}' WHERE {of} AND seq = 1");
    vec![
        (flip, last - 1, "changed"),
        (blame, 1, "changed"),
        (
            format!("DELETE FROM audit_log WHERE {of} AND seq = 3"),
            3,
            "missing",
        ),
        (swap, 2, "changed"),
        (
            format!("DELETE FROM audit_log WHERE {of} AND seq > {last} - 2"),
            last - 1,
            "tail_cut",
        ),
        (forge, next, "changed"),
        ("DELETE FROM audit_log".to_owned(), 1, "tail_cut"),
        (
            format!("DELETE FROM audit_heads WHERE {of}"),
            last,
            "head_lost",
        ),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_done_to_the_trail_is_named() {
    let mut world = World::start_on_sqlite().await;
    let (tenant, last, _) = trail(&world).await;
    world.stop_gateway().await;
    open_to_change(&world);
    let keep = "CREATE TABLE kept AS SELECT * FROM audit_log; CREATE TABLE kept_heads AS SELECT * FROM audit_heads";
    change(&world, keep).unwrap();
    for (done, seq, reason) in damages(&format!("tenant_id = '{}'", tenant.id), last) {
        change(&world, &done).unwrap();
        world.restart().await;
        let (code, bad) = verify(&world, &tenant).await;
        assert_eq!(code, Some(8), "{done}");
        let named = (&bad["seq"], &bad["reason"]);
        assert_eq!(named, (&json!(seq), &json!(reason)), "{done}: {bad}");
        world.stop_gateway().await;
        let mend = "DELETE FROM audit_log; DELETE FROM audit_heads; INSERT INTO audit_log SELECT * FROM kept; \
                    INSERT INTO audit_heads SELECT * FROM kept_heads";
        change(&world, mend).unwrap();
    }
    world.restart().await;
    assert_eq!(verify(&world, &tenant).await.0, Some(0));
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_put_back_to_an_earlier_state_is_told_by_a_head_that_was_kept() {
    let mut world = World::start_on_sqlite().await;
    let (tenant, last, head) = trail(&world).await;
    world.stop_gateway().await;
    open_to_change(&world);
    let (of, before) = (format!("tenant_id = '{}'", tenant.id), last - 1);
    let back = format!(
        "DELETE FROM audit_log WHERE {of} AND seq = {last}; UPDATE audit_heads SET seq = {before}, \
         hash = (SELECT hash FROM audit_log WHERE {of} AND seq = {before}) WHERE {of}"
    );
    change(&world, &back).unwrap();
    world.restart().await;
    assert_eq!(verify(&world, &tenant).await.0, Some(0));
    let args = ["verify", "--tenant", &tenant.id, "--head", &head];
    let kept = audit(&world, &args).await;
    assert_eq!(kept.code, Some(8), "{}", kept.err);
    assert!(
        kept.err.contains("the trail ends before it"),
        "{}",
        kept.err
    );
    let every = audit(&world, &["verify", "--all", "--json"]).await;
    assert_eq!(every.code, Some(0), "{}", every.err);
    world.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trail_is_read_and_verified_on_postgresql_by_who_may() {
    let world = World::start(Plan::on(Engine::Postgres)).await;
    let (tenant, other) = (world.tenant().await, world.tenant().await);
    tenant.openai(&json!({})).await;
    let listed = audit(
        &world,
        &[
            "list",
            "--tenant",
            &tenant.id,
            "--target",
            "integration",
            "--json",
        ],
    )
    .await;
    assert_eq!(listed.code, Some(0), "{}", listed.err);
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let actions: Vec<&str> = listed["data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| row["action"].as_str().unwrap())
        .collect();
    assert_eq!(actions, ["integration.enable", "integration.create"]);
    let table = audit(&world, &["list", "--all"]).await;
    assert!(
        table.out.contains("tenant.create") && table.out.contains(&tenant.id),
        "{}",
        table.out
    );
    let own = audit(
        &world,
        &["list", "--tenant", &other.id, "--target", "integration"],
    )
    .await;
    assert_eq!((own.code, own.out.as_str()), (Some(0), ""));
    for args in [
        &["verify"][..],
        &["verify", "--all"],
        &["verify", "--tenant", &tenant.id],
    ] {
        assert_eq!(audit(&world, args).await.code, Some(0), "{args:?}");
    }
    let caller = [("TOLLGATE_KEY", tenant.caller.key.as_str())];
    let denied = run(
        &["audit", "verify", "--url", &world.gateway.admin_url],
        &caller,
        "",
    )
    .await;
    assert_eq!(denied.code, Some(4), "{}", denied.err);
    // The second wall stands in what is shipped.
    let walls = world.cluster().rows(
        "SELECT 1 AS wall FROM pg_roles WHERE rolname = 'tollgate_tenant' AND NOT rolbypassrls",
    );
    assert_eq!(walls.trim(), r#"{"wall":1}"#);
    world.close().await;
}
