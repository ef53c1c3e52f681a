//! What the answer to a free request says about a provider's health.

use cus_models::CusHealthState;
use http::StatusCode;

use crate::failure::{Failure, FailureKind};

/// The slowest answer of a healthy provider, in milliseconds.
const HEALTHY_MS: u64 = 2_000;

/// What a probe found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProbeOutcome {
    /// It answers, and in time.
    Healthy,
    /// It answers, but slowly.
    Slow,
    /// It answers that there were too many requests.
    RateLimited,
    /// It answers, but has no list of models: another address, or a server without one.
    NotFound,
    /// It refuses the credential.
    CredentialRefused,
    /// It does not answer, or with an error of its own.
    Failing,
}

impl ProbeOutcome {
    /// What an answer with this status, after so many milliseconds, means.
    #[must_use]
    pub fn judge(status: StatusCode, latency_ms: u64) -> Self {
        match Failure::of_status(status).map(|failure| failure.kind) {
            None if latency_ms <= HEALTHY_MS => Self::Healthy,
            None => Self::Slow,
            Some(FailureKind::CredentialRefused) => Self::CredentialRefused,
            Some(FailureKind::RateLimited) => Self::RateLimited,
            Some(FailureKind::NotFound) => Self::NotFound,
            Some(_) => Self::Failing,
        }
    }

    /// The health that it stands for.
    #[must_use]
    pub const fn health(self) -> CusHealthState {
        match self {
            Self::Healthy => CusHealthState::Healthy,
            Self::Slow | Self::RateLimited | Self::NotFound => CusHealthState::Degraded,
            Self::CredentialRefused | Self::Failing => CusHealthState::Failing,
        }
    }

    /// The stable code of what is wrong.
    #[must_use]
    pub const fn code(self) -> Option<&'static str> {
        match self {
            Self::Healthy => None,
            Self::Slow => Some("provider_slow"),
            Self::RateLimited => Some("provider_rate_limited"),
            Self::NotFound => Some("models_not_found"),
            Self::CredentialRefused => Some("credentials_invalid"),
            Self::Failing => Some("provider_unreachable"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_judged_by_status_and_time() {
        let table = [
            (200, 2_000, ProbeOutcome::Healthy, CusHealthState::Healthy),
            (200, 2_001, ProbeOutcome::Slow, CusHealthState::Degraded),
            (429, 1, ProbeOutcome::RateLimited, CusHealthState::Degraded),
            (404, 1, ProbeOutcome::NotFound, CusHealthState::Degraded),
            (
                401,
                1,
                ProbeOutcome::CredentialRefused,
                CusHealthState::Failing,
            ),
            (
                403,
                1,
                ProbeOutcome::CredentialRefused,
                CusHealthState::Failing,
            ),
            (302, 1, ProbeOutcome::Failing, CusHealthState::Failing),
            (500, 1, ProbeOutcome::Failing, CusHealthState::Failing),
        ];
        for (status, latency_ms, outcome, health) in table {
            let found = ProbeOutcome::judge(StatusCode::from_u16(status).unwrap(), latency_ms);
            assert_eq!((found, found.health()), (outcome, health), "{status}");
        }
    }
}
