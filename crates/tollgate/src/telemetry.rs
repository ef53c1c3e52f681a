//! What the program tells about itself: its log, and its metrics.

use std::io::{self, IsTerminal as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use serde::{Deserialize, Serialize};
use tollgate_app::App;
use tollgate_app::books::Progress;
use tollgate_gateway::Metrics;
use tracing_subscriber::EnvFilter;

use crate::output::Failure;
use crate::settings::environment;

/// What is logged unless told otherwise.
pub const DEFAULT_LEVEL: &str = "info";

/// What is logged and how.
#[derive(Debug, Clone, Default, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogSettings {
    /// `error`, `warn`, `info`, `debug`, `trace`, or such levels by crate: `info,tollgate_app=debug`.
    pub level: Option<Level>,
    /// How lines look.
    pub format: LogFormat,
}

/// Levels that can be read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String")]
pub struct Level(String);

impl TryFrom<String> for Level {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match EnvFilter::try_new(&text) {
            Ok(_) if text.split(',').all(is_directive) => Ok(Self(text)),
            _ => Err(
                "give error, warn, info, debug or trace, or levels by crate: info,tollgate_app=debug",
            ),
        }
    }
}

/// Whether a part of a level says one. The reader of filters takes any lone word for the name of
/// a crate, so that a level with a typing mistake would turn everything on.
fn is_directive(part: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let level = part.rsplit_once('=').map_or(part, |(_, level)| level);
    LEVELS.contains(&level.trim().to_ascii_lowercase().as_str())
}

/// How the log's lines look.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log on standard error; `usual` is the level when none is set.
pub fn start_log(settings: &LogSettings, usual: &str) -> Result<(), Failure> {
    let level = settings
        .level
        .as_ref()
        .map_or(usual, |level| level.0.as_str());
    let filter = EnvFilter::try_new(level).map_err(Failure::usage)?;
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    let started = match settings.format {
        LogFormat::Json => builder.json().try_init(),
        LogFormat::Text => {
            let is_colored = io::stderr().is_terminal() && environment::read("NO_COLOR").is_none();
            builder.with_ansi(is_colored).try_init()
        }
    };
    started.map_err(Failure::plain)
}

/// Everything that `/metrics` shows.
#[derive(Debug)]
pub struct Telemetry {
    registry: Registry,
    ready: Family<CheckLabels, Gauge<i64, AtomicI64>>,
    lag_rows: Gauge<u64, AtomicU64>,
    statements: Counter<u64, AtomicU64>,
    journal: JournalGauges,
}

/// What the journal of this node is doing.
#[derive(Debug, Default)]
struct JournalGauges {
    bytes: Gauge<u64, AtomicU64>,
    open_calls: Gauge<u64, AtomicU64>,
    unposted_rows: Gauge<u64, AtomicU64>,
    unsynced_records: Gauge<u64, AtomicU64>,
    sync_failures: Counter<u64, AtomicU64>,
    torn_bytes: Gauge<u64, AtomicU64>,
    free_bytes: Gauge<u64, AtomicU64>,
}

impl JournalGauges {
    fn register(&self, registry: &mut Registry) {
        let gauges = [
            ("bytes", "Bytes of this node's journal", &self.bytes),
            (
                "open_calls",
                "Calls of this node in flight",
                &self.open_calls,
            ),
            (
                "unposted_rows",
                "Rows in this node's journal that the ledger does not have",
                &self.unposted_rows,
            ),
            (
                "unsynced_records",
                "Records of this node's journal that are not yet known to be on the disk",
                &self.unsynced_records,
            ),
            (
                "torn_bytes",
                "Bytes that the last end of the program left half-written in its journal",
                &self.torn_bytes,
            ),
            (
                "free_bytes",
                "Bytes that are free on the disk of this node's journal",
                &self.free_bytes,
            ),
        ];
        for (name, says, gauge) in gauges {
            registry.register(
                format!("tollgate_journal_{name}"),
                says,
                Gauge::clone(gauge),
            );
        }
        let says = "How often the disk of this node's journal refused";
        registry.register(
            "tollgate_journal_sync_failures",
            says,
            Counter::clone(&self.sync_failures),
        );
    }

    fn set(&self, progress: &Progress) {
        let journal = &progress.journal;
        self.bytes.set(journal.bytes);
        self.open_calls.set(journal.open_calls);
        self.unposted_rows.set(journal.unposted);
        self.unsynced_records.set(journal.unsynced);
        let counted = self.sync_failures.get();
        self.sync_failures
            .inc_by(journal.sync_failures.saturating_sub(counted));
        self.torn_bytes.set(progress.torn_bytes);
        self.free_bytes.set(journal.free_bytes);
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CheckLabels {
    check: &'static str,
}

impl Telemetry {
    /// The registry with the gateway's metrics and those of this node's books.
    #[must_use]
    pub fn new(gateway: &Metrics) -> Self {
        let mut registry = Registry::default();
        gateway.register(&mut registry);
        let (ready, lag_rows) = (Family::default(), Gauge::default());
        let statements = Counter::default();
        let statements_says = "Statements sent to the database";
        registry.register(
            "tollgate_store_statements",
            statements_says,
            Counter::clone(&statements),
        );
        let journal = JournalGauges::default();
        journal.register(&mut registry);
        let ready_says = "Whether this node can take calls, by what that needs";
        registry.register("tollgate_ready", ready_says, Family::clone(&ready));
        let lag_says = "Rows in this node's journal that wait for the ledger";
        registry.register(
            "tollgate_ledger_lag_rows",
            lag_says,
            Gauge::clone(&lag_rows),
        );
        Self {
            registry,
            ready,
            lag_rows,
            statements,
            journal,
        }
    }

    /// The metrics as Prometheus reads them.
    pub async fn text(&self, app: &Arc<App>) -> Result<String, std::fmt::Error> {
        let readiness = app.readiness().await;
        let checks = [
            ("store", readiness.store),
            ("journal", readiness.journal),
            ("ledger", readiness.ledger),
        ];
        for (check, is_well) in checks {
            self.ready
                .get_or_create(&CheckLabels { check })
                .set(i64::from(is_well));
        }
        self.lag_rows.set(readiness.lag_rows);
        self.journal.set(&app.progress());
        let sent = app.statements();
        self.statements
            .inc_by(sent.saturating_sub(self.statements.get()));
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        Ok(text)
    }
}
