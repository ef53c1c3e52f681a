//! Sealed credentials: one current version an integration. A version that is replaced loses its sealed bytes.

use jiff::Timestamp;
use tollgate_core::{CredentialId, IntegrationId, TenantId};

use crate::TenantStore;
use crate::engine::{Purpose, Work, sql};
use crate::error::{Conflict, StoreError};
use crate::value::{Place, micros, storable};

/// A sealed credential on its way in.
#[derive(Clone)]
pub struct NewCredential {
    /// Its id.
    pub id: CredentialId,
    /// Its version: 1 for the first of an integration, then greater than every one before.
    pub version: i64,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// By which equal credentials are recognized without being read.
    pub fingerprint: String,
    /// The last four characters of the secret.
    pub last4: String,
}

/// The current credential of an integration.
#[derive(Clone)]
pub struct CredentialRow {
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
    /// By which equal credentials are recognized without being read.
    pub fingerprint: String,
    /// The last four characters of the secret.
    pub last4: String,
    /// When it was entered.
    pub created_at: Timestamp,
}

impl std::fmt::Debug for NewCredential {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, version, .. } = self;
        f.debug_struct("NewCredential")
            .field("id", id)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

impl std::fmt::Debug for CredentialRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { id, version, .. } = self;
        f.debug_struct("CredentialRow")
            .field("id", id)
            .field("version", version)
            .finish_non_exhaustive()
    }
}

pub(crate) const SELECT_CURRENT: &str = "SELECT id, tenant_id, integration_id, version, sealed, fingerprint, last4, created_at \
     FROM credentials WHERE retired_at IS NULL";

impl TenantStore {
    /// The current credential of one of the tenant's integrations.
    pub async fn get_credential(
        &self,
        integration: IntegrationId,
    ) -> Result<Option<CredentialRow>, StoreError> {
        let statement = sql(SELECT_CURRENT)
            .push(" AND tenant_id = ")
            .value(self.tenant.as_str())
            .push(" AND integration_id = ")
            .value(integration.to_string());
        let found: Option<Row> = self
            .perform(Purpose::Read, |work| {
                Box::pin(work.fetch_optional(statement))
            })
            .await?;
        found.map(Row::read).transpose()
    }
}

/// Puts a credential in the place of the current one.
pub(crate) async fn replace(
    work: &mut Work,
    tenant: &TenantId,
    integration: IntegrationId,
    credential: &NewCredential,
    at: Timestamp,
) -> Result<(), StoreError> {
    retire(work, integration, at).await?;
    let insert = "INSERT INTO credentials (id, tenant_id, integration_id, version, sealed, fingerprint, last4, created_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7, $8)";
    let insert = sql(insert)
        .bind(credential.id.to_string())
        .bind(tenant.as_str())
        .bind(integration.to_string())
        .bind(credential.version)
        .bind(credential.sealed.clone())
        .bind(credential.fingerprint.as_str())
        .bind(storable(&credential.last4))
        .bind(micros(at));
    let inserted = work.execute(insert).await;
    inserted
        .map(drop)
        .map_err(|error| error.named(Conflict::CredentialVersionExists))
}

/// Takes the current credential out of use, and its sealed bytes out of the database.
pub(crate) async fn retire(
    work: &mut Work,
    integration: IntegrationId,
    at: Timestamp,
) -> Result<(), StoreError> {
    let update = "UPDATE credentials SET retired_at = $2, sealed = $3 \
                  WHERE integration_id = $1 AND retired_at IS NULL";
    let update = sql(update)
        .bind(integration.to_string())
        .bind(micros(at))
        .bind(Vec::new());
    work.execute(update).await.map(drop)
}

/// Takes the sealed bytes of all of a tenant's credentials out of the database, of every version; how many had some.
pub(crate) async fn erase_all(
    work: &mut Work,
    tenant: &TenantId,
    at: Timestamp,
) -> Result<u64, StoreError> {
    let update = "UPDATE credentials SET retired_at = COALESCE(retired_at, $2), sealed = $3 \
                  WHERE tenant_id = $1 AND length(sealed) > 0";
    let update = sql(update)
        .bind(tenant.as_str())
        .bind(micros(at))
        .bind(Vec::new());
    work.execute(update).await
}

#[derive(sqlx::FromRow)]
pub(crate) struct Row {
    id: String,
    tenant_id: String,
    integration_id: String,
    version: i64,
    sealed: Vec<u8>,
    fingerprint: String,
    last4: String,
    created_at: i64,
}

impl Row {
    pub(crate) fn read(self) -> Result<CredentialRow, StoreError> {
        let place = Place {
            table: "credentials",
            row: &self.id,
        };
        Ok(CredentialRow {
            id: place.text("id", &self.id)?,
            tenant_id: place.text("tenant_id", &self.tenant_id)?,
            integration_id: place.text("integration_id", &self.integration_id)?,
            version: self.version,
            created_at: place.time("created_at", self.created_at)?,
            sealed: self.sealed,
            fingerprint: self.fingerprint,
            last4: self.last4,
        })
    }
}
