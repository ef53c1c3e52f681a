//! Tenants: created, changed and deleted by the operator. A deleted tenant keeps its id and its books.

use jiff::Timestamp;
use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::tenant::{Tenant, TenantErasure, TenantStatus};

use crate::OperatorStore;
use crate::changes::{self, ChangeKind};
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::page::{newest_first, page};
use crate::value::{Place, micros, storable};
use crate::{audit, credentials, integrations, keys, prices};

const SELECT: &str =
    "SELECT id, name, status, created_at, updated_at FROM tenants WHERE deleted_at IS NULL";

impl OperatorStore {
    /// Creates a tenant; a conflict if its id is or was in use.
    pub async fn create_tenant(
        &self,
        tenant: &Tenant,
        audit: AuditEntry,
    ) -> Result<Tenant, StoreError> {
        let tenant = tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                refuse_used_id(work, &tenant.id).await?;
                let insert = "INSERT INTO tenants (id, name, status, created_at, updated_at) \
                                  VALUES ($1, $2, $3, $4, $5)";
                let insert = sql(insert)
                    .bind(tenant.id.as_str())
                    .bind(storable(&tenant.name))
                    .bind(tenant.status.as_str())
                    .bind(micros(tenant.created_at))
                    .bind(micros(tenant.updated_at));
                let inserted = work.execute(insert).await;
                inserted.map_err(|error| error.named(Conflict::TenantExists))?;
                record(work, &tenant.id, &audit).await?;
                Ok(tenant)
            })
        })
        .await
    }

    /// Living tenants, newest first; only those of a status, if one is given.
    pub async fn list_tenants(
        &self,
        ask: PageAsk,
        status: Option<TenantStatus>,
    ) -> Result<Page<Tenant>, StoreError> {
        let mut statement = sql(SELECT);
        if let Some(status) = status {
            statement = statement.push(" AND status = ").value(status.as_str());
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

    /// A living tenant.
    pub async fn get_tenant(&self, id: &TenantId) -> Result<Tenant, StoreError> {
        self.load_tenant(id).await?.ok_or(StoreError::NotFound)
    }

    /// A tenant for the directory; none once it is deleted.
    pub async fn load_tenant(&self, id: &TenantId) -> Result<Option<Tenant>, StoreError> {
        let statement = one(id);
        let found: Option<Row> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        found.map(Row::read).transpose()
    }

    /// Gives a tenant the name and status of `tenant`, at the time of the audit entry.
    ///
    /// A conflict if its `updated_at` is not `expected`. That always moves on.
    pub async fn update_tenant(
        &self,
        tenant: &Tenant,
        expected: Timestamp,
        audit: AuditEntry,
    ) -> Result<Tenant, StoreError> {
        let tenant = tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let found: Option<Row> = work.fetch_optional(one(&tenant.id).locking()).await?;
                let found = found.ok_or(StoreError::NotFound)?.updated_at;
                if found != micros(expected) {
                    return Err(Conflict::TenantChanged.into());
                }
                let moved_on = micros(audit.at).max(found.saturating_add(1));
                let update = "UPDATE tenants SET name = $2, status = $3, updated_at = $4 \
                                  WHERE id = $1 AND deleted_at IS NULL";
                let update = sql(update)
                    .bind(tenant.id.as_str())
                    .bind(storable(&tenant.name))
                    .bind(tenant.status.as_str())
                    .bind(moved_on);
                work.execute(update).await?;
                record(work, &tenant.id, &audit).await?;
                let row: Row = work.fetch_one(one(&tenant.id)).await?;
                row.read()
            })
        })
        .await
    }

    /// Deletes a tenant: its keys are revoked, its integrations deleted, the sealed bytes of all its credentials erased,
    /// its ledger and audit trail kept. What went with it stands in the audit entry as what is after.
    pub async fn delete_tenant(
        &self,
        id: &TenantId,
        mut audit: AuditEntry,
    ) -> Result<TenantErasure, StoreError> {
        let id = id.clone();
        self.perform(Purpose::Erase, move |work| {
            Box::pin(async move {
                let update = "UPDATE tenants SET deleted_at = $2, updated_at = $2 \
                                  WHERE id = $1 AND deleted_at IS NULL";
                let update = sql(update).bind(id.as_str()).bind(micros(audit.at));
                if work.execute(update).await? == 0 {
                    return Err(StoreError::NotFound);
                }
                let erasure = TenantErasure {
                    keys_revoked: keys::revoke_all(work, &id, audit.at).await?,
                    integrations_deleted: integrations::delete_all(work, &id, audit.at).await?,
                    credentials_erased: credentials::erase_all(work, &id, audit.at).await?,
                };
                prices::remove_all(work, &id).await?;
                audit.after = serde_json::to_string(&erasure).ok();
                record(work, &id, &audit).await?;
                Ok(erasure)
            })
        })
        .await
    }
}

async fn record(work: &mut Work, id: &TenantId, audit: &AuditEntry) -> Result<(), StoreError> {
    audit::record(work, audit).await?;
    changes::record(work, ChangeKind::Tenant, id.as_str(), Some(id)).await
}

/// Refuses an id that a tenant has, or had: what the books and the audit trail say of it stays true.
async fn refuse_used_id(work: &mut Work, id: &TenantId) -> Result<(), StoreError> {
    let select = sql("SELECT deleted_at FROM tenants WHERE id = $1").bind(id.as_str());
    match work.fetch_optional::<(Option<i64>,)>(select).await? {
        None => Ok(()),
        Some((None,)) => Err(Conflict::TenantExists.into()),
        Some((Some(_),)) => Err(Conflict::TenantDeleted.into()),
    }
}

fn one(id: &TenantId) -> Statement {
    sql(SELECT).push(" AND id = ").value(id.as_str())
}

/// Refuses a tenant that is not there or was deleted.
pub(crate) async fn require(work: &mut Work, id: &TenantId) -> Result<(), StoreError> {
    let found: Option<Row> = work.fetch_optional(one(id)).await?;
    found.map(drop).ok_or(StoreError::NotFound)
}

/// Every living tenant.
pub(crate) async fn living(work: &mut Work) -> Result<Vec<Tenant>, StoreError> {
    let rows: Vec<Row> = work.fetch_all(sql(SELECT)).await?;
    rows.into_iter().map(Row::read).collect()
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    name: String,
    status: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn read(self) -> Result<Tenant, StoreError> {
        let place = Place {
            table: "tenants",
            row: &self.id,
        };
        Ok(Tenant {
            id: place.text("id", &self.id)?,
            status: place.known("status", TenantStatus::from_name(&self.status))?,
            created_at: place.time("created_at", self.created_at)?,
            updated_at: place.time("updated_at", self.updated_at)?,
            name: self.name,
        })
    }
}
