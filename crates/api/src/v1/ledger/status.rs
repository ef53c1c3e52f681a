//! `GET /api/v1/ledger/status`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::Serialize;
use tollgate_app::books::BooksStatus;
use utoipa::ToSchema;

use crate::auth::Asker;
use crate::problem::Problem;
use crate::state::Api;

/// How the books are doing.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BooksStatus)]
pub(crate) struct StatusBody {
    /// `sqlite` or `postgres`.
    engine: &'static str,
    ledger: LedgerBody,
    writer: WriterBody,
    journal: JournalBody,
    /// The last verification that this node was asked for since its start; null if there was none.
    last_check: Option<CheckBody>,
}

/// A verification of the books.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerCheck)]
pub(crate) struct CheckBody {
    /// When it was asked for.
    at: Timestamp,
    /// Of whose books; null for everybody's.
    tenant_id: Option<String>,
    /// Whether nothing differed.
    exact: bool,
}

/// The ledger, from every node.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerTotals)]
pub(crate) struct LedgerBody {
    /// Its rows.
    rows: u64,
    /// Of these, refused calls.
    refused: u64,
    /// When the first call was made.
    first: Option<Timestamp>,
    /// When the last call was made.
    last: Option<Timestamp>,
    /// Balances: one an integration and month.
    balances: u64,
    /// Roll-ups: one an integration and day.
    days: u64,
    /// What all calls cost, to the nano-dollar.
    cost_usd: String,
    /// The cents that the rows were posted with.
    cost_cents: i64,
    /// Tokens sent.
    tokens_in: i64,
    /// Tokens received.
    tokens_out: i64,
}

/// The ledger's writer on this node, since its start.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LedgerWriter)]
pub(crate) struct WriterBody {
    /// Rows that were given to it.
    queued_rows: u64,
    /// Of these, rows that the store has.
    posted_rows: u64,
    /// Rows that wait.
    lag_rows: u64,
    /// Rows that the store already had.
    duplicate_rows: u64,
    /// Rows whose id the store has with other content.
    conflicting_rows: u64,
    /// Batches that the store did not take at the first try.
    failed_writes: u64,
    /// When the last batch was written.
    last_posted_at: Option<Timestamp>,
}

/// This node's journal.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JournalStatus)]
pub(crate) struct JournalBody {
    /// Its files.
    segments: usize,
    /// Their length together.
    bytes: u64,
    /// Calls in flight.
    open_calls: u64,
    /// Rows that are not yet in the ledger.
    unposted: u64,
    /// Records that are not yet known to be on the disk.
    unsynced: u64,
    /// How often the disk refused, since the start.
    sync_failures: u64,
    /// Bytes that the last end of the program left half-written.
    torn_bytes: u64,
}

impl From<BooksStatus> for StatusBody {
    fn from(status: BooksStatus) -> Self {
        let (ledger, node) = (status.ledger, status.node);
        let (progress, journal) = (node.ledger, node.journal);
        Self {
            engine: status.engine,
            ledger: LedgerBody {
                rows: ledger.rows,
                refused: ledger.refused,
                first: ledger.first,
                last: ledger.last,
                balances: ledger.balances,
                days: ledger.days,
                cost_usd: ledger.cost.to_string(),
                cost_cents: ledger.cost_cents,
                tokens_in: ledger.tokens_in,
                tokens_out: ledger.tokens_out,
            },
            writer: WriterBody {
                queued_rows: progress.queued_rows,
                posted_rows: progress.posted_rows,
                lag_rows: progress.queued_rows.saturating_sub(progress.posted_rows),
                duplicate_rows: progress.duplicate_rows,
                conflicting_rows: progress.conflicting_rows,
                failed_writes: progress.failed_writes,
                last_posted_at: progress.last_posted_at,
            },
            journal: JournalBody {
                segments: journal.segments,
                bytes: journal.bytes,
                open_calls: journal.open_calls,
                unposted: journal.unposted,
                unsynced: journal.unsynced,
                sync_failures: journal.sync_failures,
                torn_bytes: node.torn_bytes,
            },
            last_check: status.last_check.map(|check| CheckBody {
                at: check.at,
                tenant_id: check.tenant.map(String::from),
                exact: check.is_exact,
            }),
        }
    }
}

/// How the books of this node and of the store are doing.
#[utoipa::path(get, path = "/api/v1/ledger/status", operation_id = "get_ledger_status",
    responses((status = 200, description = "The status", body = StatusBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
) -> Result<Json<StatusBody>, Problem> {
    Ok(Json(api.app.books_status(&context).await?.into()))
}
