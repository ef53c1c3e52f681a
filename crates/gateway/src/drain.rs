//! Answers whose caller went away are read on within bounds, so that the provider's own usage is
//! known; beyond the bounds they are cut off and charged for what was seen.

use std::future::poll_fn;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;
use std::time::Duration;

use jiff::Timestamp;
use prometheus_client::metrics::gauge::Gauge;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tollgate_app::App;
use tollgate_core::IntegrationId;

use crate::background::Awaited;
use crate::config::GatewayConfig;
use crate::flight::Cargo;
use crate::metrics::Metrics;
use crate::phase::settle::{Cut, Outcome};
use crate::upstream::Upstream;

/// Where flights go whose caller went away, and other work that no caller waits for.
#[derive(Debug, Clone)]
pub(crate) struct Drains {
    queue: mpsc::UnboundedSender<Work>,
    running: Running,
    most: i64,
}

#[derive(Debug)]
enum Work {
    Drain(Box<Cargo>, Place),
    Await(Box<Awaited>),
    /// With the `updated_at` of the integration that the refused call went out with.
    CredentialRefused(IntegrationId, Timestamp),
}

/// The other end: runs the drains.
#[derive(Debug)]
pub(crate) struct Drainer {
    queue: mpsc::UnboundedReceiver<Work>,
    patience: Duration,
    bytes_max: usize,
}

impl Drains {
    pub(crate) fn new(config: &GatewayConfig, metrics: &Metrics) -> (Self, Drainer) {
        let (sender, queue) = mpsc::unbounded_channel();
        let running = metrics.drains();
        let drainer = Drainer {
            queue,
            patience: Duration::from_secs(config.drain_seconds),
            bytes_max: config.drain_bytes_max,
        };
        (
            Self {
                queue: sender,
                running,
                most: i64::try_from(config.drains_max).unwrap_or(i64::MAX),
            },
            drainer,
        )
    }

    /// Takes a flight over from a caller who went away.
    pub(crate) fn take_over(&self, mut cargo: Box<Cargo>) {
        if !cargo.is_worth_draining() || self.running.get() >= self.most {
            cargo.cancel();
            return;
        }
        let place = Place::take(&self.running);
        // Where nobody takes it over any more, it is cut off as it is dropped.
        if self.queue.send(Work::Drain(cargo, place)).is_err() {
            tracing::debug!("stopping: an answer is not read on");
        }
    }

    /// Takes over a call whose answer is made in the background.
    pub(crate) fn wait_for(&self, awaited: Box<Awaited>) {
        // Where nobody takes it over any more, it is settled as it is dropped.
        if self.queue.send(Work::Await(awaited)).is_err() {
            tracing::debug!("stopping: an answer in the background is not waited for");
        }
    }

    /// Has an integration marked whose credential its provider refuses.
    pub(crate) fn credential_refused(&self, integration: IntegrationId, used: Timestamp) {
        if self
            .queue
            .send(Work::CredentialRefused(integration, used))
            .is_err()
        {
            tracing::debug!("stopping: an integration with a refused credential is not marked");
        }
    }
}

impl Drainer {
    /// Runs until every sender is gone and every drain has ended.
    pub(crate) async fn run(mut self, app: Arc<App>, upstream: Upstream) {
        let mut tasks = JoinSet::new();
        let mut waiting = JoinSet::new();
        while let Some(work) = self.queue.recv().await {
            while tasks.try_join_next().is_some() {}
            while waiting.try_join_next().is_some() {}
            match work {
                Work::Drain(cargo, place) => {
                    let (patience, bytes_max) = (self.patience, self.bytes_max);
                    tasks.spawn(async move {
                        drain(cargo, patience, bytes_max).await;
                        drop(place);
                    });
                }
                Work::Await(awaited) => {
                    waiting.spawn(awaited.run(Arc::clone(&app), upstream.clone()));
                }
                Work::CredentialRefused(integration, used) => {
                    let app = Arc::clone(&app);
                    tasks
                        .spawn(async move { app.mark_credential_refused(integration, used).await });
                }
            }
        }
        // What is made in the background may take hours: it is charged as held.
        waiting.shutdown().await;
        while tasks.join_next().await.is_some() {}
    }
}

/// A place among the answers that are read on at once; free again when it is dropped.
#[derive(Debug)]
struct Place(Running);

/// How many are read on now; `/metrics` shows it.
type Running = Gauge<i64, AtomicI64>;

impl Place {
    fn take(running: &Running) -> Self {
        running.inc();
        Self(running.clone())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Reads one answer to its end, within the bounds.
async fn drain(mut cargo: Box<Cargo>, patience: Duration, bytes_max: usize) {
    if tokio::time::timeout(patience, read_on(&mut cargo, bytes_max))
        .await
        .is_err()
    {
        cargo.cancel();
    }
}

async fn read_on(cargo: &mut Cargo, bytes_max: usize) {
    if cargo.is_waiting()
        && let Err(silence) = poll_fn(|cx| cargo.poll_head(cx)).await
    {
        cargo.settle(Outcome::of_silence(silence));
        return;
    }
    let mut bytes: usize = 0;
    let cut = loop {
        match poll_fn(|cx| cargo.poll_piece(cx)).await {
            Some(Ok(piece)) => {
                bytes = bytes.saturating_add(piece.len());
                cargo.meter(piece, &mut |_| {});
                if bytes > bytes_max {
                    break Some(Cut::CallerGone);
                }
            }
            None if cargo.has_said_all() => break None,
            Some(Err(_)) | None => break Some(Cut::Broken),
        }
    };
    cargo.settle_read(cut, &mut |_| {});
}
