//! Sums over days, by integration and over all. They come from the roll-ups, which equal the ledger.

use cus_models::CusProviderType;
use jiff::civil::Date;
use tollgate_core::{IntegrationId, Nanos};

use crate::TenantStore;
use crate::engine::Purpose;
use crate::error::StoreError;
use crate::ledger::average;
use crate::value::Place;

/// What calls add up to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct UsageTotals {
    /// Calls, refused ones too.
    pub total_calls: i64,
    /// Input tokens.
    pub total_tokens_in: i64,
    /// Output tokens.
    pub total_tokens_out: i64,
    /// The cents that the rows bear.
    pub total_cost_cents: i64,
    /// What they cost, exactly.
    pub cost: Nanos,
    /// The average latency of the calls that have one, in milliseconds, rounded half up.
    pub avg_latency_ms: Option<i64>,
    /// Calls that failed or were refused.
    pub error_count: i64,
    /// Calls that were refused.
    pub blocked_count: i64,
}

/// Sums over all integrations and by each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct UsageSummary {
    /// Over all.
    pub totals: UsageTotals,
    /// By integration, sorted by name.
    pub by_integration: Vec<IntegrationUsage>,
}

/// The sums of one integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationUsage {
    /// Which integration.
    pub integration: IntegrationId,
    /// Its name, also once it is deleted; empty if there never was one.
    pub name: String,
    /// Its provider.
    pub provider_type: Option<CusProviderType>,
    /// Its sums.
    pub totals: UsageTotals,
}

const SUMS: &str = "SELECT d.integration_id, MAX(i.name) AS name, MAX(i.provider_type) AS provider_type, \
     CAST(SUM(d.total_calls) AS BIGINT) AS total_calls, CAST(SUM(d.total_tokens_in) AS BIGINT) AS total_tokens_in, \
     CAST(SUM(d.total_tokens_out) AS BIGINT) AS total_tokens_out, \
     CAST(SUM(d.total_cost_cents) AS BIGINT) AS total_cost_cents, \
     CAST(SUM(d.total_cost_nanos) AS BIGINT) AS total_cost_nanos, \
     CAST(SUM(d.latency_sum_ms) AS BIGINT) AS latency_sum_ms, CAST(SUM(d.latency_count) AS BIGINT) AS latency_count, \
     CAST(SUM(d.error_count) AS BIGINT) AS error_count, CAST(SUM(d.blocked_count) AS BIGINT) AS blocked_count \
     FROM cus_usage_daily d \
     LEFT JOIN cus_integrations i ON i.id = d.integration_id AND i.tenant_id = d.tenant_id";

impl TenantStore {
    /// The sums of the tenant's calls from the first day to the last, both included.
    pub async fn usage_summary(
        &self,
        from: Date,
        to: Date,
        integration: Option<IntegrationId>,
    ) -> Result<UsageSummary, StoreError> {
        let grouped = self
            .days(SUMS, (from, to), integration)
            .push(" GROUP BY d.integration_id ORDER BY name, d.integration_id");
        let rows: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(grouped)))
            .await?;
        let mut summary = UsageSummary::default();
        let (mut latency_sum_ms, mut latency_count) = (0_i64, 0_i64);
        for row in rows {
            latency_sum_ms = latency_sum_ms.saturating_add(row.latency_sum_ms);
            latency_count = latency_count.saturating_add(row.latency_count);
            let usage = row.read()?;
            summary.totals.add(&usage.totals);
            summary.by_integration.push(usage);
        }
        summary.totals.avg_latency_ms = average(latency_sum_ms, latency_count);
        Ok(summary)
    }
}

impl UsageTotals {
    /// Adds everything but the average. Sums of valid rows do not reach the bounds of 64 bits.
    fn add(&mut self, other: &Self) {
        self.total_calls = self.total_calls.saturating_add(other.total_calls);
        self.total_tokens_in = self.total_tokens_in.saturating_add(other.total_tokens_in);
        self.total_tokens_out = self.total_tokens_out.saturating_add(other.total_tokens_out);
        self.total_cost_cents = self.total_cost_cents.saturating_add(other.total_cost_cents);
        self.cost = self.cost.saturating_plus(other.cost);
        self.error_count = self.error_count.saturating_add(other.error_count);
        self.blocked_count = self.blocked_count.saturating_add(other.blocked_count);
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    integration_id: String,
    name: Option<String>,
    provider_type: Option<String>,
    total_calls: i64,
    total_tokens_in: i64,
    total_tokens_out: i64,
    total_cost_cents: i64,
    total_cost_nanos: i64,
    latency_sum_ms: i64,
    latency_count: i64,
    error_count: i64,
    blocked_count: i64,
}

impl Row {
    fn read(self) -> Result<IntegrationUsage, StoreError> {
        let place = Place {
            table: "cus_usage_daily",
            row: &self.integration_id,
        };
        Ok(IntegrationUsage {
            integration: place.text("integration_id", &self.integration_id)?,
            provider_type: place.maybe_text("provider_type", self.provider_type.as_deref())?,
            name: self.name.unwrap_or_default(),
            totals: UsageTotals {
                total_calls: self.total_calls,
                total_tokens_in: self.total_tokens_in,
                total_tokens_out: self.total_tokens_out,
                total_cost_cents: self.total_cost_cents,
                cost: Nanos::new(self.total_cost_nanos),
                avg_latency_ms: average(self.latency_sum_ms, self.latency_count),
                error_count: self.error_count,
                blocked_count: self.blocked_count,
            },
        })
    }
}
