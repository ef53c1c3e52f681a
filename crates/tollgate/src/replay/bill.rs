//! Adding up a replay: what was called, what it used, what it cost, how long it took.

use std::{collections::BTreeMap, fmt, time::Duration};

use serde::Serialize;

use super::{
    call::{Ending, Outcome},
    cost::Cost,
    plan::Row,
};

/// What a replay came to.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Bill {
    /// All calls, each counted once however often it was tried.
    pub calls: u64,
    /// Calls answered with success.
    pub ok: u64,
    /// Calls without success after all their attempts.
    pub failed: u64,
    /// Calls that ended in another status, by status.
    pub refused: BTreeMap<u16, u64>,
    /// What the first refusal said, for the message at the end; not a part of the printed bill.
    #[serde(skip)]
    pub first_refusal: Option<String>,
    /// Calls that got no answer, or not all of it.
    pub unreachable: u64,
    /// Attempts beyond the first of each call.
    pub retries: u64,
    /// Input tokens that the calls sent.
    pub sent_tokens_in: u64,
    /// Output tokens that the calls asked for.
    pub asked_tokens_out: u64,
    /// Input tokens as the answers report them.
    pub tokens_in: u64,
    /// Output tokens as the answers report them.
    pub tokens_out: u64,
    /// Successful answers that report no usage.
    pub without_usage: u64,
    /// The sum of what the answers say they cost, in dollars with nine places; exact.
    pub cost_usd: String,
    /// Successful answers that do not say what they cost.
    pub without_cost: u64,
    /// From the start of the first call to the end of the last, in milliseconds.
    pub wall_ms: u64,
    /// Calls a second of that time.
    pub calls_per_second: f64,
    /// Median of the calls' last attempts, in milliseconds.
    pub latency_p50_ms: f64,
    /// 99th percentile of the same.
    pub latency_p99_ms: f64,
    /// Calls that started more than 10 ms after their moment, for want of a free connection.
    pub late: u64,
    /// The longest delay of a start, in milliseconds.
    pub late_max_ms: u64,
}

/// A running sum, one for each worker.
#[derive(Debug, Default)]
pub(super) struct Tally {
    ok: u64,
    refused: BTreeMap<u16, u64>,
    first_refusal: Option<String>,
    unreachable: u64,
    retries: u64,
    sent_tokens_in: u64,
    asked_tokens_out: u64,
    tokens_in: u64,
    tokens_out: u64,
    without_usage: u64,
    cost: Cost,
    without_cost: u64,
    latencies: Vec<Duration>,
    late: u64,
    late_max: Duration,
}

impl Tally {
    /// Note how late a call started.
    pub(super) fn started(&mut self, delay: Duration, punctual: Duration) {
        self.late += u64::from(delay > punctual);
        self.late_max = self.late_max.max(delay);
    }

    /// Note how a call ended.
    pub(super) fn call(&mut self, row: &Row, outcome: &Outcome) {
        self.sent_tokens_in += row.tokens_in;
        self.asked_tokens_out += row.tokens_out;
        self.retries += outcome.retries;
        self.latencies.push(outcome.latency);
        if let Some(cost) = outcome.cost.and_then(|cost| self.cost.checked_add(cost)) {
            self.cost = cost;
        }
        match outcome.ending {
            Ending::Answered(status) if status.is_success() => {
                self.ok += 1;
                self.without_cost += u64::from(outcome.cost.is_none());
                self.without_usage += u64::from(outcome.usage.is_none());
                if let Some(usage) = outcome.usage {
                    self.tokens_in = self.tokens_in.saturating_add(usage.tokens_in);
                    self.tokens_out = self.tokens_out.saturating_add(usage.tokens_out);
                }
            }
            Ending::Answered(status) => {
                *self.refused.entry(status.as_u16()).or_default() += 1;
                if self.first_refusal.is_none() {
                    self.first_refusal.clone_from(&outcome.refusal);
                }
            }
            Ending::Unreachable => self.unreachable += 1,
        }
    }

