//! The whole of what can be done, put together: started once, shared by both edges.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tollgate_core::price::ModelPrices;
use tollgate_core::price::book::PriceBook;
use tollgate_core::price::overrides::{PriceOverride, PriceOverrides};
use tollgate_core::{Clock, IntegrationId, KeyId, Moment, TenantId};
use tollgate_providers::UrlPolicy;
use tollgate_store::{ChangeKind, Store};
use tollgate_vault::{KeyRing, Secret, VaultError};

use crate::authority::Authority;
use crate::books::Check;
use crate::clock;
use crate::config::AppConfig;
use crate::directory::integration::{Environment, ReadVariable};
use crate::directory::{Directory, KeyEntry, KeyRefusal, Snapshot};
use crate::enforcement::open::OpenHolds;
use crate::error::AppError;
use crate::health::{Carrier, Probing};
use crate::idempotency::Running;
use crate::jobs::Jobs;
use crate::journal::Journal;
use crate::ledger::{Ledger, Writer};
use crate::masterkeys::ring::{LiveRing, ReadKeys};
use crate::metering::{Fellowship, Metering};
use crate::prices::PriceSource;
use crate::recovery::{Backlog, resume};

/// How long a stop waits for the store to take what is queued.
const STOP_PATIENCE: Duration = Duration::from_secs(10);

/// What an [`App`] is made of.
pub struct AppParts {
    /// Where things are kept; migrated.
    pub store: Store,
    /// The master keys.
    pub ring: KeyRing,
    /// Reads the master keys anew.
    pub read_keys: ReadKeys,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Prices.
    pub prices: PriceBook,
    /// Where providers may be.
    pub url_policy: UrlPolicy,
    /// Reads one environment variable, for `env://` references.
    pub read_env: ReadVariable,
    /// How probes reach providers.
    pub carrier: Arc<dyn Carrier>,
    /// The folder for the journal when none is configured.
    pub journal_dir: PathBuf,
    /// Settings.
    pub config: AppConfig,
}

/// Everything that the edges can ask for.
#[derive(Debug)]
pub struct App {
    pub(crate) store: Store,
    pub(crate) ring: LiveRing,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) url_policy: UrlPolicy,
    pub(crate) journal: Arc<Journal>,
    pub(crate) ledger: Ledger,
    /// Bytes that the last end of the program left half-written in the journal.
    pub(crate) torn_bytes: u64,
    /// The last verification of the books on this node.
    pub(crate) last_check: Mutex<Option<Check>>,
    pub(crate) environment: Environment,
    pub(crate) carrier: Arc<dyn Carrier>,
    pub(crate) probing: Probing,
    pub(crate) prices: PriceBook,
    pub(crate) open_holds: OpenHolds,
    directory: Directory,
    metering: Arc<Metering>,
    pub(crate) running_requests: Arc<Running>,
    /// Held from reading a changed thing to putting it into the directory, so that of two
    /// refreshes the one that read later also puts later.
    refreshing: tokio::sync::Mutex<()>,
    running: Mutex<Option<(Writer, Jobs)>>,
}

