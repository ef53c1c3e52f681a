//! What live calls say about a provider: counted without a lock where they pass, and folded into
//! one finding every few seconds.

use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

use http::StatusCode;
use tollgate_core::Moment;
use tollgate_core::health::Finding;

/// What one call saw of its provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sign {
    /// It answered, if only to say what is wrong with the call.
    Answered,
    /// It answered that there were too many.
    RateLimited,
    /// It did not answer, or with an error of its own.
    Failed,
}

impl Sign {
    /// What the status of an answer says of the provider. Nothing for a refusal: a 401 has a way
    /// of its own, and a 403 may be about one model or one region.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Option<Self> {
        match status.as_u16() {
            300..=399 | 401 | 403 => None,
            429 => Some(Self::RateLimited),
            408 | 500.. => Some(Self::Failed),
            _ => Some(Self::Answered),
        }
    }
}

/// The signs of an integration's calls since the last fold.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    answered: AtomicU32,
    limited: AtomicU32,
    failed: AtomicU32,
    /// When a fold last found a call that was answered, on the steady clock, plus one.
    answered_micros: AtomicI64,
}

impl Traffic {
    pub(crate) fn note(&self, sign: Sign) {
        let counter = match sign {
            Sign::Answered => &self.answered,
            Sign::RateLimited => &self.limited,
            Sign::Failed => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// What the calls since the last fold say together; one that was answered outweighs the rest.
    pub(crate) fn fold(&self, now: Moment) -> Option<Finding> {
        let [answered, limited, failed] =
            [&self.answered, &self.limited, &self.failed].map(|one| one.swap(0, Ordering::Relaxed));
        if answered > 0 {
            let mark = now.steady_micros.saturating_add(1);
            self.answered_micros.store(mark, Ordering::Relaxed);
            return Some(Finding::Good);
        }
        if failed > 0 {
            return Some(Finding::Unreachable);
        }
        (limited > 0).then_some(Finding::RateLimited)
    }

    /// Whether a call was answered within the last so many seconds.
    pub(crate) fn answered_within(&self, seconds: u64, now: Moment) -> bool {
        let mark = self.answered_micros.load(Ordering::Relaxed);
        let micros = i64::try_from(seconds.saturating_mul(1_000_000)).unwrap_or(i64::MAX);
        mark > 0 && now.steady_micros.saturating_sub(mark) < micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(steady_micros: i64) -> Moment {
        Moment {
            wall: jiff::Timestamp::UNIX_EPOCH,
            steady_micros,
        }
    }

    #[test]
    fn one_answered_call_outweighs_those_that_failed() {
        let traffic = Traffic::default();
        let table: [(&[Sign], Option<Finding>); 5] = [
            (&[], None),
            (&[Sign::Failed, Sign::Answered], Some(Finding::Good)),
            (&[Sign::RateLimited], Some(Finding::RateLimited)),
            (
                &[Sign::RateLimited, Sign::Failed],
                Some(Finding::Unreachable),
            ),
            (&[], None),
        ];
        for (signs, finding) in table {
            for sign in signs {
                traffic.note(*sign);
            }
            assert_eq!(traffic.fold(at(0)), finding, "{signs:?}");
        }
        assert!(traffic.answered_within(1, at(999_999)));
        assert!(!traffic.answered_within(1, at(1_000_001)));
    }

    #[test]
    fn a_refusal_of_one_call_says_nothing_about_the_provider() {
        let sign = |status| Sign::of_status(StatusCode::from_u16(status).unwrap());
        for status in [301, 401, 403] {
            assert_eq!(sign(status), None);
        }
        for status in [200, 400, 404, 413, 422] {
            assert_eq!(sign(status), Some(Sign::Answered));
        }
        for status in [408, 500, 503, 529] {
            assert_eq!(sign(status), Some(Sign::Failed));
        }
        assert_eq!(sign(429), Some(Sign::RateLimited));
    }
}