    /// Add what another worker noted.
    pub(super) fn add(&mut self, other: Self) {
        self.ok += other.ok;
        self.unreachable += other.unreachable;
        self.retries += other.retries;
        self.sent_tokens_in += other.sent_tokens_in;
        self.asked_tokens_out += other.asked_tokens_out;
        self.tokens_in = self.tokens_in.saturating_add(other.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(other.tokens_out);
        self.without_usage += other.without_usage;
        self.cost = self.cost.checked_add(other.cost).unwrap_or(self.cost);
        self.without_cost += other.without_cost;
        self.latencies.extend(other.latencies);
        self.late += other.late;
        self.late_max = self.late_max.max(other.late_max);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        for (status, count) in other.refused {
            *self.refused.entry(status).or_default() += count;
        }
    }

    /// The bill of all that was noted.
    pub(super) fn bill(mut self, wall: Duration) -> Bill {
        self.latencies.sort_unstable();
        let calls = u64::try_from(self.latencies.len()).unwrap_or(u64::MAX);
        let rate = |seconds: f64| f64::from(u32::try_from(calls).unwrap_or(u32::MAX)) / seconds;
        Bill {
            calls,
            ok: self.ok,
            failed: calls - self.ok,
            refused: self.refused,
            first_refusal: self.first_refusal,
            unreachable: self.unreachable,
            retries: self.retries,
            sent_tokens_in: self.sent_tokens_in,
            asked_tokens_out: self.asked_tokens_out,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            without_usage: self.without_usage,
            cost_usd: self.cost.to_string(),
            without_cost: self.without_cost,
            wall_ms: ms(wall),
            calls_per_second: if wall.is_zero() {
                0.0
            } else {
                rounded(rate(wall.as_secs_f64()))
            },
            latency_p50_ms: percentile_ms(&self.latencies, 50),
            latency_p99_ms: percentile_ms(&self.latencies, 99),
            late: self.late,
            late_max_ms: ms(self.late_max),
        }
    }
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// To thousandths.
fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

/// The smallest of sorted values that so many percent of them do not exceed.
fn percentile_ms(sorted: &[Duration], percent: usize) -> f64 {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted
        .get(rank - 1)
        .map_or(0.0, |latency| rounded(latency.as_secs_f64() * 1e3))
}

impl fmt::Display for Bill {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            text,
            "calls       {} ({} ok, {} failed)",
            self.calls, self.ok, self.failed
        )?;
        for (status, count) in &self.refused {
            writeln!(text, "refused     {count} with status {status}")?;
        }
        if self.unreachable > 0 {
            writeln!(text, "unanswered  {}", self.unreachable)?;
        }
        if self.retries > 0 {
            writeln!(text, "retries     {}", self.retries)?;
        }
        writeln!(
            text,
            "tokens in   {} (sent {})",
            self.tokens_in, self.sent_tokens_in
        )?;
        writeln!(
            text,
            "tokens out  {} (asked {})",
            self.tokens_out, self.asked_tokens_out
        )?;
        if self.without_usage > 0 {
            writeln!(
                text,
                "            {} answers report no usage",
                self.without_usage
            )?;
        }
        writeln!(text, "cost        ${}", self.cost_usd)?;
        if self.without_cost > 0 {
            writeln!(
                text,
                "            {} answers do not say what they cost",
                self.without_cost
            )?;
        }
        let seconds = Duration::from_millis(self.wall_ms).as_secs_f64();
        writeln!(
            text,
            "wall time   {seconds:.3} s ({:.0} calls/s)",
            self.calls_per_second
        )?;
        if self.late > 0 {
            writeln!(
                text,
                "late starts {} (up to {} ms)",
                self.late, self.late_max_ms
            )?;
        }
        write!(
            text,
            "latency     p50 {} ms, p99 {} ms",
            self.latency_p50_ms, self.latency_p99_ms
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let sorted: Vec<Duration> = (1..=200).map(Duration::from_millis).collect();
        assert_eq!(percentile_ms(&sorted, 50).to_string(), "100");
        assert_eq!(percentile_ms(&sorted, 99).to_string(), "198");
        assert_eq!(percentile_ms(&sorted[..1], 99).to_string(), "1");
        assert_eq!(percentile_ms(&[], 99).to_string(), "0");
    }
}
