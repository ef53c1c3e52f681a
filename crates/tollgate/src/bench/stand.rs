//! What a measurement is made on: a simulated provider in this process, and a gateway in one of its own with
//! everything on. All of it goes when the stand does.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::{Instant, timeout};

use super::load::Target;
use super::process;
use crate::client::Client;
use crate::output::Failure;
use crate::simulate::{self, Faults, Simulator};

/// The gateway has to be ready within this time.
const START_PATIENCE: Duration = Duration::from_mins(1);

/// The ledger has to have every call within this time after the last.
const BOOKS_PATIENCE: Duration = Duration::from_secs(30);

/// Between two looks at the ledger.
const LOOK: Duration = Duration::from_millis(50);

/// Limits that are checked for every call and never reached.
const BUDGET_CENTS: u64 = 1_000_000_000;
const TOKENS: u64 = 1_000_000_000_000;
const CALLS_A_MINUTE: u64 = 100_000_000;

/// A provider and a gateway before it.
#[derive(Debug)]
pub(super) struct Stand {
    simulator: Simulator,
    gateway: Child,
    pid: u32,
    told: Told,
    admin: Client,
    _folder: TempDir,
}

/// What the gateway says of itself when it is ready.
#[derive(Debug, Deserialize)]
struct Told {
    url: String,
    admin_url: String,
    operator_key: String,
    admin_key: String,
    caller_key: String,
    integrations: Integrations,
}

#[derive(Debug, Deserialize)]
struct Integrations {
    openai: String,
}

impl Stand {
    /// Sets both up.
    pub(super) async fn set() -> Result<Self, Failure> {
        let simulator = simulate::start(simulate::Config::default()).await?;
        let folder = tempfile::Builder::new()
            .prefix("tollgate-bench-")
            .tempdir()?;
        let mut gateway = Command::new(std::env::current_exe()?)
            .args(["dev", "--listen", "127.0.0.1:0", "--json"])
            .args(["--provider-url", &simulator.url()])
            .arg("--data-dir")
            .arg(folder.path())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()?;
        let told = ready(&mut gateway).await?;
        let pid = gateway.id().ok_or_else(not_started)?;
        let admin = Client::with_key(&told.admin_url, &told.admin_key)?;
        let path = format!("/api/v1/integrations/{}", told.integrations.openai);
        let limits = json!({
            "budget_limit_cents": BUDGET_CENTS,
            "token_limit_month": TOKENS,
            "rate_limit_rpm": CALLS_A_MINUTE,
        });
        admin.update(&path, &limits).await?;
        Ok(Self {
            simulator,
            gateway,
            pid,
            told,
            admin,
            _folder: folder,
        })
    }

    /// Has the provider answer after some time, and pause between the events of a stream.
    pub(super) fn provider_takes(&self, latency_ms: u64, interval_ms: u64) -> Result<(), Failure> {
        let faults = Faults {
            latency_ms,
            chunk_interval_ms: interval_ms,
            ..Faults::default()
        };
        self.simulator.set_faults(faults).map_err(Failure::plain)
    }

    /// The provider itself.
    pub(super) fn direct(&self) -> Result<Target, Failure> {
        Target::new(&self.simulator.url(), "sk-simulated")
    }

    /// The provider through the gateway.
    pub(super) fn gateway(&self) -> Result<Target, Failure> {
        Target::new(&self.told.url, &self.told.caller_key)
    }

    /// Time that the gateway has spent on a core.
    pub(super) fn cpu_time(&self) -> Option<Duration> {
        process::cpu_time(self.pid)
    }

    /// The gateway's memory, in MiB.
    pub(super) fn resident_mib(&self) -> Option<f64> {
        process::resident_kib(self.pid).map(|kib| f64::from(kib) / 1_024.0)
    }

    /// The calls that are in the ledger, once there are so many and the books were verified.
    pub(super) async fn verified_rows(&self, calls: u64) -> Result<u64, Failure> {
        let began = Instant::now();
        loop {
            let summary = self.admin.get("/api/v1/telemetry/usage-summary").await?;
            let rows = summary.json.get("total_calls");
            let rows = rows.and_then(serde_json::Value::as_u64).unwrap_or(0);
            if rows >= calls {
                let operator = Client::with_key(&self.told.admin_url, &self.told.operator_key)?;
                let report = operator.get("/api/v1/ledger/verify").await?;
                return match report.json.get("exact") {
                    Some(serde_json::Value::Bool(true)) => Ok(rows),
                    _ => Err(Failure::plain(format_args!(
                        "the books are not exact: that must not be. {}",
                        report.text
                    ))),
                };
            }
            if began.elapsed() > BOOKS_PATIENCE {
                return Err(Failure::plain(format_args!(
                    "the ledger has {rows} of {calls} calls {} s after the last: that must not be",
                    BOOKS_PATIENCE.as_secs()
                )));
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Ends both; what they wrote is removed.
    pub(super) async fn strike(mut self) -> Result<(), Failure> {
        self.gateway.kill().await?;
        self.simulator.stop().await;
        Ok(())
    }
}

async fn ready(gateway: &mut Child) -> Result<Told, Failure> {
    let out = gateway.stdout.take().ok_or_else(not_started)?;
    let mut line = String::new();
    let mut out = BufReader::new(out);
    let read = timeout(START_PATIENCE, out.read_line(&mut line)).await;
    read.map_err(|_elapsed| not_started())??;
    serde_json::from_str(&line).map_err(|_unfit| not_started())
}

fn not_started() -> Failure {
    Failure::plain("the gateway to be measured did not start: `tollgate dev` says why")
}
