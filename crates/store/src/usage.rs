//! Usage as a tenant reads it: the ledger's rows, the days, and their sums.

mod export;
mod models;
mod row;
mod summary;

use cus_models::{CusLLMUsage, CusPolicyResult, CusUsageDaily};
use jiff::Timestamp;
use jiff::civil::Date;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::price::PricePin;
use tollgate_core::usage::{Origin, UsageSource};
use tollgate_core::{AgentId, CallId, HoldId, IntegrationId, Nanos, NodeId, SessionId, TokenUsage};

pub use self::export::{ExportAsk, Exported};
pub use self::models::ModelUsage;
use self::row::{DAYS, DayRow, LEDGER, LedgerRow};
pub use self::summary::{IntegrationUsage, UsageSummary, UsageTotals};
use crate::TenantStore;
use crate::engine::{Purpose, Statement, sql};
use crate::error::StoreError;
use crate::page::{newest_first, page};
use crate::value::micros;

/// Which rows of the ledger; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageFilter {
    /// Not earlier than this.
    pub from: Option<Timestamp>,
    /// Earlier than this.
    pub to: Option<Timestamp>,
    /// Through this integration.
    pub integration: Option<IntegrationId>,
    /// This call.
    pub call: Option<CallId>,
    /// Of this session.
    pub session: Option<SessionId>,
    /// Of this agent.
    pub agent: Option<AgentId>,
    /// With this decision.
    pub policy_result: Option<CusPolicyResult>,
    /// That came to be known this way.
    pub origin: Option<Origin>,
}

/// A row of the ledger with all that it was charged by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageRow {
    /// The record.
    pub usage: CusLLMUsage,
    /// What it cost, exactly.
    pub cost: Nanos,
    /// What was held for it.
    pub held: Nanos,
    /// Where the token counts come from.
    pub source: UsageSource,
    /// Tokens by class.
    pub tokens: TokenUsage,
    /// The prices it was charged at.
    pub price: Option<PricePin>,
    /// The node that it came through.
    pub node: NodeId,
    /// When it was written into the ledger.
    pub settled_at: Timestamp,
    /// How it came to be known.
    pub origin: Origin,
    /// What its caller thinks it cost.
    pub client_cost: Option<Nanos>,
    /// The hold that its report named.
    pub hold: Option<HoldId>,
    /// What became of that hold.
    pub hold_outcome: Option<HoldOutcome>,
}

/// A roll-up with its exact cost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DailyRow {
    /// The record.
    pub daily: CusUsageDaily,
    /// What the calls cost, exactly.
    pub cost: Nanos,
}

impl TenantStore {
    /// The tenant's calls, newest first.
    pub async fn usage_history(
        &self,
        ask: PageAsk,
        mut filter: UsageFilter,
    ) -> Result<Page<UsageRow>, StoreError> {
        if let Some(after) = &ask.after {
            // SQLite begins at the end of the span, not at the cursor, where it is given both.
            let end = Timestamp::from_microsecond(after.at_micros.saturating_add(1)).ok();
            filter.to = filter.to.into_iter().chain(end).min();
        }
        let mut own = sql(LEDGER)
            .push(" WHERE tenant_id = ")
            .value(self.tenant.as_str());
        if let Some(call) = &filter.call {
            // Its key tells the time of a call, and with it the ledger's index finds its row.
            own = own
                .push(" AND created_at = (SELECT created_at FROM call_keys WHERE tenant_id = ")
                .value(self.tenant.as_str())
                .push(" AND call_id = ")
                .value(call.as_str())
                .push(")");
        }
        let statement = newest_first(filter.apply(own), &ask, "id");
        let found: Vec<LedgerRow> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let cursor = |row: &LedgerRow| Cursor {
            at_micros: row.created_at,
            id: row.id.clone(),
        };
        page(found, &ask, cursor, LedgerRow::read)
    }

    /// The tenant's days from the first to the last, both included: by day, then by integration.
    pub async fn usage_daily(
        &self,
        from: Date,
        to: Date,
        integration: Option<IntegrationId>,
    ) -> Result<Vec<DailyRow>, StoreError> {
        let statement = self
            .days(DAYS, (from, to), integration)
            .push(" ORDER BY date, integration_id");
        let rows: Vec<DayRow> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        rows.into_iter().map(DayRow::read).collect()
    }

    /// Restricts a statement on the roll-ups to this tenant's days.
    fn days(
        &self,
        select: &'static str,
        (from, to): (Date, Date),
        integration: Option<IntegrationId>,
    ) -> Statement {
        let days = sql(select)
            .push(" WHERE d.tenant_id = ")
            .value(self.tenant.as_str())
            .push(" AND d.date BETWEEN ")
            .value(from.to_string())
            .push(" AND ")
            .value(to.to_string());
        match integration {
            Some(id) => days.push(" AND d.integration_id = ").value(id.to_string()),
            None => days,
        }
    }
}

impl UsageFilter {
    fn apply(self, statement: Statement) -> Statement {
        let mut statement = statement;
        if let Some(from) = self.from {
            statement = statement.push(" AND created_at >= ").value(micros(from));
        }
        if let Some(to) = self.to {
            statement = statement.push(" AND created_at < ").value(micros(to));
        }
        let texts = [
            (
                " AND integration_id = ",
                self.integration.map(|id| id.to_string()),
            ),
            (" AND call_id = ", self.call.map(String::from)),
            (" AND session_id = ", self.session.map(String::from)),
            (" AND agent_id = ", self.agent.map(String::from)),
            (
                " AND policy_result = ",
                self.policy_result.map(|result| result.to_string()),
            ),
            (
                " AND origin = ",
                self.origin.map(|origin| origin.as_str().to_owned()),
            ),
        ];
        for (condition, text) in texts {
            if let Some(text) = text {
                statement = statement.push(condition).value(text);
            }
        }
        statement
    }
}
