//! The rows of `cus_llm_usage` and `cus_usage_daily` as records.

use cus_models::{CusLLMUsage, CusUsageDaily};
use tollgate_core::Nanos;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::price::PricePin;
use tollgate_core::usage::{Origin, UsageSource};

use super::{DailyRow, UsageRow};
use crate::error::StoreError;
use crate::value::Place;

pub(super) const LEDGER: &str = "SELECT id, tenant_id, integration_id, session_id, agent_id, call_id, provider, model, tokens_in, \
     tokens_out, cost_cents, latency_ms, policy_result, error_code, error_message, extra_data, created_at, cost_nanos, \
     held_nanos, usage_source, tokens_by_class, price_version, unit_prices, node_id, settled_at, origin, client_cost_nanos, \
     hold_id, hold_outcome \
     FROM cus_llm_usage";

pub(super) const DAYS: &str = "SELECT d.tenant_id, d.integration_id, d.date, d.total_calls, d.total_tokens_in, d.total_tokens_out, \
     d.total_cost_cents, d.avg_latency_ms, d.error_count, d.blocked_count, d.updated_at, d.total_cost_nanos \
     FROM cus_usage_daily d";

#[derive(sqlx::FromRow)]
pub(super) struct LedgerRow {
    pub(super) id: String,
    tenant_id: String,
    integration_id: String,
    session_id: Option<String>,
    agent_id: Option<String>,
    call_id: String,
    provider: String,
    model: String,
    tokens_in: i64,
    tokens_out: i64,
    cost_cents: i64,
    latency_ms: Option<i64>,
    policy_result: String,
    error_code: Option<String>,
    error_message: Option<String>,
    extra_data: Option<String>,
    pub(super) created_at: i64,
    cost_nanos: i64,
    held_nanos: i64,
    usage_source: String,
    tokens_by_class: String,
    price_version: Option<String>,
    unit_prices: Option<String>,
    node_id: String,
    settled_at: i64,
    origin: String,
    client_cost_nanos: Option<i64>,
    hold_id: Option<String>,
    hold_outcome: Option<String>,
}

impl LedgerRow {
    pub(super) fn read(self) -> Result<UsageRow, StoreError> {
        let place = Place {
            table: "cus_llm_usage",
            row: &self.id,
        };
        let rates = place.json("unit_prices", self.unit_prices.as_deref())?;
        let price = self
            .price_version
            .zip(rates)
            .map(|(version, rates)| PricePin {
                version: version.into(),
                rates,
            });
        let tokens = place.json("tokens_by_class", Some(&self.tokens_by_class))?;
        Ok(UsageRow {
            cost: Nanos::new(self.cost_nanos),
            held: Nanos::new(self.held_nanos),
            source: place.known("usage_source", UsageSource::from_name(&self.usage_source))?,
            tokens: place.known("tokens_by_class", tokens)?,
            price,
            node: place.text("node_id", &self.node_id)?,
            settled_at: place.time("settled_at", self.settled_at)?,
            origin: place.known("origin", Origin::from_name(&self.origin))?,
            client_cost: self.client_cost_nanos.map(Nanos::new),
            hold: place.maybe_text("hold_id", self.hold_id.as_deref())?,
            hold_outcome: self
                .hold_outcome
                .as_deref()
                .and_then(HoldOutcome::from_name),
            usage: CusLLMUsage {
                policy_result: place.text("policy_result", &self.policy_result)?,
                extra_data: place.json("extra_data", self.extra_data.as_deref())?,
                created_at: place.time("created_at", self.created_at)?,
                id: self.id,
                tenant_id: self.tenant_id,
                integration_id: self.integration_id,
                session_id: self.session_id,
                agent_id: self.agent_id,
                call_id: self.call_id,
                provider: self.provider,
                model: self.model,
                tokens_in: self.tokens_in,
                tokens_out: self.tokens_out,
                cost_cents: self.cost_cents,
                latency_ms: self.latency_ms,
                error_code: self.error_code,
                error_message: self.error_message,
            },
        })
    }
}

#[derive(sqlx::FromRow)]
pub(super) struct DayRow {
    tenant_id: String,
    integration_id: String,
    date: String,
    total_calls: i64,
    total_tokens_in: i64,
    total_tokens_out: i64,
    total_cost_cents: i64,
    avg_latency_ms: Option<i64>,
    error_count: i64,
    blocked_count: i64,
    updated_at: i64,
    total_cost_nanos: i64,
}

impl DayRow {
    pub(super) fn read(self) -> Result<DailyRow, StoreError> {
        let place = Place {
            table: "cus_usage_daily",
            row: &self.integration_id,
        };
        let daily = CusUsageDaily {
            date: place.text("date", &self.date)?,
            updated_at: place.time("updated_at", self.updated_at)?,
            tenant_id: self.tenant_id,
            integration_id: self.integration_id,
            total_calls: self.total_calls,
            total_tokens_in: self.total_tokens_in,
            total_tokens_out: self.total_tokens_out,
            total_cost_cents: self.total_cost_cents,
            avg_latency_ms: self.avg_latency_ms,
            error_count: self.error_count,
            blocked_count: self.blocked_count,
        };
        Ok(DailyRow {
            daily,
            cost: Nanos::new(self.total_cost_nanos),
        })
    }
}
