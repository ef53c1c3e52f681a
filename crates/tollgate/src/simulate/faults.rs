//! What a simulated provider can be told to do wrong, and in which order it does it.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

const MILLIONTHS: u64 = 1_000_000;

/// Why a set of faults was not taken; what it displays says what to change.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FaultsError {
    /// The share of errors is no share.
    #[error("error_rate must be a number from 0 to 1")]
    Rate,
    /// The status of errors is not one of an error.
    #[error("error_status must be a number from 400 to 599")]
    Status,
    /// The status of the list of models is not one of an error.
    #[error("models_status must be a number from 400 to 599")]
    ModelsStatus,
    /// The text is not an object of known faults.
    #[error("not a set of faults: {0}")]
    Form(String),
}

/// What the simulated provider does wrong, for every request to `/v1/…` from now on.
///
/// The default is a provider without faults that answers at once.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Milliseconds before the head of an answer, also of an error.
    pub latency_ms: u64,
    /// Milliseconds before each event of a stream but the first.
    pub chunk_interval_ms: u64,
    /// Share of requests answered by `error_status`, 0 to 1, spread evenly: at 0.25 each fourth.
    pub error_rate: f64,
    /// Status of an injected error, 400 to 599.
    pub error_status: u16,
    /// Seconds in the `retry-after` header of an injected error; none without.
    pub retry_after_s: Option<u64>,
    /// Break the connection after so many events of a stream, or bytes of a plain answer; an answer with no more than that is whole.
    pub cut_after: Option<u64>,
    /// Fall silent after so many events of a stream and keep the connection open.
    pub stall_after: Option<u64>,
    /// Leave every usage member out of answers (the request is billed as ever).
    pub no_usage: bool,
    /// Accept and bill a request, then never answer it.
    pub hang: bool,
    /// Answer the list of models with this status, 400 to 599, and everything else as ever.
    pub models_status: Option<u16>,
    /// Milliseconds before the list of models, on top of `latency_ms`.
    pub models_latency_ms: u64,
    /// Never answer a request for the list of models.
    pub models_hang: bool,
    /// Input tokens reported as read from a cache, when the input has at least so many.
    pub cached_tokens: u64,
    /// Output tokens reported as spent on reasoning, when the output has at least so many.
    pub reasoning_tokens: u64,
    /// How often a response that is made in the background is not done yet when it is asked for.
    pub background_looks: u64,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            latency_ms: 0,
            chunk_interval_ms: 0,
            error_rate: 0.0,
            error_status: 500,
            retry_after_s: None,
            cut_after: None,
            stall_after: None,
            no_usage: false,
            hang: false,
            models_status: None,
            models_latency_ms: 0,
            models_hang: false,
            cached_tokens: 0,
            reasoning_tokens: 0,
            background_looks: 1,
        }
    }
}

impl Faults {
    /// These faults, if each value is in its bounds.
    pub fn checked(self) -> Result<Self, FaultsError> {
        if !(0.0..=1.0).contains(&self.error_rate) {
            return Err(FaultsError::Rate);
        }
        let is_error = |status: u16| (400..=599).contains(&status);
        if !is_error(self.error_status) {
            return Err(FaultsError::Status);
        }
        if !self.models_status.is_none_or(is_error) {
            return Err(FaultsError::ModelsStatus);
        }
        Ok(self)
    }

    /// These faults with the members of a JSON object put in place of their values; `null` takes a fault away.
    pub fn merged(self, patch: &[u8]) -> Result<Self, FaultsError> {
        let form = |error: serde_json::Error| FaultsError::Form(error.to_string());
        let patch: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(patch).map_err(form)?;
        let mut members = serde_json::to_value(self).map_err(form)?;
        if let Some(members) = members.as_object_mut() {
            for (name, value) in patch {
                // A null where there is no "none" falls back to the default of the fault.
                if value.is_null() && members.remove(&name).is_some() {
                    continue;
                }
                members.insert(name, value);
            }
        }
        serde_json::from_value::<Self>(members)
            .map_err(form)?
            .checked()
    }

    /// The share of errors in millionths: whole numbers keep the sequence exact over any number of requests.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "`checked` keeps the rate in 0..=1, so that the product fits"
    )]
    fn error_millionths(self) -> u64 {
        (self.error_rate.clamp(0.0, 1.0) * 1e6).round() as u64
    }
}

/// Which requests get an error: the same ones in every run, at every moment as near to the rate as whole numbers allow.
#[derive(Debug, Default)]
pub(super) struct ErrorSequence {
    seen: AtomicU64,
}

impl ErrorSequence {
    /// Whether the next request is one that fails.
    pub(super) fn next_fails(&self, faults: Faults) -> bool {
        let before = self.seen.fetch_add(1, Ordering::Relaxed);
        let failures = |seen: u64| {
            u128::from(seen) * u128::from(faults.error_millionths()) / u128::from(MILLIONTHS)
        };
        failures(before + 1) > failures(before)
    }

    /// Begin the sequence again.
    pub(super) fn restart(&self) {
        self.seen.store(0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(rate: f64, calls: usize) -> String {
        let faults = Faults {
            error_rate: rate,
            ..Faults::default()
        };
        let sequence = ErrorSequence::default();
        (0..calls)
            .map(|_| {
                if sequence.next_fails(faults) {
                    'x'
                } else {
                    '.'
                }
            })
            .collect()
    }

    #[test]
    fn errors_come_evenly_and_the_same_in_every_run() {
        assert_eq!(pattern(0.0, 6), "......");
        assert_eq!(pattern(1.0, 6), "xxxxxx");
        assert_eq!(pattern(0.25, 8), "...x...x");
        assert_eq!(pattern(0.4, 10), "..x.x..x.x");
        assert_eq!(pattern(0.29, 100).matches('x').count(), 29);
        assert_eq!(pattern(0.29, 10_000).matches('x').count(), 2_900);
    }

    #[test]
    fn a_patch_changes_what_it_names_and_null_takes_a_fault_away() {
        let faults = Faults {
            cut_after: Some(3),
            latency_ms: 5,
            ..Faults::default()
        };
        let merged = faults
            .merged(br#"{"cut_after":null,"error_rate":0.5}"#)
            .unwrap();
        assert_eq!(
            merged,
            Faults {
                cut_after: None,
                error_rate: 0.5,
                ..faults
            }
        );
        assert_eq!(
            faults.merged(br#"{"latency_ms":null}"#).unwrap().latency_ms,
            0
        );
    }

    #[test]
    fn a_patch_that_is_not_understood_is_refused() {
        let faults = Faults::default();
        for (patch, says) in [
            (r#"{"latency":1}"#, "latency"),
            (r#"{"nonsense":null}"#, "nonsense"),
            (r#"{"error_rate":1.5}"#, "error_rate"),
            (r#"{"error_status":200}"#, "error_status"),
            (r#"{"models_status":200}"#, "models_status"),
            (r#"{"hang":"yes"}"#, "boolean"),
            ("[]", "map"),
            ("{", "EOF"),
        ] {
            let error = faults.merged(patch.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(says), "{patch}: {error}");
        }
    }
}
