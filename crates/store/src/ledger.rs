//! The ledger: finished calls, appended in batches together with everything that must equal their sum.

mod append;
mod books;
mod entry;

use std::sync::Arc;

use jiff::Timestamp;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Nanos, TenantId};

use self::entry::Prepared;
use crate::OperatorStore;
use crate::engine::{Purpose, sql};
use crate::error::StoreError;
use crate::value::{Place, micros};

pub(crate) use self::books::{Books, Day, DayKey, MonthKey, MonthSum, average};

/// What became of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AppendReport {
    /// Rows that are new in the ledger.
    pub written: u64,
    /// Calls that were there with the same content, or twice in the batch: they changed nothing.
    pub duplicates: u64,
    /// Calls that were there with other content: the first stands.
    pub conflicts: Vec<(TenantId, CallId)>,
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

impl OperatorStore {
    /// Appends a batch in one transaction: rows, idempotency keys, balances, this node's allowances, roll-ups.
    ///
    /// Rows get their cents in the order of the batch; `now` is noted as the time of settling.
    pub async fn append(
        &self,
        entries: &[UsageEntry],
        now: Timestamp,
    ) -> Result<AppendReport, StoreError> {
        let (prepared, report) = Prepared::of(entries)?;
        if prepared.is_empty() {
            return Ok(report);
        }
        let prepared = Arc::new(prepared);
        let mut months: Vec<_> = prepared
            .iter()
            .map(|prepared| prepared.entry.period())
            .collect();
        months.sort_unstable();
        months.dedup();
        let node = self.store.node;
        self.store
            .book(months, move |work| {
                let (prepared, report) = (Arc::clone(&prepared), report.clone());
                Box::pin(async move { append::append(work, &prepared, node, now, report).await })
            })
            .await
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

    /// How many calls an integration was admitted since a moment, in steps of at most 100 milliseconds, oldest first.
    /// The time of a step is that of its last call.
    pub async fn recent_calls(
        &self,
        integration: IntegrationId,
        since: Timestamp,
    ) -> Result<Vec<(Timestamp, i64)>, StoreError> {
        let select = "SELECT MAX(created_at), COUNT(*) FROM cus_llm_usage \
                      WHERE integration_id = $1 AND created_at >= $2 AND policy_result <> 'blocked' \
                      GROUP BY created_at / 100000 ORDER BY 1";
        let statement = sql(select)
            .bind(integration.to_string())
            .bind(micros(since));
        let rows: Vec<(i64, i64)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let place = Place {
            table: "cus_llm_usage",
            row: "recent",
        };
        rows.into_iter()
            .map(|(at, calls)| Ok((place.time("created_at", at)?, calls)))
            .collect()
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
