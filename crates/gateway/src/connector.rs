//! The only way to a provider's socket. A name is resolved here, every address that it leads to is
//! asked about at the URL guard, and the connection is made to an address that was asked about:
//! nobody looks the name up again, so that no name server can answer otherwise the second time.

mod heard;
mod names;

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tollgate_providers::{UrlError, UrlPolicy};
use tower::Service;

use self::heard::Heard;
use self::names::SystemResolver;

/// Addresses of a name that are tried.
const ADDRESSES_MAX: usize = 16;

/// The addresses of a name, when they come.
pub type Resolving<'a> = Pin<Box<dyn Future<Output = io::Result<Vec<IpAddr>>> + Send + 'a>>;

/// Finds the addresses of names.
pub trait Resolver: Send + Sync + fmt::Debug {
    /// The addresses of a name, in the order in which they are to be tried.
    fn resolve<'a>(&'a self, name: &'a str) -> Resolving<'a>;
}

/// Connects to providers, and to nobody else. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Connector {
    policy: Arc<UrlPolicy>,
    resolver: Arc<dyn Resolver>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    /// The address of the request names no host.
    #[error("the address names no host")]
    NoHost,
    /// The host may not be a provider's, or leads where no provider may be.
    #[error("{host} leads to {address}: {reason}")]
    Barred {
        host: String,
        address: IpAddr,
        #[source]
        reason: UrlError,
    },
    /// The name could not be resolved.
    #[error("the name {host} cannot be resolved")]
    Unresolved {
        host: String,
        #[source]
        error: io::Error,
    },
    /// No address took the connection.
    #[error("no connection to {host}")]
    Refused {
        host: String,
        #[source]
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// It took too long.
    #[error("no connection within {} seconds", .0.as_secs())]
    TooSlow(Duration),
}

impl Connector {
    /// A connector that resolves names as the machine does, for addresses that the policy admits.
    #[must_use]
    pub fn new(policy: UrlPolicy) -> Self {
        Self {
            policy: Arc::new(policy),
            resolver: Arc::new(SystemResolver::new()),
        }
    }

    /// The same with other ears for names.
    #[must_use]
    pub fn with_resolver(self, resolver: Arc<dyn Resolver>) -> Self {
        Self { resolver, ..self }
    }

    /// A service for connections that are made, secured included, within this time.
    pub(crate) fn within(&self, patience: Duration) -> Punctual {
        let https = HttpsConnectorBuilder::new()
            .with_webpki_roots()
            .https_or_http()
            .enable_http1()
            .wrap_connector(Guarded {
                connector: self.clone(),
                patience,
            });
        Punctual { https, patience }
    }

    /// The addresses of a host, each of which may be connected to.
    async fn admitted(&self, host: &str, port: u16) -> Result<Vec<IpAddr>, ConnectError> {
        let bare = host.strip_prefix('[').and_then(|it| it.strip_suffix(']'));
        let addresses = match bare.unwrap_or(host).parse() {
            Ok(address) => vec![address],
            Err(_name) => {
                self.resolver
                    .resolve(host)
                    .await
                    .map_err(|error| ConnectError::Unresolved {
                        host: host.to_owned(),
                        error,
                    })?
            }
        };
        for address in &addresses {
            let admitted = self.policy.admit(host, port, *address);
            admitted.map_err(|reason| {
                tracing::warn!(host, %address, %reason, "no connection is made there");
                ConnectError::Barred {
                    host: host.to_owned(),
                    address: *address,
                    reason,
                }
            })?;
        }
        Ok(addresses)
    }

    async fn connect(
        &self,
        uri: Uri,
        patience: Duration,
    ) -> Result<TokioIo<TcpStream>, ConnectError> {
        let host = uri.host().ok_or(ConnectError::NoHost)?;
        let usual = if uri.scheme_str() == Some("https") {
            443
        } else {
            80
        };
        let port = uri.port_u16().unwrap_or(usual);
        let found = self.admitted(host, port).await?;
        let mut addresses: Vec<_> = found
            .into_iter()
            .map(|address| SocketAddr::new(address, port))
            .collect();
        addresses.truncate(ADDRESSES_MAX);
        let checked = tower::service_fn(move |_name| {
            ready(Ok::<_, io::Error>(addresses.clone().into_iter()))
        });
        let mut tcp = HttpConnector::new_with_resolver(checked);
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(patience));
        let host = host.to_owned();
        let connected = tcp.call(uri).await;
        connected.map_err(|error| ConnectError::Refused {
            host,
            error: error.into(),
        })
    }
}

/// Connections in the clear to checked addresses.
#[derive(Debug, Clone)]
pub(crate) struct Guarded {
    connector: Connector,
    patience: Duration,
}

impl Service<Uri> for Guarded {
    type Response = TokioIo<TcpStream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, ConnectError>> + Send>>;

    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (connector, patience) = (self.connector.clone(), self.patience);
        Box::pin(async move { connector.connect(uri, patience).await })
    }
}

/// Connections, encrypted where the address says so, that are there in time or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Punctual {
    https: HttpsConnector<Guarded>,
    patience: Duration,
}

/// A connection to a provider.
pub(crate) type Stream = Heard<MaybeHttpsStream<TokioIo<TcpStream>>>;
/// Why there is none.
pub(crate) type StreamError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Punctual {
    type Response = Stream;
    type Error = StreamError;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, StreamError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), StreamError>> {
        self.https.poll_ready(cx)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.patience, self.https.call(uri));
        let patience = self.patience;
        Box::pin(async move {
            let in_time = connecting.await;
            in_time
                .unwrap_or_else(|_late| Err(ConnectError::TooSlow(patience).into()))
                .map(Heard::new)
        })
    }
}

/// Whether a connection was not made because of where it would have gone.
pub(crate) fn is_barred(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut looked_at = Some(error);
    while let Some(error) = looked_at {
        if matches!(error.downcast_ref(), Some(ConnectError::Barred { .. })) {
            return true;
        }
        looked_at = error.source();
    }
    false
}

#[cfg(test)]
mod tests;