impl std::fmt::Debug for AppParts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AppParts")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl App {
    /// Starts everything: takes up what a crash left in the journal, loads the directory, starts
    /// the ledger's writer and the jobs. Does not wait until the ledger has what was left.
    pub async fn start(parts: AppParts) -> Result<Arc<Self>, AppError> {
        let sharing = clock::begin(&parts.store, &*parts.clock).await?;
        let now = parts.clock.now();
        let operator = parts.store.operator();
        operator.heartbeat(now.wall).await?;
        let (journal, recovery) = Journal::open(parts.config.journal(parts.journal_dir))?;
        let journal = Arc::new(journal);
        let authority: Arc<dyn Authority> = Arc::new(parts.store.clone());
        let (ledger, writer) = Ledger::start(
            Arc::clone(&authority),
            Arc::clone(&journal),
            Arc::clone(&parts.clock),
            parts.config.writing(),
        );
        let backlog = Box::pin(resume(authority.as_ref(), &journal, recovery)).await?;
        let torn_bytes = backlog.torn_bytes;
        let rows = operator.load_directory().await?;
        let metering = Arc::new(Metering {
            authority,
            journal: Arc::clone(&journal),
            ledger: ledger.clone(),
            clock: Arc::clone(&parts.clock),
            fellowship: Fellowship::joined(sharing, now),
            backlog_rows_max: parts.config.ledger_backlog_rows_max,
        });
        let probing = parts.config.probing();
        let prefixes = parts.config.env_credential_prefixes;
        let app = Arc::new(Self {
            store: parts.store,
            ring: LiveRing::new(parts.ring, parts.read_keys),
            clock: parts.clock,
            url_policy: parts.url_policy,
            journal,
            ledger,
            torn_bytes,
            last_check: Mutex::new(None),
            environment: Environment {
                read: parts.read_env,
                prefixes,
            },
            carrier: parts.carrier,
            probing,
            open_holds: OpenHolds::default(),
            prices: parts.prices,
            directory: Directory::new(sharing),
            metering,
            running_requests: Arc::default(),
            refreshing: tokio::sync::Mutex::default(),
            running: Mutex::new(None),
        });
        Box::pin(app.take_up(&rows, backlog)).await?;
        let jobs = Jobs::start(&app, rows.change, parts.config.refresh_seconds);
        *app.running.lock() = Some((writer, jobs));
        Ok(app)
    }

    /// Stops the jobs, waits until the ledger has every row, and syncs the journal.
    pub async fn stop(&self) {
        let running = self.running.lock().take();
        if let Some((writer, jobs)) = running {
            jobs.stop(self).await;
            if writer.finish(STOP_PATIENCE).await
                && let Err(error) = self.store.operator().give_back_all(&[]).await
            {
                tracing::warn!(%error, "what this node has drawn could not be given back");
            }
            self.tell_no_keys().await;
        }
        if let Err(error) = self.journal.sync() {
            tracing::error!(%error, "the journal could not be synced");
        }
        self.store.close().await;
    }

    /// Waits until everything that was settled before is in the ledger.
    pub async fn books_caught_up(&self) {
        self.ledger.caught_up().await;
    }

    /// How many statements were sent to the database since the start.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.store.statements()
    }

    /// The present moment.
    #[must_use]
    pub fn now(&self) -> Moment {
        self.clock.now()
    }

    /// The hot map.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Admission and settlement.
    #[must_use]
    pub const fn metering(&self) -> &Arc<Metering> {
        &self.metering
    }

    /// The key that a caller presents, if it is live.
    pub fn identify(&self, presented: &str, now: Moment) -> Result<Arc<KeyEntry>, KeyRefusal> {
        let digest = self.ring.digest(presented).ok_or(KeyRefusal::Unknown)?;
        self.directory.key(&digest, now.wall)
    }

    /// The prices of a model: the integration's own, else those that its tenant has set, else those
    /// that were set for the whole installation, else the price book's. Each is asked for the name
    /// that was called, and then for the model that the integration's settings say it stands for.
    #[must_use]
    pub fn prices(
        &self,
        snapshot: &Snapshot,
        model: &str,
        now: Moment,
    ) -> Option<Arc<ModelPrices>> {
        let provider = snapshot.record.provider_type;
        let behind = snapshot.config.deployed(model);
        let tenant = &snapshot.tenant_id;
        let set = |name| self.directory.set_price(tenant, provider, name);
        snapshot
            .own_prices(model)
            .or_else(|| snapshot.own_prices(behind))
            .or_else(|| set(model))
            .or_else(|| set(behind))
            .or_else(|| self.prices.find(provider, behind, now.wall))
    }

    /// Opens an integration's credential, as late as possible.
    pub fn open_credential(&self, snapshot: &Snapshot) -> Result<Option<Secret>, VaultError> {
        let opened = snapshot.open_credential(&self.ring.load(), &self.environment);
        if !matches!(opened, Err(VaultError::UnknownMasterKey { .. })) {
            return opened;
        }
        // The call took its snapshot before a rotation ended; the directory has a newer seal.
        match self.directory.integration(snapshot.id) {
            None => opened,
            Some(current) => {
                let current = current.snapshot();
                current.open_credential(&self.ring.load(), &self.environment)
            }
        }
    }

    /// Takes up what an earlier run of this node has left in the store.
    async fn take_up(
        &self,
        rows: &tollgate_store::Directory,
        backlog: Backlog,
    ) -> Result<(), AppError> {
        self.load(rows);
        self.tell_keys().await?;
        let find = |id| self.directory.integration(id);
        backlog.take_up(&self.metering, find).await?;
        self.restore_holds().await
    }

    fn load(&self, rows: &tollgate_store::Directory) {
        for tenant in &rows.tenants {
            self.directory.put_tenant(tenant);
        }
        for tenant in owners(&rows.prices) {
            let own = rows.prices.iter().filter(|(owner, _)| *owner == tenant);
            self.take_prices(tenant.as_ref(), own.map(|(_, price)| price));
        }
        for (digest, key) in &rows.keys {
            self.directory.put_key(*digest, key.clone());
        }
        for (record, credential) in &rows.integrations {
            match Snapshot::read(record.clone(), credential.as_ref(), &self.url_policy) {
                Ok(snapshot) => self.directory.put_integration(snapshot),
                Err(error) => {
                    tracing::error!(%error, id = record.id, "an integration cannot be loaded");
                }
            }
        }
    }

    /// Takes in what was changed in the store, here or by another node.
    pub(crate) async fn refresh(&self, kind: ChangeKind, id: &str) -> Result<(), AppError> {
        match kind {
            ChangeKind::Tenant if id.is_empty() => self.refresh_prices(None).await,
            ChangeKind::Tenant => {
                self.refresh_tenant(&id.parse().map_err(AppError::internal)?)
                    .await
            }
            ChangeKind::Key => {
                self.refresh_key(id.parse().map_err(AppError::internal)?)
                    .await
            }
            ChangeKind::Integration => {
                self.refresh_integration(id.parse().map_err(AppError::internal)?)
                    .await
            }
        }
    }

    /// Takes what cannot be read out of the directory: nothing passes on its account.
    pub(crate) fn forget(&self, kind: ChangeKind, id: &str) {
        match kind {
            ChangeKind::Tenant => {
                if let Ok(id) = id.parse() {
                    self.directory.remove_tenant(&id);
                }
            }
            ChangeKind::Key => {
                if let Ok(id) = id.parse() {
                    self.directory.remove_key(id);
                }
            }
            ChangeKind::Integration => {
                if let Ok(id) = id.parse() {
                    self.directory.remove_integration(id);
                }
            }
        }
    }

    pub(crate) async fn refresh_tenant(&self, id: &TenantId) -> Result<(), AppError> {
        let _turn = self.refreshing.lock().await;
        match self.store.operator().load_tenant(id).await? {
            Some(tenant) => {
                self.directory.put_tenant(&tenant);
                let prices = self.store.tenant(id).list_prices().await?;
                self.take_prices(Some(id), &prices);
            }
            None => self.directory.remove_tenant(id),
        }
        Ok(())
    }

    /// Takes in the prices of a tenant, or of the whole installation.
    pub(crate) async fn refresh_prices(&self, tenant: Option<&TenantId>) -> Result<(), AppError> {
        let Some(tenant) = tenant else {
            let _turn = self.refreshing.lock().await;
            let prices = self.store.operator().list_installation_prices().await?;
            self.take_prices(None, &prices);
            return Ok(());
        };
        self.refresh_tenant(tenant).await
    }

    fn take_prices<'p>(
        &self,
        tenant: Option<&TenantId>,
        prices: impl IntoIterator<Item = &'p PriceOverride>,
    ) {
        let source = PriceSource::of_owner(tenant).as_str();
        self.directory
            .put_prices(tenant, PriceOverrides::new(source, prices));
    }

    pub(crate) async fn refresh_key(&self, id: KeyId) -> Result<(), AppError> {
        let _turn = self.refreshing.lock().await;
        if let Some((digest, key)) = self.store.operator().load_key(id).await? {
            self.directory.put_key(digest, key);
        }
        Ok(())
    }

    pub(crate) async fn refresh_integration(&self, id: IntegrationId) -> Result<(), AppError> {
        let _turn = self.refreshing.lock().await;
        match self.store.operator().load_integration(id).await? {
            Some((record, credential)) => {
                let snapshot = Snapshot::read(record, credential.as_ref(), &self.url_policy)?;
                self.directory.put_integration(snapshot);
            }
            None => self.directory.remove_integration(id),
        }
        Ok(())
    }
}

/// Whose prices there are, each once.
fn owners(prices: &[(Option<TenantId>, PriceOverride)]) -> BTreeSet<Option<TenantId>> {
    prices.iter().map(|(owner, _)| owner.clone()).collect()
}
