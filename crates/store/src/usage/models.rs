//! Sums by model. The roll-ups do not tell models apart, so these are read from the ledger.

use jiff::Timestamp;
use tollgate_core::{IntegrationId, Nanos};

use super::{UsageFilter, UsageTotals};
use crate::TenantStore;
use crate::engine::{Purpose, sql};
use crate::error::StoreError;
use crate::ledger::average;

/// The sums of one model at one provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ModelUsage {
    /// The model.
    pub model: String,
    /// The provider, by its name.
    pub provider: String,
    /// Calls that were made and have no price, so that they count as free.
    pub unpriced_calls: i64,
    /// Its sums.
    pub totals: UsageTotals,
}

const SUMS: &str = "SELECT model, provider, COUNT(*) AS total_calls, \
     CAST(SUM(CASE WHEN price_version IS NULL AND policy_result <> 'blocked' THEN 1 ELSE 0 END) AS BIGINT) AS unpriced_calls, \
     CAST(SUM(tokens_in) AS BIGINT) AS total_tokens_in, CAST(SUM(tokens_out) AS BIGINT) AS total_tokens_out, \
     CAST(SUM(cost_cents) AS BIGINT) AS total_cost_cents, CAST(SUM(cost_nanos) AS BIGINT) AS total_cost_nanos, \
     CAST(COALESCE(SUM(latency_ms), 0) AS BIGINT) AS latency_sum_ms, COUNT(latency_ms) AS latency_count, \
     COUNT(error_code) AS error_count, \
     CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 1 ELSE 0 END) AS BIGINT) AS blocked_count \
     FROM cus_llm_usage WHERE tenant_id = ";

impl TenantStore {
    /// The sums of the tenant's calls from a time to before another, by provider and model.
    pub async fn usage_by_model(
        &self,
        (from, to): (Timestamp, Timestamp),
        integration: Option<IntegrationId>,
    ) -> Result<Vec<ModelUsage>, StoreError> {
        let filter = UsageFilter {
            from: Some(from),
            to: Some(to),
            integration,
            ..UsageFilter::default()
        };
        let grouped = filter
            .apply(sql(SUMS).value(self.tenant.as_str()))
            .push(" GROUP BY provider, model ORDER BY provider, model");
        let rows: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(grouped)))
            .await?;
        Ok(rows.into_iter().map(Row::read).collect())
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    model: String,
    provider: String,
    total_calls: i64,
    unpriced_calls: i64,
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
    fn read(self) -> ModelUsage {
        ModelUsage {
            model: self.model,
            provider: self.provider,
            unpriced_calls: self.unpriced_calls,
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
        }
    }
}
