//! An export of many calls: whole, equal to the summary and to SQL, and in constant memory.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::fs::File;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tollgate_tests::{Control, World, binary, run, setting};

/// Rows, unless `TOLLGATE_EXPORT_ROWS` says another number.
const ROWS: i64 = 100_000;

/// By how much the gateway's memory may grow while it exports, in KiB: what a reading connection keeps of the file in memory (64
/// MiB), and a few pieces of a thousand rows. A ledger in memory would take more.
const GROWTH_KIB: u64 = 96 << 10;

/// Multiplies the one call that is there into so many, and makes the books agree.
const MULTIPLY: &str = r#"
import sqlite3, sys
books, rows = sqlite3.connect(sys.argv[1]), int(sys.argv[2])
names = [row[1] for row in books.execute("PRAGMA table_info(cus_llm_usage)")]
changed = {
    "id": "printf('%08x-0000-4000-8000-000000000000', n.n)", "call_id": "'bulk-' || n.n", "tokens_in": "u.tokens_in + n.n % 977",
    "created_at": "u.created_at + n.n / 7", "extra_data": "json_object('n', n.n)",
    "cost_cents": "(n.n * u.cost_nanos + 5000000) / 10000000 - ((n.n - 1) * u.cost_nanos + 5000000) / 10000000",
}
values = ", ".join(changed.get(name, "u." + name) for name in names)
books.execute(f"""WITH RECURSIVE n(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM n WHERE n < {rows})
    INSERT INTO cus_llm_usage ({", ".join(names)}) SELECT {values} FROM cus_llm_usage u, n""")
books.executescript("""
INSERT INTO call_keys (tenant_id, call_id, entry_hash, created_at)
    SELECT tenant_id, call_id, 0, created_at FROM cus_llm_usage WHERE call_id LIKE 'bulk-%';
UPDATE balances SET (settled_nanos, settled_tokens, posted_cents, calls) =
    (SELECT SUM(cost_nanos), SUM(tokens_in + tokens_out), SUM(cost_cents), COUNT(*) FROM cus_llm_usage);
UPDATE allowances SET (settled_nanos, settled_tokens) = (SELECT settled_nanos, settled_tokens FROM balances);
UPDATE cus_usage_daily SET (total_calls, total_tokens_in, total_tokens_out, total_cost_cents, total_cost_nanos, latency_sum_ms,
    latency_count) = (SELECT COUNT(*), SUM(tokens_in), SUM(tokens_out), SUM(cost_cents), SUM(cost_nanos), SUM(latency_ms),
    COUNT(latency_ms) FROM cus_llm_usage);
""")
books.commit()
"#;

/// The sums of a CSV file, by a reader that is not ours.
const SUM_CSV: &str = r#"
import csv, json, sys
from decimal import Decimal
calls, tokens_in, tokens_out, cents, usd, ids = 0, 0, 0, 0, Decimal(0), set()
with open(sys.argv[1], newline="") as file:
    for row in csv.DictReader(file, strict=True):
        calls += 1
        tokens_in += int(row["tokens_in"]); tokens_out += int(row["tokens_out"]); cents += int(row["cost_cents"])
        usd += Decimal(row["cost_usd"]); ids.add(row["id"])
assert len(ids) == calls, "a row stands twice"
print(json.dumps({"calls": calls, "tokens_in": tokens_in, "tokens_out": tokens_out, "cents": cents, "usd": f"{usd:.9f}"}))
"#;

/// The same by SQL.
const SUM_SQL: &str = "SELECT COUNT(*) AS calls, SUM(tokens_in) AS tokens_in, SUM(tokens_out) AS tokens_out, \
                       SUM(cost_cents) AS cents, printf('%d.%09d', SUM(cost_nanos) / 1000000000, \
                       SUM(cost_nanos) % 1000000000) AS usd FROM cus_llm_usage";

