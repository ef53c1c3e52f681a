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
    chaos(&["--minutes", "0.15", "--engine", "sqlite"]);
}

#[test]
fn three_nodes_never_pass_a_limit_of_a_month_nor_a_lowered_one_and_go_on_while_the_store_stands_still()
 {
    chaos(&["cap", "--nodes", "3", "--tries", "4000", "--fit", "500"]);
}

#[test]
fn three_nodes_share_the_requests_of_a_minute_and_no_minute_has_more() {
    // A little more than a minute: the window slides, and its first calls leave it.
    let cell = [
        "--rpm",
        "300",
        "--nodes",
        "3",
        "--load",
        "2",
        "--minutes",
        "1.3",
    ];
    chaos(&[&["rate"], &cell[..]].concat());
}

#[test]
fn five_nodes_heed_every_change_whether_it_is_pushed_or_not() {
    // The promise is a second, and five: see `docs/chaos.md`. A busy machine takes longer.
    let patience = ["--pushed-ms", "15000", "--polled-ms", "20000"];
    chaos(
        &[
            &["news", "--rounds", "1", "--push", "heard,lost"],
            &patience[..],
        ]
        .concat(),
    );
}

#[test]
fn every_call_is_booked_in_its_own_month_wherever_its_node_stands_and_whatever_its_clock_says() {
    chaos(&[
        "calendar",
        "--edge",
        "2028-03-01T00:00:00Z",
        "--engine",
        "postgres",
    ]);
}
