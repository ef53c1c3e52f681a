//! Real traffic, call by call: the sums of the ledger are known beforehand and must be met exactly.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use serde_json::{Value, json};
use tollgate_tests::{Engine, Plan, World, cost_of, nanos_of_usd, repository, run};

/// A recorded trace, and what it adds up to.
struct Trace {
    file: &'static str,
    calls: usize,
    tokens_in: u64,
    tokens_out: u64,
}

const CONVERSATION: Trace = Trace {
    file: "conv.csv",
    calls: 19_366,
    tokens_in: 22_361_870,
    tokens_out: 4_088_665,
};
const CODE: Trace = Trace {
    file: "code.csv",
    calls: 8_819,
    tokens_in: 18_059_974,
    tokens_out: 245_896,
};

async fn is_booked_exactly(trace: &Trace, engine: Engine) {
    let file = repository()
        .join("../shared/data/azure-llm-2023")
        .join(trace.file);
    if !file.exists() {
        eprintln!(
            "!!!! SKIPPED: {} is not here, so nothing was replayed",
            file.display()
        );
        return;
    }
    let world = World::start(Plan::quiet(engine)).await;
    let tenant = world.tenant().await;
    let integration = tenant
        .openai(&json!({"budget_limit_cents": 1_000_000_000}))
        .await;
    let args = [
        "replay",
        file.to_str().unwrap(),
        "--speed",
        "0",
        "--json",
        "--url",
        &world.gateway.url,
    ];
    let replay = run(&args, &[("TOLLGATE_KEY", &tenant.caller.key)], "").await;
    assert_eq!(replay.code, Some(0), "{} {}", replay.out, replay.err);
    let bill: Value = serde_json::from_str(&replay.out).unwrap();
    eprintln!(
        "{}: {} calls/s, {bill}",
        trace.file, bill["calls_per_second"]
    );
    assert_eq!(
        (&bill["ok"], &bill["retries"]),
        (&json!(trace.calls), &json!(0)),
        "{bill}"
    );
    let summary = tenant.control.get("/telemetry/usage-summary").await;
    let used = integration.used_nanos().await;
    for check in [["ledger", "verify"], ["rollup", "verify"]] {
        let env = [("TOLLGATE_KEY", &*world.gateway.operator_key)];
        let verify = run(
            &[
                check[0],
                check[1],
                "--json",
                "--url",
                &world.gateway.admin_url,
            ],
            &env,
            "",
        )
        .await;
        assert_eq!(
            verify.code,
            Some(0),
            "{check:?}: {} {}",
            verify.out,
            verify.err
        );
    }
    let rows = world.close().await;
    assert_eq!(rows.len(), trace.calls);
    assert!(
        rows.iter()
            .all(|row| row.usage_source == "provider" && row.error_code.is_none())
    );
    let tokens_in: u64 = rows.iter().map(|row| row.tokens_in).sum();
    let tokens_out: u64 = rows.iter().map(|row| row.tokens_out).sum();
    assert_eq!((tokens_in, tokens_out), (trace.tokens_in, trace.tokens_out));
    let wrong = rows.iter().find(|row| row.cost_nanos != cost_of(row));
    assert!(wrong.is_none(), "{wrong:?}");
    let nanos: i64 = rows.iter().map(|row| row.cost_nanos).sum();
    let cents: i64 = rows.iter().map(|row| row.cost_cents).sum();
    assert!(
        (cents * 10_000_000 - nanos).abs() <= 5_000_000,
        "{cents} cents for {nanos} nano-dollars"
    );
    assert_eq!(
        (used, nanos_of_usd(bill["cost_usd"].as_str().unwrap())),
        (nanos, nanos),
        "{bill}"
    );
    let sums = json!({
        "total_calls": trace.calls, "total_tokens_in": trace.tokens_in, "total_tokens_out": trace.tokens_out,
        "total_cost_cents": cents, "error_count": 0, "blocked_count": 0,
    });
    for (name, value) in sums.as_object().unwrap() {
        assert_eq!(&summary[name], value, "{name}: {summary}");
    }
    assert_eq!(
        nanos_of_usd(summary["total_cost_usd"].as_str().unwrap()),
        nanos
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_conversations_is_booked_to_the_token_and_the_nano_dollar() {
    is_booked_exactly(&CONVERSATION, Engine::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_hour_of_code_completions_is_booked_as_exactly_on_postgres() {
    is_booked_exactly(&CODE, Engine::Postgres).await;
}
