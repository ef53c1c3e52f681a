//! From finished calls to rows: a queue, and one writer that books batches.
//!
//! What is in the queue is in the journal, so nothing is lost with the process. A batch that the
//! store does not take is tried again until it does; the caller of a call never waits for it.

mod beside;
mod earlier;
mod late;
mod progress;
mod writer;

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, Clock, TenantId};

pub(crate) use self::earlier::{Counted, Earlier, EarlierIds};
pub use self::progress::LedgerProgress;

use self::writer::Books;
use crate::authority::Authority;
use crate::directory::Integration;
use crate::error::AppError;
use crate::journal::{Journal, Receipt};

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
    carried: Carried,
}

/// What goes along with a finished call until its row is in the ledger.
#[derive(Debug, Default)]
pub(crate) struct Carried {
    /// Given up then.
    pub(crate) claim: Option<Claim>,
    /// When it was admitted, on the machine's clock, where its row is to count it for the next run of this node.
    pub(crate) mark: Option<i64>,
    /// Whose limits hear of it once it is known to be new: of what may be in the ledger already.
    pub(crate) late: Option<Arc<Integration>>,
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
    /// Tells the writer what an earlier run left. Until then it writes nothing.
    begin: Mutex<Option<oneshot::Sender<Earlier>>>,
    /// The ids of what an earlier run left, until it is in the ledger.
    earlier_ids: Mutex<EarlierIds>,
    earlier_rows: AtomicU64,
    earlier_posted: AtomicU64,
    posted: AtomicU64,
    queued: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
    failures: AtomicU64,
    last_posted_micros: AtomicI64,
    /// How many wait until all that is queued is in the ledger: for them nothing is gathered.
    awaited: AtomicUsize,
}

impl Shared {
    /// Rows of an earlier run that are still on their way.
    fn earlier_left(&self) -> u64 {
        let posted = self.earlier_posted.load(Ordering::SeqCst);
        self.earlier_rows
            .load(Ordering::SeqCst)
            .saturating_sub(posted)
    }

    fn is_of_earlier_run(&self, tenant: &TenantId, call_id: &CallId) -> bool {
        self.earlier_ids.lock().has(tenant, call_id)
    }
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
    /// Starts the writer, which waits for [`Ledger::begin`].
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
        let (start, begun) = oneshot::channel();
        let shared = Arc::new(Shared {
            begin: Mutex::new(Some(start)),
            ..Shared::default()
        });
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
        (ledger, books.keep(postings, begun))
    }

    /// Has the writer begin, with what an earlier run left: it is booked beside what ends from now on.
    pub(crate) fn begin(&self, mut earlier: Earlier) {
        let rows = u64::try_from(earlier.len()).unwrap_or(u64::MAX);
        if rows > 0 {
            *self.shared.earlier_ids.lock() = std::mem::take(&mut earlier.ids);
        }
        self.shared.earlier_rows.store(rows, Ordering::SeqCst);
        let begin = self.shared.begin.lock().take();
        if begin.is_none_or(|begin| begin.send(earlier).is_err()) {
            tracing::error!("the ledger's writer has stopped; the rows wait in the journal");
        }
    }

    /// Sends a finished call on its way. It is in the journal under `receipt`; without one the
    /// journal knows it as dispatched only, and what it says of it at the next start comes second.
    pub(crate) fn post(&self, receipt: Option<Receipt>, entry: UsageEntry, carried: Carried) {
        self.shared.queued.fetch_add(1, Ordering::SeqCst);
        if self
            .queue
            .send(Posting {
                receipt,
                entry,
                carried,
            })
            .is_err()
        {
            tracing::error!("the ledger's writer has stopped; the row waits in the journal");
        }
    }

    /// Claims a caller's call id; nothing when it is claimed already.
    pub(crate) fn claim(&self, tenant: &TenantId, call_id: &CallId) -> Option<Claim> {
        if self.shared.is_of_earlier_run(tenant, call_id) {
            return None;
        }
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
        self.shared.claimed.lock().contains(&key) || self.shared.is_of_earlier_run(tenant, call_id)
    }

    /// Rows of an earlier run that wait for the store, in the journal alone.
    #[cfg(test)]
    pub(crate) fn earlier_left(&self) -> u64 {
        self.shared.earlier_left()
    }

    /// Rows that wait for the store in memory.
    pub(crate) fn backlog_rows(&self) -> u64 {
        let queued = self.shared.queued.load(Ordering::Relaxed);
        queued.saturating_sub(self.shared.posted.load(Ordering::Relaxed))
    }

    /// Waits until everything that was queued before is in the ledger, and all that an earlier run left.
    pub async fn caught_up(&self) {
        let goal = self.shared.queued.load(Ordering::SeqCst);
        let _awaiting = Awaiting::of(&self.shared);
        let mut posted = self.posted.clone();
        // The channel closes only with the writer, and then nothing more will come.
        let _closed = posted
            .wait_for(|posted| *posted >= goal && self.shared.earlier_left() == 0)
            .await
            .is_err();
    }

    /// How far the writer is.
    #[must_use]
    pub fn progress(&self) -> LedgerProgress {
        let read = |counter: &AtomicU64| counter.load(Ordering::SeqCst);
        let last = self.shared.last_posted_micros.load(Ordering::SeqCst);
        LedgerProgress {
            posted_rows: read(&self.shared.posted)
                .saturating_add(read(&self.shared.earlier_posted)),
            queued_rows: read(&self.shared.queued).saturating_add(read(&self.shared.earlier_rows)),
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
