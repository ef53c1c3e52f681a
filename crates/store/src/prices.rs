//! Prices of a tenant's or the operator's own, and the models whose calls had none.

mod unpriced;

use cus_models::CusProviderType;
use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;
use tollgate_core::price::overrides::PriceOverride;

pub use self::unpriced::UnpricedModel;
pub(crate) use self::unpriced::note_unpriced;
use crate::changes::{self, ChangeKind};
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::StoreError;
use crate::value::{Place, micros};
use crate::{OperatorStore, TenantStore, audit, tenants};

/// The tenant of the whole installation's prices.
const INSTALLATION: &str = "";

const SELECT: &str =
    "SELECT tenant_id, provider_type, model, rates, tiers, created_at, updated_at FROM prices";

impl TenantStore {
    /// The tenant's own prices, by provider and model.
    pub async fn list_prices(&self) -> Result<Vec<PriceOverride>, StoreError> {
        let statement = of(self.tenant.as_str());
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        found.into_iter().map(Row::price).collect()
    }

    /// Sets a price of the tenant's; not found if the tenant is not or was deleted. Gives it as it is kept: with the
    /// time at which it was first set, and one of its last setting that always moves on.
    pub async fn set_price(
        &self,
        price: &PriceOverride,
        audit: AuditEntry,
    ) -> Result<PriceOverride, StoreError> {
        let (tenant, price) = (self.tenant.clone(), price.clone());
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                tenants::require(work, &tenant).await?;
                set(work, Some(&tenant), price, &audit).await
            })
        })
        .await
    }

    /// Removes a price of the tenant's.
    pub async fn remove_price(
        &self,
        provider_type: CusProviderType,
        model: &str,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let (tenant, model) = (self.tenant.clone(), model.to_owned());
        self.perform(Purpose::Change, move |work| {
            Box::pin(
                async move { remove(work, Some(&tenant), (provider_type, &model), &audit).await },
            )
        })
        .await
    }
}

impl OperatorStore {
    /// The whole installation's own prices, by provider and model.
    pub async fn list_installation_prices(&self) -> Result<Vec<PriceOverride>, StoreError> {
        let statement = of(INSTALLATION);
        let found: Vec<Row> = self
            .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
            .await?;
        found.into_iter().map(Row::price).collect()
    }

    /// Sets a price for the whole installation, as [`TenantStore::set_price`] does for a tenant.
    pub async fn set_installation_price(
        &self,
        price: &PriceOverride,
        audit: AuditEntry,
    ) -> Result<PriceOverride, StoreError> {
        let price = price.clone();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { set(work, None, price, &audit).await })
        })
        .await
    }

    /// Removes a price of the whole installation.
    pub async fn remove_installation_price(
        &self,
        provider_type: CusProviderType,
        model: &str,
        audit: AuditEntry,
    ) -> Result<(), StoreError> {
        let model = model.to_owned();
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move { remove(work, None, (provider_type, &model), &audit).await })
        })
        .await
    }
}

/// Every price that was set, each with its tenant; none stands for the whole installation.
pub(crate) async fn all(
    work: &mut Work,
) -> Result<Vec<(Option<TenantId>, PriceOverride)>, StoreError> {
    let rows: Vec<Row> = work.fetch_all(sql(SELECT)).await?;
    rows.into_iter()
        .map(|row| Ok((row.tenant()?, row.price()?)))
        .collect()
}

/// Removes all prices of a tenant.
pub(crate) async fn remove_all(work: &mut Work, tenant: &TenantId) -> Result<(), StoreError> {
    let delete = sql("DELETE FROM prices WHERE tenant_id = $1").bind(tenant.as_str());
    work.execute(delete).await.map(drop)
}

