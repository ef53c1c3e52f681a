//! Access keys: kept without the key itself, found by its digest, revoked and never deleted.

mod change;
mod row;

use jiff::Timestamp;
use tollgate_core::access::{AccessKey, KeyDigest, KeyStatus};
use tollgate_core::audit::AuditEntry;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::Role;
use tollgate_core::{KeyId, TenantId};

use self::change::{create, keep_an_operator, revoke, rotate};
use self::row::Row;
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::StoreError;
use crate::page::{newest_first, page};
use crate::value::micros;
use crate::{OperatorStore, TenantStore};

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, tenant_id, name, role, integration_id, prefix, digest, created_at, expires_at, ",
            "revoked_at, last_used_at, rotated_from, replaced_by FROM access_keys ",
            $rest
        )
    };
}

/// Which keys of a list; nothing means all.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct KeyFilter {
    /// Only those of this role.
    pub role: Option<Role>,
    /// Only those that have this status at a time.
    pub status: Option<(KeyStatus, Timestamp)>,
}

/// A key that takes the place of another.
#[derive(Debug, Clone)]
pub struct KeyRotation {
    /// The key that is replaced.
    pub old: KeyId,
    /// When it stops working, unless it does before; at once if that is not after the audit entry's time.
    pub until: Timestamp,
    /// What takes its place: with its name, its role and its binding.
    pub new: AccessKey,
    /// By which the new key is found.
    pub digest: KeyDigest,
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
            Box::pin(async move { create(work, &key, digest, &audit).await })
        })
        .await
    }

    /// The tenant's keys, newest first, also those that were revoked.
    pub async fn list_keys(
        &self,
        ask: PageAsk,
        filter: KeyFilter,
    ) -> Result<Page<AccessKey>, StoreError> {
        let own = sql(select!("WHERE tenant_id = $1")).bind(self.tenant.as_str());
        let statement = newest_first(filter.of(own), &ask, "id");
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        page(found, &ask, Row::cursor, |row| {
            row.read().map(|(_, key)| key)
        })
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
        let tenant = self.tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { revoke(work, Some(&tenant), id, &audit).await })
        })
        .await
    }

    /// Puts a new key in the place of one that works. Gives the key that is replaced, as it is then.
    pub async fn rotate_key(
        &self,
        rotation: KeyRotation,
        audit: AuditEntry,
    ) -> Result<AccessKey, StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { rotate(work, Some(&tenant), rotation, &audit).await })
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
            Box::pin(async move { create(work, &key, digest, &audit).await })
        })
        .await
    }

    /// The operator keys, newest first, also those that were revoked.
    pub async fn list_operator_keys(
        &self,
        ask: PageAsk,
        filter: KeyFilter,
    ) -> Result<Page<AccessKey>, StoreError> {
        let own = sql(select!("WHERE tenant_id IS NULL"));
        let statement = newest_first(filter.of(own), &ask, "id");
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        page(found, &ask, Row::cursor, |row| {
            row.read().map(|(_, key)| key)
        })
    }

    /// One of the operator keys.
    pub async fn get_operator_key(&self, id: KeyId) -> Result<AccessKey, StoreError> {
        let statement = of_owner(None, id);
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

    /// Revokes an operator key at the time of the audit entry; a conflict if none would work then.
    pub async fn revoke_operator_key(
        &self,
        id: KeyId,
        audit: AuditEntry,
    ) -> Result<AccessKey, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                keep_an_operator(work, id, audit.at).await?;
                revoke(work, None, id, &audit).await
            })
        })
        .await
    }

    /// Puts a new operator key in the place of one that works.
    pub async fn rotate_operator_key(
        &self,
        rotation: KeyRotation,
        audit: AuditEntry,
    ) -> Result<AccessKey, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { rotate(work, None, rotation, &audit).await })
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

/// Revokes every key of a tenant; how many were not.
pub(crate) async fn revoke_all(
    work: &mut Work,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let update =
        "UPDATE access_keys SET revoked_at = $2 WHERE tenant_id = $1 AND revoked_at IS NULL";
    work.execute(sql(update).bind(tenant.as_str()).bind(micros(at)))
        .await
}

fn of_owner(owner: Option<&TenantId>, id: KeyId) -> Statement {
    let one = sql(select!("WHERE id = $1 AND tenant_id ")).bind(id.to_string());
    match owner {
        Some(tenant) => one.push("= ").value(tenant.as_str()),
        None => one.push("IS NULL"),
    }
}

impl KeyFilter {
    fn of(self, mut statement: Statement) -> Statement {
        if let Some(role) = self.role {
            statement = statement.push(" AND role = ").value(role.as_str());
        }
        let Some((status, at)) = self.status else {
            return statement;
        };
        let replaced = match status {
            KeyStatus::Revoked => return statement.push(" AND revoked_at IS NOT NULL"),
            KeyStatus::Expired => {
                return statement
                    .push(" AND revoked_at IS NULL AND expires_at <= ")
                    .value(micros(at));
            }
            KeyStatus::Active => " AND replaced_by IS NULL",
            KeyStatus::Rotating => " AND replaced_by IS NOT NULL",
        };
        statement
            .push(" AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ")
            .value(micros(at))
            .push(")")
            .push(replaced)
    }
}
