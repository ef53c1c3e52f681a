//! Balances: one row for each integration and month, changed only together with the ledger.

use std::collections::BTreeMap;

use tollgate_core::{IntegrationId, Nanos, Period, TenantId};

use crate::TenantStore;
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Purpose, Work, sql};
use crate::error::StoreError;
use crate::ledger::{Books, MonthKey, MonthSum};
use crate::value::Place;

/// What one integration has used in one month, of all that is in the ledger.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Balance {
    /// Money.
    pub settled: Nanos,
    /// Tokens, input and output.
    pub tokens: i64,
    /// The cents that the ledger's rows bear.
    pub posted_cents: i64,
    /// Calls that were not refused.
    pub calls: i64,
}

impl TenantStore {
    /// The balance of one of the tenant's integrations; nothing where nothing is booked.
    pub async fn balance(
        &self,
        integration: IntegrationId,
        period: Period,
    ) -> Result<Balance, StoreError> {
        let select = "SELECT settled_nanos, settled_tokens, posted_cents, calls FROM balances \
                      WHERE tenant_id = $1 AND integration_id = $2 AND period = $3";
        let statement = sql(select)
            .bind(self.tenant.as_str())
            .bind(integration.to_string())
            .bind(period.to_string());
        let found: Option<(i64, i64, i64, i64)> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        Ok(
            found.map_or_else(Balance::default, |(nanos, tokens, posted_cents, calls)| {
                Balance {
                    settled: Nanos::new(nanos),
                    tokens,
                    posted_cents,
                    calls,
                }
            }),
        )
    }
}

const OPEN: Batch = Batch {
    head: "INSERT INTO balances (integration_id, period, tenant_id, settled_nanos, settled_tokens, posted_cents, calls)",
    columns: &[Text, Text, Text, Integer, Integer, Integer, Integer],
    tail: "ON CONFLICT (integration_id, period) DO NOTHING",
    locks_rows: false,
};

const LOCK: Batch = Batch {
    head: "SELECT integration_id, period, tenant_id, settled_nanos, settled_tokens, posted_cents, calls \
           FROM balances WHERE (integration_id, period) IN (",
    columns: &[Text, Text],
    tail: ") ORDER BY integration_id, period",
    locks_rows: true,
};

const WRITE: Batch = Batch {
    head: OPEN.head,
    columns: OPEN.columns,
    tail: "ON CONFLICT (integration_id, period) DO UPDATE SET settled_nanos = excluded.settled_nanos, \
           settled_tokens = excluded.settled_tokens, posted_cents = excluded.posted_cents, calls = excluded.calls",
    locks_rows: false,
};

/// Locks and reads the balances of these months, sorted; those that do not exist begin at nothing.
pub(crate) async fn lock(
    work: &mut Work,
    months: BTreeMap<MonthKey, TenantId>,
) -> Result<BTreeMap<MonthKey, MonthSum>, StoreError> {
    let mut opened = Vec::with_capacity(months.len());
    let mut keys = Vec::with_capacity(months.len());
    for ((integration, period), tenant) in months {
        let (integration, period) = (integration.to_string(), period.to_string());
        keys.push(vec![integration.as_str().into(), period.as_str().into()]);
        let mut row = vec![integration.into(), period.into(), tenant.as_str().into()];
        row.resize(OPEN.columns.len(), 0.into());
        opened.push(row);
    }
    work.execute_batch(OPEN, opened.into()).await?;
    let rows: Vec<Row> = work.fetch_batch(LOCK, keys.into()).await?;
    rows.into_iter().map(Row::read).collect()
}

/// The same for a batch, which writes them all in the end. Where it is the only writer, none is made before.
pub(crate) async fn open(
    work: &mut Work,
    months: BTreeMap<MonthKey, TenantId>,
) -> Result<BTreeMap<MonthKey, MonthSum>, StoreError> {
    if work.is_postgres() {
        return lock(work, months).await;
    }
    let mut sums = BTreeMap::new();
    let mut keys = Vec::with_capacity(months.len());
    for ((integration, period), tenant) in months {
        keys.push(vec![
            integration.to_string().into(),
            period.to_string().into(),
        ]);
        let nothing = MonthSum {
            tenant: tenant.to_string(),
            nanos: 0,
            tokens: 0,
            cents: 0,
            calls: 0,
        };
        sums.insert((integration, period), nothing);
    }
    let rows: Vec<Row> = work.fetch_batch(LOCK, keys.into()).await?;
    for row in rows {
        let (key, sum) = row.read()?;
        sums.insert(key, sum);
    }
    Ok(sums)
}

/// Writes what the batch has made of the balances.
pub(crate) async fn write(work: &mut Work, books: &Books) -> Result<(), StoreError> {
    let rows = books.months.iter().map(|((integration, period), month)| {
        vec![
            integration.to_string().into(),
            period.to_string().into(),
            month.tenant.as_str().into(),
            month.nanos.into(),
            month.tokens.into(),
            month.cents.into(),
            month.calls.into(),
        ]
    });
    work.execute_batch(WRITE, rows.collect()).await.map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    integration_id: String,
    period: String,
    tenant_id: String,
    settled_nanos: i64,
    settled_tokens: i64,
    posted_cents: i64,
    calls: i64,
}

impl Row {
    fn read(self) -> Result<(MonthKey, MonthSum), StoreError> {
        let place = Place {
            table: "balances",
            row: &self.integration_id,
        };
        let key = (
            place.text("integration_id", &self.integration_id)?,
            place.text("period", &self.period)?,
        );
        let month = MonthSum {
            tenant: self.tenant_id,
            nanos: self.settled_nanos,
            tokens: self.settled_tokens,
            cents: self.posted_cents,
            calls: self.calls,
        };
        Ok((key, month))
    }
}
