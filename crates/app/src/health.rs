//! Health: whether an integration's provider answers with its credential, as probes and live
//! traffic show it.

pub mod carrier;
pub(crate) mod fold;
pub(crate) mod probe;
pub(crate) mod schedule;
pub(crate) mod traffic;

use std::sync::Arc;

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};
use jiff::Timestamp;
use tollgate_core::IntegrationId;
use tollgate_core::health::{Cause, Finding, Pace, Source, overall};
use tollgate_core::role::Permission;
use tollgate_store::HealthRow;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::integrations::target;

use self::fold::{Report, Taken};
use self::probe::Heard;

pub use self::carrier::{Carrier, Carrying, NoAnswer};
pub use self::traffic::Sign;
pub use tollgate_store::Evidence;

/// Seconds for which the result of a probe is given again instead of probing anew.
const FRESH_SECONDS: i64 = 60;

/// How integrations are probed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probing {
    pub(crate) is_on: bool,
    pub(crate) pace: Pace,
    pub(crate) patience_seconds: u64,
    pub(crate) at_once_max: usize,
}

/// The health of an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntegrationHealth {
    /// Whose health it is.
    pub integration_id: IntegrationId,
    /// Where the integration is in its life.
    pub status: CusIntegrationStatus,
    /// The state.
    pub state: CusHealthState,
    /// Why it is not healthy.
    pub cause: Option<Cause>,
    /// The same in words, beginning with the cause's code.
    pub message: Option<String>,
    /// When something was last heard of it.
    pub checked_at: Option<Timestamp>,
    /// What that was.
    pub evidence: Option<Evidence>,
    /// Milliseconds that the last probe's answer took.
    pub latency_ms: Option<i64>,
    /// Failures in a row.
    pub consecutive_failures: i64,
    /// When it is to be probed next; none while nobody does so.
    pub next_probe_at: Option<Timestamp>,
}

/// The result of a probe that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestResult {
    /// The health now.
    pub health: IntegrationHealth,
    /// Whether it is that of an earlier probe: one a minute is enough.
    pub cached: bool,
}

/// Whether a probe is made although the last one was a moment ago.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// The result of the last minute will do.
    Cached,
    /// It must be probed now.
    Forced,
}

/// The health of a tenant's integrations together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthSummary {
    /// The worst that is known of those in service.
    pub overall: CusHealthState,
    /// In service, and never heard of.
    pub unknown: i64,
    /// In service and healthy.
    pub healthy: i64,
    /// In service and degraded.
    pub degraded: i64,
    /// Meant to be in service, and failing.
    pub failing: i64,
    /// Of the failing, those in status `error`.
    pub in_error: i64,
    /// Created or disabled, and so not counted above.
    pub not_in_service: i64,
}

impl App {
    /// What is known of an integration's health.
    pub async fn integration_health(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<IntegrationHealth, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        context.must_see(id)?;
        let store = self.store.tenant(context.tenant()?);
        let found = store.get_health(id).await;
        let (record, row) = found.map_err(|error| AppError::from(error).naming("integration"))?;
        Ok(self.shown_health(id, &record, &row))
    }

