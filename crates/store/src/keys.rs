//! Access keys: kept without the key itself, found by its digest, revoked and never deleted.

use jiff::Timestamp;
use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::audit::AuditEntry;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::{KeyId, TenantId};

use crate::changes::{self, ChangeKind};
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::page::{newest_first, page};
use crate::value::{Place, micros, storable};
use crate::{OperatorStore, TenantStore, audit, integrations, tenants};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, name, role, integration_id, prefix, digest, created_at, expires_at, ",
            "revoked_at, last_used_at FROM access_keys ",
            $rest
        )
    };
}

impl TenantStore {
    /// Keeps a new key of this tenant; not found if the tenant, or the integration it is bound to, is not or was deleted.
    pub async fn create_key(
        &self,
        key: &AccessKey,
        digest: KeyDigest,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        if key.tenant_id.as_ref() != Some(&self.tenant) {
            return Err(StoreError::InvalidRow {
                reason: "the key belongs to another tenant",
            });
        }
        let key = key.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { insert(work, &key, digest, &audit).await })
        })
        .await
    }

    /// The tenant's keys, newest first, also those that were revoked.
    pub async fn list_keys(&self, ask: PageAsk) -> Result<Page<AccessKey>, StoreError> {
        let own = sql(select!("WHERE tenant_id = $1")).bind(self.tenant.as_str());
        let statement = newest_first(own, &ask, "id");
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        let cursor = |row: &Row| Cursor {
            at_micros: row.created_at,
            id: row.id.clone(),
        };
        page(found, &ask, cursor, |row| row.read().map(|(_, key)| key))
    }

    /// One of the tenant's keys.
    pub async fn get_key(&self, id: KeyId) -> Result<AccessKey, StoreError> {
        let statement = of_owner(Some(&self.tenant), id);
        let found: Option<Row> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        found
            .ok_or(StoreError::NotFound)?
            .read()
            .map(|(_, key)| key)
    }

    /// Revokes a key at the time of the audit entry; one that was revoked keeps its first time.
    pub async fn revoke_key(&self, id: KeyId, audit: AuditEntry) -> Result<AccessKey, StoreError> {
        let owner = Some(self.tenant.clone());
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { revoke(work, owner.as_ref(), id, &audit).await })
        })
        .await
    }
}

impl OperatorStore {
    /// Keeps a new operator key.
    pub async fn insert_operator_key(
        &self,
        key: &AccessKey,
        digest: KeyDigest,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        if key.tenant_id.is_some() {
            return Err(StoreError::InvalidRow {
                reason: "an operator key has no tenant",
            });
        }
        let key = key.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { insert(work, &key, digest, &audit).await })
        })
        .await
    }

    /// Every operator key, newest first, also those that were revoked.
    pub async fn list_operator_keys(&self) -> Result<Vec<AccessKey>, StoreError> {
        let statement = sql(select!(
            "WHERE tenant_id IS NULL ORDER BY created_at DESC, id DESC"
        ));
        let rows: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        rows.into_iter()
            .map(|row| row.read().map(|(_, key)| key))
            .collect()
    }

    /// Revokes an operator key at the time of the audit entry.
    pub async fn revoke_operator_key(
        &self,
        id: KeyId,
        audit: AuditEntry,
    ) -> Result<AccessKey, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { revoke(work, None, id, &audit).await })
        })
        .await
    }

    /// A key of anybody for the directory, also one that was revoked.
    pub async fn load_key(&self, id: KeyId) -> Result<Option<(KeyDigest, AccessKey)>, StoreError> {
        let statement = sql(select!("WHERE id = $1")).bind(id.to_string());
        let found: Option<Row> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        found.map(Row::read).transpose()
    }

    /// Notes when keys were last used; an earlier time than the one that is known changes nothing.
    pub async fn touch_keys(&self, used: &[(KeyId, Timestamp)]) -> Result<(), StoreError> {
        let mut used = used.to_vec();
        used.sort_unstable();
        self.perform(Purpose::Change, move |work| {
                Box::pin(async move {
                    for (id, at) in used {
                        let update = "UPDATE access_keys SET last_used_at = $2 \
                                      WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";
                        work.execute(sql(update).bind(id.to_string()).bind(micros(at))).await?;
                    }
                    Ok(())
                })
            })
            .await
    }
}

