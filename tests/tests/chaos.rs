//! Short runs of the chaos runner: faults of every kind in a few seconds, the provider's journal as oracle.
//!
//! The long runs are commands of their own: see `docs/chaos.md`.
#![expect(clippy::unwrap_used, reason = "a test stops where it fails")]

use std::process::Command;

/// Runs the runner; what it says stands in the test's output, with the seed.
fn chaos(args: &[&str]) {
    let mut chaos = Command::new(env!("CARGO_BIN_EXE_chaos"));
    let status = chaos.args(args).env("RUST_BACKTRACE", "0").status();
    assert!(status.unwrap().success(), "chaos {args:?} has failed");
}

#[test]
fn three_nodes_under_known_faults_book_every_billed_call_once_and_pass_no_limit() {
    chaos(&["--minutes", "0.2", "--seed", "108", "--rpm", "40"]);
}

#[test]
fn three_nodes_under_fresh_faults_book_every_billed_call_once_and_pass_no_limit() {
    chaos(&["--minutes", "0.2", "--rpm", "40"]);
}

#[test]
fn one_node_on_an_embedded_store_does_the_same_under_fresh_faults() {
    // After a start, an embedded store finds the calls of the last minute by the wall clock of the node that made them:
    // a clock that was set back and a kill together open the minute anew.
    chaos(&[
        "--minutes",
        "0.15",
        "--engine",
        "sqlite",
        "--without",
        "clock",
    ]);
}
