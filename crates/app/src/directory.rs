//! The hot map: presented key to tenant, tenant to integrations, all in memory.
//!
//! The data plane asks only this. It is loaded at start, refreshed by the use case that changes
//! something, and by polling what other nodes have changed.

pub mod integration;
mod several;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use cus_models::CusProviderType;
use jiff::Timestamp;
use parking_lot::RwLock;
use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::gate::Sharing;
use tollgate_core::price::ModelPrices;
use tollgate_core::price::overrides::PriceOverrides;
use tollgate_core::role::Role;
use tollgate_core::tenant::{Tenant, TenantStatus};
use tollgate_core::{IntegrationId, KeyId, TenantId};

use several::Several;

pub use integration::{Integration, Snapshot};

const MICROS_PER_MINUTE: i64 = 60_000_000;

/// A tenant in the directory.
#[derive(Debug)]
pub struct TenantEntry {
    /// Its id.
    pub id: TenantId,
    is_suspended: AtomicBool,
    integrations: RwLock<Vec<Arc<Integration>>>,
}

/// An access key in the directory.
#[derive(Debug)]
pub struct KeyEntry {
    /// What is kept of it.
    pub key: AccessKey,
    /// The tenant it acts for; operator keys have none.
    pub tenant: Option<Arc<TenantEntry>>,
    last_used_minute: AtomicI64,
}

/// Why a presented key is refused; all look the same from outside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KeyRefusal {
    /// Nobody has this key.
    #[error("unknown")]
    Unknown,
    /// It was revoked, or has expired.
    #[error("no longer valid")]
    Ended,
    /// Its tenant is suspended.
    #[error("tenant suspended")]
    Suspended,
}

/// Why no integration could be found for a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouteRefusal {
    /// No such integration in the tenant.
    #[error("there is no integration `{0}`")]
    UnknownIntegration(String),
    /// The key is bound to another integration.
    #[error("this key is bound to another integration")]
    BoundElsewhere,
    /// The tenant has none that serves this path.
    #[error("no enabled integration serves this path: create and enable one first")]
    NoneServes,
    /// The tenant has several that serve this path, and the call names none.
    #[error(
        "several integrations serve this path: name one in the x-tollgate-integration header, \
         or write the model as <integration name>/<model>"
    )]
    Ambiguous,
}

/// Prices that were set, in memory; replaced as a whole when one changes.
#[derive(Debug, Clone, Default)]
struct SetPrices {
    installation: Arc<PriceOverrides>,
    tenants: HashMap<TenantId, Arc<PriceOverrides>>,
}

/// Everything the data plane needs to know, in memory.
#[derive(Debug)]
pub struct Directory {
    /// Whether integrations are shared with other nodes.
    sharing: Sharing,
    prices: ArcSwap<SetPrices>,
    keys: RwLock<HashMap<KeyDigest, Arc<KeyEntry>>>,
    tenants: RwLock<HashMap<TenantId, Arc<TenantEntry>>>,
    integrations: RwLock<HashMap<IntegrationId, Arc<Integration>>>,
}

// === impl TenantEntry ===

impl TenantEntry {
    fn new(tenant: &Tenant) -> Self {
        Self {
            id: tenant.id.clone(),
            is_suspended: AtomicBool::new(tenant.status == TenantStatus::Suspended),
            integrations: RwLock::default(),
        }
    }

    /// Whether its keys and probes rest.
    pub(crate) fn is_suspended(&self) -> bool {
        self.is_suspended.load(Ordering::Relaxed)
    }

    /// The integration of that id or name, if the tenant has a living one.
    #[must_use]
    pub fn find(&self, id_or_name: &str) -> Option<Arc<Integration>> {
        let by_id = id_or_name.parse::<IntegrationId>().ok();
        let integrations = self.integrations.read();
        integrations
            .iter()
            .find(|one| Some(one.id) == by_id || one.snapshot().record.name == id_or_name)
            .map(Arc::clone)
    }

    /// The integration of that id, if the tenant has it.
    fn find_id(&self, id: IntegrationId) -> Option<Arc<Integration>> {
        let integrations = self.integrations.read();
        let found = integrations.iter().find(|one| one.id == id);
        found.map(Arc::clone)
    }

