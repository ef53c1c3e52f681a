//! What is true: money, prices, tokens, limits, holds, verdicts, periods and roles.
//!
//! Pure rules without input or output: no sockets, no database, no clock reading, no async.
//! Everything here can be tested with a table and replayed from a seed.
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::as_conversions,
        clippy::indexing_slicing,
        clippy::float_arithmetic
    )
)]

pub mod access;
pub mod account;
pub mod allowance;
pub mod audit;
pub mod books;
pub mod clock;
pub mod config;
pub mod gate;
pub mod health;
pub mod hold;
pub mod id;
pub mod limit;
pub mod money;
pub mod page;
pub mod period;
pub mod price;
pub mod role;
pub mod tenant;
pub mod tokens;
pub mod usage;
pub mod verdict;

pub use clock::{Clock, Moment};
pub use id::{
    AgentId, CallId, CredentialId, HoldId, IntegrationId, KeyId, NodeId, OrderedIds, SessionId,
    TenantId,
};
pub use money::Nanos;
pub use period::Period;
pub use tokens::{TokenClass, TokenUsage};
