//! From finished calls to rows: a queue, and one writer that books batches.
//!
//! What is in the queue is in the journal, so nothing is lost with the process. A batch that the
//! store does not take is tried again until it does; the caller of a call never waits for it.

mod beside;
mod progress;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, Clock, TenantId};
use tollgate_store::{AppendReport, StoreError};

pub use self::progress::LedgerProgress;

use self::beside::under_another_id;
use crate::authority::Authority;
use crate::error::AppError;
use crate::journal::{Journal, Receipt};

const RETRY_MS_FIRST: u64 = 50;
const RETRY_MS_MOST: u64 = 5_000;

/// How long the writer, while it gathers, does not look whether its batch is full or somebody waits for it.
const LOOK: Duration = Duration::from_millis(5);

/// How long somebody who reports usage waits for the store.
const REPORT_PATIENCE: Duration = Duration::from_secs(15);

/// A call id that its caller gave: nobody else may use it until its row is in the ledger, or the
/// claim is dropped without one.
#[derive(Debug)]
pub struct Claim {
    shared: Arc<Shared>,
    key: (TenantId, CallId),
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.shared.claimed.lock().remove(&self.key);
    }
}

/// A finished call on its way to the ledger.
#[derive(Debug)]
struct Posting {
    /// Its place in the journal; none when the journal could not take it.
    receipt: Option<Receipt>,
    entry: UsageEntry,
    /// Given up when the row is in the ledger.
    claim: Option<Claim>,
}

/// The way into the ledger.
#[derive(Debug, Clone)]
pub struct Ledger {
    queue: mpsc::UnboundedSender<Posting>,
    posted: watch::Receiver<u64>,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Call ids that callers gave and that are not in the ledger yet.
    claimed: Mutex<HashSet<(TenantId, CallId)>>,
    posted: AtomicU64,
    queued: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    failures: AtomicU64,
    last_posted_micros: AtomicI64,
    /// How many wait until all that is queued is in the ledger: for them nothing is gathered.
    awaited: AtomicUsize,
}

/// Somebody who waits for the books.
struct Awaiting<'s>(&'s Shared);

impl<'s> Awaiting<'s> {
    fn of(shared: &'s Shared) -> Self {
        shared.awaited.fetch_add(1, Ordering::SeqCst);
        Self(shared)
    }
}

impl Drop for Awaiting<'_> {
    fn drop(&mut self) {
        self.0.awaited.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The writer's settings.
#[derive(Debug, Clone, Copy)]
pub struct WriterConfig {
    /// Milliseconds from one transaction to the next while calls keep ending, unless a whole batch
    /// waits. A call that ends after a quiet time is written at once.
    pub gather_ms: u64,
    /// Rows of one transaction, at most.
    pub batch_rows: usize,
}

/// The one task that writes to the ledger.
#[derive(Debug)]
pub struct Writer {
    task: JoinHandle<()>,
    ledger: Ledger,
}

/// Does something about the books to its end, whether or not somebody still waits for it. After a while it is answered
/// as if the store could not be reached: what it did may be asked again.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever reports usage may go away, and this node's limits must hear of it all the same"
)]
pub(crate) async fn to_the_end<T: Send + 'static>(
    body: impl Future<Output = Result<T, AppError>> + Send + 'static,
) -> Result<T, AppError> {
    match tokio::time::timeout(REPORT_PATIENCE, tokio::spawn(body)).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(AppError::internal(error)),
        Err(_elapsed) => Err(AppError::Unavailable("the store")),
    }
}

// === impl Ledger ===

