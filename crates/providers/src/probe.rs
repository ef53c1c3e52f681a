//! What the answer to a free request says about a provider's health.

use http::StatusCode;
use tollgate_core::health::{Finding, HEALTHY_MS};

use crate::failure::{Failure, FailureKind};

/// What an answer with this status, after so many milliseconds, means.
pub(crate) fn judge(status: StatusCode, latency_ms: i64) -> Finding {
    match Failure::of_status(status).map(|failure| failure.kind) {
        None if latency_ms <= HEALTHY_MS => Finding::Good,
        None => Finding::Slow,
        Some(FailureKind::CredentialRefused) => Finding::Refused,
        Some(FailureKind::RateLimited) => Finding::RateLimited,
        Some(FailureKind::NotFound) => Finding::NoModels,
        Some(_) => Finding::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probe_is_judged_by_status_and_time() {
        let table = [
            (200, 2_000, Finding::Good),
            (200, 2_001, Finding::Slow),
            (204, 1, Finding::Good),
            (429, 1, Finding::RateLimited),
            (404, 1, Finding::NoModels),
            (401, 1, Finding::Refused),
            (403, 1, Finding::Refused),
            (302, 1, Finding::Unreachable),
            (500, 1, Finding::Unreachable),
            (529, 1, Finding::Unreachable),
        ];
        for (status, latency_ms, finding) in table {
            let found = judge(StatusCode::from_u16(status).unwrap(), latency_ms);
            assert_eq!(found, finding, "{status}");
        }
    }
}
