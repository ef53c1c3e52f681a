//! The way out for probes: a port, so that use cases can ask providers without knowing sockets.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use http::response::Parts;
use tollgate_providers::Outbound;

/// An answer that is still to come.
pub type Carrying<'c> = Pin<Box<dyn Future<Output = Result<Parts, NoAnswer>> + Send + 'c>>;

/// Takes requests of our own to providers: no redirect is followed, no proxy taken, nothing sent
/// twice, and of the answer no more read than is needed to know that it came.
pub trait Carrier: Send + Sync + std::fmt::Debug {
    /// Sends a request; the answer's head when it came within `patience`.
    fn carry(&self, outbound: Outbound, patience: Duration) -> Carrying<'_>;
}

/// Why no answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No connection, or one that broke.
    #[error("no connection to the provider could be made, or it broke")]
    Unreachable,
    /// Nothing came in time.
    #[error("the provider did not answer in time")]
    TooSlow,
}
