//! The gateway over real sockets: a scripted provider on one side, callers on the other.
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "a test may fail loudly"
)]

mod attempts;
mod batches;
mod connections;
mod crossings;
mod destinations;
mod disconnects;
mod durable;
mod faces;
mod forms;
mod hostile_caller;
mod hostile_forms;
mod hostile_provider;
mod hot_path;
mod models;
mod provider;
mod refusals;
mod replays;
mod responses;
mod stage;
mod streams;
mod timing;
mod whole;
