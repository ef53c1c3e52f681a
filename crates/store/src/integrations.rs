//! Integrations: a tenant's connections to providers, with what the directory needs of them.

mod row;

use cus_models::{CusIntegration, CusIntegrationStatus, CusProviderType};
use jiff::{SignedDuration, Timestamp};
use tollgate_core::audit::AuditEntry;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::{IntegrationId, TenantId};

use self::row::{Row, insert_values, update_values};
use crate::changes::{self, ChangeKind};
use crate::credentials::{self, CredentialRow, NewCredential};
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::page::{newest_first, page};
use crate::value::micros;
use crate::{OperatorStore, TenantStore, audit, health, tenants};

/// Which integrations of a list; nothing means all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct IntegrationFilter {
    /// Only those with this status.
    pub status: Option<CusIntegrationStatus>,
    /// Only those of this provider.
    pub provider_type: Option<CusProviderType>,
    /// Only this one.
    pub id: Option<IntegrationId>,
}

/// A change of an integration that was read before.
#[derive(Debug, Clone)]
pub struct IntegrationChange {
    /// The integration as it is to be.
    pub integration: CusIntegration,
    /// Its `updated_at` when it was read: if it has another now, nothing changes.
    pub expected: Timestamp,
    /// The credential that takes the place of the current one.
    pub credential: Option<NewCredential>,
}

impl TenantStore {
    /// Creates an integration of this tenant, with its first credential; not found if the tenant is not or was deleted.
    pub async fn create_integration(
        &self,
        integration: &CusIntegration,
        credential: Option<NewCredential>,
        audit: AuditEntry,
    ) -> Result<CusIntegration, StoreError> {
        let id = self.own(integration)?;
        let (tenant, integration) = (self.tenant.clone(), integration.clone());
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                tenants::require(work, &tenant).await?;
                free_name(work, &tenant, id, &integration.name).await?;
                let inserted = work.execute(insert_values(&integration)?).await;
                inserted.map_err(|error| error.named(Conflict::IntegrationExists))?;
                if let Some(credential) = &credential {
                    credentials::replace(work, &tenant, id, credential, audit.at).await?;
                }
                record(work, id, &tenant, &audit).await?;
                Ok(integration)
            })
        })
        .await
    }

    /// The tenant's living integrations, newest first.
    pub async fn list_integrations(
        &self,
        ask: PageAsk,
        filter: IntegrationFilter,
    ) -> Result<Page<CusIntegration>, StoreError> {
        let mut statement = living_of(&self.tenant);
        if let Some(status) = filter.status {
            statement = statement.push(" AND status = ").value(status.as_str());
        }
        if let Some(provider_type) = filter.provider_type {
            statement = statement
                .push(" AND provider_type = ")
                .value(provider_type.as_str());
        }
        if let Some(id) = filter.id {
            statement = statement.push(" AND id = ").value(id.to_string());
        }
        let statement = newest_first(statement, &ask, "id");
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let cursor = |row: &Row| Cursor {
            at_micros: row.created_at,
            id: row.id.clone(),
        };
        page(found, &ask, cursor, Row::read)
    }

    /// One of the tenant's living integrations.
    pub async fn get_integration(&self, id: IntegrationId) -> Result<CusIntegration, StoreError> {
        self.one(
            living_of(&self.tenant)
                .push(" AND id = ")
                .value(id.to_string()),
        )
        .await
    }

    /// The tenant's living integration of this name.
    pub async fn find_integration(&self, name: &str) -> Result<CusIntegration, StoreError> {
        self.one(living_of(&self.tenant).push(" AND name = ").value(name))
            .await
    }

    /// Changes a living integration, and its credential where one is given; its health stays what it is.
    ///
    /// A conflict if it was changed since it was read. Its `updated_at` always moves on; what is kept is returned.
    pub async fn update_integration(
        &self,
        change: IntegrationChange,
        audit: AuditEntry,
    ) -> Result<CusIntegration, StoreError> {
        let id = self.own(&change.integration)?;
        let tenant = self.tenant.clone();
        let purpose = match change.credential {
            Some(_) => Purpose::Erase,
            None => Purpose::Change,
        };
        self.perform(purpose, move |work| {
            Box::pin(async move {
                let changed = update(work, &tenant, id, change, audit.at).await?;
                record(work, id, &tenant, &audit).await?;
                Ok(changed)
            })
        })
        .await
    }

    /// Deletes an integration at the time of the audit entry: it refuses everything, and keeps its ledger.
    ///
    /// A conflict if its `updated_at` is not `expected`, where that is given.
    pub async fn delete_integration(
        &self,
        id: IntegrationId,
        expected: Option<Timestamp>,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Erase, move |work| {
            Box::pin(async move {
                if let Some(expected) = expected {
                    unchanged(work, &tenant, id, expected).await?;
                }
                let update = "UPDATE cus_integrations SET deleted_at = $3, updated_at = $3 \
                                  WHERE tenant_id = $1 AND id = $2 AND deleted_at IS NULL";
                let update = sql(update)
                    .bind(tenant.as_str())
                    .bind(id.to_string())
                    .bind(micros(audit.at));
                if work.execute(update).await? == 0 {
                    return Err(StoreError::NotFound);
                }
                credentials::retire(work, id, audit.at).await?;
                record(work, id, &tenant, &audit).await
            })
        })
        .await
    }

    async fn one(&self, statement: Statement) -> Result<CusIntegration, StoreError> {
        let found: Option<Row> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        found.ok_or(StoreError::NotFound)?.read()
    }

    /// The id of an integration that is this tenant's.
    pub(crate) fn own(&self, integration: &CusIntegration) -> Result<IntegrationId, StoreError> {
        if integration.tenant_id != self.tenant.as_str() {
            return Err(StoreError::InvalidRow {
                reason: "the integration belongs to another tenant",
            });
        }
        let invalid = StoreError::InvalidRow {
            reason: "the integration's id is not a UUID",
        };
        integration.id.parse().or(Err(invalid))
    }
}

