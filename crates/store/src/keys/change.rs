//! What becomes of a key: made, put in the place of another, ended.

use jiff::Timestamp;
use tollgate_core::access::{AccessKey, KeyDigest, KeyStatus};
use tollgate_core::audit::AuditEntry;
use tollgate_core::{KeyId, TenantId};

use super::row::Row;
use super::{KeyRotation, of_owner};
use crate::changes::{self, ChangeKind};
use crate::engine::{Work, sql};
use crate::error::{Conflict, StoreError};
use crate::value::{micros, storable};
use crate::{audit, integrations, tenants};

pub(super) async fn create(
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
    insert(work, key, digest).await?;
    record(work, key.id, key.tenant_id.as_ref(), audit).await
}

async fn insert(work: &mut Work, key: &AccessKey, digest: KeyDigest) -> Result<(), StoreError> {
    let insert = "INSERT INTO access_keys (id, tenant_id, name, role, integration_id, prefix, digest, \
                  created_at, expires_at, revoked_at, last_used_at, rotated_from, replaced_by) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";
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
        .bind(key.last_used_at.map(micros))
        .bind(key.rotated_from.map(|id| id.to_string()))
        .bind(key.replaced_by.map(|id| id.to_string()));
    let inserted = work.execute(insert).await.map(drop);
    inserted.map_err(|error| error.named(Conflict::KeyExists))
}

pub(super) async fn revoke(
    work: &mut Work,
    owner: Option<&TenantId>,
    id: KeyId,
    audit: &AuditEntry,
) -> Result<AccessKey, StoreError> {
    let mut key = locked(work, owner, id).await?;
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

pub(super) async fn rotate(
    work: &mut Work,
    owner: Option<&TenantId>,
    rotation: KeyRotation,
    audit: &AuditEntry,
) -> Result<AccessKey, StoreError> {
    let KeyRotation {
        old,
        until,
        new,
        digest,
    } = rotation;
    if new.tenant_id.as_ref() != owner {
        return Err(StoreError::InvalidRow {
            reason: "the key belongs to another tenant",
        });
    }
    let mut key = locked(work, owner, old).await?;
    match key.status(audit.at) {
        KeyStatus::Active => {}
        KeyStatus::Rotating => return Err(Conflict::KeyReplaced.into()),
        KeyStatus::Expired | KeyStatus::Revoked => return Err(Conflict::KeyEnded.into()),
    }
    insert(work, &new, digest).await?;
    key.replaced_by = Some(new.id);
    if until > audit.at {
        key.expires_at = Some(key.expires_at.map_or(until, |earlier| earlier.min(until)));
    } else {
        key.revoked_at = Some(audit.at);
    }
    let update =
        "UPDATE access_keys SET replaced_by = $2, expires_at = $3, revoked_at = $4 WHERE id = $1";
    let update = sql(update)
        .bind(old.to_string())
        .bind(new.id.to_string())
        .bind(key.expires_at.map(micros))
        .bind(key.revoked_at.map(micros));
    work.execute(update).await?;
    changes::record(work, ChangeKind::Key, &old.to_string(), owner).await?;
    record(work, new.id, owner, audit).await?;
    Ok(key)
}

/// Refuses to end the last operator key that works: nobody could make another one then.
pub(super) async fn keep_an_operator(
    work: &mut Work,
    id: KeyId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let count = "SELECT CAST(COUNT(*) AS BIGINT), CAST(COALESCE(SUM(CASE WHEN id = $1 THEN 1 ELSE 0 END), 0) AS BIGINT) \
                 FROM access_keys WHERE tenant_id IS NULL AND revoked_at IS NULL \
                 AND (expires_at IS NULL OR expires_at > $2)";
    let count = sql(count).bind(id.to_string()).bind(micros(at));
    let (living, is_living): (i64, i64) = work.fetch_one(count).await?;
    if living == 1 && is_living == 1 {
        return Err(Conflict::LastOperatorKey.into());
    }
    Ok(())
}

async fn locked(
    work: &mut Work,
    owner: Option<&TenantId>,
    id: KeyId,
) -> Result<AccessKey, StoreError> {
    let found: Option<Row> = work.fetch_optional(of_owner(owner, id).locking()).await?;
    let (_, key) = found.ok_or(StoreError::NotFound)?.read()?;
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
