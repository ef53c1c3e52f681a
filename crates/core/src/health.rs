//! Health of an integration: what probes and live traffic say, folded so that it does not flap.
//!
//! A pure state machine: findings go in, states come out. To become better takes two good answers
//! in a row; to be out of service takes a refused credential, or three failures in a row of which
//! the last is a probe's. Alternating answers therefore change it once and no more.

mod pace;

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};

pub use pace::{Pace, jittered_micros};

/// Failures in a row that take an integration out of service; the last of them a probe's.
pub const FAILURES_TO_FAIL: u32 = 3;

/// Good answers in a row that make an integration healthy again.
pub const SUCCESSES_TO_HEAL: u32 = 2;

/// The slowest answer to a probe of a healthy provider, in milliseconds.
pub const HEALTHY_MS: i64 = 2_000;

/// Why an integration is not healthy: stable codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Cause {
    /// It answers, and takes more than [`HEALTHY_MS`].
    ProviderSlow,
    /// It answers that there were too many requests.
    ProviderRateLimited,
    /// It answers, and has no list of models to be probed with.
    ModelsNotFound,
    /// It answers again, once so far.
    ProviderRecovering,
    /// It does not answer, or with an error of its own.
    ProviderUnreachable,
    /// The settings or the credential cannot be used, so nothing was sent.
    IntegrationUnusable,
    /// It refuses the credential.
    CredentialsInvalid,
}

/// What a probe, or a few seconds of live traffic, found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Finding {
    /// A good answer in time.
    Good,
    /// A good answer after more than [`HEALTHY_MS`]; only probes are that simple.
    Slow,
    /// Too many requests.
    RateLimited,
    /// No list of models.
    NoModels,
    /// No answer, or an error of the provider's own.
    Unreachable,
    /// Nothing could be sent.
    Unusable,
    /// The credential is refused.
    Refused,
}

/// Where a finding comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    /// A probe that somebody asked for.
    Asked,
    /// A probe of the background.
    Scheduled,
    /// Calls of the integration's callers.
    Traffic,
}

/// The health of an integration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// The state.
    pub state: CusHealthState,
    /// Why it is not healthy; none while it is, or is unknown.
    pub cause: Option<Cause>,
    /// Failures in a row.
    pub failures: u32,
    /// Good answers in a row that have not made it healthy yet.
    pub successes: u32,
}

impl Cause {
    /// Every cause.
    pub const ALL: [Self; 7] = [
        Self::ProviderSlow,
        Self::ProviderRateLimited,
        Self::ModelsNotFound,
        Self::ProviderRecovering,
        Self::ProviderUnreachable,
        Self::IntegrationUnusable,
        Self::CredentialsInvalid,
    ];

    /// The code as text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ProviderSlow => "provider_slow",
            Self::ProviderRateLimited => "provider_rate_limited",
            Self::ModelsNotFound => "models_not_found",
            Self::ProviderRecovering => "provider_recovering",
            Self::ProviderUnreachable => "provider_unreachable",
            Self::IntegrationUnusable => "integration_unusable",
            Self::CredentialsInvalid => "credentials_invalid",
        }
    }

    /// The cause that a kept message begins with: `provider_slow: the provider …`.
    #[must_use]
    pub fn of_message(message: &str) -> Option<Self> {
        let code = message.split(':').next()?;
        Self::ALL.into_iter().find(|cause| cause.as_str() == code)
    }

    /// The cause of an integration's state, as its message says it.
    #[must_use]
    pub fn of(integration: &CusIntegration) -> Option<Self> {
        Self::of_message(integration.health_message.as_deref()?)
    }
}

impl Finding {
    /// The cause that it is, unless it is a good answer.
    #[must_use]
    pub const fn cause(self) -> Option<Cause> {
        match self {
            Self::Good => None,
            Self::Slow => Some(Cause::ProviderSlow),
            Self::RateLimited => Some(Cause::ProviderRateLimited),
            Self::NoModels => Some(Cause::ModelsNotFound),
            Self::Unreachable => Some(Cause::ProviderUnreachable),
            Self::Unusable => Some(Cause::IntegrationUnusable),
            Self::Refused => Some(Cause::CredentialsInvalid),
        }
    }
}

impl Source {
    /// Whether it is a probe.
    #[must_use]
    pub const fn is_probe(self) -> bool {
        matches!(self, Self::Asked | Self::Scheduled)
    }
}

impl Health {
    /// The health of an integration, with the counters that are kept beside it.
    #[must_use]
    pub fn of(integration: &CusIntegration, failures: u32, successes: u32) -> Self {
        let is_error = integration.status == CusIntegrationStatus::Error;
        let (state, cause) = if is_error {
            (CusHealthState::Failing, Some(Cause::CredentialsInvalid))
        } else {
            (integration.health_state, Cause::of(integration))
        };
        Self {
            state,
            cause,
            failures,
            successes,
        }
    }

