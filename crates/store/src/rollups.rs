//! Roll-ups: `cus_usage_daily`, one row for each integration and day, changed only together with the ledger.
//!
//! Every row of the ledger counts as a call, refused ones too: they are the blocked count. The average latency comes from
//! an exact sum over the calls that have one.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;

use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Statement, Work, sql};
use crate::error::StoreError;
use crate::ledger::{Books, Day, DayKey};
use crate::value::{Place, micros};
use crate::{OperatorStore, audit};

/// What a rebuild found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RebuildReport {
    /// Roll-ups that the ledger makes.
    pub days: u64,
    /// How many of those that were stored had to be changed, added or removed; 0 unless something was wrong.
    pub changed: u64,
}

impl OperatorStore {
    /// Makes every roll-up anew from the ledger, while no batch is appended. The audit entry gets what was found.
    pub async fn rebuild_rollups(&self, audit: AuditEntry) -> Result<RebuildReport, StoreError> {
        self.store
            .book(Vec::new(), move |work| {
                let mut audit = audit.clone();
                Box::pin(async move {
                    let report = rebuild(work, audit.at).await?;
                    let RebuildReport { days, changed } = report;
                    audit.after = Some(format!(r#"{{"days":{days},"changed":{changed}}}"#));
                    audit::record(work, &audit).await?;
                    Ok(report)
                })
            })
            .await
    }
}

macro_rules! columns {
    () => {
        "tenant_id, integration_id, date, total_calls, total_tokens_in, total_tokens_out, total_cost_cents, \
         total_cost_nanos, error_count, blocked_count, latency_sum_ms, latency_count"
    };
}

const SELECT_STORED: &str = concat!(
    "SELECT ",
    columns!(),
    ", avg_latency_ms FROM cus_usage_daily"
);

const READ: Batch = Batch {
    head: concat!(
        "SELECT ",
        columns!(),
        ", avg_latency_ms FROM cus_usage_daily WHERE (tenant_id, integration_id, date) IN ("
    ),
    columns: &[Text, Text, Text],
    tail: ")",
    locks_rows: false,
};

const REMOVE: Batch = Batch {
    head: "DELETE FROM cus_usage_daily WHERE (tenant_id, integration_id, date) IN (",
    columns: &[Text, Text, Text],
    tail: ")",
    locks_rows: false,
};

const WRITE: Batch = Batch {
    head: concat!(
        "INSERT INTO cus_usage_daily (",
        columns!(),
        ", avg_latency_ms, updated_at)"
    ),
    columns: &[
        Text, Text, Text, Integer, Integer, Integer, Integer, Integer, Integer, Integer, Integer,
        Integer, Integer, Integer,
    ],
    tail: "ON CONFLICT (tenant_id, integration_id, date) DO UPDATE SET total_calls = excluded.total_calls, \
           total_tokens_in = excluded.total_tokens_in, total_tokens_out = excluded.total_tokens_out, \
           total_cost_cents = excluded.total_cost_cents, total_cost_nanos = excluded.total_cost_nanos, \
           error_count = excluded.error_count, blocked_count = excluded.blocked_count, \
           latency_sum_ms = excluded.latency_sum_ms, latency_count = excluded.latency_count, \
           avg_latency_ms = excluded.avg_latency_ms, updated_at = excluded.updated_at",
    locks_rows: false,
};

const SELECT_FROM_LEDGER: &str = "SELECT tenant_id, integration_id, day AS date, COUNT(*) AS total_calls, \
     CAST(SUM(tokens_in) AS BIGINT) AS total_tokens_in, CAST(SUM(tokens_out) AS BIGINT) AS total_tokens_out, \
     CAST(SUM(cost_cents) AS BIGINT) AS total_cost_cents, CAST(SUM(cost_nanos) AS BIGINT) AS total_cost_nanos, \
     COUNT(error_code) AS error_count, \
     CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 1 ELSE 0 END) AS BIGINT) AS blocked_count, \
     CAST(COALESCE(SUM(latency_ms), 0) AS BIGINT) AS latency_sum_ms, COUNT(latency_ms) AS latency_count, \
     CAST(NULL AS BIGINT) AS avg_latency_ms FROM cus_llm_usage";

/// Reads the roll-ups of days whose month's balance is locked.
pub(crate) async fn read(
    work: &mut Work,
    days: BTreeSet<DayKey>,
) -> Result<BTreeMap<DayKey, Day>, StoreError> {
    let rows: Vec<Row> = work
        .fetch_batch(READ, days.iter().map(key).collect())
        .await?;
    rows.into_iter()
        .map(|row| row.read().map(|(key, day, _)| (key, day)))
        .collect()
}

/// Writes what the batch has made of the roll-ups.
pub(crate) async fn write(
    work: &mut Work,
    books: &Books,
    now: Timestamp,
) -> Result<(), StoreError> {
    write_days(work, books.days.iter(), now).await
}

/// The roll-ups as they are stored, with their average latency.
pub(crate) async fn stored(
    work: &mut Work,
    tenant: Option<&TenantId>,
) -> Result<BTreeMap<DayKey, (Day, Option<i64>)>, StoreError> {
    let rows: Vec<Row> = work.fetch_all(of(SELECT_STORED, tenant)).await?;
    rows.into_iter()
        .map(|row| row.read().map(|(key, day, avg)| (key, (day, avg))))
        .collect()
}

/// The roll-ups as the ledger makes them.
pub(crate) async fn from_ledger(
    work: &mut Work,
    tenant: Option<&TenantId>,
) -> Result<BTreeMap<DayKey, Day>, StoreError> {
    let grouped = of_ledger(work, SELECT_FROM_LEDGER, tenant)
        .push(" GROUP BY tenant_id, integration_id, day");
    let rows: Vec<Row> = work.fetch_all(grouped).await?;
    rows.into_iter()
        .map(|row| row.read().map(|(key, day, _)| (key, day)))
        .collect()
}

/// Restricts a statement without a condition to one tenant, if one is given.
pub(crate) fn of(select: &'static str, tenant: Option<&TenantId>) -> Statement {
    match tenant {
        Some(tenant) => sql(select)
            .push(" WHERE tenant_id = ")
            .value(tenant.as_str()),
        None => sql(select),
    }
}

/// The same of the ledger. Where all of it is summed, SQLite would go by an index and fetch each row from another place of the
/// file; in the order of the file it takes half as long.
pub(crate) fn of_ledger(work: &Work, select: &'static str, tenant: Option<&TenantId>) -> Statement {
    if tenant.is_none() && !work.is_postgres() {
        return sql(select).push(" NOT INDEXED");
    }
    of(select, tenant)
}

async fn rebuild(work: &mut Work, now: Timestamp) -> Result<RebuildReport, StoreError> {
    if work.is_postgres() {
        // Whoever appends locks rows of this table first, so this waits for them and holds others off.
        work.execute(sql("LOCK TABLE balances IN EXCLUSIVE MODE"))
            .await?;
    }
    let stored = stored(work, None).await?;
    let made = from_ledger(work, None).await?;
    let wrong: BTreeMap<&DayKey, &Day> = made
        .iter()
        .filter(|(key, day)| stored.get(key) != Some(&(**day, day.avg_latency_ms())))
        .collect();
    let stale: Vec<_> = stored
        .keys()
        .filter(|key| !made.contains_key(key))
        .map(key)
        .collect();
    let report = RebuildReport {
        days: count(made.len()),
        changed: count(wrong.len() + stale.len()),
    };
    work.execute_batch(REMOVE, stale.into()).await?;
    write_days(work, wrong.into_iter(), now).await?;
    Ok(report)
}

async fn write_days(
    work: &mut Work,
    days: impl Iterator<Item = (&DayKey, &Day)> + Send,
    now: Timestamp,
) -> Result<(), StoreError> {
    let rows = days.map(|(day_key, day)| {
        let mut row = key(day_key);
        row.extend([
            day.calls.into(),
            day.tokens_in.into(),
            day.tokens_out.into(),
            day.cents.into(),
            day.nanos.into(),
            day.errors.into(),
            day.blocked.into(),
            day.latency_sum_ms.into(),
            day.latency_count.into(),
            day.avg_latency_ms().into(),
            micros(now).into(),
        ]);
        row
    });
    let rows = rows.collect();
    work.execute_batch(WRITE, rows).await.map(drop)
}

fn key((tenant, integration, date): &DayKey) -> Vec<crate::engine::Value> {
    vec![
        tenant.as_str().into(),
        integration.to_string().into(),
        date.to_string().into(),
    ]
}

/// A number of rows.
pub(crate) fn count(rows: usize) -> u64 {
    u64::try_from(rows).unwrap_or(u64::MAX)
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: String,
    integration_id: String,
    date: String,
    total_calls: i64,
    total_tokens_in: i64,
    total_tokens_out: i64,
    total_cost_cents: i64,
    total_cost_nanos: i64,
    error_count: i64,
    blocked_count: i64,
    latency_sum_ms: i64,
    latency_count: i64,
    avg_latency_ms: Option<i64>,
}

impl Row {
    fn read(self) -> Result<(DayKey, Day, Option<i64>), StoreError> {
        let place = Place {
            table: "cus_usage_daily",
            row: &self.integration_id,
        };
        let key = (
            place.text("tenant_id", &self.tenant_id)?,
            place.text("integration_id", &self.integration_id)?,
            place.text("date", &self.date)?,
        );
        let day = Day {
            calls: self.total_calls,
            tokens_in: self.total_tokens_in,
            tokens_out: self.total_tokens_out,
            cents: self.total_cost_cents,
            nanos: self.total_cost_nanos,
            errors: self.error_count,
            blocked: self.blocked_count,
            latency_sum_ms: self.latency_sum_ms,
            latency_count: self.latency_count,
        };
        Ok((key, day, self.avg_latency_ms))
    }
}