    /// The health of the tenant's integrations together.
    pub async fn health_summary(&self, context: &Context) -> Result<HealthSummary, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        let store = self.store.tenant(context.tenant()?);
        let counts = store.count_health(context.bound_to).await?;
        let mut summary = HealthSummary {
            overall: CusHealthState::Unknown,
            unknown: 0,
            healthy: 0,
            degraded: 0,
            failing: 0,
            in_error: 0,
            not_in_service: 0,
        };
        let mut states = Vec::new();
        for count in counts {
            let number = match (count.status, count.state) {
                (CusIntegrationStatus::Created | CusIntegrationStatus::Disabled, _) => {
                    summary.not_in_service =
                        summary.not_in_service.saturating_add(count.integrations);
                    continue;
                }
                (CusIntegrationStatus::Error, _) => {
                    summary.in_error = summary.in_error.saturating_add(count.integrations);
                    states.push(CusHealthState::Failing);
                    &mut summary.failing
                }
                (CusIntegrationStatus::Enabled, state) => {
                    states.push(state);
                    match state {
                        CusHealthState::Unknown => &mut summary.unknown,
                        CusHealthState::Healthy => &mut summary.healthy,
                        CusHealthState::Degraded => &mut summary.degraded,
                        CusHealthState::Failing => &mut summary.failing,
                    }
                }
            };
            *number = number.saturating_add(count.integrations);
        }
        summary.overall = overall(states);
        Ok(summary)
    }

    /// Asks an integration's provider now; within a minute of the last time only when forced.
    /// A good answer takes an integration out of `error`.
    pub async fn test_integration(
        &self,
        context: &Context,
        id: IntegrationId,
        freshness: Freshness,
    ) -> Result<TestResult, AppError> {
        context.must_be_allowed(Permission::ManageIntegrations)?;
        let store = self.store.tenant(context.tenant()?);
        let found = store.get_health(id).await;
        let (record, _) = found.map_err(|error| AppError::from(error).naming("integration"))?;
        let known = self.known_as(id, &record).await?;
        // Of two who ask at once, the second gets what the first found.
        let _turn = known.probing.lock().await;
        let (record, row) = store.get_health(id).await?;
        if freshness == Freshness::Cached && is_fresh(&row, self.now().wall) {
            return Ok(TestResult {
                health: self.shown_health(id, &record, &row),
                cached: true,
            });
        }
        let known = self.known_as(id, &record).await?;
        let snapshot = Arc::clone(&known.snapshot());
        let heard = self.probe(&snapshot).await;
        let report = Report {
            heard: &heard,
            source: Source::Asked,
            used: snapshot.record.updated_at,
            context: Some(context),
        };
        match self.take_in(&known, report).await? {
            Taken::Kept(kept) => Ok(TestResult {
                health: self.shown_health(id, &kept.0, &kept.1),
                cached: false,
            }),
            Taken::Outdated => Err(changed_meanwhile()),
        }
    }

    /// Takes an integration out of service because its provider refuses its credential, unless it
    /// was changed since `used`, the `updated_at` that the refused call went out with. Never
    /// fails: what cannot be written down is logged, and the next refused call tries again.
    pub async fn mark_credential_refused(&self, id: IntegrationId, used: Timestamp) {
        let Some(known) = self.directory().integration(id) else {
            return;
        };
        // Marked by another call already, or changed since the refused call left: perhaps mended.
        let is_as_used = {
            let record = &known.snapshot().record;
            record.is_usable() && record.updated_at == used
        };
        if !is_as_used {
            return;
        }
        let heard = Heard::of_traffic(Finding::Refused);
        let report = Report {
            heard: &heard,
            source: Source::Traffic,
            used,
            context: None,
        };
        if let Err(error) = self.take_in(&known, report).await {
            tracing::warn!(%error, integration = %id, "a refused credential cannot be noted");
        }
    }

    /// The integration of the directory, as it is in this record.
    pub(crate) async fn known_as(
        &self,
        id: IntegrationId,
        record: &CusIntegration,
    ) -> Result<Arc<crate::directory::Integration>, AppError> {
        let known = self.directory().integration(id);
        if let Some(known) = known
            && known.snapshot().record.updated_at == record.updated_at
        {
            return Ok(known);
        }
        self.refresh_integration(id).await?;
        let known = self.directory().integration(id);
        known.ok_or(AppError::NotFound("integration"))
    }

    fn shown_health(
        &self,
        integration_id: IntegrationId,
        record: &CusIntegration,
        row: &HealthRow,
    ) -> IntegrationHealth {
        let is_probed = matches!(
            record.status,
            CusIntegrationStatus::Enabled | CusIntegrationStatus::Error
        );
        IntegrationHealth {
            integration_id,
            status: record.status,
            state: record.health_state,
            cause: Cause::of(record),
            message: record.health_message.clone(),
            checked_at: record.health_checked_at,
            evidence: row.evidence,
            latency_ms: row.latency_ms,
            consecutive_failures: row.failures,
            next_probe_at: row
                .next_probe_at
                .filter(|_| is_probed && self.probing.is_on),
        }
    }
}

/// Whether the last probe was less than a minute ago. One in the future was noted by a clock that
/// has been set back since, and says nothing.
fn is_fresh(row: &HealthRow, now: Timestamp) -> bool {
    row.probed_at.is_some_and(|probed| {
        let age = now.duration_since(probed).as_secs();
        !now.duration_since(probed).is_negative() && age < FRESH_SECONDS
    })
}

fn changed_meanwhile() -> AppError {
    AppError::Conflict {
        code: "integration_changed",
        message: "it was changed while its provider was asked: repeat the request".to_owned(),
    }
}
