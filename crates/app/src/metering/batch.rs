//! Batches are charged when their results are read, once: a row for each model, under ids that
//! follow from what was read, so that reading again, or reading a copy, changes nothing.

use std::sync::Arc;

use cus_models::CusPolicyResult;
use tollgate_core::price::PricePin;
use tollgate_core::price::fees::Tariff;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{CallId, Moment, Nanos};
use tollgate_providers::{BatchResults, BatchUsage};

use crate::app::App;
use crate::directory::Integration;
use crate::ledger::Carried;

/// Letters of a model's name that a row can have.
const MODEL_CHARS_MAX: usize = 100;

/// Letters of a provider's id that stand in the ids of rows, at most: its last ones.
const THING_CHARS_MAX: usize = 50;

/// Somebody who reads what may be the results of a batch.
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
    /// Reads results through an integration, under this id of the provider's.
    #[must_use]
    pub fn batch_reading(
        self: &Arc<Self>,
        integration: &Arc<Integration>,
        thing: &str,
    ) -> BatchReading {
        BatchReading {
            app: Arc::clone(self),
            integration: Arc::clone(integration),
            thing: thing.into(),
        }
    }
}

impl BatchReading {
    /// Books what was read, unless it is booked or somebody else does just now. To be called only
    /// when the results were read to their end.
    pub fn book(&self, results: &BatchResults) {
        let now = self.app.now();
        let mut unread = results.unread;
        for (place, group) in self.groups(results, now).iter().enumerate() {
            let Some(call_id) = self.call_id(results.mark, place) else {
                continue;
            };
            let entry = self.row(call_id, group, std::mem::take(&mut unread), now);
            let Some(entry) = entry else { continue };
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

    fn row(&self, call_id: CallId, group: &Group, unread: u64, now: Moment) -> Option<UsageEntry> {
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
        let (error_code, error_message) = self.complaint(group, unread).unzip();
        Some(UsageEntry {
            tenant_id: self.integration.tenant_id.clone(),
            integration_id: self.integration.id,
            call_id,
            session_id: None,
            agent_id: None,
            provider: self.integration.snapshot().record.provider_type,
            model: shortened(&used.model),
            tokens: used.tokens,
            cost,
            held: Nanos::ZERO,
            source: UsageSource::Provider,
            price: price.clone(),
            latency_ms: None,
            policy_result: CusPolicyResult::Allowed,
            error_code: error_code.map(Into::into),
            error_message,
            extra: Some(extra.to_string().into_boxed_str()),
            created_at: now.wall,
        })
    }

    /// What is wrong with a row: that it does not tell all, or that a budget cannot see its cost.
    fn complaint(&self, group: &Group, unread: u64) -> Option<(&'static str, String)> {
        if unread > 0 {
            let message = format!("the usage of {unread} results of the batch could not be read");
            return Some(("usage_unreadable", message));
        }
        let has_budget = self.integration.snapshot().record.budget_limit_cents > 0;
        if group.price.is_some() || !has_budget {
            return None;
        }
        let model = &group.used.model;
        tracing::warn!(
            integration = %self.integration.id,
            %model,
            "a batch used a model without a price, so that the budget did not hear of its cost",
        );
        let message = format!(
            "the model {model} has no price, so that nothing was charged: give it one in the \
             integration's `prices`"
        );
        Some(("price_unknown", message))
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
        let carried = Carried {
            claim: Some(claim),
            // It is no call: no minute counts it.
            mark: None,
            late: Some(Arc::clone(&self.integration)),
        };
        ledger.post(receipt, entry, carried);
    }

    /// The id of a row of these results: of what they are where the provider gave each call an id,
    /// else of where they were read.
    fn call_id(&self, mark: Option<u128>, place: usize) -> Option<CallId> {
        if let Some(mark) = mark {
            return format!("batch.{mark:032x}.{place}").parse().ok();
        }
        let skipped = self.thing.len().saturating_sub(THING_CHARS_MAX);
        let thing = self.thing.get(skipped..).unwrap_or(&self.thing);
        let integration = self.integration.id.uuid().simple();
        format!("batch.{integration}.{thing}.{place}").parse().ok()
    }
}

/// A model's name as a row can have it.
fn shortened(model: &str) -> Arc<str> {
    let end = model.char_indices().nth(MODEL_CHARS_MAX);
    end.and_then(|(at, _)| model.get(..at))
        .unwrap_or(model)
        .into()
}