impl Ledger {
    /// Starts the writer.
    #[expect(
        clippy::disallowed_methods,
        reason = "the ledger's writer is one of the few places where tasks start"
    )]
    pub(crate) fn start(
        authority: Arc<dyn Authority>,
        journal: Arc<Journal>,
        clock: Arc<dyn Clock>,
        config: WriterConfig,
    ) -> (Self, Writer) {
        let (ledger, writing) =
            Self::prepare(authority, journal, clock, config, tokio::time::sleep);
        let task = tokio::spawn(writing);
        (ledger.clone(), Writer { task, ledger })
    }

    /// The way into the ledger, and what writes to it for as long as somebody runs it. `pause` is
    /// how it waits.
    pub(crate) fn prepare<P, W>(
        authority: Arc<dyn Authority>,
        journal: Arc<Journal>,
        clock: Arc<dyn Clock>,
        config: WriterConfig,
        pause: P,
    ) -> (Self, impl Future<Output = ()> + Send + use<P, W>)
    where
        P: Fn(Duration) -> W + Send + Sync,
        W: Future<Output = ()> + Send,
    {
        let (queue, postings) = mpsc::unbounded_channel();
        let shared = Arc::new(Shared::default());
        let (progress, posted) = watch::channel(0);
        let books = Books {
            authority,
            journal,
            clock,
            config,
            shared: Arc::clone(&shared),
            progress,
            pause,
        };
        let ledger = Self {
            queue,
            posted,
            shared,
        };
        (ledger, books.keep(postings))
    }

    /// Sends a finished call on its way. It is in the journal under `receipt`; without one the
    /// journal knows it as dispatched only, and what it says of it at the next start comes second.
    pub(crate) fn post(&self, receipt: Option<Receipt>, entry: UsageEntry, claim: Option<Claim>) {
        self.shared.queued.fetch_add(1, Ordering::SeqCst);
        if self
            .queue
            .send(Posting {
                receipt,
                entry,
                claim,
            })
            .is_err()
        {
            tracing::error!("the ledger's writer has stopped; the row waits in the journal");
        }
    }

    /// Claims a caller's call id; nothing when it is claimed already.
    pub(crate) fn claim(&self, tenant: &TenantId, call_id: &CallId) -> Option<Claim> {
        let key = (tenant.clone(), call_id.clone());
        let is_new = self.shared.claimed.lock().insert(key.clone());
        is_new.then(|| Claim {
            shared: Arc::clone(&self.shared),
            key,
        })
    }

    /// Whether a call with this id, which its caller gave, is on its way through this node.
    pub(crate) fn is_claimed(&self, tenant: &TenantId, call_id: &CallId) -> bool {
        let key = (tenant.clone(), call_id.clone());
        self.shared.claimed.lock().contains(&key)
    }

    /// Rows that wait for the store.
    pub(crate) fn backlog_rows(&self) -> u64 {
        let queued = self.shared.queued.load(Ordering::Relaxed);
        queued.saturating_sub(self.shared.posted.load(Ordering::Relaxed))
    }

    /// Waits until everything that was queued before is in the ledger.
    pub async fn caught_up(&self) {
        let goal = self.shared.queued.load(Ordering::SeqCst);
        let _awaiting = Awaiting::of(&self.shared);
        let mut posted = self.posted.clone();
        // The channel closes only with the writer, and then nothing more will come.
        let _closed = posted.wait_for(|posted| *posted >= goal).await.is_err();
    }

    /// How far the writer is.
    #[must_use]
    pub fn progress(&self) -> LedgerProgress {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let last = self.shared.last_posted_micros.load(Ordering::SeqCst);
        LedgerProgress {
            posted_rows: read(&self.shared.posted),
            queued_rows: read(&self.shared.queued),
            duplicate_rows: read(&self.shared.duplicates),
            conflicting_rows: read(&self.shared.conflicts),
            failed_writes: read(&self.shared.failures),
            last_posted_at: (last > 0)
                .then(|| Timestamp::from_microsecond(last).ok())
                .flatten(),
        }
    }
}

// === impl Writer ===

impl Writer {
    /// Waits until everything that was queued before is in the ledger.
    pub async fn caught_up(&self) {
        self.ledger.caught_up().await;
    }

    /// Waits for everything that is queued, for so long at most; then stops the writer. Tells
    /// whether the store has it all.
    pub async fn finish(self, patience: Duration) -> bool {
        let caught_up = tokio::time::timeout(patience, self.caught_up()).await;
        if caught_up.is_err() {
            tracing::warn!("the store did not take all rows in time; they wait in the journal");
        }
        self.task.abort();
        caught_up.is_ok()
    }
}

/// What the writer works with.
struct Books<P> {
    authority: Arc<dyn Authority>,
    journal: Arc<Journal>,
    clock: Arc<dyn Clock>,
    config: WriterConfig,
    shared: Arc<Shared>,
    progress: watch::Sender<u64>,
    /// How it waits.
    pause: P,
}

