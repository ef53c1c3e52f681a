//! The listener of the control plane: the API, and what a supervisor asks (`/livez`, `/readyz`,
//! `/metrics`).

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tollgate_app::App;

use crate::telemetry::Telemetry;

/// Time within which a client must have sent its request head.
const HEAD_PATIENCE: Duration = Duration::from_secs(15);

/// Time that requests on their way get to end when the program stops.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// After an accept that failed, as for want of file handles, the next one waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// A running control plane; dropping it ends it at once.
#[derive(Debug)]
pub struct Admin {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    tasks: JoinSet<()>,
}

/// Where the program is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// The gateway takes no more calls; questions are still answered.
    Draining,
    Stopped,
}

#[derive(Debug, Clone)]
struct Scraped {
    app: Arc<App>,
    telemetry: Arc<Telemetry>,
}

impl Admin {
    /// Serves the control plane on `listener` until stopped.
    pub fn serve(app: Arc<App>, telemetry: Telemetry, listener: TcpListener) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (phase, seen) = watch::channel(Phase::Serving);
        let scraped = Scraped {
            app: Arc::clone(&app),
            telemetry: Arc::new(telemetry),
        };
        let extra = Router::new()
            .route("/metrics", get(metrics))
            .with_state(scraped);
        let router = tollgate_api::router_with(app, extra).layer(middleware::from_fn_with_state(
            seen.clone(),
            not_ready_while_draining,
        ));
        let mut tasks = JoinSet::new();
        tasks.spawn(accept(listener, router, seen));
        Ok(Self {
            address,
            phase,
            tasks,
        })
    }

    /// Where it listens.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Says from now on that this node is not ready, so that nobody sends it more.
    pub fn drain(&self) {
        self.phase.send_replace(Phase::Draining);
    }

    /// Takes no more requests, lets those on their way end, and returns.
    pub async fn stop(mut self) {
        self.phase.send_replace(Phase::Stopped);
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn accept(listener: TcpListener, router: Router, mut phase: watch::Receiver<Phase>) {
    // The connections are this task's: whoever aborts it ends them too.
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            () = stopped(&mut phase) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connect(stream, router.clone(), graceful.watcher()));
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    if tokio::time::timeout(STOP_PATIENCE, graceful.shutdown())
        .await
        .is_err()
    {
        tracing::warn!("some requests were still being answered when the time to stop was up");
    }
    connections.shutdown().await;
}

async fn stopped(phase: &mut watch::Receiver<Phase>) {
    // An error means that nobody is left who could say so.
    drop(phase.wait_for(|phase| *phase == Phase::Stopped).await);
}

async fn connect(stream: TcpStream, router: Router, watcher: Watcher) {
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_PATIENCE)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    if let Err(error) = watcher.watch(connection).await {
        tracing::debug!(%error, "a connection to the control plane ended early");
    }
}

/// A node that takes no more calls is not ready, however well it is.
async fn not_ready_while_draining(
    State(phase): State<watch::Receiver<Phase>>,
    request: Request,
    next: Next,
) -> Response {
    let is_serving = *phase.borrow() == Phase::Serving;
    if is_serving || request.uri().path() != "/readyz" {
        return next.run(request).await;
    }
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        kind,
        r#"{"status":"draining"}"#,
    )
        .into_response()
}

async fn metrics(State(scraped): State<Scraped>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    match scraped.telemetry.text(&scraped.app).await {
        Ok(text) => ([(header::CONTENT_TYPE, kind)], text).into_response(),
        Err(error) => {
            tracing::error!(%error, "the metrics cannot be written");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}