fn python(script: &str, args: &[&str]) -> String {
    let output = Command::new("python3")
        .args(["-c", script])
        .args(args)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// The most memory that the gateway has had, in KiB.
fn peak_kib(world: &World) -> u64 {
    let status =
        std::fs::read_to_string(format!("/proc/{}/status", world.gateway.program.id())).unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

async fn export(world: &World, key: &str, format: &str, file: &Path) {
    let mut command = tokio::process::Command::new(binary());
    command
        .args([
            "usage",
            "export",
            "--format",
            format,
            "--url",
            &world.gateway.admin_url,
        ])
        .env("TOLLGATE_KEY", key)
        .stdout(File::create(file).unwrap())
        .stderr(Stdio::piped());
    let running = command.spawn().unwrap();
    let output = running.wait_with_output().await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
}

fn sums_of(summary: &Value) -> Value {
    json!({
        "calls": summary["total_calls"], "tokens_in": summary["total_tokens_in"], "tokens_out": summary["total_tokens_out"],
        "cents": summary["total_cost_cents"], "usd": summary["total_cost_usd"],
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn an_export_is_whole_equals_the_summary_and_sql_and_takes_constant_memory() {
    let rows = setting("TOLLGATE_EXPORT_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
    let mut world = World::start_on_sqlite().await;
    let tenant = world.tenant().await;
    let integration = tenant.openai(&json!({})).await;
    let caller: Control = tenant.control.with_key(&tenant.caller.key);
    let record = json!({
        "integration_id": integration.id, "call_id": "first", "model": "gpt-4o", "tokens_in": 1_234, "tokens_out": 567,
        "latency_ms": 12, "error_message": "with, \"commas\"\nand lines", "session_id": "=session",
    });
    caller.post("/telemetry/llm-usage", &record).await;
    world.stop_gateway().await;
    let store = world.data_dir().join("tollgate.db");
    python(MULTIPLY, &[store.to_str().unwrap(), &rows.to_string()]);
    let by_sql = world.tables().rows(SUM_SQL).remove(0);
    world.restart().await;
    world.books_verify().await;
    let tenant = world.again(&tenant);
    let summary = tenant
        .control
        .get("/telemetry/usage-summary?group_by=model")
        .await;
    assert_eq!(sums_of(&summary), by_sql);
    assert_eq!(sums_of(&summary["by_model"][0]), by_sql);
    // The first export of a small part warms what is allocated once; verifying has read all of the ledger before.
    let file = world.folder().join("usage.csv");
    let before = peak_kib(&world);
    export(&world, &tenant.caller.key, "csv", &file).await;
    let after = peak_kib(&world);
    eprintln!("{rows} rows: VmHWM {before} KiB before, {after} KiB after");
    assert!(
        after - before < GROWTH_KIB,
        "{before} KiB grew to {after} KiB"
    );
    let by_csv: Value = serde_json::from_str(&python(SUM_CSV, &[file.to_str().unwrap()])).unwrap();
    assert_eq!(by_csv, by_sql);
    let lines = world.folder().join("usage.jsonl");
    export(&world, &tenant.caller.key, "jsonl", &lines).await;
    let count = "import sys; print(sum(1 for line in open(sys.argv[1])))";
    assert_eq!(
        python(count, &[lines.to_str().unwrap()]).trim(),
        rows.to_string()
    );
    // Everything that is left is searched for secrets, which takes long for files of this size.
    for file in [file, lines] {
        std::fs::remove_file(file).unwrap();
    }
    world.stop_gateway().await;
    world.end_unjoined().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ledger_of_all_tenants_is_one_file_and_has_one_header() {
    let world = World::start_on_sqlite().await;
    let mut wanted = Vec::new();
    let mut tenants = Vec::new();
    for calls in 1..=3 {
        let tenant = world.tenant().await;
        let integration = tenant.openai(&json!({})).await;
        let caller = tenant.control.with_key(&tenant.caller.key);
        for n in 0..calls {
            let record = json!({
                "integration_id": integration.id, "call_id": format!("call-{calls}-{n}"), "model": "gpt-4o",
                "tokens_in": 10, "tokens_out": 1,
            });
            caller.post("/telemetry/llm-usage", &record).await;
            wanted.push(format!("{} call-{calls}-{n}", tenant.id));
        }
        tenants.push(tenant);
    }
    wanted.sort();
    let read = "import csv, sys; rows = csv.DictReader(open(sys.argv[1], newline=''), strict=True)\n\
                print(*sorted(row['tenant_id'] + ' ' + row['call_id'] for row in rows), sep='\\n')";
    let file = world.folder().join("ledger.csv");
    let ledger = async |more: &[&str], format: &str| {
        let url = world.gateway.admin_url.as_str();
        let mut args = vec!["ledger", "export", "--url", url, "--format", format];
        args.extend_from_slice(more);
        let told = run(&args, &[("TOLLGATE_KEY", &world.gateway.operator_key)], "").await;
        assert_eq!(told.code, Some(0), "{}", told.err);
        told.out
    };
    std::fs::write(&file, ledger(&[], "csv").await).unwrap();
    let found = python(read, &[file.to_str().unwrap()]);
    assert_eq!(found.lines().collect::<Vec<_>>(), wanted);
    assert_eq!(ledger(&[], "jsonl").await.lines().count(), wanted.len());
    let one = ledger(&["--tenant", &tenants[2].id], "jsonl").await;
    assert_eq!(one.lines().count(), 3);
    world.close().await;
}
