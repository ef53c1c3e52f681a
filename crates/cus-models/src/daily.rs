//! A day of calls: a row of the roll-up.

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use crate::clock::utc_now;
use crate::invalid::{Invalid, count, required_text};
use crate::wire;

/// What an integration's calls of one day add up to. Its counts are 0 to 2⁵³ − 1.
///
/// After a field was set by hand, [`CusUsageDaily::validate`] says whether the record may be kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Incoming")]
pub struct CusUsageDaily {
    /// The tenant that called, 1 to 100 characters.
    pub tenant_id: String,
    /// The integration that the calls went through.
    pub integration_id: String,
    /// The day, in UTC.
    pub date: Date,
    /// How many calls there were.
    pub total_calls: i64,
    /// Tokens sent.
    pub total_tokens_in: i64,
    /// Tokens received.
    pub total_tokens_out: i64,
    /// What the calls cost, in cents.
    pub total_cost_cents: i64,
    /// How long a call took on average, in milliseconds.
    pub avg_latency_ms: Option<i64>,
    /// How many calls failed.
    pub error_count: i64,
    /// How many calls a limit kept from going out.
    pub blocked_count: i64,
    /// When the record last changed.
    pub updated_at: Timestamp,
}

impl CusUsageDaily {
    /// A new record of a day without calls, made now.
    ///
    /// Fails if `tenant_id` is not 1 to 100 characters.
    pub fn new(
        tenant_id: impl Into<String>,
        integration_id: impl Into<String>,
        date: Date,
    ) -> Result<Self, Invalid> {
        let daily = Self {
            tenant_id: tenant_id.into(),
            integration_id: integration_id.into(),
            date,
            total_calls: 0,
            total_tokens_in: 0,
            total_tokens_out: 0,
            total_cost_cents: 0,
            avg_latency_ms: None,
            error_count: 0,
            blocked_count: 0,
            updated_at: utc_now(),
        };
        daily.validate()?;
        Ok(daily)
    }

    /// Whether every field is within its bounds; the error names the first that is not.
    pub fn validate(&self) -> Result<(), Invalid> {
        required_text("tenant_id", &self.tenant_id, 100)?;
        count("total_calls", self.total_calls)?;
        count("total_tokens_in", self.total_tokens_in)?;
        count("total_tokens_out", self.total_tokens_out)?;
        count("total_cost_cents", self.total_cost_cents)?;
        count("avg_latency_ms", self.avg_latency_ms.unwrap_or_default())?;
        count("error_count", self.error_count)?;
        count("blocked_count", self.blocked_count)
    }

    /// Tokens sent and received. Exact for every valid record; past 64 bits it stays at their end.
    pub const fn total_tokens(&self) -> i64 {
        self.total_tokens_in.saturating_add(self.total_tokens_out)
    }

    /// The fraction of calls that neither failed nor were blocked; 1.0 if there were none.
    ///
    /// A call that is both counts twice, so the fraction can be below zero.
    pub fn success_rate(&self) -> f64 {
        if self.total_calls == 0 {
            return 1.0;
        }
        let succeeded = self
            .total_calls
            .saturating_sub(self.error_count)
            .saturating_sub(self.blocked_count);
        float(succeeded) / float(self.total_calls)
    }

    /// What the calls cost, in dollars: to look at, not to calculate with.
    pub fn cost_dollars(&self) -> f64 {
        float(self.total_cost_cents) / 100.0
    }
}

/// The double nearest to a number; the same number, if it is within 2⁵³.
#[expect(
    clippy::as_conversions,
    clippy::cast_precision_loss,
    reason = "there is no other way from 64 bits to a double, and every valid count is exact"
)]
const fn float(number: i64) -> f64 {
    number as f64
}

/// A record as JSON brings it: defaults filled in, not yet validated.
#[derive(Deserialize)]
struct Incoming {
    tenant_id: String,
    integration_id: String,
    #[serde(deserialize_with = "wire::date")]
    date: Date,
    #[serde(default, deserialize_with = "wire::whole")]
    total_calls: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    total_tokens_in: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    total_tokens_out: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    total_cost_cents: i64,
    #[serde(default, deserialize_with = "wire::optional_whole")]
    avg_latency_ms: Option<i64>,
    #[serde(default, deserialize_with = "wire::whole")]
    error_count: i64,
    #[serde(default, deserialize_with = "wire::whole")]
    blocked_count: i64,
    #[serde(default = "utc_now")]
    updated_at: Timestamp,
}

impl TryFrom<Incoming> for CusUsageDaily {
    type Error = Invalid;

    fn try_from(incoming: Incoming) -> Result<Self, Invalid> {
        let daily = Self {
            tenant_id: incoming.tenant_id,
            integration_id: incoming.integration_id,
            date: incoming.date,
            total_calls: incoming.total_calls,
            total_tokens_in: incoming.total_tokens_in,
            total_tokens_out: incoming.total_tokens_out,
            total_cost_cents: incoming.total_cost_cents,
            avg_latency_ms: incoming.avg_latency_ms,
            error_count: incoming.error_count,
            blocked_count: incoming.blocked_count,
            updated_at: incoming.updated_at,
        };
        daily.validate()?;
        Ok(daily)
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::CusUsageDaily;
    use crate::Invalid;

    fn daily() -> CusUsageDaily {
        CusUsageDaily::new("acme", "i-1", date(2026, 1, 1)).unwrap()
    }

    #[test]
    fn a_day_without_calls_is_a_success_for_nothing() {
        let daily = daily();
        assert_eq!(daily.success_rate().to_bits(), 1.0_f64.to_bits());
        assert_eq!(daily.cost_dollars().to_bits(), 0.0_f64.to_bits());
        assert_eq!(daily.total_tokens(), 0);
    }

    #[test]
    fn a_new_day_is_validated() {
        let refused = CusUsageDaily::new("", "i-1", date(2026, 1, 1)).unwrap_err();
        assert_eq!(
            refused,
            Invalid::Empty {
                field: "tenant_id",
                max: 100
            }
        );
    }

    #[test]
    fn a_field_set_past_its_bound_is_found() {
        let broken = |change: fn(&mut CusUsageDaily)| {
            let mut daily = daily();
            change(&mut daily);
            daily.validate().map_err(|invalid| invalid.field())
        };
        assert_eq!(broken(|d| d.total_calls = -1), Err("total_calls"));
        assert_eq!(
            broken(|d| d.total_tokens_in = 1 << 53),
            Err("total_tokens_in")
        );
        assert_eq!(broken(|d| d.total_tokens_out = -1), Err("total_tokens_out"));
        assert_eq!(broken(|d| d.total_cost_cents = -1), Err("total_cost_cents"));
        assert_eq!(
            broken(|d| d.avg_latency_ms = Some(-1)),
            Err("avg_latency_ms")
        );
        assert_eq!(broken(|d| d.error_count = -1), Err("error_count"));
        assert_eq!(broken(|d| d.blocked_count = -1), Err("blocked_count"));
        assert_eq!(broken(|d| d.avg_latency_ms = Some(0)), Ok(()));
    }
}
