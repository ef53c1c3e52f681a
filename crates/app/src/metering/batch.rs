//! Batches are charged when their results are read, once: a row for each model, under ids that
//! follow from the integration and from what was read, so that reading again changes nothing.

use std::sync::Arc;

use cus_models::CusPolicyResult;
use tollgate_core::hold::{Actual, HoldAmount};
use tollgate_core::price::PricePin;
use tollgate_core::price::fees::Tariff;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{CallId, Moment, Nanos};
use tollgate_providers::{BatchResults, BatchUsage};

use crate::app::App;
use crate::directory::Integration;
use crate::ledger::Carried;

/// Letters of a provider's id that stand in the ids of rows, at most: its last ones.
const THING_CHARS_MAX: usize = 60;

/// Somebody who reads what may be the results of a batch that is not booked yet.
#[derive(Debug)]
pub struct BatchReading {
    app: Arc<App>,
    integration: Arc<Integration>,
    thing: Box<str>,
}

/// Calls of a batch that are charged at the same prices.
struct Group {
    used: BatchUsage,
    price: Option<PricePin>,
}

impl App {
    /// Whether results that are read under this id of the provider's are to be booked: nothing when
    /// they were. Where the store cannot be asked they are, since a second booking changes nothing.
    pub async fn batch_reading(
        self: &Arc<Self>,
        integration: &Arc<Integration>,
        thing: &str,
    ) -> Option<BatchReading> {
        let reading = BatchReading {
            app: Arc::clone(self),
            integration: Arc::clone(integration),
            thing: thing.into(),
        };
        let first = reading.call_id(0)?;
        let authority = &self.metering().authority;
        match authority
            .is_call_known(&integration.tenant_id, &first)
            .await
        {
            Ok(true) => None,
            Ok(false) => Some(reading),
            Err(error) => {
                tracing::warn!(%error, "whether a batch is booked cannot be looked up");
                Some(reading)
            }
        }
    }
}

impl BatchReading {
    /// Books what was read, unless somebody else does just now. To be called only when the results
    /// were read to their end.
    pub fn book(&self, results: &BatchResults) {
        let now = self.app.now();
        let mut unread = results.unread;
        for (place, group) in self.groups(results, now).iter().enumerate() {
            let Some(entry) = self.row(place, group, std::mem::take(&mut unread), now) else {
                continue;
            };
            self.post(entry);
        }
        if unread > 0 {
            tracing::error!(
                integration = %self.integration.id,
                unread,
                "no result of a batch could be read, so that none of it is booked",
            );
        }
    }

    /// What was used, by model and prices, in an order that is the same for the same results.
    fn groups(&self, results: &BatchResults, now: Moment) -> Vec<Group> {
        let snapshot = self.integration.snapshot();
        let mut groups: Vec<Group> = Vec::new();
        for used in &results.used {
            let prices = self.app.prices(&snapshot, &used.model, now);
            let price = prices.map(|prices| {
                let mut longest = used.tokens;
                longest.input = used.longest_input;
                longest.cached_input = 0;
                longest.cache_write = 0;
                longest.cache_write_hour = 0;
                longest.audio_input = 0;
                longest.image_input = 0;
                prices.pin_for(&longest, Tariff::Half)
            });
            let same = |group: &&mut Group| group.used.model == used.model && group.price == price;
            if let Some(group) = groups.iter_mut().find(same) {
                group.used.add(used);
            } else {
                let used = used.clone();
                groups.push(Group { used, price });
            }
        }
        groups
    }

    fn row(&self, place: usize, group: &Group, unread: u64, now: Moment) -> Option<UsageEntry> {
        let Group { used, price } = group;
        let cost = price.as_ref().map_or(Ok(Nanos::ZERO), |price| {
            let fees = price.rates.fees(&used.tools)?;
            price.rates.cost(&used.tokens)?.plus(fees)
        });
        let cost = cost
            .inspect_err(|error| tracing::error!(%error, "a batch cannot be booked"))
            .ok()?;
        let mut extra = serde_json::json!({ "batch": &*self.thing, "calls": used.calls });
        if !used.tools.is_none() {
            extra["tool_uses"] = serde_json::json!(used.tools);
        }
        let is_short = unread > 0;
        Some(UsageEntry {
            tenant_id: self.integration.tenant_id.clone(),
            integration_id: self.integration.id,
            call_id: self.call_id(place)?,
            session_id: None,
            agent_id: None,
            provider: self.integration.snapshot().record.provider_type,
            model: (&*used.model).into(),
            tokens: used.tokens,
            cost,
            held: Nanos::ZERO,
            source: UsageSource::Provider,
            price: price.clone(),
            latency_ms: None,
            policy_result: CusPolicyResult::Allowed,
            error_code: is_short.then(|| "usage_unreadable".into()),
            error_message: is_short
                .then(|| format!("the usage of {unread} results of the batch could not be read")),
            extra: Some(extra.to_string().into_boxed_str()),
            created_at: now.wall,
        })
    }

    fn post(&self, entry: UsageEntry) {
        let metering = self.app.metering();
        let ledger = &metering.ledger;
        let Some(claim) = ledger.claim(&entry.tenant_id, &entry.call_id) else {
            return;
        };
        let receipt = match metering.journal.recorded(&entry) {
            Ok(receipt) => Some(receipt),
            Err(error) => {
                tracing::error!(%error, "a batch could not be journaled");
                None
            }
        };
        let held = HoldAmount {
            period: entry.period(),
            cost: Nanos::ZERO,
            tokens: 0,
            rate_mark: 0,
        };
        let actual = Actual {
            cost: entry.cost,
            tokens: i64::try_from(entry.tokens.total()).unwrap_or(i64::MAX),
        };
        {
            let mut gate = self.integration.gate.lock();
            gate.retake(&held);
            gate.settle(&held, &actual);
        }
        let carried = Carried {
            claim: Some(claim),
            // It is no call: no minute counts it.
            mark: None,
        };
        ledger.post(receipt, entry, carried);
    }

    /// The id of a row of these results.
    fn call_id(&self, place: usize) -> Option<CallId> {
        let skipped = self.thing.len().saturating_sub(THING_CHARS_MAX);
        let thing = self.thing.get(skipped..).unwrap_or(&self.thing);
        let integration = self.integration.id.uuid().simple();
        format!("{integration}.{thing}.{place}").parse().ok()
    }
}
