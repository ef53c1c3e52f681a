//! The one writer: it takes what ended and what an earlier run left, and books batches, each for as long as it takes.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot, watch};
use tollgate_core::Clock;
use tollgate_core::usage::UsageEntry;
use tollgate_store::{AppendReport, StoreError};

use super::beside::beside;
use super::late::Late;
use super::{Carried, Claim, Earlier, EarlierIds, Posting, Shared, WriterConfig};
use crate::authority::Authority;
use crate::journal::{Journal, Receipt};

const RETRY_MS_FIRST: u64 = 50;
const RETRY_MS_MOST: u64 = 5_000;

/// How long the writer, while it gathers, does not look whether its batch is full or somebody waits for it.
const LOOK: Duration = Duration::from_millis(5);

/// What the writer works with.
pub(super) struct Books<P> {
    pub(super) authority: Arc<dyn Authority>,
    pub(super) journal: Arc<Journal>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) config: WriterConfig,
    pub(super) shared: Arc<Shared>,
    pub(super) progress: watch::Sender<u64>,
    /// How it waits.
    pub(super) pause: P,
}

/// A batch, column by column.
#[derive(Default)]
struct Batch {
    entries: Vec<UsageEntry>,
    marks: Vec<Option<i64>>,
    receipts: Vec<Receipt>,
    /// Dropped with the batch.
    claims: Vec<Claim>,
    /// What joins the batch if it is not in the ledger already.
    late: Vec<Late>,
    /// How many of the entries are of an earlier run.
    earlier: u64,
}

impl Batch {
    fn add(&mut self, posting: Posting) {
        let Carried { claim, mark, late } = posting.carried;
        self.receipts.extend(posting.receipt);
        self.claims.extend(claim);
        if let Some(integration) = late {
            let entry = posting.entry;
            return self.late.push(Late { entry, integration });
        }
        self.entries.push(posting.entry);
        self.marks.push(mark);
    }

    fn rows(&self) -> u64 {
        let rows = self.entries.len().saturating_add(self.late.len());
        u64::try_from(rows).unwrap_or(u64::MAX)
    }
}

/// Waits between tries, longer each time.
struct Patience(u64);

impl Patience {
    const fn new() -> Self {
        Self(RETRY_MS_FIRST)
    }

    fn next(&mut self) -> u64 {
        let wait_ms = self.0;
        self.0 = wait_ms.saturating_mul(2).min(RETRY_MS_MOST);
        wait_ms
    }
}