    /// The tenant's only enabled integration among those that `serves` accepts; if none is
    /// enabled, the only one there is, so that the caller learns why it may not be used.
    fn only(&self, serves: impl Fn(&Snapshot) -> bool) -> Result<Arc<Integration>, RouteRefusal> {
        let integrations = self.integrations.read();
        let mut fitting = Several::default();
        let mut enabled = Several::default();
        for one in integrations.iter() {
            let snapshot = one.snapshot();
            if serves(&snapshot) {
                fitting.add(one);
                if snapshot.record.is_usable() {
                    enabled.add(one);
                }
            }
        }
        match (enabled, fitting) {
            (Several::One(one), _) | (Several::None, Several::One(one)) => Ok(Arc::clone(one)),
            (Several::None, _) => Err(RouteRefusal::NoneServes),
            (Several::More, _) => Err(RouteRefusal::Ambiguous),
        }
    }
}

// === impl KeyEntry ===

impl KeyEntry {
    /// Remembers that the key was used, to the minute.
    fn touch(&self, now: Timestamp) {
        let minute = now.as_microsecond().div_euclid(MICROS_PER_MINUTE);
        self.last_used_minute.fetch_max(minute, Ordering::Relaxed);
    }

    /// When the key was last used on this node, to the minute.
    #[must_use]
    pub fn last_used_at(&self) -> Option<Timestamp> {
        let minute = self.last_used_minute.load(Ordering::Relaxed);
        let micros = minute
            .checked_mul(MICROS_PER_MINUTE)
            .filter(|micros| *micros > 0)?;
        Timestamp::from_microsecond(micros).ok()
    }

    /// The integration that a call of this key goes through: the key's own, else the one that
    /// the header names, else the one before the slash in the model, else the only one that
    /// serves. With it comes the model without the integration's name.
    pub fn route<'m>(
        &self,
        header: Option<&str>,
        model: Option<&'m str>,
        serves: impl Fn(&Snapshot) -> bool,
    ) -> Result<(Arc<Integration>, Option<&'m str>), RouteRefusal> {
        let tenant = self.tenant.as_ref().ok_or(RouteRefusal::NoneServes)?;
        let prefixed = model
            .and_then(|model| model.split_once('/'))
            .and_then(|(name, rest)| tenant.find(name).map(|one| (one, rest)));
        let named = header
            .map(|name| {
                tenant
                    .find(name)
                    .ok_or_else(|| RouteRefusal::UnknownIntegration(name.to_owned()))
            })
            .transpose()?;
        if let Some(bound) = self.key.integration_id {
            let elsewhere = |one: &Arc<Integration>| one.id != bound;
            if named.as_ref().is_some_and(elsewhere) {
                return Err(RouteRefusal::BoundElsewhere);
            }
            let one = tenant
                .find_id(bound)
                .ok_or_else(|| RouteRefusal::UnknownIntegration(bound.to_string()))?;
            let stripped = prefixed
                .filter(|(named, _)| named.id == bound)
                .map(|(_, rest)| rest);
            return Ok((one, stripped.or(model)));
        }
        match (named, prefixed) {
            (Some(one), Some((same, rest))) if one.id == same.id => Ok((one, Some(rest))),
            (Some(one), _) => Ok((one, model)),
            (None, Some((one, rest))) => Ok((one, Some(rest))),
            (None, None) => Ok((tenant.only(serves)?, model)),
        }
    }
}

// === impl Directory ===

