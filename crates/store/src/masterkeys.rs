//! What a rotation of master keys needs: which credentials are sealed under which key, and their new seals.

use tollgate_core::audit::AuditEntry;
use tollgate_core::{CredentialId, IntegrationId, TenantId};

use crate::OperatorStore;
use crate::audit;
use crate::changes::{self, ChangeKind};
use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::Place;

/// A credential that still has its sealed bytes, whoever's it is.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedRow {
    /// Its id.
    pub id: CredentialId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// For which integration.
    pub integration_id: IntegrationId,
    /// Its version.
    pub version: i64,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

/// A credential with the seal that is to take the place of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rewrapped {
    /// The credential as it was read.
    pub row: SealedRow,
    /// The new seal.
    pub sealed: Vec<u8>,
}

impl std::fmt::Debug for SealedRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SealedRow")
            .field("id", &self.id)
            .field("version", &self.version)
            .finish_non_exhaustive()
    }
}

impl OperatorStore {
    /// The first 35 bytes of everything sealed: they tell the master key.
    pub async fn sealed_openings(&self) -> Result<Vec<Vec<u8>>, StoreError> {
        let select = "SELECT substr(sealed, 1, 35) FROM credentials WHERE length(sealed) > 0";
        let rows: Vec<(Vec<u8>,)> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(sql(select))))
            .await?;
        Ok(rows.into_iter().map(|(opening,)| opening).collect())
    }

    /// Credentials whose seal does not begin with `opening`, after the one with id `after`, in the order of their ids.
    pub async fn not_sealed_under(
        &self,
        opening: Vec<u8>,
        after: Option<CredentialId>,
        rows_max: u16,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let select = "SELECT id, tenant_id, integration_id, version, sealed FROM credentials \
                      WHERE length(sealed) > 0 AND substr(sealed, 1, CAST($2 AS INTEGER)) <> $1 \
                      AND id > $3 ORDER BY id LIMIT $4";
        let length = i64::try_from(opening.len()).unwrap_or(i64::MAX);
        let statement = sql(select)
            .bind(opening)
            .bind(length)
            .bind(after.map_or_else(String::new, |id| id.to_string()))
            .bind(i64::from(rows_max));
        let rows: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        rows.into_iter().map(Row::read).collect()
    }

    /// Puts new seals in the place of those that were read. One that was replaced meanwhile stays as it is. Every node
    /// hears of the integrations; the audit entry gets the number of credentials. Returns that number.
    pub async fn rewrap(
        &self,
        batch: Vec<Rewrapped>,
        mut entry: AuditEntry,
    ) -> Result<u64, StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                let mut credentials = 0_u64;
                for one in &batch {
                    credentials += exchange(work, one).await?;
                }
                if credentials > 0 {
                    entry.after = Some(format!(r#"{{"credentials":{credentials}}}"#));
                    audit::record(work, &entry).await?;
                }
                Ok(credentials)
            })
        })
        .await
    }
}

async fn exchange(work: &mut Work, one: &Rewrapped) -> Result<u64, StoreError> {
    let row = &one.row;
    let update = "UPDATE credentials SET sealed = $2 WHERE id = $1 AND sealed = $3";
    let update = sql(update)
        .bind(row.id.to_string())
        .bind(one.sealed.clone())
        .bind(row.sealed.clone());
    let changed = work.execute(update).await?;
    if changed > 0 {
        let integration = row.integration_id.to_string();
        changes::record(
            work,
            ChangeKind::Integration,
            &integration,
            Some(&row.tenant_id),
        )
        .await?;
    }
    Ok(changed)
}

#[derive(sqlx::FromRow)]
struct Row {
    id: String,
    tenant_id: String,
    integration_id: String,
    version: i64,
    sealed: Vec<u8>,
}

impl Row {
    fn read(self) -> Result<SealedRow, StoreError> {
        let place = Place {
            table: "credentials",
            row: &self.id,
        };
        Ok(SealedRow {
            id: place.text("id", &self.id)?,
            tenant_id: place.text("tenant_id", &self.tenant_id)?,
            integration_id: place.text("integration_id", &self.integration_id)?,
            version: self.version,
            sealed: self.sealed,
        })
    }
}