impl OperatorStore {
    /// An integration of anybody for the directory, with its current credential; none once it is deleted.
    pub async fn load_integration(
        &self,
        id: IntegrationId,
    ) -> Result<Option<(CusIntegration, Option<CredentialRow>)>, StoreError> {
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let one = sql(row::SELECT_LIVING)
                    .push(" AND id = ")
                    .value(id.to_string());
                let Some(found) = work.fetch_optional::<Row>(one).await? else {
                    return Ok(None);
                };
                let current = sql(credentials::SELECT_CURRENT)
                    .push(" AND integration_id = ")
                    .value(id.to_string());
                let credential: Option<credentials::Row> = work.fetch_optional(current).await?;
                let credential = credential.map(credentials::Row::read).transpose()?;
                Ok(Some((found.read()?, credential)))
            })
        })
        .await
    }
}

/// Refuses an integration that the tenant has not or has deleted.
pub(crate) async fn require(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
) -> Result<(), StoreError> {
    let one = living_of(tenant).push(" AND id = ").value(id.to_string());
    let found: Option<Row> = work.fetch_optional(one).await?;
    found.map(drop).ok_or(StoreError::NotFound)
}

/// Every living integration with its current credential.
pub(crate) async fn living(
    work: &mut Work,
) -> Result<Vec<(CusIntegration, Option<CredentialRow>)>, StoreError> {
    let current: Vec<credentials::Row> = work.fetch_all(sql(credentials::SELECT_CURRENT)).await?;
    let mut current = current
        .into_iter()
        .map(|row| {
            row.read()
                .map(|credential| (credential.integration_id.to_string(), credential))
        })
        .collect::<Result<std::collections::HashMap<_, _>, _>>()?;
    let rows: Vec<Row> = work.fetch_all(sql(row::SELECT_LIVING)).await?;
    rows.into_iter()
        .map(|row| {
            let credential = current.remove(&row.id);
            Ok((row.read()?, credential))
        })
        .collect()
}