impl Directory {
    /// A directory of nothing.
    pub(crate) fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            prices: ArcSwap::default(),
            keys: RwLock::default(),
            tenants: RwLock::default(),
            integrations: RwLock::default(),
        }
    }

    /// The live key with this digest.
    pub fn key(&self, digest: &KeyDigest, now: Timestamp) -> Result<Arc<KeyEntry>, KeyRefusal> {
        let entry = self
            .keys
            .read()
            .get(digest)
            .map(Arc::clone)
            .ok_or(KeyRefusal::Unknown)?;
        if !entry.key.is_live(now) {
            return Err(KeyRefusal::Ended);
        }
        let suspended = |tenant: &Arc<TenantEntry>| tenant.is_suspended.load(Ordering::Relaxed);
        if entry.tenant.as_ref().is_some_and(suspended) {
            return Err(KeyRefusal::Suspended);
        }
        entry.touch(now);
        Ok(entry)
    }

    /// The integration of that id, whoever's it is.
    #[must_use]
    pub fn integration(&self, id: IntegrationId) -> Option<Arc<Integration>> {
        self.integrations.read().get(&id).map(Arc::clone)
    }

    /// The tenant of that id.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<Arc<TenantEntry>> {
        self.tenants.read().get(id).map(Arc::clone)
    }

    /// Forgets a deleted integration; calls in flight keep what they need of it.
    pub fn remove_integration(&self, id: IntegrationId) {
        let Some(one) = self.integrations.write().remove(&id) else {
            return;
        };
        if let Some(tenant) = self.tenant(&one.tenant_id) {
            tenant.integrations.write().retain(|other| other.id != id);
        }
    }

    /// Forgets a key.
    pub fn remove_key(&self, id: KeyId) {
        self.keys.write().retain(|_, one| one.key.id != id);
    }

    /// Forgets a deleted tenant with its keys, its integrations and its prices.
    pub fn remove_tenant(&self, id: &TenantId) {
        if let Some(tenant) = self.tenants.write().remove(id) {
            tenant.is_suspended.store(true, Ordering::Relaxed);
        }
        self.keys
            .write()
            .retain(|_, one| one.key.tenant_id.as_ref() != Some(id));
        self.integrations
            .write()
            .retain(|_, one| one.tenant_id != *id);
        self.put_prices(Some(id), PriceOverrides::default());
    }

    /// Every integration.
    #[must_use]
    pub fn integrations(&self) -> Vec<Arc<Integration>> {
        self.integrations.read().values().map(Arc::clone).collect()
    }

    /// The keys used on this node, with the minute of their last use.
    #[must_use]
    pub fn used_keys(&self) -> Vec<(KeyId, Timestamp)> {
        let keys = self.keys.read();
        keys.values()
            .filter_map(|one| Some((one.key.id, one.last_used_at()?)))
            .collect()
    }

    /// The price that was set for a model: by its tenant, else for the whole installation.
    #[must_use]
    pub fn set_price(
        &self,
        tenant: &TenantId,
        provider: CusProviderType,
        model: &str,
    ) -> Option<Arc<ModelPrices>> {
        let prices = self.prices.load();
        let own = prices.tenants.get(tenant);
        own.and_then(|own| own.find(provider, model))
            .or_else(|| prices.installation.find(provider, model))
            .map(Arc::clone)
    }

    /// Takes in the prices of a tenant, or of the whole installation.
    pub fn put_prices(&self, tenant: Option<&TenantId>, prices: PriceOverrides) {
        let prices = Arc::new(prices);
        self.prices.rcu(|all| {
            let mut all = SetPrices::clone(all);
            match tenant {
                None => all.installation = Arc::clone(&prices),
                Some(tenant) if prices.is_empty() => drop(all.tenants.remove(tenant)),
                Some(tenant) => {
                    all.tenants.insert(tenant.clone(), Arc::clone(&prices));
                }
            }
            all
        });
    }

    /// Takes in a new or changed tenant.
    pub fn put_tenant(&self, tenant: &Tenant) {
        let mut tenants = self.tenants.write();
        let entry = tenants
            .entry(tenant.id.clone())
            .or_insert_with(|| Arc::new(TenantEntry::new(tenant)));
        entry
            .is_suspended
            .store(tenant.status == TenantStatus::Suspended, Ordering::Relaxed);
    }

    /// Takes in a new or changed key; its tenant must be known.
    pub fn put_key(&self, digest: KeyDigest, key: AccessKey) {
        let tenant = key.tenant_id.as_ref().and_then(|id| self.tenant(id));
        if tenant.is_none() && key.role != Role::Operator {
            return;
        }
        let mut keys = self.keys.write();
        let used = keys
            .get(&digest)
            .map_or(0, |known| known.last_used_minute.load(Ordering::Relaxed));
        let last_used_minute = AtomicI64::new(used);
        keys.insert(
            digest,
            Arc::new(KeyEntry {
                key,
                tenant,
                last_used_minute,
            }),
        );
    }

    /// Takes in a new or changed integration; its tenant must be known.
    pub fn put_integration(&self, snapshot: Snapshot) {
        let Some(tenant) = self.tenant(&snapshot.tenant_id) else {
            return;
        };
        let id = snapshot.id;
        let one = match self.integration(id) {
            Some(known) => {
                known.update(snapshot);
                known
            }
            None => Arc::new(Integration::new(snapshot, self.sharing)),
        };
        self.integrations.write().insert(id, Arc::clone(&one));
        let mut integrations = tenant.integrations.write();
        integrations.retain(|other| other.id != id);
        integrations.push(one);
    }
}
