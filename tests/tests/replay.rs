//! Real traffic, call by call: the sums of the ledger are known beforehand and must be met exactly.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]
#![expect(
    clippy::print_stderr,
    reason = "that nothing was replayed must be seen"
)]

use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate_tests::{
    Engine, LedgerRow, Plan, Tenant, World, cost_of, nanos_of_usd, repository, run,
};

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

impl Trace {
    fn path(&self) -> Option<PathBuf> {
        let file = repository()
            .join("../shared/data/azure-llm-2023")
            .join(self.file);
        if !file.exists() {
            eprintln!(
                "!!!! SKIPPED: {} is not here, so nothing was replayed",
                file.display()
            );
            return None;
        }
        Some(file)
    }

    /// Sends it through a gateway: the bill.
    async fn replay(&self, file: &str, world: &World, tenant: &Tenant) -> Value {
        let args = [
            "replay",
            file,
            "--speed",
            "0",
            "--json",
            "--url",
            &world.gateway.url,
        ];
        let replay = run(&args, &[("TOLLGATE_KEY", &tenant.caller.key)], "").await;
        assert_eq!(replay.code, Some(0), "{} {}", replay.out, replay.err);
        let bill: Value = serde_json::from_str(&replay.out).unwrap();
        eprintln!("{}: {bill}", self.file);
        assert_eq!(
            (&bill["ok"], &bill["retries"]),
            (&json!(self.calls), &json!(0)),
            "{bill}"
        );
        bill
    }

    /// Fails unless the rows have its tokens, each its exact cost, and cents that add up; gives the sums.
    fn must_be_in(&self, rows: &[LedgerRow]) -> (i64, i64) {
        assert_eq!(rows.len(), self.calls);
        assert!(
            rows.iter()
                .all(|row| row.usage_source == "provider" && row.error_code.is_none())
        );
        let tokens_in: u64 = rows.iter().map(|row| row.tokens_in).sum();
        let tokens_out: u64 = rows.iter().map(|row| row.tokens_out).sum();
        assert_eq!((tokens_in, tokens_out), (self.tokens_in, self.tokens_out));
        let wrong = rows.iter().find(|row| row.cost_nanos != cost_of(row));
        assert!(wrong.is_none(), "{wrong:?}");
        let nanos: i64 = rows.iter().map(|row| row.cost_nanos).sum();
        let cents: i64 = rows.iter().map(|row| row.cost_cents).sum();
        assert!(
            (cents * 10_000_000 - nanos).abs() <= 5_000_000,
            "{cents} cents for {nanos} nano-dollars"
        );
        (nanos, cents)
    }

    /// Fails unless the summary that the API gives says the same.
    fn must_be_told(&self, summary: &Value, (nanos, cents): (i64, i64)) {
        let sums = json!({
            "total_calls": self.calls, "total_tokens_in": self.tokens_in, "total_tokens_out": self.tokens_out,
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
}

/// Both commands that check the books must find nothing.
async fn commands_must_find_the_books_exact(world: &World) {
    for noun in ["ledger", "rollup"] {
        let args = [noun, "verify", "--json", "--url", &world.gateway.admin_url];
        let verify = run(&args, &[("TOLLGATE_KEY", &world.gateway.operator_key)], "").await;
        assert_eq!(
            verify.code,
            Some(0),
            "{noun}: {} {}",
            verify.out,
            verify.err
        );
    }
}

async fn is_booked_exactly(trace: &Trace, engine: Engine) {
    let Some(file) = trace.path() else { return };
    let world = World::start(Plan::quiet(engine)).await;
    let tenant = world.tenant().await;
    let integration = tenant
        .openai(&json!({"budget_limit_cents": 1_000_000_000}))
        .await;
    let bill = trace.replay(file.to_str().unwrap(), &world, &tenant).await;
    let summary = tenant.control.get("/telemetry/usage-summary").await;
    let used = integration.used_nanos().await;
    commands_must_find_the_books_exact(&world).await;
    let sums = trace.must_be_in(&world.close().await);
    trace.must_be_told(&summary, sums);
    assert_eq!(
        (used, nanos_of_usd(bill["cost_usd"].as_str().unwrap())),
        (sums.0, sums.0),
        "{bill}"
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
