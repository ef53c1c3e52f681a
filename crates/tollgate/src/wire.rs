//! The one place that puts the pieces together: the store with its engine, the vault with its
//! keys, the use cases, and the two edges.

mod disk;
mod listen;
mod trust;

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;

use tokio::net::TcpListener;
use tollgate_app::journal::JournalError;
use tollgate_app::masterkeys::ring::ReadKeys;
use tollgate_app::{App, AppError, AppParts};
use tollgate_core::NodeId;
use tollgate_core::clock::{Clock, SystemClock};
use tollgate_core::page::PageAsk;
use tollgate_core::price::book::PriceBook;
use tollgate_gateway::{Connector, Metrics, ProbeCarrier, Server};
use tollgate_store::{AuditSeal, KeyFilter, OpenStore, Store, StoreError};
use tollgate_vault::KeyRing;

use crate::admin::Admin;
use crate::commands::journal::of_journal;
use crate::output::{Exit, Failure};
use crate::settings::{SecretReference, Settings, environment};
use crate::telemetry::Telemetry;

pub use self::listen::bind;
pub use self::trust::{audit_seal, missing_wall};

/// The file in the data directory that says which node this is.
const NODE_FILE: &str = "node-id";

/// The file in the data directory that says which key file its store belongs to; no secret.
const MARK_FILE: &str = "key-mark";

/// Both listeners, taken before anything else is touched.
#[derive(Debug)]
pub struct Listeners {
    /// For callers.
    pub gateway: TcpListener,
    /// For the control plane.
    pub admin: TcpListener,
}

/// A running Tollgate.
#[derive(Debug)]
pub struct Running {
    app: Arc<App>,
    gateway: Server,
    admin: Admin,
}

impl Running {
    /// Starts both edges over the use cases.
    pub fn start(
        app: Arc<App>,
        settings: &Settings,
        listeners: Listeners,
    ) -> Result<Self, Failure> {
        let metrics = Arc::new(Metrics::default());
        let telemetry = Telemetry::new(&metrics);
        let admin = Admin::serve(Arc::clone(&app), telemetry, listeners.admin)?;
        let mut config = settings.gateway.clone();
        let spool = || settings.folder.join("spool");
        config.spool_dir.get_or_insert_with(spool);
        let gateway = tollgate_gateway::serve(
            Arc::clone(&app),
            config,
            &Connector::new(settings.providers.policy()),
            metrics,
            listeners.gateway,
        )?;
        Ok(Self {
            app,
            gateway,
            admin,
        })
    }

    /// Where callers are served.
    #[must_use]
    pub const fn gateway_address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Where the control plane is.
    #[must_use]
    pub const fn admin_address(&self) -> SocketAddr {
        self.admin.address()
    }

    /// Ends calls first, then the control plane, then the books: nothing that was settled is
    /// left behind.
    pub async fn stop(self) {
        self.admin.drain();
        self.gateway.stop().await;
        self.admin.stop().await;
        self.app.stop().await;
    }
}

/// Opens the store and brings its tables up to date, then starts the use cases. The data
/// directory is made where it is missing.
pub async fn start_app(settings: &Settings, ring: KeyRing) -> Result<Arc<App>, Failure> {
    let started = Box::pin(start_with(settings, ring)).await;
    started.map_err(|failure| disk::explained(failure, &settings.folder))
}

async fn start_with(settings: &Settings, ring: KeyRing) -> Result<Arc<App>, Failure> {
    let clock = Arc::new(SystemClock::start());
    let store = open_store(settings, clock.as_ref(), audit_seal(&ring)).await?;
    let wall = store.row_security().await;
    if let Some(missing) = missing_wall(&wall.map_err(|error| of_store(&error))?) {
        tracing::warn!("{missing}");
    }
    let mark = ring.pepper_mark();
    write_private(&settings.folder.join(MARK_FILE), |out| {
        writeln!(out, "{mark}")
    })?;
    let prices = PriceBook::bundled().map_err(Failure::plain)?;
    let policy = settings.providers.policy();
    let connector = Connector::new(policy.clone());
    let parts = AppParts {
        store,
        ring,
        read_keys: key_reader(settings),
        clock,
        prices,
        url_policy: policy,
        read_env: Box::new(environment::read),
        carrier: Arc::new(ProbeCarrier::new(&settings.gateway, &connector)),
        journal_dir: settings.folder.join("journal"),
        config: settings.app.clone(),
    };
    // Boxed, because it is large and whoever waits for it would be too.
    let app = Box::pin(App::start(parts)).await;
    app.map_err(|error| of_app(&error))
}

