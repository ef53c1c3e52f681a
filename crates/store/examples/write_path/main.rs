//! The write path, measured: finished calls through the very method that the ledger's writer calls, with every book updated.
//!
//! `bench/write_path.py` calls it, on both engines and beside an earlier build; one line of JSON on stdout is the result.
//! The books are verified at the end, and the duplicates counted: a figure of wrong books is no figure.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::cast_precision_loss,
    unreachable_pub,
    reason = "a measurement stops where it fails, and prints what it measured"
)]

mod calls;
mod cpu;
mod reads;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use tokio::sync::Barrier;
use tollgate_core::NodeId;
use tollgate_core::usage::UsageEntry;
use tollgate_store::{AuditSeal, OpenStore, Store};

use self::calls::Scene;

/// Rows of a transaction while the ledger is filled before the measurement.
const FILL_BATCH: usize = 5_000;

/// What is measured.
#[derive(Debug, Clone)]
struct Task {
    url: String,
    /// The process of the database server.
    server: Option<u32>,
    writers: usize,
    batch: usize,
    rows: usize,
    integrations: usize,
    calls_a_day: u64,
    /// Rows that are in the ledger before.
    fill: usize,
    /// How often each read is measured; 0 measures none.
    reads: usize,
    trace: Option<String>,
}

impl Task {
    fn from_arguments() -> Self {
        let mut given: HashMap<String, String> = HashMap::new();
        let mut arguments = std::env::args().skip(1);
        while let (Some(name), Some(value)) = (arguments.next(), arguments.next()) {
            given.insert(name, value);
        }
        let number = |name: &str, default: usize| {
            given
                .get(name)
                .map_or(default, |text| text.parse().unwrap())
        };
        Self {
            url: given.get("--url").unwrap().clone(),
            server: given.get("--server").map(|text| text.parse().unwrap()),
            writers: number("--writers", 1),
            batch: number("--batch", 1_000),
            rows: number("--rows", 200_000),
            integrations: number("--integrations", 200),
            calls_a_day: u64::try_from(number("--calls-a-day", 500_000)).unwrap(),
            fill: number("--fill", 0),
            reads: number("--reads", 0),
            trace: given
                .get("--trace")
                .map(|path| std::fs::read_to_string(path).unwrap()),
        }
    }

    /// The calls of one writer: another seed, the same integrations.
    fn scene(&self, seed: usize) -> Scene {
        let seed = u64::try_from(seed).unwrap();
        Scene::new(
            self.integrations,
            self.calls_a_day,
            seed,
            self.trace.as_deref(),
        )
    }

    async fn open(&self) -> Store {
        let options = OpenStore::for_node(NodeId::generate(), AuditSeal::absent());
        Store::open(&self.url, options).await.unwrap()
    }
}

/// What was written, and what it cost.
#[derive(Debug, Default)]
struct Figures {
    seconds: f64,
    own_micros: u64,
    server_micros: u64,
    statements: u64,
    batches: u64,
    slowest_ms: f64,
}

fn main() {
    let task = Task::from_arguments();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(measure(&task));
}

async fn measure(task: &Task) {
    let store = task.open().await;
    store.migrate(task.scene(0).now()).await.unwrap();
    fill(task, &store).await;
    let batches = batches(task);
    let expected: HashSet<_> = batches
        .iter()
        .flatten()
        .flatten()
        .map(|entry| entry.call_id.clone())
        .collect();
    let given: usize = batches.iter().flatten().map(Vec::len).sum();
    let before = store.operator().ledger_status().await.unwrap().rows;
    let figures = write(task, &store, batches).await;
    let status = store.operator().ledger_status().await.unwrap();
    let written = status.rows - before;
    assert_eq!(
        written,
        u64::try_from(expected.len()).unwrap(),
        "each call is one row"
    );
    if task.reads > 0 {
        reads::measure(&store, &task.scene(0), task.reads).await;
    }
    let started = now();
    let verified = store.operator().verify(None).await.unwrap();
    let verify_seconds = started.elapsed().as_secs_f64();
    assert!(
        verified.is_exact(),
        "the books do not balance: {:?}",
        verified.first
    );
    let per_row = |micros: u64| micros as f64 / given as f64;
    println!(
        "{{\"engine\":\"{}\",\"writers\":{},\"batch\":{},\"given\":{given},\"written\":{written},\"rows_before\":{before},\
         \"rows_per_second\":{:.0},\"own_us_per_row\":{:.2},\"server_us_per_row\":{:.2},\"statements_per_batch\":{:.1},\
         \"slowest_batch_ms\":{:.1},\"own_mib\":{},\"verify_seconds\":{verify_seconds:.2},\"exact\":true}}",
        store.engine_name(),
        task.writers,
        task.batch,
        given as f64 / figures.seconds,
        per_row(figures.own_micros),
        per_row(figures.server_micros),
        figures.statements as f64 / figures.batches as f64,
        figures.slowest_ms,
        cpu::own_mib(),
    );
    store.close().await;
}

/// Brings the ledger to the size that it is to have before.
async fn fill(task: &Task, store: &Store) {
    let mut scene = task.scene(99);
    let mut left = task.fill;
    while left > 0 {
        let rows = left.min(FILL_BATCH);
        let now = scene.now();
        store
            .operator()
            .append(&scene.batch(rows), now)
            .await
            .unwrap();
        left -= rows;
    }
}

/// The batches of each writer.
fn batches(task: &Task) -> Vec<Vec<Vec<UsageEntry>>> {
    let writer = |seed: usize| {
        let mut scene = task.scene(seed + 1);
        scene.skip(u64::try_from(task.fill).unwrap());
        let count = task.rows / task.writers / task.batch;
        (0..count.max(1)).map(|_| scene.batch(task.batch)).collect()
    };
    (0..task.writers).map(writer).collect()
}

/// Writes everything; every writer is a node of its own where the engine serves several.
async fn write(task: &Task, store: &Store, batches: Vec<Vec<Vec<UsageEntry>>>) -> Figures {
    let start = Arc::new(Barrier::new(task.writers + 1));
    let mut stores = Vec::new();
    let mut writers = tokio::task::JoinSet::new();
    for batches in batches {
        let is_shared = store.engine_name() == "postgres";
        let own = if is_shared {
            task.open().await
        } else {
            store.clone()
        };
        own.operator()
            .heartbeat(batches[0][0].created_at)
            .await
            .unwrap();
        stores.push(own.clone());
        let start = Arc::clone(&start);
        writers.spawn(async move {
            start.wait().await;
            let mut slowest = 0.0_f64;
            for batch in &batches {
                let began = now();
                let at = batch.last().unwrap().created_at;
                own.operator().append(batch, at).await.unwrap();
                slowest = slowest.max(began.elapsed().as_secs_f64() * 1_000.0);
            }
            (batches.len(), slowest)
        });
    }
    let statements = |stores: &[Store]| stores.iter().map(Store::statements).sum::<u64>();
    let server = || task.server.map_or(0, cpu::server_micros);
    let sent = statements(&stores);
    let (own_before, server_before, began) = (cpu::own_micros(), server(), now());
    start.wait().await;
    let done = writers.join_all().await;
    Figures {
        seconds: began.elapsed().as_secs_f64(),
        own_micros: cpu::own_micros() - own_before,
        server_micros: server() - server_before,
        statements: statements(&stores) - sent,
        batches: done
            .iter()
            .map(|(count, _)| u64::try_from(*count).unwrap())
            .sum(),
        slowest_ms: done.iter().map(|(_, slowest)| *slowest).fold(0.0, f64::max),
    }
}

#[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
