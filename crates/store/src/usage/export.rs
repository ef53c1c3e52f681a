//! The ledger from its oldest row to its newest, piece by piece.

use jiff::Timestamp;
use tollgate_core::IntegrationId;
use tollgate_core::page::Cursor;

use super::row::{LEDGER, LedgerRow};
use super::{UsageFilter, UsageRow};
use crate::TenantStore;
use crate::engine::{Purpose, sql};
use crate::error::StoreError;
use crate::value::micros;

/// Which rows to read, and from where on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportAsk {
    /// Not earlier than this.
    pub from: Timestamp,
    /// Earlier than this.
    pub to: Timestamp,
    /// Through this integration.
    pub integration: Option<IntegrationId>,
    /// Written into the ledger no later than this: what comes in meanwhile is not there by half.
    pub settled_by: Timestamp,
    /// After this row.
    pub after: Option<Cursor>,
    /// At most so many rows.
    pub rows: u16,
}

/// A piece of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Its rows, oldest first.
    pub rows: Vec<UsageRow>,
    /// Where the next piece begins; none after the last.
    pub next: Option<Cursor>,
}

impl TenantStore {
    /// The next rows of the tenant's ledger, oldest first.
    pub async fn export_usage(&self, ask: &ExportAsk) -> Result<Exported, StoreError> {
        let filter = UsageFilter {
            // Where a piece begins is the narrower bound; beside the wider one SQLite would read from that each time.
            from: ask.after.is_none().then_some(ask.from),
            to: Some(ask.to),
            integration: ask.integration,
            ..UsageFilter::default()
        };
        let own = sql(LEDGER)
            .push(" WHERE tenant_id = ")
            .value(self.tenant.as_str());
        let mut statement = filter
            .apply(own)
            .push(" AND settled_at <= ")
            .value(micros(ask.settled_by));
        if let Some(after) = &ask.after {
            statement = statement
                .push(" AND (created_at, id) > (")
                .value(after.at_micros)
                .push(", ")
                .value(after.id.as_str())
                .push(")");
        }
        let statement = statement
            .push(" ORDER BY created_at, id LIMIT ")
            .value(i64::from(ask.rows));
        let found: Vec<LedgerRow> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let is_full = found.len() >= usize::from(ask.rows);
        let next = found.last().filter(|_| is_full).map(|row| Cursor {
            at_micros: row.created_at,
            id: row.id.clone(),
        });
        let rows = found
            .into_iter()
            .map(LedgerRow::read)
            .collect::<Result<_, _>>()?;
        Ok(Exported { rows, next })
    }
}
