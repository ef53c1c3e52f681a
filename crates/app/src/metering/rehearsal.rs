//! A rehearsal: what the gate would say to calls, asked of a copy, so that nothing is held,
//! counted or drawn.

use tollgate_core::account::Account;
use tollgate_core::gate::{Attempt, Decision, Gate, Sharing};
use tollgate_core::hold::Ask;
use tollgate_core::limit::Limits;
use tollgate_core::verdict::{ReasonCode, Refusal, Warnings};
use tollgate_core::{Moment, Nanos};
use tollgate_store::{Prospect, StoreError};

use super::Metering;
use crate::directory::Integration;

/// A copy of an integration's gate that has drawn all that the store would give it.
#[derive(Debug)]
pub(crate) struct Rehearsal {
    gate: Gate,
    now: Moment,
    attempt: Attempt,
    /// What other nodes have drawn and not settled: at most so much their calls hold.
    elsewhere: (Nanos, i64),
}

impl Metering {
    /// Copies the gate and gives the copy the store's latest figures. Where the store cannot be
    /// reached the copy knows what the gate knows, and decides as the gate does then.
    pub(crate) async fn rehearse(&self, integration: &Integration) -> Rehearsal {
        let now = self.clock.now();
        if !integration.draw_failed_lately(now) {
            self.heed_lowered_limit(integration).await;
        }
        let mut gate = integration.gate.lock().clone();
        let mut elsewhere = (Nanos::ZERO, 0);
        let mut attempt = Attempt::StoreUnreachable;
        if !integration.draw_failed_lately(now) {
            match self.prepare(integration, &mut gate, now).await {
                Ok(prospect) => {
                    gate.grant(&prospect.grant);
                    attempt = Attempt::AfterDraw;
                    elsewhere = (
                        Nanos::new(prospect.elsewhere_nanos),
                        prospect.elsewhere_tokens,
                    );
                }
                Err(error) => {
                    tracing::warn!(%error, integration = %integration.id, "cannot read the figures of a month");
                    integration.draw_failed(self.clock.now());
                }
            }
        }
        Rehearsal {
            gate,
            now,
            attempt,
            elsewhere,
        }
    }

    async fn prepare(
        &self,
        integration: &Integration,
        gate: &mut Gate,
        now: Moment,
    ) -> Result<Prospect, StoreError> {
        let (account, _) = gate.snapshot(now);
        let (tenant, id) = (&integration.tenant_id, integration.id);
        let prospect = self
            .authority
            .prospect(tenant, id, account.period, *gate.limits());
        let prospect = prospect.await?;
        let kept = self.kept_minute(integration, now).await?;
        gate.remember_minute(&kept);
        if let (Sharing::Shared, Some(rpm)) = (self.fellowship.sharing(), gate.limits().rate_rpm) {
            let permits = self.authority.permit_prospect(tenant, id, rpm).await?;
            gate.grant_permits(&permits, now);
        }
        Ok(prospect)
    }
}

impl Rehearsal {
    /// What the gate would say to the next call, if those asked about before held what they ask.
    pub(crate) fn next(&mut self, ask: &Ask) -> Result<Warnings, Refusal> {
        match self.gate.admit(ask, self.now, self.attempt) {
            Decision::Admitted(admission) => Ok(admission.warnings),
            Decision::Refused(refusal) => Err(refusal),
            // The gate asks for a draw only on the first attempt.
            Decision::NeedsDraw(_) => Err(Refusal::plain(ReasonCode::LimitsUnavailable)),
        }
    }

    /// Whether the store could not be asked, so that the answers come from this node alone.
    pub(crate) const fn is_degraded(&self) -> bool {
        matches!(self.attempt, Attempt::StoreUnreachable)
    }

    /// The present month, and the calls of the last minute.
    pub(crate) fn figures(&mut self) -> (Account, i64) {
        self.gate.snapshot(self.now)
    }

    /// The limits in force.
    pub(crate) const fn limits(&self) -> &Limits {
        self.gate.limits()
    }

    /// What other nodes' calls may hold.
    pub(crate) const fn elsewhere(&self) -> (Nanos, i64) {
        self.elsewhere
    }

    /// When it was made.
    pub(crate) const fn now(&self) -> Moment {
        self.now
    }
}
