//! What a batch does to balances, allowances and roll-ups: pure arithmetic on the rows that the transaction has locked.
//!
//! Every sum is checked. An entry that would overflow one is refused and changes none.

use std::collections::BTreeMap;

use jiff::civil::Date;
use tollgate_core::money::{Nanos, cents_to_post};
use tollgate_core::period::day_of;
use tollgate_core::{IntegrationId, NodeId, Period, TenantId};

use super::entry::Prepared;

/// A balance: one integration's month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MonthSum {
    pub(crate) tenant: String,
    pub(crate) nanos: i64,
    pub(crate) tokens: i64,
    pub(crate) cents: i64,
    pub(crate) calls: i64,
}

/// A roll-up: one integration's day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Day {
    pub(crate) calls: i64,
    pub(crate) tokens_in: i64,
    pub(crate) tokens_out: i64,
    pub(crate) cents: i64,
    pub(crate) nanos: i64,
    pub(crate) errors: i64,
    pub(crate) blocked: i64,
    pub(crate) latency_sum_ms: i64,
    pub(crate) latency_count: i64,
}

/// What a node has settled of an integration's month in this batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Settled {
    pub(crate) nanos: i64,
    pub(crate) tokens: i64,
}

pub(crate) type MonthKey = (IntegrationId, Period);
pub(crate) type DayKey = (TenantId, IntegrationId, Date);

/// The rows that a batch changes, in the order in which they are locked.
#[derive(Debug, Default)]
pub(crate) struct Books {
    pub(crate) months: BTreeMap<MonthKey, MonthSum>,
    pub(crate) days: BTreeMap<DayKey, Day>,
    /// By month and the node whose allowance it is taken from.
    pub(crate) settled: BTreeMap<(MonthKey, NodeId), Settled>,
}

impl Day {
    /// The average latency, rounded half up; none if no call had one.
    pub(crate) fn avg_latency_ms(&self) -> Option<i64> {
        average(self.latency_sum_ms, self.latency_count)
    }
}

/// The average of an exact sum, rounded half up.
pub(crate) fn average(sum: i64, count: i64) -> Option<i64> {
    if count <= 0 {
        return None;
    }
    let (sum, count) = (i128::from(sum), i128::from(count));
    i64::try_from((sum * 2 + count).div_euclid(count * 2)).ok()
}

const OVERFLOW: &str = "its figures would overflow the books";

impl Books {
    /// Books an entry, through a node's allowance, and tells the cents of its row, or why it cannot be booked.
    pub(super) fn post(&mut self, prepared: &Prepared, node: NodeId) -> Result<i64, &'static str> {
        let entry = &prepared.entry;
        let figures = prepared.figures();
        let month_key = (entry.integration_id, entry.period());
        let month = self
            .months
            .get_mut(&month_key)
            .ok_or("its month was not opened")?;
        if month.tenant != entry.tenant_id.as_str() {
            return Err("its integration belongs to another tenant");
        }
        let tokens = figures
            .tokens_in
            .checked_add(figures.tokens_out)
            .ok_or(OVERFLOW)?;
        let nanos = month
            .nanos
            .checked_add(figures.cost_nanos)
            .ok_or(OVERFLOW)?;
        let cents = cents_to_post(Nanos::new(nanos), month.cents);
        let day_key = (
            entry.tenant_id.clone(),
            entry.integration_id,
            day_of(entry.created_at),
        );
        let day = self.days.entry(day_key).or_default();
        let month_after = MonthSum {
            tenant: entry.tenant_id.to_string(),
            nanos,
            tokens: month.tokens.checked_add(tokens).ok_or(OVERFLOW)?,
            cents: month.cents.checked_add(cents).ok_or(OVERFLOW)?,
            calls: month.calls + i64::from(!entry.is_refusal()),
        };
        *day = day.after(prepared, cents).ok_or(OVERFLOW)?;
        *month = month_after;
        let settled = self.settled.entry((month_key, node)).or_default();
        // Parts of the month's sums, which did not overflow.
        settled.nanos = settled.nanos.saturating_add(figures.cost_nanos);
        settled.tokens = settled.tokens.saturating_add(tokens);
        Ok(cents)
    }
}

impl Day {
    fn after(self, prepared: &Prepared, cents: i64) -> Option<Self> {
        let entry = &prepared.entry;
        let figures = prepared.figures();
        Some(Self {
            calls: self.calls.checked_add(1)?,
            tokens_in: self.tokens_in.checked_add(figures.tokens_in)?,
            tokens_out: self.tokens_out.checked_add(figures.tokens_out)?,
            cents: self.cents.checked_add(cents)?,
            nanos: self.nanos.checked_add(figures.cost_nanos)?,
            errors: self.errors + i64::from(entry.error_code.is_some()),
            blocked: self.blocked + i64::from(entry.is_refusal()),
            latency_sum_ms: self
                .latency_sum_ms
                .checked_add(entry.latency_ms.unwrap_or(0))?,
            latency_count: self.latency_count + i64::from(entry.latency_ms.is_some()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::average;

    #[test]
    fn an_average_is_rounded_half_up() {
        assert_eq!(average(5, 2), Some(3));
        assert_eq!(average(7, 3), Some(2));
        assert_eq!(average(8, 3), Some(3));
        assert_eq!(average(0, 4), Some(0));
        assert_eq!(average(0, 0), None);
        assert_eq!(average(i64::MAX, 1), Some(i64::MAX));
    }
}
