//! The way to providers: connections that are kept and used again, each worked by the call that is
//! on it, and a request body that journals its call before the first byte leaves.

mod asked;
mod departure;
mod line;
mod pool;

use std::sync::Arc;

use http::Request;

use crate::config::GatewayConfig;
use crate::connector::Connector;

pub(crate) use asked::{Asked, Coming, SendError};
pub(crate) use departure::Departure;

pub(crate) use pool::REST;

use pool::Pool;

/// Sends requests to providers: without redirects, without proxies, and nothing twice that may
/// have left. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Upstream {
    pool: Arc<Pool>,
}

impl Upstream {
    /// Begins with no connection.
    pub(crate) fn new(config: &GatewayConfig, connector: &Connector) -> Self {
        Self {
            pool: Arc::new(Pool::new(config, connector)),
        }
    }

    /// Sends a request to where its address says, on a connection that is there or a new one.
    pub(crate) fn send(&self, request: Request<Departure>) -> Asked {
        match self.pool.rack(request.uri()) {
            Some(rack) => Asked::new(rack, request),
            None => Asked::nobody(),
        }
    }

    /// Closes the connections that have not been used for a while.
    pub(crate) fn sweep(&self) {
        self.pool.sweep();
    }
}
