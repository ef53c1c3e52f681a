//! A simulation of admission, settling, allowances, recovery and roll-up: the product's own code, with
//! clocks, disks, wires, crashes and the order of everything from a seed.
//!
//! Nodes run the real gate, admission, journal and writer of the ledger. Their clock, their disk and
//! their connection are simulated, and every task of theirs is run by hand, so that nothing happens
//! that the seed does not say. The store is a model (`model.rs`) that decides with the same functions
//! of the core, for millions of steps; in the second tier an embedded store stands beside it and must
//! answer each question alike (`real.rs`). What must be true is kept apart from all that (`oracle.rs`).
//!
//! `docs/simulation.md` tells how to run it for longer and how to see a failure again.

mod acts;
mod calls;
mod dice;
mod exhaust;
mod machine;
mod model;
mod oracle;
mod plan;
mod real;
mod rest;
mod run;
mod shelf;
mod tasks;
mod time;
mod trace;
mod wire;
mod world;

use self::run::{Tier, run, run_many};

/// Steps of one world.
const STEPS: u64 = 10_000;

/// A number from the environment, which only these tests read: they are run with others by a command.
#[expect(
    clippy::disallowed_methods,
    reason = "the settings of a test, which has no other way in"
)]
fn setting(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

/// Runs so many worlds, and tells how a failure is seen again.
fn check(first_seed: u64, worlds: u64, steps: u64, tier: Tier) {
    if let Err(failure) = run_many(first_seed, worlds, steps, tier) {
        panic!("{failure}");
    }
}

/// A seed that no run before had.
fn fresh_seed() -> u64 {
    let seed = uuid::Uuid::parse_str(&cus_models::generate_uuid()).unwrap();
    u64::try_from(seed.as_u128() >> 96).unwrap()
}

#[test]
fn the_same_seed_gives_the_same_world_to_the_last_detail() {
    for seed in 0..6 {
        let first = run(seed, 2_000, Tier::Model).unwrap();
        let second = run(seed, 2_000, Tier::Model).unwrap();
        assert_eq!(first, second);
    }
    let other = run(7, 3_000, Tier::Model).unwrap();
    assert_ne!(other.hash, run(8, 3_000, Tier::Model).unwrap().hash);
}

#[test]
fn worlds_of_fixed_seeds_keep_every_promise() {
    check(1, 80, STEPS, Tier::Model);
}

#[test]
fn more_worlds_of_fixed_seeds_keep_every_promise() {
    check(1_001, 80, STEPS, Tier::Model);
}

/// A draw and a return whose answers were lost once left what they had drawn to nobody.
#[test]
fn worlds_that_once_broke_a_promise_keep_it() {
    for seed in [70_068, 2_973_699_662] {
        check(seed, 1, STEPS, Tier::Model);
    }
}

#[test]
fn a_world_of_a_fresh_seed_keeps_every_promise() {
    check(fresh_seed(), 4, STEPS, Tier::Model);
}

#[test]
fn an_embedded_store_answers_as_the_model_does() {
    check(1, 6, 2_000, Tier::Store);
}

/// `bin/simulate` runs this one for as long as it is told to.
#[test]
fn worlds_as_many_as_asked_for_keep_every_promise() {
    let Some(seed) = setting("TOLLGATE_SIM_SEED")
        .or_else(|| setting("TOLLGATE_SIM_WORLDS").map(|_| fresh_seed()))
    else {
        return;
    };
    let worlds = setting("TOLLGATE_SIM_WORLDS").unwrap_or(1);
    let steps = setting("TOLLGATE_SIM_STEPS").unwrap_or(STEPS);
    let tier = match setting("TOLLGATE_SIM_STORE") {
        Some(1) => Tier::Store,
        _ => Tier::Model,
    };
    check(seed, worlds, steps, tier);
}
