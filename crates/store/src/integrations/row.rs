//! The row of `cus_integrations`: the seed's columns under the seed's names.

use cus_models::CusIntegration;

use crate::engine::{Statement, sql};
use crate::error::StoreError;
use crate::value::{Place, micros, storable, to_json};

pub(super) const SELECT_LIVING: &str = "SELECT id, tenant_id, name, provider_type, credential_ref, config, status, health_state, \
     health_checked_at, health_message, default_model, budget_limit_cents, token_limit_month, rate_limit_rpm, \
     created_at, updated_at, created_by, deleted_at FROM cus_integrations WHERE deleted_at IS NULL";

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    pub(super) id: String,
    tenant_id: String,
    name: String,
    provider_type: String,
    credential_ref: String,
    config: Option<String>,
    status: String,
    health_state: String,
    health_checked_at: Option<i64>,
    health_message: Option<String>,
    default_model: Option<String>,
    budget_limit_cents: i64,
    token_limit_month: i64,
    rate_limit_rpm: i64,
    pub(super) created_at: i64,
    updated_at: i64,
    created_by: Option<String>,
    deleted_at: Option<i64>,
}

impl Row {
    pub(super) fn read(self) -> Result<CusIntegration, StoreError> {
        let place = Place {
            table: "cus_integrations",
            row: &self.id,
        };
        Ok(CusIntegration {
            provider_type: place.text("provider_type", &self.provider_type)?,
            config: place.json("config", self.config.as_deref())?,
            status: place.text("status", &self.status)?,
            health_state: place.text("health_state", &self.health_state)?,
            health_checked_at: place.maybe_time("health_checked_at", self.health_checked_at)?,
            created_at: place.time("created_at", self.created_at)?,
            updated_at: place.time("updated_at", self.updated_at)?,
            deleted_at: place.maybe_time("deleted_at", self.deleted_at)?,
            id: self.id,
            tenant_id: self.tenant_id,
            name: self.name,
            credential_ref: self.credential_ref,
            health_message: self.health_message,
            default_model: self.default_model,
            budget_limit_cents: self.budget_limit_cents,
            token_limit_month: self.token_limit_month,
            rate_limit_rpm: self.rate_limit_rpm,
            created_by: self.created_by,
        })
    }
}

pub(super) fn insert_values(integration: &CusIntegration) -> Result<Statement, StoreError> {
    let insert = "INSERT INTO cus_integrations (id, tenant_id, name, provider_type, credential_ref, config, status, \
         health_state, health_checked_at, health_message, default_model, budget_limit_cents, token_limit_month, \
         rate_limit_rpm, updated_at, created_at, created_by) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)";
    let statement = bind_shared(sql(insert), integration)?;
    Ok(statement
        .bind(micros(integration.created_at))
        .bind(integration.created_by.clone()))
}

pub(super) fn update_values(integration: &CusIntegration) -> Result<Statement, StoreError> {
    let update = "UPDATE cus_integrations SET name = $3, provider_type = $4, credential_ref = $5, config = $6, \
         status = $7, health_state = $8, health_checked_at = $9, health_message = $10, default_model = $11, \
         budget_limit_cents = $12, token_limit_month = $13, rate_limit_rpm = $14, updated_at = $15 \
         WHERE id = $1 AND tenant_id = $2 AND deleted_at IS NULL";
    bind_shared(sql(update), integration)
}

fn bind_shared(
    statement: Statement,
    integration: &CusIntegration,
) -> Result<Statement, StoreError> {
    Ok(statement
        .bind(integration.id.as_str())
        .bind(integration.tenant_id.as_str())
        .bind(storable(&integration.name))
        .bind(integration.provider_type.as_str())
        .bind(storable(&integration.credential_ref))
        .bind(integration.config.as_ref().map(to_json).transpose()?)
        .bind(integration.status.as_str())
        .bind(integration.health_state.as_str())
        .bind(integration.health_checked_at.map(micros))
        .bind(integration.health_message.as_deref().map(storable))
        .bind(integration.default_model.as_deref().map(storable))
        .bind(integration.budget_limit_cents)
        .bind(integration.token_limit_month)
        .bind(integration.rate_limit_rpm)
        .bind(micros(integration.updated_at)))
}
