//! One integration in the directory: what it is, and the gate that its calls go through.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use arc_swap::ArcSwap;
use cus_models::{CusIntegration, CusProviderType};
use jiff::Timestamp;
use parking_lot::Mutex;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::gate::{Gate, Sharing};
use tollgate_core::price::ModelPrices;
use tollgate_core::price::book::prices_from_config;
use tollgate_core::{CredentialId, IntegrationId, Moment, TenantId};
use tollgate_providers::{Endpoint, Provider, UrlError, UrlPolicy, registry};
use tollgate_store::CredentialRow;
use tollgate_vault::{Binding, CredentialRef, KeyRing, MasterKeyId, Sealed, Secret, VaultError};

use crate::error::AppError;
use crate::health::traffic::{Sign, Traffic};
use crate::integrations::CredentialMark;

/// How long after a failed draw nobody tries another, in microseconds.
const DRAW_PAUSE_MICROS: i64 = 1_000_000;

/// An integration at one moment; replaced as a whole when it changes.
#[derive(Debug)]
pub struct Snapshot {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub tenant_id: TenantId,
    /// The record as it is kept.
    pub record: CusIntegration,
    /// Its settings.
    pub config: IntegrationConfig,
    /// Where its provider is, if its type is served; why not, when its base URL may not be used.
    pub endpoint: Result<Option<Endpoint>, UrlError>,
    /// How its sealed credential is recognized; none where it is a reference, or has none.
    pub mark: Option<CredentialMark>,
    credential: Credential,
    prices: HashMap<String, Arc<ModelPrices>>,
}

/// Where the provider's credential is.
#[derive(Debug)]
enum Credential {
    /// Sealed in the store.
    Sealed {
        id: CredentialId,
        version: u32,
        sealed: Sealed,
    },
    /// Elsewhere, and read when it is needed.
    Referenced(CredentialRef),
    /// The provider needs none.
    Absent,
}

/// An integration in the directory.
#[derive(Debug)]
pub struct Integration {
    /// Its id.
    pub id: IntegrationId,
    /// Whose it is.
    pub tenant_id: TenantId,
    snapshot: ArcSwap<Snapshot>,
    pub(crate) gate: Mutex<Gate>,
    /// Held by the one call that draws from the store; the others wait for what it brings.
    pub(crate) drawing: tokio::sync::Mutex<()>,
    /// Calls that wait for a draw.
    pub(crate) waiting: AtomicI64,
    /// When the last draw failed, on the steady clock.
    draw_failed_micros: AtomicI64,
    /// Held by whoever asks its provider on our own behalf.
    pub(crate) probing: tokio::sync::Mutex<()>,
    pub(crate) traffic: Traffic,
    /// When to look whether it is to be probed, in microseconds since 1970.
    next_probe_micros: AtomicI64,
    /// Whether the calls that an earlier run admitted in the last minute are counted.
    remembers_calls: AtomicBool,
}

/// The requests per minute at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// The limit.
    pub limit_rpm: i64,
    /// What is left of it.
    pub remaining: i64,
}

// === impl Snapshot ===

impl Snapshot {
    /// The integration as the store has it; an error when its row makes no sense.
    pub fn read(
        record: CusIntegration,
        row: Option<&CredentialRow>,
        policy: &UrlPolicy,
    ) -> Result<Self, AppError> {
        let id = record.id.parse().map_err(AppError::internal)?;
        let tenant_id = record.tenant_id.parse().map_err(AppError::internal)?;
        let config: IntegrationConfig = match &record.config {
            None => IntegrationConfig::default(),
            Some(config) => serde_json::from_value(serde_json::Value::Object(config.clone()))
                .map_err(AppError::internal)?,
        };
        let credential = match row {
            Some(row) => Credential::Sealed {
                id: row.id,
                version: u32::try_from(row.version).map_err(AppError::internal)?,
                sealed: Sealed::from_bytes(row.sealed.clone())?,
            },
            None if record.credential_ref.is_empty() => Credential::Absent,
            None => Credential::Referenced(record.credential_ref.parse()?),
        };
        let prices = own_prices(&config, record.provider_type);
        let endpoint = registry::of(record.provider_type, &config)
            .map(|provider| provider.endpoint(&config, policy))
            .transpose();
        let mark = row.map(CredentialMark::of);
        Ok(Self {
            id,
            tenant_id,
            record,
            config,
            endpoint,
            mark,
            credential,
            prices,
        })
    }