async fn set(
    work: &mut Work,
    tenant: Option<&TenantId>,
    mut price: PriceOverride,
    audit: &AuditEntry,
) -> Result<PriceOverride, StoreError> {
    let owner = tenant.map_or(INSTALLATION, TenantId::as_str);
    let one = one(owner, price.provider_type, &price.model).locking();
    if let Some(row) = work.fetch_optional::<Row>(one).await? {
        let before = row.price()?;
        let moved_on = before
            .updated_at
            .saturating_add(jiff::SignedDuration::from_micros(1));
        let moved_on = moved_on.or(Err(StoreError::InvalidRow {
            reason: "a time is out of range",
        }))?;
        price.created_at = before.created_at;
        price.updated_at = price.updated_at.max(moved_on);
    }
    let json = |value: serde_json::Result<String>| {
        value.or(Err(StoreError::InvalidRow {
            reason: "the prices cannot be written",
        }))
    };
    let upsert = "INSERT INTO prices (tenant_id, provider_type, model, rates, tiers, created_at, updated_at) \
                  VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (tenant_id, provider_type, model) DO UPDATE SET \
                  rates = excluded.rates, tiers = excluded.tiers, updated_at = excluded.updated_at";
    let upsert = sql(upsert)
        .bind(owner)
        .bind(price.provider_type.as_str())
        .bind(price.model.as_str())
        .bind(json(serde_json::to_string(&price.rates))?)
        .bind(json(serde_json::to_string(&price.tiers))?)
        .bind(micros(price.created_at))
        .bind(micros(price.updated_at));
    work.execute(upsert).await?;
    record(work, tenant, audit).await?;
    Ok(price)
}

async fn remove(
    work: &mut Work,
    tenant: Option<&TenantId>,
    (provider_type, model): (CusProviderType, &str),
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    let delete =
        sql("DELETE FROM prices WHERE tenant_id = $1 AND provider_type = $2 AND model = $3")
            .bind(tenant.map_or(INSTALLATION, TenantId::as_str))
            .bind(provider_type.as_str())
            .bind(model);
    if work.execute(delete).await? == 0 {
        return Err(StoreError::NotFound);
    }
    record(work, tenant, audit).await
}

/// A change of a tenant's prices is a change of the tenant; the installation's bear the empty tenant, as in the audit trail.
async fn record(
    work: &mut Work,
    tenant: Option<&TenantId>,
    audit: &AuditEntry,
) -> Result<(), StoreError> {
    audit::record(work, audit).await?;
    let subject = tenant.map_or(INSTALLATION, TenantId::as_str);
    changes::record(work, ChangeKind::Tenant, subject, tenant).await
}

fn of(owner: &str) -> Statement {
    sql(SELECT)
        .push(" WHERE tenant_id = ")
        .value(owner)
        .push(" ORDER BY provider_type, model")
}

fn one(owner: &str, provider_type: CusProviderType, model: &str) -> Statement {
    sql(SELECT)
        .push(" WHERE tenant_id = ")
        .value(owner)
        .push(" AND provider_type = ")
        .value(provider_type.as_str())
        .push(" AND model = ")
        .value(model)
}

#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: String,
    provider_type: String,
    model: String,
    rates: String,
    tiers: String,
    created_at: i64,
    updated_at: i64,
}

impl Row {
    fn place(&self) -> Place<'_> {
        Place {
            table: "prices",
            row: &self.model,
        }
    }

    fn tenant(&self) -> Result<Option<TenantId>, StoreError> {
        let tenant = Some(self.tenant_id.as_str()).filter(|tenant| *tenant != INSTALLATION);
        self.place().maybe_text("tenant_id", tenant)
    }

    fn price(self) -> Result<PriceOverride, StoreError> {
        let place = self.place();
        let rates = place.json("rates", Some(&self.rates))?;
        let tiers = place.json("tiers", Some(&self.tiers))?;
        Ok(PriceOverride {
            provider_type: place.text("provider_type", &self.provider_type)?,
            rates: place.known("rates", rates)?,
            tiers: place.known("tiers", tiers)?,
            created_at: place.time("created_at", self.created_at)?,
            updated_at: place.time("updated_at", self.updated_at)?,
            model: self.model,
        })
    }
}