impl<P, W> Books<P>
where
    P: Fn(Duration) -> W + Send + Sync,
    W: Future<Output = ()> + Send,
{
    async fn keep(self, mut postings: mpsc::UnboundedReceiver<Posting>) {
        let mut batch = Vec::with_capacity(self.config.batch_rows);
        let gather_micros = i64::try_from(self.config.gather_ms.saturating_mul(1_000));
        let gather_micros = gather_micros.unwrap_or(i64::MAX);
        let mut due_micros = self.steady_micros();
        loop {
            if postings.recv_many(&mut batch, self.config.batch_rows).await == 0 {
                return;
            }
            self.gather(&postings, batch.len(), due_micros).await;
            let room = self.config.batch_rows.saturating_sub(batch.len());
            let more = std::iter::from_fn(|| postings.try_recv().ok());
            batch.extend(more.take(room));
            // A transaction costs as much as some dozen rows of it: under load there are few and great ones.
            due_micros = self.steady_micros().saturating_add(gather_micros);
            self.book(std::mem::take(&mut batch)).await;
        }
    }

    /// Waits until the next transaction is due, or sooner: until a batch is full, or somebody waits for it.
    async fn gather(
        &self,
        postings: &mpsc::UnboundedReceiver<Posting>,
        taken: usize,
        due_micros: i64,
    ) {
        while taken.saturating_add(postings.len()) < self.config.batch_rows
            && self.shared.awaited.load(Ordering::SeqCst) == 0
        {
            let left = due_micros.saturating_sub(self.steady_micros());
            let left = Duration::from_micros(u64::try_from(left).unwrap_or(0));
            if left.is_zero() {
                return;
            }
            (self.pause)(left.min(LOOK)).await;
        }
    }

    fn steady_micros(&self) -> i64 {
        self.clock.now().steady_micros
    }

    /// Writes one batch, for as long as it takes.
    async fn book(&self, batch: Vec<Posting>) {
        let rows = u64::try_from(batch.len()).unwrap_or(u64::MAX);
        let (entries, rest): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .map(|posting| (posting.entry, (posting.receipt, posting.claim)))
            .unzip();
        let (receipts, claims): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
        let mut wait_ms = RETRY_MS_FIRST;
        while let Err(error) = self.append(&entries).await {
            self.shared.failures.fetch_add(1, Ordering::SeqCst);
            tracing::warn!(%error, rows, wait_ms, "the ledger does not take a batch; trying again");
            (self.pause)(Duration::from_millis(wait_ms)).await;
            wait_ms = wait_ms.saturating_mul(2).min(RETRY_MS_MOST);
        }
        drop(claims);
        self.journal.posted(receipts.into_iter().flatten());
        let now = self.clock.now().wall.as_microsecond();
        self.shared.last_posted_micros.store(now, Ordering::SeqCst);
        let posted = self
            .shared
            .posted
            .fetch_add(rows, Ordering::SeqCst)
            .saturating_add(rows);
        self.progress.send_replace(posted);
    }

    async fn append(&self, entries: &[UsageEntry]) -> Result<(), StoreError> {
        let now = self.clock.now().wall;
        let report = self.authority.append(entries, now).await?;
        self.note(&report);
        if report.reported.is_empty() {
            return Ok(());
        }
        // A report cannot keep a call out of the books that went through the gateway.
        let is_reported = |entry: &&UsageEntry| {
            let mut reported = report.reported.iter();
            reported.any(|(tenant, call)| *tenant == entry.tenant_id && *call == entry.call_id)
        };
        let beside: Vec<UsageEntry> = entries
            .iter()
            .filter(is_reported)
            .filter_map(under_another_id)
            .collect();
        let report = self.authority.append(&beside, now).await?;
        self.note(&report);
        Ok(())
    }

    fn note(&self, report: &AppendReport) {
        for refused in &report.refused {
            tracing::error!(?refused, "a row can never be booked");
        }
        for (tenant, call_id) in &report.conflicts {
            tracing::error!(%tenant, %call_id, "a call id is in the ledger with other content");
        }
        let conflicts = u64::try_from(report.conflicts.len()).unwrap_or(u64::MAX);
        self.shared.conflicts.fetch_add(conflicts, Ordering::SeqCst);
        self.shared
            .duplicates
            .fetch_add(report.duplicates, Ordering::SeqCst);
    }
}