async fn open_store(
    settings: &Settings,
    clock: &dyn Clock,
    audit: AuditSeal,
) -> Result<Store, Failure> {
    let store = open_unmigrated(settings, audit).await?;
    store
        .migrate(clock.now().wall)
        .await
        .map_err(|error| of_store(&error))?;
    Ok(store)
}

async fn open_unmigrated(settings: &Settings, audit: AuditSeal) -> Result<Store, Failure> {
    make_folder(&settings.folder)?;
    let node = node_id(&settings.folder)?;
    let options = OpenStore {
        max_connections: settings.store.max_connections,
        node,
        audit,
    };
    Store::open(&settings.store_url()?, options)
        .await
        .map_err(|error| of_store(&error))
}

/// Whether another process works on the store, so that this one cannot.
pub async fn is_store_taken(settings: &Settings) -> Result<bool, Failure> {
    let options = OpenStore {
        max_connections: 1,
        node: NodeId::generate(),
        audit: AuditSeal::absent(),
    };
    match Store::open(&settings.store_url()?, options).await {
        Ok(store) => {
            store.close().await;
            Ok(false)
        }
        Err(StoreError::Locked { .. }) => Ok(true),
        Err(error) => Err(of_store(&error)),
    }
}

/// Whether the store has keys or tenants already, so that another master key would not fit it.
pub async fn is_store_in_use(settings: &Settings) -> Result<bool, Failure> {
    let store = open_unmigrated(settings, AuditSeal::absent()).await?;
    let operator = store.operator();
    let found = async {
        match store.migrate(SystemClock::start().now().wall).await {
            // There are audit entries to be chained under a key that somebody has.
            Err(StoreError::NoAuditKey) => return Ok(true),
            done => drop(done?),
        }
        let keys = operator.list_operator_keys(PageAsk::default(), KeyFilter::default());
        if !keys.await?.rows.is_empty() {
            return Ok(true);
        }
        let tenants = operator.list_tenants(PageAsk::default(), None).await?;
        Ok(!tenants.rows.is_empty())
    };
    let found: Result<bool, StoreError> = found.await;
    store.close().await;
    found.map_err(|error| of_store(&error))
}

/// Reads the master keys, or says how to make some; others than the data directory was begun
/// with are refused.
pub fn key_ring(settings: &Settings) -> Result<KeyRing, Failure> {
    let reference = settings.key_reference();
    if let SecretReference::File(path) = &reference
        && !path.exists()
    {
        let path = path.display();
        let advice = if settings.folder.join(MARK_FILE).exists() {
            "restore it from your backup"
        } else {
            "make it with `tollgate init`"
        };
        let message = format!(
            "there is no master key file {path}, and Tollgate does not start without one: \
             {advice}, or set vault.key_file"
        );
        return Err(Failure::usage(message));
    }
    let text = reference.read("vault.key_file")?;
    let ring = KeyRing::parse(&text)
        .map_err(|error| Failure::usage(format_args!("{reference}: {error}")))?;
    check_mark(settings, &ring)?;
    Ok(ring)
}

/// Reads the master keys anew whenever it is asked.
fn key_reader(settings: &Settings) -> ReadKeys {
    let reference = settings.key_reference();
    Box::new(move || {
        let text = reference.read("vault.key_file");
        let text = text.map_err(|failure| failure.message)?;
        KeyRing::parse(&text).map_err(|error| format!("{reference}: {error}"))
    })
}

