//! The chaos runner: several nodes on one store under load, faults from a seed, and the provider's journal as oracle.
//!
//! `bin/chaos` builds and runs it; `docs/chaos.md` says what it does and what it proves.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a runner of tests: where it fails, the run has failed, and says so with its seed"
)]

mod clock;
mod disk;
mod fleet;
mod load;
mod oracle;
mod proof;
mod random;
mod report;
mod run;
mod schedule;
mod strike;
mod tally;
mod targets;
mod wire;

use std::io::Read as _;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Parser, ValueEnum};

use self::proof::Proof;
use self::report::Report;
use self::schedule::Fault;

/// Runs several nodes under load, does them harm, and compares the ledger with what the provider billed.
#[derive(Debug, Clone, Parser)]
#[command(name = "chaos", args_conflicts_with_subcommands = true)]
pub(crate) struct Options {
    /// One promise that is tried by itself
    #[command(subcommand)]
    proof: Option<Proof>,
    /// Minutes of faults; fractions are fine
    #[arg(long, value_name = "N", default_value_t = 5.0)]
    minutes: f64,
    /// Nodes; an embedded store has one
    #[arg(long, value_name = "N", default_value_t = 3)]
    nodes: usize,
    /// What decides faults and calls; a fresh one without
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Where the books are kept
    #[arg(long, value_name = "ENGINE", default_value = "postgres")]
    engine: Engine,
    /// The only faults
    #[arg(long, value_name = "FAULT,…", value_delimiter = ',')]
    only: Vec<Fault>,
    /// Faults to leave out
    #[arg(long, value_name = "FAULT,…", value_delimiter = ',')]
    without: Vec<Fault>,
    /// Clients that call at the same time
    #[arg(long, value_name = "N", default_value_t = 24)]
    clients: u64,
    /// Seconds of every outage; left to chance without
    #[arg(long, value_name = "N")]
    outage_seconds: Option<u64>,
    /// Seconds between two quiet points, where everything is compared
    #[arg(long, value_name = "N", default_value_t = 60)]
    quiet_seconds: u64,
    /// Calls a minute that one integration may make, on all nodes together; 0: none has such a limit
    #[arg(long, value_name = "N", default_value_t = 120)]
    rpm: usize,
    /// Print the summary as one JSON object
    #[arg(long)]
    json: bool,
}

/// Where the books are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Engine {
    /// In a file, for one node
    Sqlite,
    /// In a cluster of the run's own
    Postgres,
}

impl Options {
    /// What decides faults and calls.
    pub(crate) fn seed(&self) -> u64 {
        self.seed.unwrap_or_default()
    }

    /// How long faults come.
    pub(crate) fn length(&self) -> Duration {
        Duration::from_secs_f64(self.minutes * 60.0)
    }

    /// The faults of this run, and what of them is left out. What this machine cannot do keeps its place in the
    /// schedule, so that a seed says the same everywhere.
    pub(crate) fn faults(&self) -> (Vec<Fault>, Vec<String>) {
        let mut faults = if self.only.is_empty() {
            Fault::value_variants().to_vec()
        } else {
            self.only.clone()
        };
        faults.retain(|fault| !self.without.contains(fault));
        let mut skipped = Vec::new();
        if self.engine == Engine::Sqlite {
            faults.retain(|fault| !fault.needs_postgres());
            skipped.push(
                "faults of the store: an embedded one has none between it and the node".to_owned(),
            );
        }
        if faults.contains(&Fault::Disk) && !disk::may_mount() {
            skipped.push("disk: this user may not mount one (run as root on Linux)".to_owned());
        }
        if faults.contains(&Fault::Clock) && clock::library().is_none() {
            let how = "libfaketime is not installed (Debian: apt-get install libfaketime)";
            skipped.push(format!("clock: {how}"));
        }
        (faults, skipped)
    }
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    disk::enter_own_mounts();
    if options.engine == Engine::Sqlite {
        options.nodes = 1;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    if let Some(proof) = options.proof.take() {
        let kept = runtime.block_on(async {
            tokio::select! {
                kept = proof.run() => Some(kept),
                _ = tokio::signal::ctrl_c() => None,
            }
        });
        return match kept {
            Some(true) => ExitCode::SUCCESS,
            Some(false) => ExitCode::FAILURE,
            None => ExitCode::from(130),
        };
    }
    options.seed.get_or_insert_with(fresh_seed);
    report::say(&format!("chaos: seed {}", options.seed()));
    let report = runtime.block_on(async {
        tokio::select! {
            report = run::run(options) => Some(report),
            _ = tokio::signal::ctrl_c() => None,
        }
    });
    match report {
        Some(report) => finish(&report),
        None => ExitCode::from(130),
    }
}

fn finish(report: &Report) -> ExitCode {
    report.print();
    if report.is_good() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// A seed that nobody has chosen, short enough to be typed.
fn fresh_seed() -> u64 {
    let mut bytes = [0; 4];
    let mut source = std::fs::File::open("/dev/urandom").unwrap();
    source.read_exact(&mut bytes).unwrap();
    u64::from(u32::from_le_bytes(bytes))
}
