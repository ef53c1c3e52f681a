//! What a batch of rows does to balances, allowances and roll-ups: pure arithmetic on the rows that the transaction has locked.
//!
//! Every sum is checked. An entry that would overflow one is refused and changes none.

use std::collections::BTreeMap;

use jiff::civil::Date;

use crate::id::{IntegrationId, NodeId, TenantId};
use crate::money::{Nanos, cents_to_post};
use crate::period::{Period, day_of};
use crate::usage::UsageEntry;

/// A balance: one integration's month.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MonthSum {
    /// Whose it is.
    pub tenant: String,
    /// What its calls cost.
    pub nanos: i64,
    /// Tokens of its calls, input and output together.
    pub tokens: i64,
    /// The cents that its rows bear.
    pub cents: i64,
    /// Calls that were not refused.
    pub calls: i64,
}

/// A roll-up: one integration's day.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Day {
    /// Rows, refused calls among them.
    pub calls: i64,
    /// Input tokens.
    pub tokens_in: i64,
    /// Output tokens.
    pub tokens_out: i64,
    /// The cents that its rows bear.
    pub cents: i64,
    /// What its calls cost.
    pub nanos: i64,
    /// Rows with an error.
    pub errors: i64,
    /// Refused calls.
    pub blocked: i64,
    /// Milliseconds of all calls whose duration is known.
    pub latency_sum_ms: i64,
    /// Calls whose duration is known.
    pub latency_count: i64,
}

/// What a node has settled of an integration's month in this batch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Settled {
    /// Nano-dollars.
    pub nanos: i64,
    /// Tokens.
    pub tokens: i64,
}

/// What a balance is known by.
pub type MonthKey = (IntegrationId, Period);
/// What a roll-up is known by.
pub type DayKey = (TenantId, IntegrationId, Date);

/// Of an entry, what its place in the books depends on; always within 0 to 2⁶³ − 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Figures {
    /// Input tokens.
    pub tokens_in: i64,
    /// Output tokens.
    pub tokens_out: i64,
    /// What it cost.
    pub cost_nanos: i64,
}

impl Figures {
    /// The figures of an entry.
    #[must_use]
    pub fn of(entry: &UsageEntry) -> Self {
        let count = |tokens: u64| i64::try_from(tokens).unwrap_or(i64::MAX);
        Self {
            tokens_in: count(entry.tokens.tokens_in()),
            tokens_out: count(entry.tokens.tokens_out()),
            cost_nanos: entry.cost.get(),
        }
    }
}

/// The rows that a batch changes, in the order in which they are locked.
#[derive(Debug, Default)]
pub struct Books {
    /// The balances.
    pub months: BTreeMap<MonthKey, MonthSum>,
    /// The roll-ups.
    pub days: BTreeMap<DayKey, Day>,
    /// By month and the node whose allowance it is taken from.
    pub settled: BTreeMap<(MonthKey, NodeId), Settled>,
}

impl Day {
    /// The average latency, rounded half up; none if no call had one.
    #[must_use]
    pub fn avg_latency_ms(&self) -> Option<i64> {
        average(self.latency_sum_ms, self.latency_count)
    }
}

/// The average of an exact sum, rounded half up.
#[must_use]
pub fn average(sum: i64, count: i64) -> Option<i64> {
    if count <= 0 {
        return None;
    }
    let (sum, count) = (i128::from(sum), i128::from(count));
    let twice = sum.checked_mul(2)?.checked_add(count)?;
    let average = twice.checked_div_euclid(count.checked_mul(2)?)?;
    i64::try_from(average).ok()
}

const OVERFLOW: &str = "its figures would overflow the books";

impl Books {
    /// Books an entry, through a node's allowance, and tells the cents of its row, or why it cannot be booked.
    pub fn post(&mut self, entry: &UsageEntry, node: NodeId) -> Result<i64, &'static str> {
        let figures = Figures::of(entry);
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
        let month_tokens = month.tokens.checked_add(tokens).ok_or(OVERFLOW)?;
        let month_cents = month.cents.checked_add(cents).ok_or(OVERFLOW)?;
        *day = day.after(entry, &figures, cents).ok_or(OVERFLOW)?;
        // Nothing fails from here on: the month and the day change together.
        (month.nanos, month.tokens, month.cents) = (nanos, month_tokens, month_cents);
        month.calls = month.calls.saturating_add(i64::from(!entry.is_refusal()));
        let settled = self.settled.entry((month_key, node)).or_default();
        // Parts of the month's sums, which did not overflow.
        settled.nanos = settled.nanos.saturating_add(figures.cost_nanos);
        settled.tokens = settled.tokens.saturating_add(tokens);
        Ok(cents)
    }
}

impl Day {
    fn after(self, entry: &UsageEntry, figures: &Figures, cents: i64) -> Option<Self> {
        Some(Self {
            calls: self.calls.checked_add(1)?,
            tokens_in: self.tokens_in.checked_add(figures.tokens_in)?,
            tokens_out: self.tokens_out.checked_add(figures.tokens_out)?,
            cents: self.cents.checked_add(cents)?,
            nanos: self.nanos.checked_add(figures.cost_nanos)?,
            errors: self
                .errors
                .checked_add(i64::from(entry.error_code.is_some()))?,
            blocked: self.blocked.checked_add(i64::from(entry.is_refusal()))?,
            latency_sum_ms: self
                .latency_sum_ms
                .checked_add(entry.latency_ms.unwrap_or(0))?,
            latency_count: self
                .latency_count
                .checked_add(i64::from(entry.latency_ms.is_some()))?,
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
