//! The ledger: finished calls, appended in batches together with everything that must equal their sum.

mod append;
mod content;
mod entry;
mod known;
mod texts;

use std::sync::Arc;

use jiff::Timestamp;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::usage::{Origin, UsageEntry};
use tollgate_core::{CallId, HoldId, Moment, Nanos, TenantId};

use self::entry::{Given, Intake};
use crate::engine::{Purpose, sql};
use crate::error::StoreError;
use crate::value::Place;
use crate::{OperatorStore, Store, TenantStore};

pub(crate) use tollgate_core::books::{Books, Day, DayKey, MonthKey, MonthSum, average};

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Rows that are new in the ledger.
    pub written: u64,
    /// Calls that were there with the same content, or twice in the batch: they changed nothing.
    pub duplicates: u64,
    /// Calls that were there with other content: the first stands.
    pub conflicts: Vec<(TenantId, CallId)>,
    /// Of these, calls that were there because somebody had reported them.
    pub reported: Vec<(TenantId, CallId)>,
    /// Places in the batch of calls whose id another call has, which was admitted at another moment: two nodes were given
    /// one id at once. A second copy of a call is not among them.
    pub others: Vec<usize>,
    /// Calls that can never be booked.
    pub refused: Vec<Refused>,
}

/// A call that can never be booked, because its figures cannot be true or would overflow a sum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    /// Whose call it is.
    pub tenant: TenantId,
    /// The call.
    pub call: CallId,
    /// Why.
    pub reason: &'static str,
}

/// A finished call that its caller reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReportedEntry {
    /// The call, priced.
    pub entry: UsageEntry,
    /// What its caller thinks it cost: kept, never charged.
    pub client_cost: Option<Nanos>,
    /// What was reported, as text: two reports of a call are the same if this is.
    pub content: String,
    /// The hold that it settles, if its caller took one.
    pub hold: Option<HoldId>,
}

/// What became of one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is a new row.
    Written(Standing),
    /// Its call is there with the same content; the row, where it can be found.
    Duplicate(Option<Standing>),
    /// Its call is there with other content, which stands; the row, where it can be found.
    Conflict(Option<Standing>),
    /// It can never be booked, and why.
    Refused(&'static str),
}

/// The row that stands in the ledger for a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The row's id.
    pub id: Arc<str>,
    /// What the call cost.
    pub cost: Nanos,
    /// The cents that the row bears.
    pub cost_cents: i64,
    /// The version of the prices it was charged at; none where its model has none.
    pub price_version: Option<Arc<str>>,
    /// How it came to be known.
    pub origin: Origin,
    /// When the call was made.
    pub created_at: Timestamp,
    /// What became of the hold that it named.
    pub hold: Option<HoldOutcome>,
}

/// The ledger as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LedgerStatus {
    /// Its rows.
    pub rows: u64,
    /// Rows of calls that were refused.
    pub refused: u64,
    /// The time of its earliest call.
    pub first: Option<Timestamp>,
    /// The time of its latest call.
    pub last: Option<Timestamp>,
    /// Balances: integrations times months.
    pub balances: u64,
    /// Roll-ups: integrations times days.
    pub days: u64,
    /// What all calls cost.
    pub cost: Nanos,
    /// The same in the cents that rows bear.
    pub cost_cents: i64,
    /// Input tokens of all calls.
    pub tokens_in: i64,
    /// Output tokens of all calls.
    pub tokens_out: i64,
}

impl TenantStore {
    /// Appends calls of this tenant that were reported, in one transaction like any other batch; the fate of each, in their order.
    pub async fn report_usage(
        &self,
        reports: &[ReportedEntry],
        now: Timestamp,
    ) -> Result<Vec<Fate>, StoreError> {
        let own = reports
            .iter()
            .all(|report| report.entry.tenant_id == self.tenant);
        if !own {
            return Err(StoreError::InvalidRow {
                reason: "a reported call belongs to another tenant",
            });
        }
        let given = reports.iter().map(|report| Given {
            entry: &report.entry,
            origin: Origin::Telemetry,
            client_cost: report.client_cost,
            content: Some(&report.content),
            hold: report.hold,
            mark: None,
        });
        let given: Vec<_> = given.collect();
        append(
            &self.store,
            &given,
            Moment {
                wall: now,
                steady_micros: 0,
            },
        )
        .await
    }
}

