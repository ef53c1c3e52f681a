//! What a proof plays on: nodes on one store, in front of a provider whose journal is the oracle.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::Instant;
use tollgate_tests::{Caller, Cluster, Control, Durability, Line, Simulator, Tables, Tenant, call};

use crate::Engine;
use crate::fleet::{Fleet, Shape};
use crate::tally::Tally;

/// Everything must have come to rest, and a new key must be known, after so long.
const PATIENCE: Duration = Duration::from_mins(2);

const GLANCE: Duration = Duration::from_millis(20);

/// Nodes on one store, and the provider.
#[derive(Debug)]
pub(crate) struct Scene {
    pub(crate) fleet: Arc<Fleet>,
    pub(crate) simulator: Simulator,
    pub(crate) cluster: Option<Arc<Cluster>>,
    folder: TempDir,
}

/// A row of the ledger, as far as a proof needs it.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Row {
    pub(crate) call_id: String,
    pub(crate) integration_id: String,
    pub(crate) tokens: i64,
    pub(crate) cost_nanos: i64,
    pub(crate) created_at: i64,
    policy_result: String,
}

/// Both sides' books at the end.
#[derive(Debug)]
pub(crate) struct Books {
    pub(crate) rows: Vec<Row>,
    pub(crate) lines: Vec<Line>,
    /// What balances and roll-ups say that a month or a day has cost: `span` and `nanos`.
    pub(crate) sums: Vec<Value>,
}

impl Row {
    /// Whether it is of a call that was refused before it left.
    pub(crate) fn is_refused(&self) -> bool {
        self.policy_result == "blocked"
    }
}

impl Scene {
    /// Starts everything.
    pub(crate) async fn set(engine: Engine, shape: &Shape) -> Self {
        Self::set_in(engine, shape, &[]).await
    }

    /// The same, with provider and store in an environment of their own. A stream's tokens are a second apart there.
    pub(crate) async fn set_in(engine: Engine, shape: &Shape, env: &[(String, String)]) -> Self {
        let folder = tempfile::Builder::new()
            .prefix("tollgate-proof-")
            .tempdir()
            .unwrap();
        let slow = ["--chunk-interval-ms=1000"];
        let options = if env.is_empty() { &[][..] } else { &slow[..] };
        let simulator = Simulator::start_in(folder.path(), options, env).await;
        let is_shared = engine == Engine::Postgres;
        let cluster = is_shared.then(|| Arc::new(Cluster::start_in(Durability::Relaxed, env)));
        let tally = Arc::new(Tally::default());
        let fleet = Fleet::start(folder.path(), shape, cluster.as_deref(), tally).await;
        Self {
            fleet: Arc::new(fleet),
            simulator,
            cluster,
            folder,
        }
    }

    /// The operator, at one of the nodes.
    pub(crate) fn operator_at(&self, node: usize) -> Control {
        let node = &self.fleet.nodes[node % self.fleet.nodes.len()];
        let endpoint = node.endpoint().unwrap();
        Control::new(&endpoint.admin_url, &self.fleet.operator_key)
    }

    /// A new tenant, whose calls go to this provider.
    pub(crate) async fn tenant(&self, name: &str, provider_url: &str) -> Tenant {
        Tenant::create(&self.operator_at(0), name, ("", provider_url)).await
    }

    /// A client of each node, with this key.
    pub(crate) fn callers(&self, key: &str) -> Vec<Caller> {
        let endpoints = self.fleet.nodes.iter().map(|node| node.endpoint().unwrap());
        endpoints
            .map(|endpoint| Caller::new(&endpoint.url, key))
            .collect()
    }

    /// Waits until every node serves a call with this key.
    pub(crate) async fn is_served_everywhere(&self, key: &str) -> Result<(), String> {
        let patience = Patience::new();
        for caller in self.callers(key) {
            loop {
                let answer = caller.chat(&call()).await;
                if answer.status == 200 {
                    break;
                }
                let why = || format!("a new key is not served: {}", answer.text());
                patience.wait(why).await?;
            }
        }
        Ok(())
    }

