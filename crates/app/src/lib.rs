//! What can be done: the use cases, in the order of things, and the only door to the store.
//!
//! A call goes through four of these files: [`directory`] finds who calls and through which
//! integration, [`metering`] admits it and holds its worst case, [`journal`] keeps it through a
//! crash, and [`ledger`] books it. The other files are the control plane's use cases, by noun.

pub mod app;
pub mod audit;
mod authority;
pub mod books;
mod clock;
pub mod config;
pub mod context;
pub mod directory;
pub mod enforcement;
pub mod error;
pub mod health;
pub mod idempotency;
pub mod integrations;
pub mod jobs;
pub mod journal;
pub mod keys;
pub mod ledger;
pub mod masterkeys;
pub mod metering;
mod naming;
pub mod nodes;
pub mod prices;
mod recovery;
pub mod refusal;
pub mod revision;
pub mod rules;
#[cfg(test)]
mod simulation;
pub mod tenants;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod usage;
pub mod wording;

pub use app::{App, AppParts};
pub use config::AppConfig;
pub use context::Context;
pub use error::AppError;
