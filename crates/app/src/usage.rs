//! Usage: what was called, what it took and what it cost, read from the books; and reported, for calls made elsewhere.

pub mod export;
pub mod report;

use std::time::Duration;

use jiff::civil::Date;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::period::day_of;
use tollgate_core::role::Permission;
use tollgate_core::{IntegrationId, Period};

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

pub use tollgate_store::{
    DailyRow, IntegrationUsage, ModelUsage, UsageFilter, UsageRow, UsageSummary, UsageTotals,
};

/// How long a reader waits for calls that are settled and not yet in the ledger.
const BOOKS_PATIENCE: Duration = Duration::from_secs(2);

/// The most days that one answer covers: a little over ten years.
const DAYS_MAX: i32 = 3_660;

/// Days whose usage is asked for; what is absent is this month.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Span {
    /// The first day, in UTC.
    pub from: Option<Date>,
    /// The last day, in UTC.
    pub to: Option<Date>,
}

/// Days, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first day, in UTC.
    pub from: Date,
    /// The last day, in UTC.
    pub to: Date,
}

impl Span {
    /// The days that are meant: from the first of the month to today where nothing is said.
    pub fn days(self, context: &Context) -> Result<Days, AppError> {
        let today = day_of(context.now.wall);
        let to = self
            .to
            .unwrap_or_else(|| today.max(self.from.unwrap_or(today)));
        let from = self.from.unwrap_or_else(|| Period::of_day(to).first_day());
        let invalid = |reason: String| AppError::Invalid {
            field: "from",
            reason,
        };
        if from > to {
            return Err(invalid(format!(
                "{from} is after {to}: give `from` before `to`"
            )));
        }
        if from.until(to).map_or(i32::MAX, |span| span.get_days()) > DAYS_MAX {
            return Err(invalid(format!("give at most {DAYS_MAX} days at once")));
        }
        Ok(Days { from, to })
    }
}

impl App {
    /// What the tenant's calls of some days add up to, everything included that has settled.
    pub async fn usage_summary(
        &self,
        context: &Context,
        days: Days,
        integration: Option<IntegrationId>,
    ) -> Result<UsageSummary, AppError> {
        let store = self.store.tenant(context.may_read_usage()?);
        let integration = context.restricted_to(integration)?;
        self.settle_books().await;
        Ok(store.usage_summary(days.from, days.to, integration).await?)
    }

    /// The same by provider and model. Reads the ledger of those days.
    pub async fn usage_by_model(
        &self,
        context: &Context,
        days: Days,
        integration: Option<IntegrationId>,
    ) -> Result<Vec<ModelUsage>, AppError> {
        let store = self.store.tenant(context.may_read_usage()?);
        let integration = context.restricted_to(integration)?;
        Ok(store.usage_by_model(days.moments(), integration).await?)
    }

    /// The rows of the ledger, newest first.
    pub async fn usage_history(
        &self,
        context: &Context,
        ask: PageAsk,
        mut filter: UsageFilter,
    ) -> Result<Page<UsageRow>, AppError> {
        let store = self.store.tenant(context.may_read_usage()?);
        filter.integration = context.restricted_to(filter.integration)?;
        self.settle_books().await;
        Ok(store.usage_history(ask, filter).await?)
    }

    /// The roll-ups of some days: by day, then integration.
    pub async fn usage_daily(
        &self,
        context: &Context,
        days: Days,
        integration: Option<IntegrationId>,
    ) -> Result<Vec<DailyRow>, AppError> {
        let store = self.store.tenant(context.may_read_usage()?);
        let integration = context.restricted_to(integration)?;
        self.settle_books().await;
        Ok(store.usage_daily(days.from, days.to, integration).await?)
    }

    /// Waits for the ledger to have what was settled before, for a moment at most: figures that
    /// are a little old are better than none while the store has trouble.
    pub(crate) async fn settle_books(&self) {
        if tokio::time::timeout(BOOKS_PATIENCE, self.books_caught_up())
            .await
            .is_err()
        {
            tracing::warn!("the ledger is behind: figures are shown without its latest calls");
        }
    }
}

impl Context {
    fn may_read_usage(&self) -> Result<&tollgate_core::TenantId, AppError> {
        self.must_be_allowed(Permission::ReadUsage)?;
        self.tenant()
    }
}