    /// The health after a finding.
    #[must_use]
    pub fn after(self, finding: Finding, source: Source) -> Self {
        if self.is_deaf_to(finding, source) {
            return self;
        }
        if self.is_refused() {
            return self.after_refusal(finding, source);
        }
        match finding {
            Finding::Refused => self.failed(CusHealthState::Failing, Cause::CredentialsInvalid),
            Finding::Unreachable => self.after_failure(Cause::ProviderUnreachable, source),
            Finding::Unusable => self.after_failure(Cause::IntegrationUnusable, source),
            Finding::Slow => Self::degraded(Cause::ProviderSlow),
            Finding::RateLimited => Self::degraded(Cause::ProviderRateLimited),
            Finding::NoModels => match self.state {
                CusHealthState::Healthy => Self::healthy(),
                CusHealthState::Unknown | CusHealthState::Degraded | CusHealthState::Failing => {
                    Self::degraded(Cause::ModelsNotFound)
                }
            },
            Finding::Good => self.after_success(),
        }
    }

    /// Whether a finding changes nothing at all. What only a probe sees, only a probe takes back;
    /// and calls that ended well do not open an integration that is out of service.
    #[must_use]
    pub fn is_deaf_to(&self, finding: Finding, source: Source) -> bool {
        if source.is_probe() || finding == Finding::Refused {
            return false;
        }
        match self.state {
            CusHealthState::Failing => true,
            CusHealthState::Degraded => {
                finding == Finding::Good
                    && matches!(
                        self.cause,
                        Some(Cause::ProviderSlow | Cause::IntegrationUnusable)
                    )
            }
            CusHealthState::Unknown | CusHealthState::Healthy => false,
        }
    }

    /// Whether it is out of service because the credential is refused: status `error`.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.state == CusHealthState::Failing && self.cause == Some(Cause::CredentialsInvalid)
    }

    /// Whether the next answer may decide something, so that it should come soon.
    #[must_use]
    pub fn is_undecided(&self) -> bool {
        let is_counting = self.failures > 0 || self.successes > 0;
        is_counting && (self.state == CusHealthState::Degraded || self.successes > 0)
    }

    /// Whether this is worth an entry in the audit trail and the attention of every node.
    #[must_use]
    pub fn differs_from(&self, before: &Self) -> bool {
        self.state != before.state
            || (self.state == CusHealthState::Failing && self.cause != before.cause)
    }

    /// A refused credential is taken back only by an answer that needs the credential.
    fn after_refusal(self, finding: Finding, source: Source) -> Self {
        match (finding, source) {
            (Finding::Good | Finding::Slow, Source::Asked) => Self::proven(finding),
            (Finding::Good | Finding::Slow, Source::Scheduled) => {
                let successes = self.successes.saturating_add(1);
                if successes >= SUCCESSES_TO_HEAL {
                    Self::proven(finding)
                } else {
                    Self { successes, ..self }
                }
            }
            (Finding::Refused, _) => {
                self.failed(CusHealthState::Failing, Cause::CredentialsInvalid)
            }
            _ => Self {
                successes: 0,
                ..self
            },
        }
    }

    fn after_success(self) -> Self {
        let successes = self.successes.saturating_add(1);
        match self.state {
            CusHealthState::Unknown | CusHealthState::Healthy => Self::healthy(),
            CusHealthState::Degraded if successes >= SUCCESSES_TO_HEAL => Self::healthy(),
            CusHealthState::Degraded => Self {
                failures: 0,
                successes,
                ..self
            },
            CusHealthState::Failing => Self {
                successes: 1,
                ..Self::degraded(Cause::ProviderRecovering)
            },
        }
    }

    fn after_failure(self, cause: Cause, source: Source) -> Self {
        let is_out = self.state == CusHealthState::Failing
            || (source.is_probe() && self.failures.saturating_add(1) >= FAILURES_TO_FAIL);
        let state = if is_out {
            CusHealthState::Failing
        } else {
            CusHealthState::Degraded
        };
        self.failed(state, cause)
    }

    const fn failed(self, state: CusHealthState, cause: Cause) -> Self {
        Self {
            state,
            cause: Some(cause),
            failures: self.failures.saturating_add(1),
            successes: 0,
        }
    }

    fn proven(finding: Finding) -> Self {
        if finding == Finding::Slow {
            Self::degraded(Cause::ProviderSlow)
        } else {
            Self::healthy()
        }
    }

    const fn healthy() -> Self {
        Self {
            state: CusHealthState::Healthy,
            cause: None,
            failures: 0,
            successes: 0,
        }
    }

    const fn degraded(cause: Cause) -> Self {
        Self {
            state: CusHealthState::Degraded,
            cause: Some(cause),
            failures: 0,
            successes: 0,
        }
    }
}

/// The health of several together: the worst of those that are known.
#[must_use]
pub fn overall(states: impl IntoIterator<Item = CusHealthState>) -> CusHealthState {
    let weight = |state: &CusHealthState| match state {
        CusHealthState::Unknown => 0,
        CusHealthState::Healthy => 1,
        CusHealthState::Degraded => 2,
        CusHealthState::Failing => 3,
    };
    let worst = states.into_iter().max_by_key(weight);
    worst.unwrap_or(CusHealthState::Unknown)
}

#[cfg(test)]
mod tests;
