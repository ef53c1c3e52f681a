//! The sockets and the tasks of the data plane: accepts, serves, and stops without cutting anyone.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tollgate_app::App;

use crate::alarm::HeadTimer;
use crate::config::GatewayConfig;
use crate::connector::Connector;
use crate::drain::Drains;
use crate::exchange::{Gateway, exchange};
use crate::metrics::Metrics;
use crate::patience::{Patient, Unread};
use crate::upload::spool::Spool;
use crate::upstream::{self, Upstream};

/// Bytes that a connection buffers of what it reads.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// A running gateway.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

/// Serves the data plane on `listener` until told to stop; providers are reached by `connector`.
#[expect(
    clippy::disallowed_methods,
    reason = "serving is one of the few places where tasks start"
)]
pub fn serve(
    app: Arc<App>,
    config: GatewayConfig,
    connector: &Connector,
    metrics: Arc<Metrics>,
    listener: TcpListener,
) -> io::Result<Server> {
    let address = listener.local_addr()?;
    let (drains, drainer) = Drains::new(&config, &metrics);
    let upstream = Upstream::new(&config, connector);
    let mut draining = tokio::spawn(drainer.run(Arc::clone(&app), upstream.clone()));
    let spool = Spool::new(&config);
    let gateway = Arc::new(Gateway {
        app,
        config,
        upstream,
        drains,
        spool,
        metrics,
    });
    let (stop, stopped) = watch::channel(false);
    let accepting = tokio::spawn(async move {
        let patience = Duration::from_secs(gateway.config.stop_seconds);
        accept(gateway, listener, stopped, patience).await;
        // The last flight has handed itself over by now, and the drainer ends with its work.
        if tokio::time::timeout(patience, &mut draining).await.is_err() {
            tracing::warn!("some answers were still being read on when the time to stop was up");
            draining.abort();
            let _cut_off = draining.await.is_err();
        }
    });
    Ok(Server {
        address,
        stop,
        accepting,
    })
}

impl Server {
    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes no more calls, lets those in flight end within the configured time, and returns.
    pub async fn stop(self) {
        self.stop.send_replace(true);
        if let Err(error) = self.accepting.await {
            tracing::error!(%error, "the gateway did not stop as it should");
        }
    }
}

async fn accept(
    gateway: Arc<Gateway>,
    listener: TcpListener,
    mut stopped: watch::Receiver<bool>,
    patience: Duration,
) {
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    let mut sweep = tokio::time::interval(upstream::REST);
    loop {
        tokio::select! {
            _ = stopped.changed() => break,
            _ = sweep.tick() => gateway.upstream.sweep(),
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => connect(&gateway, &graceful, stream, &mut connections),
                // Out of file handles, or the caller is gone already: neither is worth dying for.
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            },
        }
        while connections.try_join_next().is_some() {}
    }
    drop(listener);
    if tokio::time::timeout(patience, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some calls were still in flight when the time to stop was up");
    }
    // Whoever is still connected is cut off, and what was seen of their calls is booked.
    connections.shutdown().await;
}

fn connect(
    gateway: &Arc<Gateway>,
    graceful: &GracefulShutdown,
    stream: TcpStream,
    connections: &mut JoinSet<()>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a caller's connection cannot be set up");
        return;
    }
    let unread = Unread::default();
    let patience = Duration::from_secs(gateway.config.write_seconds);
    let stream = Patient::new(stream, patience, unread.clone());
    let serving = Arc::clone(gateway);
    let service = service_fn(move |request| {
        let (gateway, unread) = (Arc::clone(&serving), unread.clone());
        // A connection keeps the room of its service's future; this one is needed until an answer
        // begins, and not while it streams or while nothing is asked.
        Box::pin(async move {
            Ok::<_, std::convert::Infallible>(exchange(gateway, request, &unread).await)
        })
    });
    let connection = http1::Builder::new()
        .timer(HeadTimer::default())
        .header_read_timeout(Duration::from_secs(gateway.config.head_seconds))
        .max_buf_size(READ_BUFFER_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), service);
    let connection = graceful.watch(connection);
    connections.spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "a caller's connection ended early");
        }
    });
}
