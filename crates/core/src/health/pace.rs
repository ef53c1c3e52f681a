//! When to probe next: seldom while all is well, soon while something is undecided, and ever less
//! often while it stays bad.

use cus_models::CusHealthState;

use super::{Cause, FAILURES_TO_FAIL, Health};

/// How many times longer than for an unreachable provider the wait for a refused credential grows.
const REFUSED_FACTOR: u64 = 10;

/// How often to probe, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// Between two probes of a healthy integration.
    pub every_seconds: u64,
    /// Before the next probe while something is undecided; the first step of the back-off.
    pub retry_seconds: u64,
    /// The longest wait between two probes of an integration whose provider is unreachable: so
    /// long, and a tenth of it, may its return go unnoticed.
    pub recovery_seconds: u64,
}

impl Pace {
    /// Seconds until the next probe of an integration in this health.
    #[must_use]
    pub fn wait_seconds(&self, health: &Health) -> u64 {
        let usual = self.every_seconds.min(self.recovery_seconds);
        let wait = match (health.state, health.cause) {
            _ if health.is_undecided() => self.retry_seconds,
            (CusHealthState::Failing, Some(Cause::CredentialsInvalid)) => {
                let longest = self.recovery_seconds.saturating_mul(REFUSED_FACTOR);
                return doubled(self.retry_seconds, health.failures).min(longest);
            }
            (CusHealthState::Failing, _) => {
                let steps = health.failures.saturating_sub(FAILURES_TO_FAIL);
                doubled(self.retry_seconds, steps)
            }
            (CusHealthState::Degraded, Some(Cause::ModelsNotFound))
            | (CusHealthState::Unknown | CusHealthState::Healthy, _) => return self.every_seconds,
            (CusHealthState::Degraded, _) => usual,
        };
        wait.min(usual)
    }
}

/// `seconds`, doubled so many times.
fn doubled(seconds: u64, times: u32) -> u64 {
    let factor = 1_u64.checked_shl(times.min(32)).unwrap_or(u64::MAX);
    seconds.saturating_mul(factor)
}

/// So many seconds give or take a tenth, in microseconds; by `seed`, so that probes of many
/// integrations spread over time instead of coming together.
#[must_use]
pub fn jittered_micros(seconds: u64, seed: u64) -> i64 {
    // The step of SplitMix64: seeds next to each other come out far apart.
    let mut mixed = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^= mixed >> 31;
    // 900 to 1,100 thousandths.
    let thousandths = mixed.checked_rem(201).unwrap_or(0).saturating_add(900);
    let micros = seconds.saturating_mul(1_000).saturating_mul(thousandths);
    i64::try_from(micros).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        every_seconds: 300,
        retry_seconds: 10,
        recovery_seconds: 60,
    };

    fn health(state: CusHealthState, cause: Option<Cause>, failures: u32) -> Health {
        Health {
            state,
            cause,
            failures,
            successes: 0,
        }
    }

    #[test]
    fn the_wait_grows_while_it_stays_bad_and_has_a_bound() {
        use Cause as C;
        use CusHealthState as S;
        let table = [
            (S::Unknown, None, 0, 300),
            (S::Healthy, None, 0, 300),
            (S::Degraded, Some(C::ProviderSlow), 0, 60),
            (S::Degraded, Some(C::ProviderRateLimited), 0, 60),
            (S::Degraded, Some(C::ModelsNotFound), 0, 300),
            (S::Degraded, Some(C::ProviderUnreachable), 1, 10),
            (S::Degraded, Some(C::ProviderUnreachable), 2, 10),
            (S::Failing, Some(C::ProviderUnreachable), 3, 10),
            (S::Failing, Some(C::ProviderUnreachable), 4, 20),
            (S::Failing, Some(C::ProviderUnreachable), 5, 40),
            (S::Failing, Some(C::ProviderUnreachable), 6, 60),
            (S::Failing, Some(C::ProviderUnreachable), u32::MAX, 60),
            (S::Failing, Some(C::CredentialsInvalid), 1, 20),
            (S::Failing, Some(C::CredentialsInvalid), 3, 80),
            (S::Failing, Some(C::CredentialsInvalid), 7, 600),
            (S::Failing, Some(C::CredentialsInvalid), u32::MAX, 600),
        ];
        for (state, cause, failures, seconds) in table {
            let health = health(state, cause, failures);
            assert_eq!(PACE.wait_seconds(&health), seconds, "{health:?}");
        }
    }

    #[test]
    fn an_answer_that_may_decide_is_asked_for_soon() {
        let returning = Health {
            successes: 1,
            ..health(CusHealthState::Failing, Some(Cause::CredentialsInvalid), 9)
        };
        assert_eq!(PACE.wait_seconds(&returning), 10);
        let recovering = Health {
            successes: 1,
            ..health(CusHealthState::Degraded, Some(Cause::ProviderRecovering), 0)
        };
        assert_eq!(PACE.wait_seconds(&recovering), 10);
    }

    #[test]
    fn jitter_stays_within_a_tenth_and_spreads() {
        let waits: Vec<i64> = (0..1_000).map(|seed| jittered_micros(300, seed)).collect();
        assert!(
            waits
                .iter()
                .all(|wait| (270_000_000..=330_000_000).contains(wait))
        );
        let tenths = |wait: &i64| (wait - 270_000_000) / 6_000_001;
        for tenth in 0..10 {
            let here = waits.iter().filter(|wait| tenths(wait) == tenth).count();
            assert!((50..150).contains(&here), "{here} waits in tenth {tenth}");
        }
    }
}