    /// The provider that it goes to, if its type is served.
    #[must_use]
    pub fn provider(&self) -> Option<&'static dyn Provider> {
        registry::of(self.record.provider_type, &self.config)
    }

    /// The price that the integration itself sets for a model.
    #[must_use]
    pub fn own_prices(&self, model: &str) -> Option<Arc<ModelPrices>> {
        let exact = self.prices.get(model).map(Arc::clone);
        // Another case, or a dated snapshot: looked for only where there are prices at all.
        exact.or_else(|| prices_from_config(&self.config, self.record.provider_type, model))
    }

    /// The master key that the credential is sealed under; none where it is not sealed here.
    #[must_use]
    pub fn master_key(&self) -> Option<MasterKeyId> {
        match &self.credential {
            Credential::Sealed { sealed, .. } => Some(sealed.master_key_id()),
            Credential::Referenced(_) | Credential::Absent => None,
        }
    }

    /// Opens the provider's credential.
    pub fn open_credential(
        &self,
        ring: &KeyRing,
        environment: &Environment,
    ) -> Result<Option<Secret>, VaultError> {
        match &self.credential {
            Credential::Absent => Ok(None),
            Credential::Sealed {
                id,
                version,
                sealed,
            } => {
                let binding = Binding {
                    tenant: &self.tenant_id,
                    integration: self.id,
                    credential: *id,
                    version: *version,
                };
                ring.open(sealed, &binding).map(Some)
            }
            Credential::Referenced(reference) => reference
                .resolve_env(&environment.read, &environment.prefixes)
                .map(Some),
        }
    }
}

fn own_prices(
    config: &IntegrationConfig,
    provider: CusProviderType,
) -> HashMap<String, Arc<ModelPrices>> {
    let priced = |model: &String| {
        let prices = prices_from_config(config, provider, model)?;
        Some((model.clone(), prices))
    };
    config.prices.keys().filter_map(priced).collect()
}

/// Reads one environment variable.
pub type ReadVariable = Box<dyn Fn(&str) -> Option<String> + Send + Sync>;

/// How `env://` references are read; only the program itself reads the environment.
pub struct Environment {
    /// Reads one variable.
    pub read: ReadVariable,
    /// Prefixes of the variables that may be named.
    pub prefixes: Vec<String>,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field("prefixes", &self.prefixes)
            .finish_non_exhaustive()
    }
}

// === impl Integration ===

impl Integration {
    pub(crate) fn new(snapshot: Snapshot, sharing: Sharing) -> Self {
        Self {
            id: snapshot.id,
            tenant_id: snapshot.tenant_id.clone(),
            gate: Mutex::new(Gate::new(&snapshot.record, sharing)),
            drawing: tokio::sync::Mutex::new(()),
            waiting: AtomicI64::new(0),
            draw_failed_micros: AtomicI64::new(i64::MIN),
            probing: tokio::sync::Mutex::new(()),
            traffic: Traffic::default(),
            next_probe_micros: AtomicI64::new(0),
            remembers_calls: AtomicBool::new(false),
            snapshot: ArcSwap::from_pointee(snapshot),
        }
    }

    /// The integration as it is now.
    #[must_use]
    pub fn snapshot(&self) -> arc_swap::Guard<Arc<Snapshot>> {
        self.snapshot.load()
    }

    pub(crate) fn draw_failed(&self, now: Moment) {
        self.draw_failed_micros
            .store(now.steady_micros, Ordering::Relaxed);
    }

    /// Whether a draw failed within the last second, so that the next would keep callers waiting
    /// for nothing.
    pub(crate) fn draw_failed_lately(&self, now: Moment) -> bool {
        let failed = self.draw_failed_micros.load(Ordering::Relaxed);
        now.steady_micros.saturating_sub(failed) < DRAW_PAUSE_MICROS
    }

    pub(crate) fn remembers_calls(&self) -> bool {
        self.remembers_calls.load(Ordering::Relaxed)
    }

    pub(crate) fn has_remembered_calls(&self) {
        self.remembers_calls.store(true, Ordering::Relaxed);
    }

    /// How many requests of this minute are left, where they are limited.
    pub fn rate(&self, now: Moment) -> Option<Rate> {
        let mut gate = self.gate.lock();
        let limit_rpm = gate.limits().rate_rpm?;
        let (_, calls) = gate.snapshot(now);
        Some(Rate {
            limit_rpm,
            remaining: limit_rpm.saturating_sub(calls).max(0),
        })
    }

    /// Notes what a call saw of the provider: counted here, folded by a job.
    pub fn note(&self, sign: Sign) {
        self.traffic.note(sign);
    }

    pub(crate) fn next_probe_micros(&self) -> i64 {
        self.next_probe_micros.load(Ordering::Relaxed)
    }

    /// Sets when to look again whether it is to be probed; at once where nothing is known.
    pub(crate) fn probe_at(&self, at: Option<Timestamp>) {
        let micros = at.map_or(0, Timestamp::as_microsecond);
        self.next_probe_micros.store(micros, Ordering::Relaxed);
    }

    pub(crate) fn update(&self, snapshot: Snapshot) {
        if self.snapshot.load().record.updated_at != snapshot.record.updated_at {
            self.probe_at(None);
        }
        self.gate.lock().update(&snapshot.record);
        self.snapshot.store(Arc::new(snapshot));
    }
}
