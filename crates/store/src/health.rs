//! Health of integrations: the state in the record, the counters beside it, and whose turn it is to probe.

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};
use jiff::{SignedDuration, Timestamp};
use tollgate_core::audit::AuditEntry;
use tollgate_core::{IntegrationId, TenantId};

use crate::credentials::{self, NewCredential};
use crate::engine::{Purpose, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::integrations::{announce, lock, write};
use crate::value::{Place, micros};
use crate::{TenantStore, audit};

/// What is kept of an integration's health beside its record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HealthRow {
    /// Failures in a row.
    pub failures: i64,
    /// Good answers in a row that have not made it healthy yet.
    pub successes: i64,
    /// What was last heard of it.
    pub evidence: Option<Evidence>,
    /// Milliseconds that the last probe's answer took; none when there was no answer.
    pub latency_ms: Option<i64>,
    /// When it was last probed.
    pub probed_at: Option<Timestamp>,
    /// When it is to be probed next.
    pub next_probe_at: Option<Timestamp>,
    /// The status that it returns to from `error`.
    pub resume_status: Option<CusIntegrationStatus>,
    /// How often this row was written; 0 before the first time.
    pub revision: i64,
}

/// What a state of health rests on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Evidence {
    /// A request of our own.
    Probe,
    /// Calls of its callers.
    Traffic,
}

/// What was heard of an integration, to be kept.
#[derive(Debug, Clone)]
pub struct HealthChange {
    /// The integration with its status, health and reference as they are to be; nothing else of it is written.
    pub integration: CusIntegration,
    /// Its `updated_at` when it was read: if it has another now, nothing changes.
    pub expected: Timestamp,
    /// The row as it is to be, with the revision that was read: if it has another now, nothing changes.
    pub health: HealthRow,
    /// The credential that takes the place of the current one.
    pub credential: Option<NewCredential>,
    /// The entry of a transition, which every node is to hear of; none where nothing but figures changed.
    pub audit: Option<AuditEntry>,
}

/// Whose turn it is to probe an integration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ProbeTurn {
    /// The asker's.
    Mine,
    /// Nobody's before this time.
    Later(Timestamp),
}

/// How many living integrations there are of one status and state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HealthCount {
    /// The status.
    pub status: CusIntegrationStatus,
    /// The state.
    pub state: CusHealthState,
    /// How many.
    pub integrations: i64,
}

const SELECT: &str = "SELECT integration_id, failures, successes, evidence, latency_ms, probed_at, next_probe_at, \
     resume_status, revision FROM integration_health WHERE tenant_id = $1 AND integration_id = $2";

impl TenantStore {
    /// One of the tenant's living integrations with its health, of one moment.
    pub async fn get_health(
        &self,
        id: IntegrationId,
    ) -> Result<(CusIntegration, HealthRow), StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let integration = crate::integrations::find(work, &tenant, id).await?;
                Ok((integration, read(work, &tenant, id).await?))
            })
        })
        .await
    }

    /// Keeps what was heard of an integration; its `updated_at` moves on only with its status or credential.
    ///
    /// A conflict if it, or its health, was changed since it was read. What is kept is returned.
    pub async fn keep_health(&self, change: HealthChange) -> Result<CusIntegration, StoreError> {
        let id = self.own(&change.integration)?;
        let tenant = self.tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let found = lock(work, &tenant, id).await?;
                let kept = read(work, &tenant, id).await?;
                if found.updated_at != change.expected || kept.revision != change.health.revision {
                    return Err(Conflict::IntegrationChanged.into());
                }
                let integration = merged(&found, &change)?;
                work.execute(write(&integration)?).await?;
                if let (Some(credential), Some(entry)) = (&change.credential, &change.audit) {
                    credentials::replace(work, &tenant, id, credential, entry.at).await?;
                }
                upsert(work, &tenant, id, &change.health).await?;
                if let Some(entry) = &change.audit {
                    audit::record(work, entry).await?;
                    announce(work, id, &tenant).await?;
                }
                Ok(integration)
            })
        })
        .await
    }

    /// Whether it is this asker's turn to probe the integration; then nobody else's before `until`.
    pub async fn claim_probe(
        &self,
        id: IntegrationId,
        now: Timestamp,
        until: Timestamp,
    ) -> Result<ProbeTurn, StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                lock(work, &tenant, id).await?;
                let mut health = read(work, &tenant, id).await?;
                match health.next_probe_at {
                    Some(next) if next > now => Ok(ProbeTurn::Later(next)),
                    _ => {
                        health.next_probe_at = Some(until);
                        upsert(work, &tenant, id, &health).await?;
                        Ok(ProbeTurn::Mine)
                    }
                }
            })
        })
        .await
    }

    /// The tenant's living integrations, counted by status and state.
    pub async fn count_health(
        &self,
        only: Option<IntegrationId>,
    ) -> Result<Vec<HealthCount>, StoreError> {
        let select = "SELECT status, health_state, CAST(COUNT(*) AS BIGINT) FROM cus_integrations \
                      WHERE tenant_id = $1 AND deleted_at IS NULL";
        let mut statement = sql(select).bind(self.tenant.as_str());
        if let Some(id) = only {
            statement = statement.push(" AND id = ").value(id.to_string());
        }
        let statement =
            statement.push(" GROUP BY status, health_state ORDER BY status, health_state");
        let rows: Vec<(String, String, i64)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let place = Place {
            table: "cus_integrations",
            row: self.tenant.as_str(),
        };
        rows.into_iter()
            .map(|(status, state, integrations)| {
                Ok(HealthCount {
                    status: place.text("status", &status)?,
                    state: place.text("health_state", &state)?,
                    integrations,
                })
            })
            .collect()
    }
}