/// Keys that were not revoked, of every living tenant and of the operator.
pub(crate) async fn live(work: &mut Work) -> Result<Vec<(KeyDigest, AccessKey)>, StoreError> {
    let rows: Vec<Row> = work
        .fetch_all(sql(select!("WHERE revoked_at IS NULL")))
        .await?;
    rows.into_iter().map(Row::read).collect()
}

/// Revokes every key of a tenant.
pub(crate) async fn revoke_all(
    work: &mut Work,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let update =
        "UPDATE access_keys SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL";
    work.execute(sql(update).bind(tenant.as_str()).bind(micros(at)))
        .await
        .map(drop)
}

async fn insert(
    work: &mut Work,
    key: &AccessKey,
    digest: KeyDigest,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    if let Some(tenant) = &key.tenant_id {
        tenants::require(work, tenant).await?;
        if let Some(bound) = key.integration_id {
            integrations::require(work, tenant, bound).await?;
        }
    }
    let insert = "INSERT INTO access_keys (id, tenant_id, name, role, integration_id, prefix, digest, \
                  created_at, expires_at, revoked_at, last_used_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";
    let insert = sql(insert)
        .bind(key.id.to_string())
        .bind(key.tenant_id.as_ref().map(ToString::to_string))
        .bind(storable(&key.name))
        .bind(key.role.as_str())
        .bind(key.integration_id.map(|id| id.to_string()))
        .bind(key.prefix.as_str())
        .bind(digest.0.to_vec())
        .bind(micros(key.created_at))
        .bind(key.expires_at.map(micros))
        .bind(key.revoked_at.map(micros))
        .bind(key.last_used_at.map(micros));
    let inserted = work.execute(insert).await;
    inserted.map_err(|error| error.named(Conflict::KeyExists))?;
    record(work, key.id, key.tenant_id.as_ref(), audit).await
}

async fn revoke(
    work: &mut Work,
    owner: Option<&TenantId>,
    id: KeyId,
    audit: &AuditEntry,
) -> Result<AccessKey, StoreError> {
    let found: Option<Row> = work.fetch_optional(of_owner(owner, id).locking()).await?;
    let (_, mut key) = found.ok_or(StoreError::NotFound)?.read()?;
    if key.revoked_at.is_some() {
        return Ok(key);
    }
    let update = "UPDATE access_keys SET revoked_at = $2 WHERE id = $1";
    work.execute(sql(update).bind(id.to_string()).bind(micros(audit.at)))
        .await?;
    record(work, id, owner, audit).await?;
    key.revoked_at = Some(audit.at);
    Ok(key)
}

async fn record(
    work: &mut Work,
    id: KeyId,
    tenant: Option<&TenantId>,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    audit::record(work, audit).await?;
    changes::record(work, ChangeKind::Key, &id.to_string(), tenant).await
}

fn of_owner(owner: Option<&TenantId>, id: KeyId) -> Statement {
    let one = sql(select!("WHERE id = $1 AND tenant_id ")).bind(id.to_string());
    match owner {
        Some(tenant) => one.push("= ").value(tenant.as_str()),
        None => one.push("IS NULL"),
    }
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: Option<String>,
    name: String,
    role: String,
    integration_id: Option<String>,
    prefix: String,
    digest: Vec<u8>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
}

impl Row {
    fn read(self) -> Result<(KeyDigest, AccessKey), StoreError> {
        let place = Place {
            table: "access_keys",
            row: &self.id,
        };
        let digest = place.known("digest", self.digest.as_slice().try_into().ok())?;
        let key = AccessKey {
            id: place.text("id", &self.id)?,
            tenant_id: place.maybe_text("tenant_id", self.tenant_id.as_deref())?,
            role: place.text("role", &self.role)?,
            integration_id: place.maybe_text("integration_id", self.integration_id.as_deref())?,
            created_at: place.time("created_at", self.created_at)?,
            expires_at: place.maybe_time("expires_at", self.expires_at)?,
            revoked_at: place.maybe_time("revoked_at", self.revoked_at)?,
            last_used_at: place.maybe_time("last_used_at", self.last_used_at)?,
            name: self.name,
            prefix: self.prefix,
        };
        Ok((KeyDigest(digest), key))
    }
}
