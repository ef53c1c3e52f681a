//! Running worlds: by steps, twice the same, and on a failure as few steps as show it.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::oracle::Broken;
use super::shelf::Shelf;
use super::world::World;

/// What a world came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Summary {
    /// Of everything that happened.
    pub(super) hash: u64,
    /// Calls that were asked for.
    pub(super) calls: usize,
    /// Rows of calls in the ledger.
    pub(super) rows: usize,
}

/// What a world stands on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tier {
    /// The model alone.
    Model,
    /// The model and an embedded store, which must agree.
    Store,
}

/// A world that broke a promise.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) seed: u64,
    pub(super) steps: u64,
    pub(super) what: String,
    trace: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            seed,
            steps,
            what,
            trace,
        } = self;
        writeln!(f, "the simulation broke a promise: {what}")?;
        writeln!(f, "seed {seed}, the last of {steps} steps:\n{trace}")?;
        writeln!(
            f,
            "to see it again: bin/simulate --seed {seed} --steps {steps}"
        )
    }
}

fn go(world: &mut World, steps: u64) -> Result<(), Broken> {
    for step in 1..=steps {
        world.step()?;
        if step % world.plan.steps_to_rest == 0 {
            world.rest()?;
        }
    }
    world.rest()?;
    world.exhaust()
}

/// Runs one world.
pub(super) fn run(seed: u64, steps: u64, tier: Tier) -> Result<Summary, Failure> {
    let shelf = match tier {
        Tier::Model => Shelf::default(),
        Tier::Store => Shelf::with_real_store(),
    };
    let mut world = World::new(seed, shelf);
    let outcome = catch_unwind(AssertUnwindSafe(|| go(&mut world, steps)));
    let what = match outcome {
        Ok(Ok(())) => {
            let summary = Summary {
                hash: world.trace.hash(),
                calls: world.calls_asked,
                rows: world.oracle.settled_rows,
            };
            world.close();
            return Ok(summary);
        }
        Ok(Err(broken)) => broken,
        Err(panic) => format!("it panicked: {}", words(panic.as_ref())),
    };
    let failure = Failure {
        seed,
        steps: world.trace.step,
        what,
        trace: world.trace.to_string(),
    };
    world.close();
    Err(failure)
}

fn words(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_default()
}

/// Runs worlds one after another until so many steps are done; on a failure tells it in its shortest form.
pub(super) fn run_many(
    first_seed: u64,
    worlds: u64,
    steps: u64,
    tier: Tier,
) -> Result<u64, Failure> {
    let mut done = 0;
    for seed in first_seed..first_seed.saturating_add(worlds) {
        match run(seed, steps, tier) {
            Ok(_) => done += steps,
            Err(failure) => return Err(shortest(failure, tier)),
        }
    }
    Ok(done)
}

/// The same seed with as few steps as still break a promise, as far as halving finds them. What a rest
/// finds may have happened long before it.
pub(super) fn shortest(failure: Failure, tier: Tier) -> Failure {
    let mut best = failure;
    let mut passing = 0;
    while best.steps - passing > 1 {
        let half = passing + (best.steps - passing) / 2;
        match run(best.seed, half, tier) {
            Ok(_) => passing = half,
            Err(shorter) => best = shorter,
        }
    }
    best
}
