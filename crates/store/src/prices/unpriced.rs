//! Models whose calls had no price: summed up together with the ledger, so that nobody has to search it.

use std::collections::BTreeMap;

use cus_models::{CusPolicyResult, CusProviderType};
use jiff::Timestamp;
use tollgate_core::IntegrationId;
use tollgate_core::usage::UsageEntry;

use crate::TenantStore;
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Purpose, Value, Work, sql};
use crate::error::StoreError;
use crate::value::{Place, micros, storable};

/// A model that was called and has, or had, no price.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnpricedModel {
    /// Through which integration.
    pub integration_id: IntegrationId,
    /// At which provider.
    pub provider_type: CusProviderType,
    /// The model's name, as the provider was or would have been asked for it.
    pub model: String,
    /// Calls that were booked without a price.
    pub calls: i64,
    /// Calls that were refused because of it.
    pub refused: i64,
    /// Input tokens of the booked calls.
    pub tokens_in: i64,
    /// Output tokens of the booked calls.
    pub tokens_out: i64,
    /// The time of the first of them.
    pub first_seen_at: Timestamp,
    /// The time of the last of them.
    pub last_seen_at: Timestamp,
}

/// The most models of one answer, the last seen first.
const UNPRICED_MAX: i64 = 10_000;

impl TenantStore {
    /// The models of the tenant's calls that had no price, the last seen first, at most 10,000.
    pub async fn unpriced_models(&self) -> Result<Vec<UnpricedModel>, StoreError> {
        let select = "SELECT integration_id, provider_type, model, calls, refused, tokens_in, tokens_out, first_seen_at, \
                      last_seen_at FROM unpriced_models WHERE tenant_id = $1 \
                      ORDER BY last_seen_at DESC, integration_id, model LIMIT $2";
        let statement = sql(select).bind(self.tenant.as_str()).bind(UNPRICED_MAX);
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        found.into_iter().map(Row::read).collect()
    }
}

/// The most that a sum of tokens shows here: far from what 64 bits hold, so that adding to it never fails.
const TOKENS_MAX: i64 = 1 << 60;

const NOTE: Batch = Batch {
    head: "INSERT INTO unpriced_models (tenant_id, integration_id, provider_type, model, calls, refused, tokens_in, \
           tokens_out, first_seen_at, last_seen_at)",
    columns: &[
        Text, Text, Text, Text, Integer, Integer, Integer, Integer, Integer, Integer,
    ],
    tail: "ON CONFLICT (tenant_id, integration_id, model) DO UPDATE SET \
           provider_type = excluded.provider_type, \
           calls = unpriced_models.calls + excluded.calls, \
           refused = unpriced_models.refused + excluded.refused, \
           tokens_in = CASE WHEN unpriced_models.tokens_in + excluded.tokens_in > 1152921504606846976 \
               THEN 1152921504606846976 ELSE unpriced_models.tokens_in + excluded.tokens_in END, \
           tokens_out = CASE WHEN unpriced_models.tokens_out + excluded.tokens_out > 1152921504606846976 \
               THEN 1152921504606846976 ELSE unpriced_models.tokens_out + excluded.tokens_out END, \
           first_seen_at = CASE WHEN excluded.first_seen_at < unpriced_models.first_seen_at \
               THEN excluded.first_seen_at ELSE unpriced_models.first_seen_at END, \
           last_seen_at = CASE WHEN excluded.last_seen_at > unpriced_models.last_seen_at \
               THEN excluded.last_seen_at ELSE unpriced_models.last_seen_at END",
    locks_rows: false,
};

/// What a batch's calls of one model without a price add up to.
struct Noted {
    provider_type: &'static str,
    calls: i64,
    refused: i64,
    tokens_in: i64,
    tokens_out: i64,
    first_seen_at: i64,
    last_seen_at: i64,
}

/// Adds what a batch's calls without a price add up to, in one order everywhere, so that batches cannot deadlock.
pub(crate) async fn note_unpriced<'e>(
    work: &mut Work,
    entries: impl Iterator<Item = &'e UsageEntry>,
) -> Result<(), StoreError> {
    let mut noted: BTreeMap<_, Noted> = BTreeMap::new();
    for entry in entries.filter(|entry| has_no_price(entry)) {
        let key = (
            entry.tenant_id.as_str(),
            entry.integration_id,
            storable(&entry.model),
        );
        let at = micros(entry.created_at);
        let sums = noted.entry(key).or_insert(Noted {
            provider_type: entry.provider.as_str(),
            calls: 0,
            refused: 0,
            tokens_in: 0,
            tokens_out: 0,
            first_seen_at: at,
            last_seen_at: at,
        });
        sums.add(entry, at);
    }
    let rows = noted
        .into_iter()
        .map(|((tenant, integration, model), sums)| sums.row(tenant, integration, &model));
    work.execute_batch(NOTE, rows.collect()).await.map(drop)
}

/// Whether a call was booked without a price or refused for want of one. What was refused for another reason was never priced.
fn has_no_price(entry: &UsageEntry) -> bool {
    let is_refused = entry.policy_result == CusPolicyResult::Blocked;
    entry.price.is_none() && (!is_refused || entry.error_code.as_deref() == Some("price_unknown"))
}

impl Noted {
    fn add(&mut self, entry: &UsageEntry, at: i64) {
        let tokens = |count: u64| i64::try_from(count).unwrap_or(TOKENS_MAX);
        let sum = |sum: i64, more: u64| sum.saturating_add(tokens(more)).min(TOKENS_MAX);
        if entry.policy_result == CusPolicyResult::Blocked {
            self.refused += 1;
        } else {
            self.calls += 1;
        }
        self.tokens_in = sum(self.tokens_in, entry.tokens.tokens_in());
        self.tokens_out = sum(self.tokens_out, entry.tokens.tokens_out());
        self.first_seen_at = self.first_seen_at.min(at);
        self.last_seen_at = self.last_seen_at.max(at);
    }

    fn row(self, tenant: &str, integration: IntegrationId, model: &str) -> Vec<Value> {
        vec![
            tenant.into(),
            integration.to_string().into(),
            self.provider_type.into(),
            model.into(),
            self.calls.into(),
            self.refused.into(),
            self.tokens_in.into(),
            self.tokens_out.into(),
            self.first_seen_at.into(),
            self.last_seen_at.into(),
        ]
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    integration_id: String,
    provider_type: String,
    model: String,
    calls: i64,
    refused: i64,
    tokens_in: i64,
    tokens_out: i64,
    first_seen_at: i64,
    last_seen_at: i64,
}

impl Row {
    fn read(self) -> Result<UnpricedModel, StoreError> {
        let place = Place {
            table: "unpriced_models",
            row: &self.model,
        };
        Ok(UnpricedModel {
            integration_id: place.text("integration_id", &self.integration_id)?,
            provider_type: place.text("provider_type", &self.provider_type)?,
            calls: self.calls,
            refused: self.refused,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            first_seen_at: place.time("first_seen_at", self.first_seen_at)?,
            last_seen_at: place.time("last_seen_at", self.last_seen_at)?,
            model: self.model,
        })
    }
}