    /// Waits until no node has a call, or a row on its way.
    pub(crate) async fn comes_to_rest(&self) -> Result<(), String> {
        let patience = Patience::new();
        for index in 0..self.fleet.nodes.len() {
            let control = self.operator_at(index);
            loop {
                let status = control.get("/ledger/status").await;
                let lag = &status["writer"]["lag_rows"];
                let open = &status["journal"]["open_calls"];
                if *lag == 0 && *open == 0 {
                    break;
                }
                let why = || format!("{lag} rows wait, {open} calls are open");
                patience.wait(why).await?;
            }
        }
        Ok(())
    }

    /// The end: everything comes to rest, the books must verify, and every billed request must have exactly one row.
    pub(crate) async fn end(mut self) -> Result<Books, String> {
        self.comes_to_rest().await?;
        let report = self.operator_at(0).get("/ledger/verify").await;
        if report["exact"] != true || report["differences"] != 0 {
            return Err(format!("the books differ: {report}"));
        }
        self.fleet.end().await?;
        let tables = match &self.cluster {
            Some(cluster) => Tables::Postgres(cluster),
            None => Tables::Sqlite(self.fleet.nodes[0].data_dir()),
        };
        let rows = tables.rows(
            "SELECT call_id, integration_id, tokens_in + tokens_out AS tokens, cost_nanos, created_at, \
             policy_result FROM cus_llm_usage",
        );
        let sums = tables.rows(
            "SELECT period AS span, settled_nanos AS nanos FROM balances \
             UNION ALL SELECT date, total_cost_nanos FROM cus_usage_daily",
        );
        let read = |row: Value| serde_json::from_value::<Row>(row).unwrap();
        let books = Books {
            rows: rows.into_iter().map(read).collect(),
            lines: self.simulator.lines(),
            sums,
        };
        self.simulator.stop().await;
        drop(self.folder);
        books.join()
    }
}

impl Books {
    fn join(self) -> Result<Self, String> {
        let of_line = |line: &Line| line.client_request_id.clone().unwrap_or_default();
        let billed: BTreeSet<String> = self.lines.iter().map(of_line).collect();
        let called = self.rows.iter().filter(|row| !row.is_refused());
        let booked: BTreeSet<String> = called.map(|row| row.call_id.clone()).collect();
        let calls = self.rows.iter().filter(|row| !row.is_refused()).count();
        let counts = [self.lines.len(), billed.len(), calls, booked.len()];
        if billed == booked && counts == [billed.len(); 4] {
            return Ok(self);
        }
        Err(format!(
            "{} requests were billed under {} ids, and {} calls are booked under {} ids, {} of which are the same",
            counts[0],
            counts[1],
            counts[2],
            counts[3],
            billed.intersection(&booked).count()
        ))
    }

    /// When the provider was asked for each call.
    pub(crate) fn moments_by_call(&self) -> BTreeMap<String, Timestamp> {
        let lines = self.lines.iter();
        lines
            .map(|line| {
                (
                    line.client_request_id.clone().unwrap_or_default(),
                    line.time,
                )
            })
            .collect()
    }

    /// When the provider was asked, for each integration, in microseconds since 1970 and in order.
    pub(crate) fn moments(&self) -> BTreeMap<String, Vec<i64>> {
        let called = self.rows.iter().filter(|row| !row.is_refused());
        let owners: BTreeMap<&str, &str> = called
            .map(|row| (&*row.call_id, &*row.integration_id))
            .collect();
        let mut moments: BTreeMap<String, Vec<i64>> = BTreeMap::new();
        for line in &self.lines {
            let owner = owners[line.client_request_id.as_deref().unwrap_or_default()];
            let of_owner = moments.entry(owner.to_owned()).or_default();
            of_owner.push(line.time.as_microsecond());
        }
        for of_owner in moments.values_mut() {
            of_owner.sort_unstable();
        }
        moments
    }
}

/// How long one waits for what must come.
pub(crate) struct Patience(Instant);

impl Patience {
    /// It begins.
    pub(crate) fn new() -> Self {
        Self(Instant::now() + PATIENCE)
    }

    /// Waits a moment before the next look; an error at its end.
    pub(crate) async fn wait(&self, why: impl Fn() -> String + Send) -> Result<(), String> {
        if Instant::now() > self.0 {
            return Err(why());
        }
        tokio::time::sleep(GLANCE).await;
        Ok(())
    }
}
