//! Entries on their way into the ledger: checked, compared within their batch, laid out as rows.

use std::collections::HashMap;

use jiff::Timestamp;
use tollgate_core::books::Figures;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::period::day_of;
use tollgate_core::usage::{Origin, UsageEntry};
use tollgate_core::{CallId, HoldId, Nanos, NodeId, TenantId};

use super::Standing;
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Value};
use crate::error::StoreError;
use crate::value::{content_hash, micros, storable, to_json};

/// An entry as it is given: whose row it becomes, and how it came to be known.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) entry: &'a UsageEntry,
    pub(super) origin: Origin,
    /// What its caller thinks it cost.
    pub(super) client_cost: Option<Nanos>,
    /// What tells it from another call of the same id; none where that is the entry itself.
    pub(super) content: Option<&'a str>,
    /// The hold that it settles.
    pub(super) hold: Option<HoldId>,
}

/// An entry that may be booked.
pub(super) struct Prepared {
    pub(super) entry: UsageEntry,
    /// The id of its row.
    pub(super) id: String,
    /// Tells whether another entry with the same call id is the same entry.
    pub(super) hash: i64,
    /// The hold that it settles.
    pub(super) hold: Option<HoldId>,
    origin: Origin,
    client_cost: Option<Nanos>,
    tokens_by_class: String,
    unit_prices: Option<String>,
}

/// A batch on its way: of each call the first entry, and where every entry given belongs.
#[derive(Default)]
pub(super) struct Intake {
    pub(super) firsts: Vec<Prepared>,
    pub(super) slots: Vec<Slot>,
}

/// Where an entry of a batch belongs.
#[derive(Clone, Copy)]
pub(super) enum Slot {
    /// It can never be booked.
    Refused(&'static str),
    /// It is the first of its call: its place among the firsts.
    First(usize),
    /// Its call is in the batch already: the first's place, and its own content.
    Again(usize, i64),
}

impl Intake {
    /// Sorts out which entries may be booked and which are in the batch twice.
    pub(super) fn of(given: &[Given<'_>]) -> Result<Self, StoreError> {
        let mut intake = Self::default();
        let mut places: HashMap<(&TenantId, &CallId), usize> = HashMap::with_capacity(given.len());
        for one in given {
            let entry = one.entry;
            if let Some(reason) = flaw(entry) {
                intake.slots.push(Slot::Refused(reason));
                continue;
            }
            let hash = match one.content {
                Some(content) => content_hash(content.as_bytes()),
                None => content_hash(to_json(entry)?.as_bytes()),
            };
            let key = (&entry.tenant_id, &entry.call_id);
            if let Some(&first) = places.get(&key) {
                intake.slots.push(Slot::Again(first, hash));
                continue;
            }
            let place = intake.firsts.len();
            places.insert(key, place);
            intake.slots.push(Slot::First(place));
            intake.firsts.push(Prepared::new(one, hash)?);
        }
        Ok(intake)
    }
}

impl Prepared {
    fn new(given: &Given<'_>, hash: i64) -> Result<Self, StoreError> {
        let entry = given.entry;
        let rates = entry.price.as_ref().map(|price| &price.rates);
        Ok(Self {
            entry: entry.clone(),
            id: cus_models::generate_uuid(),
            hash,
            hold: given.hold,
            origin: given.origin,
            client_cost: given.client_cost,
            tokens_by_class: to_json(&entry.tokens)?,
            unit_prices: rates.map(to_json).transpose()?,
        })
    }

    /// The row that the entry becomes, as those who gave it are told.
    pub(super) fn standing(&self, cost_cents: i64, hold: Option<HoldOutcome>) -> Standing {
        Standing {
            id: self.id.clone(),
            cost: self.entry.cost,
            cost_cents,
            price_version: self
                .entry
                .price
                .as_ref()
                .map(|price| storable(&price.version)),
            origin: self.origin,
            created_at: self.entry.created_at,
            hold,
        }
    }

    /// The row, in the order of [`INSERT`].
    pub(super) fn row(
        &self,
        cost_cents: i64,
        node: NodeId,
        now: Timestamp,
        hold: Option<HoldOutcome>,
    ) -> Vec<Value> {
        let entry = &self.entry;
        let figures = Figures::of(entry);
        vec![
            self.id.as_str().into(),
            entry.tenant_id.as_str().into(),
            entry.integration_id.to_string().into(),
            entry.session_id.as_ref().map(ToString::to_string).into(),
            entry.agent_id.as_ref().map(ToString::to_string).into(),
            entry.call_id.as_str().into(),
            entry.provider.as_str().into(),
            storable(&entry.model).into(),
            figures.tokens_in.into(),
            figures.tokens_out.into(),
            cost_cents.into(),
            entry.latency_ms.into(),
            entry.policy_result.as_str().into(),
            entry.error_code.as_deref().map(storable).into(),
            entry.error_message.as_deref().map(storable).into(),
            entry.extra.as_deref().map(storable).into(),
            micros(entry.created_at).into(),
            figures.cost_nanos.into(),
            entry.held.get().into(),
            entry.source.as_str().into(),
            self.tokens_by_class.as_str().into(),
            entry
                .price
                .as_ref()
                .map(|price| storable(&price.version))
                .into(),
            self.unit_prices.clone().into(),
            entry.period().to_string().into(),
            day_of(entry.created_at).to_string().into(),
            node.to_string().into(),
            micros(now).into(),
            self.origin.as_str().into(),
            self.client_cost.map(Nanos::get).into(),
            self.hold.map(|hold| hold.to_string()).into(),
            hold.map(|outcome| outcome.as_str().to_owned()).into(),
        ]
    }
}

/// Why an entry can never be booked, if it cannot.
fn flaw(entry: &UsageEntry) -> Option<&'static str> {
    if entry.cost.get() < 0 || entry.held.get() < 0 {
        Some("an amount of money is negative")
    } else if entry.latency_ms.is_some_and(|latency| latency < 0) {
        Some("its latency is negative")
    } else if !(1_970..=9_998).contains(&day_of(entry.created_at).year()) {
        Some("its time is out of range")
    } else {
        None
    }
}

pub(super) const INSERT: Batch = Batch {
    head: "INSERT INTO cus_llm_usage (id, tenant_id, integration_id, session_id, agent_id, call_id, provider, model, \
           tokens_in, tokens_out, cost_cents, latency_ms, policy_result, error_code, error_message, extra_data, \
           created_at, cost_nanos, held_nanos, usage_source, tokens_by_class, price_version, unit_prices, period, \
           day, node_id, settled_at, origin, client_cost_nanos, hold_id, hold_outcome)",
    columns: &[
        Text, Text, Text, Text, Text, Text, Text, Text, Integer, Integer, Integer, Integer, Text,
        Text, Text, Text, Integer, Integer, Integer, Text, Text, Text, Text, Text, Text, Text,
        Integer, Text, Integer, Text, Text,
    ],
    tail: "",
    locks_rows: false,
};
