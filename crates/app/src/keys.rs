//! Access keys: what callers present. Each is shown once, when it is made.

use std::collections::HashMap;

use jiff::{SignedDuration, Timestamp};
use tollgate_core::access::{AccessKey, KeyStatus};
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::{Permission, Role};
use tollgate_core::{IntegrationId, KeyId, TenantId};
use tollgate_store::KeyRotation;
use tollgate_vault::MintedKey;

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::naming::check_name;
use crate::rules::Rules;
use crate::tenants::as_json;

pub use tollgate_store::KeyFilter;

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

/// How a key is to be replaced.
#[derive(Debug, Clone, Copy, Default)]
pub struct Rotation {
    /// How long the old key works on, in seconds: 0 to 30 days, a day if nobody says.
    pub overlap_seconds: Option<i64>,
    /// When the new key stops working.
    pub expiry: Expiry,
}

/// When a new key stops working.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Expiry {
    /// It lives as long as the key that it replaces was to.
    #[default]
    AsBefore,
    /// Never.
    Never,
    /// Then.
    At(Timestamp),
}

/// The longest overlap, in seconds.
const OVERLAP_SECONDS_MAX: i64 = 30 * 24 * 60 * 60;

/// The overlap when nobody says, in seconds.
const OVERLAP_SECONDS_DEFAULT: i64 = 24 * 60 * 60;

impl Rotation {
    fn overlap(self) -> Result<i64, AppError> {
        let seconds = self.overlap_seconds.unwrap_or(OVERLAP_SECONDS_DEFAULT);
        if (0..=OVERLAP_SECONDS_MAX).contains(&seconds) {
            return Ok(seconds);
        }
        Err(AppError::Invalid {
            field: "overlap_seconds",
            reason: format!("give 0 to {OVERLAP_SECONDS_MAX} seconds, which are 30 days"),
        })
    }

    fn expiry(self, old: &AccessKey, now: Timestamp) -> Result<Option<Timestamp>, AppError> {
        match self.expiry {
            Expiry::AsBefore => {}
            Expiry::Never => return Ok(None),
            Expiry::At(asked) => {
                not_past(Some(asked), now)?;
                return Ok(Some(asked));
            }
        }
        let life = old
            .expires_at
            .map(|expires_at| expires_at.duration_since(old.created_at));
        Ok(life.map(|life| after(now, life)))
    }
}

fn after(now: Timestamp, span: SignedDuration) -> Timestamp {
    now.saturating_add(span).unwrap_or(Timestamp::MAX)
}

fn not_past(expires_at: Option<Timestamp>, now: Timestamp) -> Result<(), AppError> {
    if expires_at.is_none_or(|expires_at| expires_at > now) {
        return Ok(());
    }
    Err(AppError::Invalid {
        field: "expires_at",
        reason: "that time has passed: give one to come, or none".to_owned(),
    })
}

/// A key as it is at a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ShownKey {
    /// What is kept of it.
    pub key: AccessKey,
    /// Whether it works then.
    pub status: KeyStatus,
}

impl ShownKey {
    /// A key as it is at `now`.
    #[must_use]
    pub fn at(key: AccessKey, now: Timestamp) -> Self {
        let status = key.status(now);
        Self { key, status }
    }
}

impl App {
    /// The keys of the context's tenant, newest first; an operator who names no tenant gets the
    /// operator keys.
    pub async fn list_keys(
        &self,
        context: &Context,
        ask: PageAsk,
        filter: KeyFilter,
    ) -> Result<Page<AccessKey>, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        let mut page = if let Some(tenant) = &context.tenant {
            self.store.tenant(tenant).list_keys(ask, filter).await?
        } else {
            context.must_be_allowed(Permission::ManageTenants)?;
            let operator = self.store.operator();
            operator.list_operator_keys(ask, filter).await?
        };
        let used: HashMap<_, _> = self.directory().used_keys().into_iter().collect();
        for key in &mut page.rows {
            key.last_used_at = key.last_used_at.max(used.get(&key.id).copied());
        }
        Ok(page)
    }

    /// Makes a key. Only an operator makes operator keys, and those belong to no tenant.
    pub async fn create_key(&self, context: &Context, new: NewKey) -> Result<CreatedKey, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        let mut rules = Rules::default();
        rules.check(check_name(&new.name))?;
        rules.check(not_past(new.expires_at, context.now.wall))?;
        let tenant = self.tenant_of_new_key(context, &new).await;
        let tenant = rules.check(tenant)?;
        rules.end()?;
        let tenant = tenant.flatten();
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
            rotated_from: None,
            replaced_by: None,
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

    /// One key, without its secret. Its last use is what this node knows, or was written down.
    pub async fn get_key(&self, context: &Context, id: KeyId) -> Result<AccessKey, AppError> {
        context.must_be_allowed(Permission::ManageKeys)?;
        let found = if let Some(tenant) = &context.tenant {
            self.store.tenant(tenant).get_key(id).await
        } else {
            context.must_be_allowed(Permission::ManageTenants)?;
            self.store.operator().get_operator_key(id).await
        };
        let mut key = found.map_err(|error| AppError::from(error).naming("key"))?;
        let mut used = self.directory().used_keys().into_iter();
        let here = used.find(|(used, _)| *used == id).map(|(_, at)| at);
        key.last_used_at = key.last_used_at.max(here);
        Ok(key)
    }

    /// Puts a new key in the place of one that works: with its name, its role and its binding. The
    /// old one works on for the overlap, and stops at once where there is none.
    pub async fn rotate_key(
        &self,
        context: &Context,
        id: KeyId,
        rotation: Rotation,
    ) -> Result<CreatedKey, AppError> {
        let before = self.get_key(context, id).await?;
        context.must_match(&before)?;
        let now = context.now.wall;
        let until = after(now, SignedDuration::from_secs(rotation.overlap()?));
        let secret = self.ring.mint(before.role)?;
        let key = AccessKey {
            id: KeyId::generate(),
            prefix: secret.prefix().to_owned(),
            created_at: now,
            expires_at: rotation.expiry(&before, now)?,
            last_used_at: None,
            rotated_from: Some(id),
            replaced_by: None,
            revoked_at: None,
            ..before.clone()
        };
        let mut audit = context.audit("key.rotate", format!("key/{id}"));
        audit.before = Some(as_json(&before));
        audit.after = Some(as_json(&key));
        let change = KeyRotation {
            old: id,
            until,
            new: key.clone(),
            digest: secret.digest(),
        };
        let rotated = if let Some(tenant) = &context.tenant {
            self.store.tenant(tenant).rotate_key(change, audit).await
        } else {
            let operator = self.store.operator();
            operator.rotate_operator_key(change, audit).await
        };
        rotated.map_err(|error| AppError::from(error).naming("key"))?;
        self.refresh_key(id).await?;
        self.refresh_key(key.id).await?;
        Ok(CreatedKey { key, secret })
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
        let invalid = |field, reason: &str| AppError::Invalid {
            field,
            reason: reason.to_owned(),
        };
        if new.role != Role::Operator {
            let tenant = context.tenant()?;
            if new.role == Role::Admin && new.integration_id.is_some() {
                let reason = "an admin key manages the whole tenant, its keys too, so it cannot be \
                              bound to one integration: leave it out, or make a viewer or a caller";
                return Err(invalid("integration_id", reason));
            }
            if let Some(id) = new.integration_id {
                let integration = self.store.tenant(tenant).get_integration(id).await;
                integration.map_err(|error| AppError::from(error).naming("integration"))?;
            }
            return Ok(Some(tenant.clone()));
        }
        context.must_be_allowed(Permission::ManageTenants)?;
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
