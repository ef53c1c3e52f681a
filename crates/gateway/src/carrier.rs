//! The way of probes to providers: the gateway's own client, with connections of its own.

use std::time::Duration;

use http::Request;
use http::response::Parts;
use http_body_util::{BodyExt as _, Limited};
use tollgate_app::health::{Carrier, Carrying, NoAnswer};
use tollgate_providers::Outbound;

use crate::config::GatewayConfig;
use crate::connector::Connector;
use crate::upstream::{Departure, Upstream};

/// Bytes of a probe's answer that are read; nothing in it is looked at.
const ANSWER_BYTES_MAX: usize = 1 << 20;

/// Sends probes as calls are sent: no redirects, no proxy, deadlines for every wait.
#[derive(Debug)]
pub struct ProbeCarrier {
    upstream: Upstream,
}

impl ProbeCarrier {
    /// A carrier with the gateway's bounds for connections, and its guard.
    #[must_use]
    pub fn new(config: &GatewayConfig, connector: &Connector) -> Self {
        Self {
            upstream: Upstream::new(config, connector),
        }
    }
}

impl Carrier for ProbeCarrier {
    fn carry(&self, outbound: Outbound, patience: Duration) -> Carrying<'_> {
        let mut request = Request::new(Departure::new(outbound.body, None));
        *request.method_mut() = outbound.method;
        *request.uri_mut() = outbound.uri;
        *request.headers_mut() = outbound.headers;
        // Nobody else does, and probes are few.
        self.upstream.sweep();
        let answer = self.upstream.send(request);
        let whole = async {
            let (head, body) = answer
                .await
                .map_err(|error| {
                    tracing::debug!(%error, "a probe was not answered");
                    NoAnswer::Unreachable
                })?
                .into_parts();
            // Read on so that the connection can be used again; one that says too much is dropped.
            match Limited::new(body, ANSWER_BYTES_MAX).collect().await {
                Ok(_) => Ok(head),
                Err(error) if error.is::<http_body_util::LengthLimitError>() => Ok(head),
                Err(_broken) => Err(NoAnswer::Unreachable),
            }
        };
        Box::pin(async move {
            let answered: Result<Parts, _> = tokio::time::timeout(patience, whole)
                .await
                .unwrap_or(Err(NoAnswer::TooSlow));
            answered
        })
    }
}
