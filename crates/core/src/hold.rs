//! What a call may cost at worst: the amounts that are held before it leaves.

pub mod direct;

use crate::money::Nanos;
use crate::period::Period;
use crate::tokens::TokenUsage;

/// What a call asks to hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ask {
    /// The most tokens that it can use on each side, each in the dearest class that may apply:
    /// what the call is charged with when nothing is heard of it again.
    pub worst: TokenUsage,
    /// The most money that it can cost; nothing when its model has no price.
    pub cost: Option<Nanos>,
}

impl Ask {
    /// The most tokens that the call can use, input and output together.
    #[must_use]
    pub fn tokens(&self) -> i64 {
        i64::try_from(self.worst.total()).unwrap_or(i64::MAX)
    }
}

/// What was taken from an integration's limits for one call, to be settled or released once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HoldAmount {
    /// The month that the call was admitted in, and is charged to.
    pub period: Period,
    /// Money held.
    pub cost: Nanos,
    /// Tokens held.
    pub tokens: i64,
    /// Where it counts against the requests per minute: the moment on this node's steady clock, or
    /// the slot of its permit.
    pub rate_mark: i64,
}

/// What a call really used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Actual {
    /// Money spent.
    pub cost: Nanos,
    /// Tokens used, input and output together.
    pub tokens: i64,
}
