//! The control plane from outside: requests go through the real router into a real store.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test ends at what it did not expect"
)]

mod access;
mod audit;
mod client;
mod conditions;
mod description;
mod edge;
mod enforcement;
mod exports;
mod fallback;
mod health;
mod holds;
mod idempotency;
mod integrations;
mod isolation;
mod keys;
mod ledger;
mod matrix;
mod prices;
mod recorded;
mod reports;
mod telemetry;
mod tenants;