impl Evidence {
    /// The name in the store and the API.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Probe => "probe",
            Self::Traffic => "traffic",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        let known = [Self::Probe, Self::Traffic];
        known.into_iter().find(|one| one.as_str() == name)
    }
}

/// Has the integration probed at once: it is to be used, or has another credential.
pub(crate) async fn probe_at_once(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
) -> Result<(), StoreError> {
    let update = "UPDATE integration_health SET next_probe_at = NULL, revision = revision + 1 \
                  WHERE tenant_id = $1 AND integration_id = $2";
    let update = sql(update).bind(tenant.as_str()).bind(id.to_string());
    work.execute(update).await.map(drop)
}

/// The integration as found, with what the change says of it.
fn merged(found: &CusIntegration, change: &HealthChange) -> Result<CusIntegration, StoreError> {
    let new = &change.integration;
    let mut integration = CusIntegration {
        status: new.status,
        health_state: new.health_state,
        health_checked_at: new.health_checked_at,
        health_message: new.health_message.clone(),
        credential_ref: new.credential_ref.clone(),
        ..found.clone()
    };
    let is_other = integration.status != found.status
        || integration.credential_ref != found.credential_ref
        || change.credential.is_some();
    if is_other {
        let moved_on = found
            .updated_at
            .saturating_add(SignedDuration::from_micros(1));
        let moved_on = moved_on.or(Err(StoreError::InvalidRow {
            reason: "a time is out of range",
        }))?;
        integration.updated_at = new.updated_at.max(moved_on);
    }
    Ok(integration)
}

async fn read(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
) -> Result<HealthRow, StoreError> {
    let one = sql(SELECT).bind(tenant.as_str()).bind(id.to_string());
    match work.fetch_optional::<Row>(one).await? {
        Some(row) => row.read(),
        None => Ok(HealthRow::default()),
    }
}

async fn upsert(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
    health: &HealthRow,
) -> Result<(), StoreError> {
    let upsert = "INSERT INTO integration_health (integration_id, tenant_id, failures, successes, evidence, latency_ms, \
         probed_at, next_probe_at, resume_status, revision) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) \
         ON CONFLICT (integration_id) DO UPDATE SET failures = $3, successes = $4, evidence = $5, latency_ms = $6, \
         probed_at = $7, next_probe_at = $8, resume_status = $9, revision = $10";
    let text = |text: Option<&'static str>| text.map(ToOwned::to_owned);
    let statement = sql(upsert)
        .bind(id.to_string())
        .bind(tenant.as_str())
        .bind(health.failures)
        .bind(health.successes)
        .bind(text(health.evidence.map(Evidence::as_str)))
        .bind(health.latency_ms)
        .bind(health.probed_at.map(micros))
        .bind(health.next_probe_at.map(micros))
        .bind(text(health.resume_status.map(CusIntegrationStatus::as_str)))
        .bind(health.revision.saturating_add(1));
    work.execute(statement).await.map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    integration_id: String,
    failures: i64,
    successes: i64,
    evidence: Option<String>,
    latency_ms: Option<i64>,
    probed_at: Option<i64>,
    next_probe_at: Option<i64>,
    resume_status: Option<String>,
    revision: i64,
}

impl Row {
    fn read(self) -> Result<HealthRow, StoreError> {
        let place = Place {
            table: "integration_health",
            row: &self.integration_id,
        };
        let evidence = self
            .evidence
            .map(|name| place.known("evidence", Evidence::from_name(&name)))
            .transpose()?;
        Ok(HealthRow {
            failures: self.failures,
            successes: self.successes,
            evidence,
            latency_ms: self.latency_ms,
            probed_at: place.maybe_time("probed_at", self.probed_at)?,
            next_probe_at: place.maybe_time("next_probe_at", self.next_probe_at)?,
            resume_status: place.maybe_text("resume_status", self.resume_status.as_deref())?,
            revision: self.revision,
        })
    }
}
