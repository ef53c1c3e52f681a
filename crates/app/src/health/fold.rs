//! What was heard becomes what is kept: the rules decide, and one transaction writes the state,
//! the status and the audit entry.

use cus_models::{CusIntegration, CusIntegrationStatus};
use jiff::{SignedDuration, Timestamp};
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::health::{Health, Source, jittered_micros};
use tollgate_store::{Evidence, HealthChange, HealthRow, StoreError};

use super::probe::Heard;
use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;
use crate::tenants::as_json;

/// How often it is tried again when somebody else wrote in between.
const ATTEMPTS: u32 = 4;

/// What was heard, where it comes from, and which revision of the integration it is about.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    pub(crate) heard: &'a Heard,
    pub(crate) source: Source,
    /// The `updated_at` of the integration that was asked.
    pub(crate) used: Timestamp,
    /// Who asked for the probe; none for the system itself.
    pub(crate) context: Option<&'a Context>,
}

/// What became of a report.
#[derive(Debug)]
pub(crate) enum Taken {
    /// It is kept.
    Kept(Box<(CusIntegration, HealthRow)>),
    /// The integration was changed since: the report is about one that is no more.
    Outdated,
}

impl App {
    /// Takes in what was heard; in force on this node when it returns.
    pub(crate) async fn take_in(
        &self,
        known: &Integration,
        report: Report<'_>,
    ) -> Result<Taken, AppError> {
        let store = self.store.tenant(&known.tenant_id);
        let mut attempt = 1;
        loop {
            let (record, row) = store.get_health(known.id).await?;
            if record.updated_at != report.used {
                return Ok(Taken::Outdated);
            }
            let change = self.folded(&record, &row, &report);
            let is_transition = change.audit.is_some();
            let mut kept = change.health.clone();
            match store.keep_health(change).await {
                Ok(record) => {
                    if is_transition {
                        self.refresh_integration(known.id).await?;
                    }
                    known.probe_at(kept.next_probe_at);
                    kept.revision = kept.revision.saturating_add(1);
                    return Ok(Taken::Kept(Box::new((record, kept))));
                }
                Err(StoreError::Conflict(_)) if attempt < ATTEMPTS => attempt += 1,
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The change that a report makes to an integration and its health.
    pub(crate) fn folded(
        &self,
        record: &CusIntegration,
        row: &HealthRow,
        report: &Report<'_>,
    ) -> HealthChange {
        let count = |number: i64| u32::try_from(number).unwrap_or(u32::MAX);
        let before = Health::of(record, count(row.failures), count(row.successes));
        let after = before.after(report.heard.finding, report.source);
        let now = self.now().wall;
        let (status, resume_status) = status_after(record.status, row.resume_status, &after);
        let message = match after.cause {
            None => None,
            // What was heard is about something else: the words of before still hold.
            Some(cause)
                if before.cause == Some(cause) && report.heard.finding.cause() != after.cause =>
            {
                record.health_message.clone()
            }
            Some(cause) => Some(report.heard.message(cause)),
        };
        let integration = CusIntegration {
            status,
            health_state: after.state,
            health_message: message,
            health_checked_at: Some(now),
            updated_at: now,
            ..record.clone()
        };
        let is_probe = report.source.is_probe();
        let health = HealthRow {
            failures: i64::from(after.failures),
            successes: i64::from(after.successes),
            evidence: Some(if is_probe {
                Evidence::Probe
            } else {
                Evidence::Traffic
            }),
            latency_ms: if is_probe {
                report.heard.latency_ms
            } else {
                row.latency_ms
            },
            probed_at: if is_probe { Some(now) } else { row.probed_at },
            next_probe_at: self.next_probe_at(record, &after, now),
            resume_status,
            revision: row.revision,
        };
        let is_transition = status != record.status || after.differs_from(&before);
        let audit = is_transition.then(|| transition(record, &integration, report, now));
        HealthChange {
            expected: record.updated_at,
            integration,
            health,
            credential: None,
            audit,
        }
    }

    fn next_probe_at(
        &self,
        record: &CusIntegration,
        health: &Health,
        now: Timestamp,
    ) -> Option<Timestamp> {
        let wait = self.probing.pace.wait_seconds(health);
        let micros = jittered_micros(wait, seed_of(&record.id, now));
        now.checked_add(SignedDuration::from_micros(micros)).ok()
    }
}

/// The status after a change of health, and the one that `error` is to end in.
fn status_after(
    status: CusIntegrationStatus,
    resume: Option<CusIntegrationStatus>,
    health: &Health,
) -> (CusIntegrationStatus, Option<CusIntegrationStatus>) {
    let error = CusIntegrationStatus::Error;
    match (status == error, health.is_refused()) {
        (false, true) => (error, Some(status)),
        (true, false) => (resume.unwrap_or(CusIntegrationStatus::Disabled), None),
        (true, true) | (false, false) => (status, resume),
    }
}

/// A number that differs between integrations, and from one probe to the next.
fn seed_of(id: &str, now: Timestamp) -> u64 {
    let micros = u64::from_ne_bytes(now.as_microsecond().to_ne_bytes());
    id.bytes().fold(micros, |seed, byte| {
        seed.rotate_left(5).wrapping_mul(31) ^ u64::from(byte)
    })
}

fn transition(
    before: &CusIntegration,
    after: &CusIntegration,
    report: &Report<'_>,
    at: Timestamp,
) -> AuditEntry {
    let error = CusIntegrationStatus::Error;
    let action = match (before.status == error, after.status == error) {
        (false, true) => "integration.error",
        (true, false) => "integration.recover",
        _ => "integration.health",
    };
    let target = super::target(before);
    let mut entry = match report.context {
        Some(context) => context.audit(action, target),
        None => AuditEntry {
            tenant: before.tenant_id.parse().ok(),
            actor: Actor::System,
            action,
            target,
            before: None,
            after: None,
            request_id: None,
            at,
        },
    };
    entry.before = Some(standing_of(before));
    entry.after = Some(standing_of(after));
    entry
}

/// What of an integration a transition is about, as JSON text.
fn standing_of(record: &CusIntegration) -> String {
    as_json(&serde_json::json!({
        "status": record.status.as_str(),
        "health_state": record.health_state.as_str(),
        "health_message": record.health_message,
    }))
}
