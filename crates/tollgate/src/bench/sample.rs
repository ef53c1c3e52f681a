//! What was heard of many calls, and the figures that come of it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::Serialize;

use super::line::{Fault, Heard};

/// What was heard of some calls.
#[derive(Debug, Default)]
pub(super) struct Sample {
    pub(super) took: Duration,
    /// How late calls were let go that had a moment, by the fault of this process alone.
    pub(super) late: Vec<u64>,
    latency: Vec<u64>,
    first: Vec<u64>,
    gaps: Vec<u64>,
    faults: BTreeMap<String, u64>,
}

/// Figures of a sample.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Figures {
    /// Calls that were answered with success, whole.
    pub(super) calls: u64,
    /// Calls that were not.
    pub(super) failed: u64,
    /// What they ran into.
    pub(super) faults: BTreeMap<String, u64>,
    pub(super) per_second: f64,
    /// From the moment when a call was due to the last byte of its answer.
    pub(super) latency_ms: Quantiles,
    /// To the first piece of the answer's body.
    pub(super) first_ms: Quantiles,
    /// Between two pieces of the answer's body.
    pub(super) gap_ms: Quantiles,
    /// How late calls were let go; not in the others.
    pub(super) late_ms: Quantiles,
}

/// Quantiles in milliseconds; zero of nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub(super) struct Quantiles {
    pub(super) p50: f64,
    pub(super) p90: f64,
    pub(super) p99: f64,
    pub(super) p999: f64,
    pub(super) max: f64,
}

impl Sample {
    pub(super) fn take(&mut self, heard: Result<Heard, Fault>) {
        match heard {
            Ok(heard) => {
                self.latency.push(nanos(heard.latency));
                self.first.push(nanos(heard.first));
                self.gaps.extend(heard.gaps.into_iter().map(nanos));
            }
            Err(fault) => self.fail(fault, 1),
        }
    }

    pub(super) fn fail(&mut self, fault: Fault, count: u64) {
        if count > 0 {
            *self.faults.entry(fault.to_string()).or_default() += count;
        }
    }

    pub(super) fn add(&mut self, other: Self) {
        self.latency.extend(other.latency);
        self.first.extend(other.first);
        self.gaps.extend(other.gaps);
        self.late.extend(other.late);
        for (fault, count) in other.faults {
            *self.faults.entry(fault).or_default() += count;
        }
    }

    pub(super) fn figures(self) -> Figures {
        let calls = self.latency.len();
        let seconds = self.took.as_secs_f64().max(f64::MIN_POSITIVE);
        Figures {
            calls: u64::try_from(calls).unwrap_or(u64::MAX),
            failed: self.faults.values().sum(),
            faults: self.faults,
            per_second: u32::try_from(calls).map_or(f64::INFINITY, f64::from) / seconds,
            latency_ms: Quantiles::of(self.latency),
            first_ms: Quantiles::of(self.first),
            gap_ms: Quantiles::of(self.gaps),
            late_ms: Quantiles::of(self.late),
        }
    }
}

impl Figures {
    /// Whether no connection could be made at all.
    pub(super) fn is_unreachable(&self) -> bool {
        let mut faults = self.faults.keys();
        faults.len() == 1 && faults.next() == Some(&Fault::Unreachable.to_string())
    }
}

impl Quantiles {
    pub(super) fn of(mut values: Vec<u64>) -> Self {
        values.sort_unstable();
        let at = |permille: usize| {
            // The smallest value that so many thousandths of all do not exceed.
            let rank = values.len().saturating_mul(permille).div_ceil(1_000);
            let value = values.get(rank.saturating_sub(1)).copied();
            Duration::from_nanos(value.unwrap_or_default()).as_secs_f64() * 1_000.0
        };
        Self {
            p50: at(500),
            p90: at(900),
            p99: at(990),
            p999: at(999),
            max: at(1_000),
        }
    }
}

pub(super) fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_a_value_that_was_seen() {
        let values = (1..=1_000).rev().map(|ms| ms * 1_000_000).collect();
        let told = Quantiles::of(values);
        let expected = Quantiles {
            p50: 500.0,
            p90: 900.0,
            p99: 990.0,
            p999: 999.0,
            max: 1_000.0,
        };
        assert_eq!(told, expected);
        assert_eq!(Quantiles::of(vec![7_000_000]).p50.to_string(), "7");
        assert_eq!(Quantiles::of(vec![]), Quantiles::default());
    }

    #[test]
    fn calls_that_failed_are_told_by_what_they_ran_into_and_are_in_no_quantile() {
        let mut sample = Sample {
            took: Duration::from_secs(2),
            ..Sample::default()
        };
        let heard = |ms| Heard {
            first: Duration::from_millis(ms),
            latency: Duration::from_millis(ms),
            gaps: vec![],
        };
        sample.take(Ok(heard(4)));
        sample.take(Ok(heard(6)));
        sample.take(Err(Fault::Status(429)));
        let mut other = Sample::default();
        other.take(Err(Fault::Status(429)));
        other.take(Err(Fault::Broken));
        sample.add(other);
        let figures = sample.figures();
        assert_eq!((figures.calls, figures.failed), (2, 3));
        assert_eq!(figures.per_second.to_string(), "1");
        assert_eq!(figures.latency_ms.max.to_string(), "6");
        assert_eq!(figures.faults.get("status 429"), Some(&2));
        assert!(!figures.is_unreachable());
    }
}