/// Books what is given, and tells the fate of each.
async fn append(store: &Store, given: &[Given<'_>], now: Moment) -> Result<Vec<Fate>, StoreError> {
    let intake = Arc::new(Intake::of(given, now.wall)?);
    let firsts = intake.firsts.iter();
    let mut months: Vec<_> = firsts.map(|first| first.entry.period()).collect();
    months.sort_unstable();
    months.dedup();
    let node = store.node;
    store
        .book(months, move |work| {
            let intake = Arc::clone(&intake);
            Box::pin(async move { append::append(work, &intake, node, now).await })
        })
        .await
}

impl AppendReport {
    fn of(entries: &[UsageEntry], fates: Vec<Fate>) -> Self {
        let mut report = Self::default();
        for (place, (entry, fate)) in entries.iter().zip(fates).enumerate() {
            let key = || (entry.tenant_id.clone(), entry.call_id.clone());
            match fate {
                Fate::Written(_) => report.written += 1,
                Fate::Duplicate(_) => report.duplicates += 1,
                Fate::Conflict(row) => {
                    report.conflicts.push(key());
                    match row {
                        Some(row) if row.origin == Origin::Telemetry => {
                            report.reported.push(key());
                        }
                        Some(row) if row.created_at != entry.created_at => {
                            report.others.push(place);
                        }
                        _ => {}
                    }
                }
                Fate::Refused(reason) => {
                    let (tenant, call) = key();
                    report.refused.push(Refused {
                        tenant,
                        call,
                        reason,
                    });
                }
            }
        }
        report
    }
}

impl OperatorStore {
    /// Appends a batch in one transaction: rows, idempotency keys, balances, this node's allowances, roll-ups.
    ///
    /// Rows get their cents in the order of the batch; `now` is noted as the time of settling.
    pub async fn append(
        &self,
        entries: &[UsageEntry],
        now: Timestamp,
    ) -> Result<AppendReport, StoreError> {
        let now = Moment {
            wall: now,
            steady_micros: 0,
        };
        self.append_counting(entries, &[], now).await
    }

    /// The same, for a node that counts the calls of a minute itself: the calls that have a mark, the moment of their
    /// admission on the machine's clock, are counted with their rows, once each.
    pub async fn append_counting(
        &self,
        entries: &[UsageEntry],
        marks: &[Option<i64>],
        now: Moment,
    ) -> Result<AppendReport, StoreError> {
        let marks = marks.iter().copied().chain(std::iter::repeat(None));
        let given = entries.iter().zip(marks).map(|(entry, mark)| Given {
            entry,
            origin: Origin::Gateway,
            client_cost: None,
            content: None,
            hold: None,
            mark,
        });
        let given: Vec<_> = given.collect();
        let fates = append(&self.store, &given, now).await?;
        Ok(AppendReport::of(entries, fates))
    }

    /// Whether the ledger has the call.
    pub async fn is_call_known(
        &self,
        tenant: &TenantId,
        call: &CallId,
    ) -> Result<bool, StoreError> {
        let select =
            "SELECT CAST(1 AS BIGINT) FROM call_keys WHERE tenant_id = $1 AND call_id = $2";
        let statement = sql(select).bind(tenant.as_str()).bind(call.as_str());
        let found: Option<(i64,)> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        Ok(found.is_some())
    }

    /// The ledger as a whole, as of one moment. Reads all of it.
    pub async fn ledger_status(&self) -> Result<LedgerStatus, StoreError> {
        self.perform(Purpose::Snapshot, |work| {
                Box::pin(async {
                    let count = "SELECT (SELECT COUNT(*) FROM balances), (SELECT COUNT(*) FROM cus_usage_daily)";
                    let (balances, days): (i64, i64) = work.fetch_one(sql(count)).await?;
                    let sums: Sums = work.fetch_one(sql(SELECT_SUMS)).await?;
                    sums.read(balances, days)
                })
            })
            .await
    }
}

const SELECT_SUMS: &str = "SELECT COUNT(*) AS all_rows, \
     CAST(COALESCE(SUM(CASE WHEN policy_result = 'blocked' THEN 1 ELSE 0 END), 0) AS BIGINT) AS refused, \
     MIN(created_at) AS first, MAX(created_at) AS last, \
     CAST(COALESCE(SUM(cost_nanos), 0) AS BIGINT) AS cost_nanos, \
     CAST(COALESCE(SUM(cost_cents), 0) AS BIGINT) AS cost_cents, \
     CAST(COALESCE(SUM(tokens_in), 0) AS BIGINT) AS tokens_in, \
     CAST(COALESCE(SUM(tokens_out), 0) AS BIGINT) AS tokens_out FROM cus_llm_usage";

#[derive(sqlx::FromRow)]
struct Sums {
    all_rows: i64,
    refused: i64,
    first: Option<i64>,
    last: Option<i64>,
    cost_nanos: i64,
    cost_cents: i64,
    tokens_in: i64,
    tokens_out: i64,
}

impl Sums {
    fn read(self, balances: i64, days: i64) -> Result<LedgerStatus, StoreError> {
        let place = Place {
            table: "cus_llm_usage",
            row: "all",
        };
        Ok(LedgerStatus {
            rows: self.all_rows.unsigned_abs(),
            refused: self.refused.unsigned_abs(),
            first: place.maybe_time("created_at", self.first)?,
            last: place.maybe_time("created_at", self.last)?,
            balances: balances.unsigned_abs(),
            days: days.unsigned_abs(),
            cost: Nanos::new(self.cost_nanos),
            cost_cents: self.cost_cents,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
        })
    }
}
