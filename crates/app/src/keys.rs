//! Access keys: what callers present. Each is shown once, when it is made.

use jiff::Timestamp;
use tollgate_core::access::AccessKey;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::{Permission, Role};
use tollgate_core::{IntegrationId, KeyId, TenantId};
use tollgate_vault::MintedKey;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;
use crate::tenants::as_json;

/// A key that is to be made.
#[derive(Debug, Clone)]
pub struct NewKey {
    /// What people call it, 1 to 255 characters.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// The only integration that it may use, if it is to be bound to one.
    pub integration_id: Option<IntegrationId>,
    /// When it stops working, if ever.
    pub expires_at: Option<Timestamp>,
}

/// A new key, with the secret that nobody can ask for again.
#[derive(Debug)]
pub struct CreatedKey {
    /// What is kept of it.
    pub key: AccessKey,
    /// The key itself: reveal it where the answer is written.
    pub secret: MintedKey,
}

impl App {
    /// The keys of the context's tenant, newest first; an operator who names no tenant gets the
    /// operator keys, all on one page.
    pub async fn list_keys(
        &self,
        context: &Context,
        ask: PageAsk,
    ) -> Result<Page<AccessKey>, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        if let Some(tenant) = &context.tenant {
            return Ok(self.store.tenant(tenant).list_keys(ask).await?);
        }
        context.must_be_allowed(Permission::ManageTenants)?;
        Ok(Page {
            rows: self.store.operator().list_operator_keys().await?,
            next: None,
        })
    }

    /// Makes a key. Only an operator makes operator keys, and those belong to no tenant.
    pub async fn create_key(&self, context: &Context, new: NewKey) -> Result<CreatedKey, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        check_name(&new.name)?;
        if new
            .expires_at
            .is_some_and(|expires_at| expires_at <= context.now.wall)
        {
            let reason = "that time has passed: give one to come, or none".to_owned();
            return Err(AppError::Invalid {
                field: "expires_at",
                reason,
            });
        }
        let tenant = self.tenant_of_new_key(context, &new).await?;
        let secret = self.ring.mint(new.role)?;
        let key = AccessKey {
            id: KeyId::generate(),
            tenant_id: tenant,
            name: new.name,
            role: new.role,
            integration_id: new.integration_id,
            prefix: secret.prefix().to_owned(),
            created_at: context.now.wall,
            expires_at: new.expires_at,
            revoked_at: None,
            last_used_at: None,
        };
        let mut audit = context.audit("key.create", format!("key/{}", key.id));
        audit.after = Some(as_json(&key));
        match &key.tenant_id {
            Some(tenant) => {
                self.store
                    .tenant(tenant)
                    .create_key(&key, secret.digest(), audit)
                    .await?;
            }
            None => {
                self.store
                    .operator()
                    .insert_operator_key(&key, secret.digest(), audit)
                    .await?;
            }
        }
        self.refresh_key(key.id).await?;
        Ok(CreatedKey { key, secret })
    }

    /// One key, without its secret.
    pub async fn get_key(&self, context: &Context, id: KeyId) -> Result<AccessKey, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        if let Some(tenant) = &context.tenant {
            let key = self.store.tenant(tenant).get_key(id).await;
            return key.map_err(|error| AppError::from(error).naming("key"));
        }
        context.must_be_allowed(Permission::ManageTenants)?;
        let keys = self.store.operator().list_operator_keys().await?;
        keys.into_iter()
            .find(|key| key.id == id)
            .ok_or(AppError::NotFound("key"))
    }

    /// Ends a key for good; in force on this node when it returns. Again, it changes nothing.
    pub async fn revoke_key(&self, context: &Context, id: KeyId) -> Result<AccessKey, AppError> {
        let before = self.get_key(context, id).await?;
        context.must_match(&before)?;
        if before.revoked_at.is_some() {
            return Ok(before);
        }
        let after = AccessKey {
            revoked_at: Some(context.now.wall),
            ..before.clone()
        };
        let mut audit = context.audit("key.revoke", format!("key/{id}"));
        audit.before = Some(as_json(&before));
        audit.after = Some(as_json(&after));
        let revoked = match &context.tenant {
            Some(tenant) => self.store.tenant(tenant).revoke_key(id, audit).await,
            None => self.store.operator().revoke_operator_key(id, audit).await,
        };
        let key = revoked.map_err(|error| AppError::from(error).naming("key"))?;
        self.refresh_key(id).await?;
        Ok(key)
    }

    /// Whose the key will be; refuses what may not be made.
    async fn tenant_of_new_key(
        &self,
        context: &Context,
        new: &NewKey,
    ) -> Result<Option<TenantId>, AppError> {
        if new.role != Role::Operator {
            let tenant = context.tenant()?;
            if let Some(id) = new.integration_id {
                let integration = self.store.tenant(tenant).get_integration(id).await;
                integration.map_err(|error| AppError::from(error).naming("integration"))?;
            }
            return Ok(Some(tenant.clone()));
        }
        context.must_be_allowed(Permission::ManageTenants)?;
        let invalid = |field, reason: &str| AppError::Invalid {
            field,
            reason: reason.to_owned(),
        };
        if context.tenant.is_some() {
            let reason = "an operator key belongs to no tenant: leave x-tollgate-tenant out";
            return Err(invalid("role", reason));
        }
        if new.integration_id.is_some() {
            let reason = "an operator key is bound to no integration: leave it out";
            return Err(invalid("integration_id", reason));
        }
        Ok(None)
    }
}
