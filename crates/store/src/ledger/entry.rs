//! An entry on its way into the ledger: checked, compared within its batch, laid out as a row.

use std::collections::HashMap;

use jiff::Timestamp;
use tollgate_core::period::day_of;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, NodeId, TenantId};

use super::{AppendReport, Refused};
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Value};
use crate::error::StoreError;
use crate::value::{content_hash, micros, storable, to_json};

/// An entry that may be booked.
pub(super) struct Prepared {
    pub(super) entry: UsageEntry,
    /// Tells whether another entry with the same call id is the same entry.
    pub(super) hash: i64,
    tokens_by_class: String,
    unit_prices: Option<String>,
}

/// Of an entry, what its place in the books depends on; always within 0 to 2⁶³ − 1.
#[derive(Clone, Copy)]
pub(super) struct Figures {
    pub(super) tokens_in: i64,
    pub(super) tokens_out: i64,
    pub(super) cost_nanos: i64,
}

impl Prepared {
    /// The entries of a batch that may be booked, in its order, and the report on the others.
    pub(super) fn of(entries: &[UsageEntry]) -> Result<(Vec<Self>, AppendReport), StoreError> {
        let mut report = AppendReport::default();
        let mut first: HashMap<(&TenantId, &CallId), i64> = HashMap::with_capacity(entries.len());
        let mut prepared = Vec::with_capacity(entries.len());
        for entry in entries {
            let (tenant, call) = (&entry.tenant_id, &entry.call_id);
            if let Some(reason) = flaw(entry) {
                report.refused.push(Refused {
                    tenant: tenant.clone(),
                    call: call.clone(),
                    reason,
                });
                continue;
            }
            let hash = content_hash(to_json(entry)?.as_bytes());
            match first.get(&(tenant, call)) {
                Some(&same) if same == hash => report.duplicates += 1,
                Some(_) => report.conflicts.push((tenant.clone(), call.clone())),
                None => {
                    first.insert((tenant, call), hash);
                    prepared.push(Self::new(entry, hash)?);
                }
            }
        }
        Ok((prepared, report))
    }

    fn new(entry: &UsageEntry, hash: i64) -> Result<Self, StoreError> {
        let rates = entry.price.as_ref().map(|price| &price.rates);
        Ok(Self {
            entry: entry.clone(),
            hash,
            tokens_by_class: to_json(&entry.tokens)?,
            unit_prices: rates.map(to_json).transpose()?,
        })
    }

    pub(super) fn figures(&self) -> Figures {
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        Figures {
            tokens_in: count(self.entry.tokens.tokens_in()),
            tokens_out: count(self.entry.tokens.tokens_out()),
            cost_nanos: self.entry.cost.get(),
        }
    }

    pub(super) fn refused(&self, reason: &'static str) -> Refused {
        let (tenant, call) = (self.entry.tenant_id.clone(), self.entry.call_id.clone());
        Refused {
            tenant,
            call,
            reason,
        }
    }

    /// The row, in the order of [`INSERT`].
    pub(super) fn row(&self, cost_cents: i64, node: NodeId, now: Timestamp) -> Vec<Value> {
        let entry = &self.entry;
        let figures = self.figures();
        vec![
            cus_models::generate_uuid().into(),
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
           day, node_id, settled_at)",
    columns: &[
        Text, Text, Text, Text, Text, Text, Text, Text, Integer, Integer, Integer, Integer, Text,
        Text, Text, Text, Integer, Integer, Integer, Text, Text, Text, Text, Text, Text, Text,
        Integer,
    ],
    tail: "",
    locks_rows: false,
};
