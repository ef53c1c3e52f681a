//! How long a start takes that finds a million records in its journal: `cargo run --release -p tollgate-app
//! --example recovery [calls]`, two records a call, none of them in the ledger.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement ends where it fails, says what it found, and reads the clock"
)]

use std::time::Instant;

use jiff::Timestamp;
use tollgate_app::journal::{Journal, JournalConfig};
use tollgate_app::testing::rows::{finished, leave_behind};
use tollgate_app::testing::{BEGINNING, World};
use tollgate_core::clock::ManualClock;
use tollgate_core::{CallId, Nanos};

/// Half of a million, two records each: as many as may wait for the store by default.
const CALLS: usize = 500_000;
const INTEGRATIONS: usize = 100;
const COST: Nanos = Nanos::new(384_000);

#[tokio::main]
async fn main() {
    let calls = std::env::args()
        .nth(1)
        .map_or(CALLS, |calls| calls.parse().unwrap());
    let beginning: Timestamp = BEGINNING.parse().unwrap();
    let world = World::start().await;
    let tenant = world.tenant("acme").await;
    let mut integrations = Vec::new();
    for number in 0..INTEGRATIONS {
        integrations.push(world.integration(&tenant, &format!("i{number}")).await);
    }
    let mut begun = Instant::now();
    let world = world.restart(ManualClock::at(beginning), |folder| {
        let integrations = integrations.iter().cycle();
        let rows = integrations.map(|id| finished(&tenant, *id, CallId::generate(), COST));
        leave_behind(folder, rows.take(calls));
        say("written", calls, begun);
        begun = Instant::now();
        let config = JournalConfig::at(folder.join("journal"));
        let (journal, recovery) = Journal::open(config).unwrap();
        assert_eq!(recovery.unposted.len(), calls);
        say("journal read", calls, begun);
        drop((journal, recovery));
        begun = Instant::now();
    });
    let world = world.await;
    say("started, open to calls", calls, begun);
    world.app.books_caught_up().await;
    say("everything in the ledger", calls, begun);
    world.close().await;
}

fn say(what: &str, calls: usize, since: Instant) {
    let seconds = since.elapsed().as_secs_f64();
    println!("{what}: {seconds:.2} s for {} records", calls * 2);
}