impl<P, W> Books<P>
where
    P: Fn(Duration) -> W + Send + Sync,
    W: Future<Output = ()> + Send,
{
    /// Books what comes, from when it is told what an earlier run left.
    pub(super) async fn keep(
        self,
        mut postings: mpsc::UnboundedReceiver<Posting>,
        begun: oneshot::Receiver<Earlier>,
    ) {
        let Ok(mut earlier) = begun.await else { return };
        while earlier.len() > 0 {
            // What ends now gets half of each transaction, and the backlog the rest: neither waits for the other.
            let mut batch = Batch::default();
            let ended = std::iter::from_fn(|| postings.try_recv().ok());
            ended
                .take(self.config.batch_rows / 2)
                .for_each(|posting| batch.add(posting));
            let room = self.config.batch_rows.saturating_sub(batch.entries.len());
            let receipts = earlier.take(room);
            self.add_earlier(&mut batch, receipts, &earlier).await;
            self.book(batch).await;
        }
        *self.shared.earlier_ids.lock() = EarlierIds::default();
        drop(earlier);
        self.keep_up(postings).await;
    }

    /// Books what ends.
    async fn keep_up(self, mut postings: mpsc::UnboundedReceiver<Posting>) {
        let gather_micros = i64::try_from(self.config.gather_ms.saturating_mul(1_000));
        let gather_micros = gather_micros.unwrap_or(i64::MAX);
        let mut taken = Vec::with_capacity(self.config.batch_rows);
        let mut due_micros = self.steady_micros();
        loop {
            let most = self.config.batch_rows;
            if postings.recv_many(&mut taken, most).await == 0 {
                return;
            }
            self.gather(&postings, taken.len(), due_micros).await;
            let room = most.saturating_sub(taken.len());
            let more = std::iter::from_fn(|| postings.try_recv().ok());
            taken.extend(more.take(room));
            // A transaction costs as much as some dozen rows of it: under load there are few and great ones.
            due_micros = self.steady_micros().saturating_add(gather_micros);
            let mut batch = Batch::default();
            taken.drain(..).for_each(|posting| batch.add(posting));
            self.book(batch).await;
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

    /// Adds rows of an earlier run, which are read from the journal, for as long as it takes.
    async fn add_earlier(&self, batch: &mut Batch, receipts: Vec<Receipt>, earlier: &Earlier) {
        let mut patience = Patience::new();
        let entries = loop {
            match self.journal.rows(&receipts) {
                Ok(entries) => break entries,
                Err(error) => {
                    let wait_ms = patience.next();
                    tracing::error!(%error, wait_ms, "rows of an earlier run cannot be read; trying again");
                    (self.pause)(Duration::from_millis(wait_ms)).await;
                }
            }
        };
        let marks = entries.iter().map(|entry| earlier.mark_of(entry));
        batch.marks.extend(marks);
        batch.earlier = u64::try_from(entries.len()).unwrap_or(u64::MAX);
        batch.entries.extend(entries);
        batch.receipts.extend(receipts);
    }

    /// Writes one batch, for as long as it takes.
    async fn book(&self, mut batch: Batch) {
        let rows = batch.rows();
        self.join_late(&mut batch).await;
        let mut patience = Patience::new();
        while let Err(error) = self.append(&batch).await {
            let wait_ms = patience.next();
            self.shared.failures.fetch_add(1, Ordering::SeqCst);
            tracing::warn!(%error, rows, wait_ms, "the ledger does not take a batch; trying again");
            (self.pause)(Duration::from_millis(wait_ms)).await;
        }
        batch.late.iter().for_each(Late::charge);
        drop(batch.claims);
        self.journal.posted(batch.receipts);
        let now = self.clock.now().wall.as_microsecond();
        self.shared.last_posted_micros.store(now, Ordering::SeqCst);
        let earlier = batch.earlier;
        self.shared
            .earlier_posted
            .fetch_add(earlier, Ordering::SeqCst);
        let ended = rows.saturating_sub(earlier);
        let posted = self
            .shared
            .posted
            .fetch_add(ended, Ordering::SeqCst)
            .saturating_add(ended);
        self.progress.send_replace(posted);
    }

    /// Adds what may have been in the ledger already and is not, for as long as it takes to know.
    async fn join_late(&self, batch: &mut Batch) {
        if batch.late.is_empty() {
            return;
        }
        let ids: Vec<_> = batch.late.iter().map(Late::key).collect();
        let mut patience = Patience::new();
        let known = loop {
            match self.authority.known_calls(&ids).await {
                Ok(known) => break known,
                Err(error) => {
                    let wait_ms = patience.next();
                    tracing::warn!(%error, wait_ms, "whether rows are in the ledger cannot be looked up; trying again");
                    (self.pause)(Duration::from_millis(wait_ms)).await;
                }
            }
        };
        let mut known = known.into_iter();
        batch.late.retain(|_| known.next().flatten().is_none());
        let left_out = ids.len().saturating_sub(batch.late.len());
        let left_out = u64::try_from(left_out).unwrap_or(u64::MAX);
        self.shared.duplicates.fetch_add(left_out, Ordering::SeqCst);
        for late in &batch.late {
            batch.entries.push(late.entry.clone());
            batch.marks.push(None);
        }
    }

    async fn append(&self, batch: &Batch) -> Result<(), StoreError> {
        let now = self.clock.now();
        let entries = &batch.entries;
        let report = self.authority.append(entries, &batch.marks, now).await?;
        self.note(&report);
        // What went through the gateway was billed, and no other call keeps it out of the books.
        let (beside, marks) = beside(entries, &batch.marks, &report);
        if beside.is_empty() {
            return Ok(());
        }
        let report = self.authority.append(&beside, &marks, now).await?;
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