/// With other keys than the store's every access key would be refused, and nothing would say why.
fn check_mark(settings: &Settings, ring: &KeyRing) -> Result<(), Failure> {
    let path = settings.folder.join(MARK_FILE);
    let kept = match fs::read_to_string(&path) {
        Ok(kept) => kept,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Failure::file("read", &path, &error)),
    };
    if kept.trim() == ring.pepper_mark() {
        return Ok(());
    }
    let (reference, path) = (settings.key_reference(), path.display());
    Err(Failure::plain(format_args!(
        "{reference} is not the master key file that this data directory was begun with: restore \
         that one from your backup; if the store is new too, delete {path}"
    )))
}

/// Makes a folder that only this user may enter, unless it is there.
pub fn make_folder(folder: &Path) -> Result<(), Failure> {
    if folder.is_dir() {
        return Ok(());
    }
    let made = fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder);
    made.map_err(|error| Failure::file("make the folder", folder, &error))
}

/// Writes a file that only this user may read, whole or not at all, unless it is there.
/// Returns whether it was written.
pub fn write_private(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<Written, Failure> {
    if path.exists() {
        return Ok(Written::WasThere);
    }
    replace_private(path, write)?;
    Ok(Written::Anew)
}

/// Writes a file that only this user may read, whole or not at all.
pub fn replace_private(
    path: &Path,
    write: impl FnOnce(&mut dyn io::Write) -> io::Result<()>,
) -> Result<(), Failure> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let beside = path.with_file_name(name);
    let attempt = || {
        // What a crash left there may be readable by others, so it is not written into.
        if beside.symlink_metadata().is_ok() {
            fs::remove_file(&beside)?;
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&beside)?;
        write(&mut file)?;
        file.flush()?;
        file.sync_all()?;
        fs::rename(&beside, path)?;
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        fs::File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
    };
    attempt().map_err(|error| Failure::file("write", path, &error))
}

/// Whether a file was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It is new.
    Anew,
    /// It was there and is as it was.
    WasThere,
}

/// Which node this is: said by a file in the data directory, which is made at the first start.
pub fn node_id(folder: &Path) -> Result<NodeId, Failure> {
    let path = folder.join(NODE_FILE);
    write_private(&path, |out| writeln!(out, "{}", NodeId::generate()))?;
    let text = fs::read_to_string(&path).map_err(|error| Failure::file("read", &path, &error))?;
    text.trim().parse().map_err(|_unfit| {
        let path = path.display();
        Failure::plain(format_args!(
            "{path} holds no node id: restore it, or delete it to begin as a new node"
        ))
    })
}

/// What the store says, with its exit code.
pub fn of_store(error: &StoreError) -> Failure {
    let exit = if matches!(
        error,
        StoreError::Unavailable { .. } | StoreError::Contended { .. }
    ) {
        Exit::Unreachable
    } else if matches!(error, StoreError::Locked { .. }) {
        Exit::Conflict
    } else if matches!(error, StoreError::InvalidUrl { .. }) {
        Exit::Usage
    } else {
        Exit::Failure
    };
    Failure::new(exit, format!("the store: {error}"))
}

/// What a use case says, with its exit code.
pub fn of_app(error: &AppError) -> Failure {
    if let AppError::Internal(cause) = error {
        // There is no request here, and no log to look into: the cause is the message.
        let journal = cause.downcast_ref::<JournalError>();
        return journal.map_or_else(|| Failure::plain(cause), of_journal);
    }
    let exit = match error {
        AppError::NotFound(_) => Exit::NotFound,
        AppError::Conflict { .. }
        | AppError::PreconditionFailed(_)
        | AppError::KeyReused
        | AppError::InProgress => Exit::Conflict,
        AppError::Forbidden(_) => Exit::Denied,
        AppError::Unavailable(_) => Exit::Unreachable,
        AppError::Invalid { .. }
        | AppError::Rules(_)
        | AppError::Refused { .. }
        | AppError::Internal(_) => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}