/// Deletes every integration of a tenant; how many lived.
pub(crate) async fn delete_all(
    work: &mut Work,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let delete = "UPDATE cus_integrations SET deleted_at = $2, updated_at = $2 \
                  WHERE tenant_id = $1 AND deleted_at IS NULL";
    work.execute(sql(delete).bind(tenant.as_str()).bind(micros(at)))
        .await
}

async fn update(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
    change: IntegrationChange,
    at: Timestamp,
) -> Result<CusIntegration, StoreError> {
    let found = unchanged(work, tenant, id, change.expected).await?;
    let is_taken_up = change.credential.is_some() || found.status != change.integration.status;
    // Whoever read it earlier does not know what was heard of it since.
    let mut integration = CusIntegration {
        health_state: found.health_state,
        health_checked_at: found.health_checked_at,
        health_message: found.health_message,
        ..change.integration
    };
    free_name(work, tenant, id, &integration.name).await?;
    let moved_on = change
        .expected
        .saturating_add(SignedDuration::from_micros(1));
    let moved_on = moved_on.or(Err(StoreError::InvalidRow {
        reason: "a time is out of range",
    }))?;
    integration.updated_at = integration.updated_at.max(moved_on);
    let updated = work.execute(update_values(&integration)?).await;
    updated.map_err(|error| error.named(Conflict::IntegrationNameTaken))?;
    if let Some(credential) = &change.credential {
        credentials::replace(work, tenant, id, credential, at).await?;
    }
    if is_taken_up {
        health::probe_at_once(work, tenant, id).await?;
    }
    Ok(integration)
}

/// Locks an integration, and refuses one that was changed since it was read.
async fn unchanged(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
    expected: Timestamp,
) -> Result<CusIntegration, StoreError> {
    let found = lock(work, tenant, id).await?;
    if found.updated_at == expected {
        Ok(found)
    } else {
        Err(Conflict::IntegrationChanged.into())
    }
}

/// The tenant's living integration of this id, read within a transaction.
pub(crate) async fn find(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
) -> Result<CusIntegration, StoreError> {
    let one = living_of(tenant).push(" AND id = ").value(id.to_string());
    let found: Option<Row> = work.fetch_optional(one).await?;
    found.ok_or(StoreError::NotFound)?.read()
}

/// The same, locked until the transaction ends.
pub(crate) async fn lock(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
) -> Result<CusIntegration, StoreError> {
    let one = living_of(tenant)
        .push(" AND id = ")
        .value(id.to_string())
        .locking();
    let found: Option<Row> = work.fetch_optional(one).await?;
    found.ok_or(StoreError::NotFound)?.read()
}

/// Writes an integration over the one that is kept.
pub(crate) fn write(integration: &CusIntegration) -> Result<Statement, StoreError> {
    update_values(integration)
}

/// Has every node read the integration anew.
pub(crate) async fn announce(
    work: &mut Work,
    id: IntegrationId,
    tenant: &TenantId,
) -> Result<(), StoreError> {
    changes::record(work, ChangeKind::Integration, &id.to_string(), Some(tenant)).await
}

/// Refuses a name that another living integration has.
async fn free_name(
    work: &mut Work,
    tenant: &TenantId,
    id: IntegrationId,
    name: &str,
) -> Result<(), StoreError> {
    let other = living_of(tenant)
        .push(" AND name = ")
        .value(name)
        .push(" AND id <> ")
        .value(id.to_string());
    match work.fetch_optional::<Row>(other).await? {
        Some(_) => Err(Conflict::IntegrationNameTaken.into()),
        None => Ok(()),
    }
}

async fn record(
    work: &mut Work,
    id: IntegrationId,
    tenant: &TenantId,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    audit::record(work, audit).await?;
    announce(work, id, tenant).await
}

fn living_of(tenant: &TenantId) -> Statement {
    sql(row::SELECT_LIVING)
        .push(" AND tenant_id = ")
        .value(tenant.as_str())
}
