//! What is kept: SQLite and PostgreSQL behind one concrete [`Store`], the only crate with SQL.
//!
//! A tenant's rows are reached through [`Store::tenant`] alone, everybody's through [`Store::operator`].
//! Each method is one atomic change with its audit entry, and runs to its end in a task of its own, so a caller who goes
//! away leaves no transaction open. A transaction never leaves this crate.
//!
//! To add a stored noun: a file here with its row, its statements and its methods, a migration for each engine, a file in
//! `tests/conformance/`. To add an engine: see `engine.rs`.

mod allowances;
mod audit;
pub mod backup;
mod balances;
mod changes;
mod credentials;
mod engine;
mod error;
mod health;
mod holds;
mod idempotency;
mod integrations;
mod keys;
mod ledger;
mod masterkeys;
mod migrate;
mod news;
mod nodes;
mod page;
mod permits;
mod prices;
mod rollups;
mod tenants;
mod usage;
mod value;
mod verify;
mod wall;
mod windows;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tollgate_core::{NodeId, Period, TenantId};

pub use self::allowances::{DrawAsk, Owed, Prospect};
pub use self::audit::{AuditFilter, AuditReport, AuditRow, AuditSeal, BadEntry};
pub use self::balances::Balance;
pub use self::changes::{Change, ChangeKind, Directory};
pub use self::credentials::{CredentialRow, NewCredential};
use self::engine::{Engine, Purpose, Work};
pub use self::error::{Conflict, Source, StoreError};
pub use self::health::{Evidence, HealthChange, HealthCount, HealthRow, ProbeTurn};
pub use self::holds::{Ended, EndedHold, LivingHolds};
pub use self::idempotency::{Begun, IdempotentRequest};
pub use self::integrations::{IntegrationChange, IntegrationFilter};
pub use self::keys::{KeyFilter, KeyRotation};
pub use self::ledger::{AppendReport, Fate, LedgerStatus, Refused, ReportedEntry, Standing};
pub use self::masterkeys::{Rewrapped, SealedRow};
pub use self::migrate::{AppliedMigration, MigrationStatus, PendingMigration};
pub use self::news::{Listener, News};
pub use self::nodes::NodeRow;
pub use self::permits::PermitDraw;
pub use self::prices::UnpricedModel;
pub use self::rollups::RebuildReport;
pub use self::usage::{
    DailyRow, ExportAsk, Exported, IntegrationUsage, ModelUsage, UsageFilter, UsageRow,
    UsageSummary, UsageTotals,
};
pub use self::verify::{Difference, VerifyReport};
pub use self::wall::RowSecurity;

/// How a store is opened.
#[derive(Debug, Clone)]
pub struct OpenStore {
    /// Connections of the PostgreSQL pool, at least 1; a few more serve the books. SQLite needs no number.
    pub max_connections: u32,
    /// The node whose allowances are drawn and whose calls are appended.
    pub node: NodeId,
    /// What chains the audit trail; [`AuditSeal::absent`] for a store that is only looked at.
    pub audit: AuditSeal,
}

impl OpenStore {
    /// The usual pool of 16 connections, for a node.
    #[must_use]
    pub const fn for_node(node: NodeId, audit: AuditSeal) -> Self {
        Self {
            max_connections: 16,
            node,
            audit,
        }
    }
}

/// How often a change of the books is tried that another transaction is in the way of.
const BOOK_ATTEMPTS: u32 = 8;

/// A body at work.
type Doing<'w, T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send + 'w>>;

/// The database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<Engine>,
    node: NodeId,
}

/// What belongs to everybody: tenants, the directory, the books, nodes. Each place that asks for it is on a recorded list.
#[derive(Debug, Clone)]
pub struct OperatorStore {
    store: Store,
}

/// What belongs to one tenant.
#[derive(Debug, Clone)]
pub struct TenantStore {
    store: Store,
    tenant: TenantId,
}

impl Store {
    /// Opens the database at `sqlite:PATH`, `sqlite::memory:` or `postgres://…`; it does not migrate.
    ///
    /// Fails with [`StoreError::Locked`] if another process has the SQLite file.
    pub async fn open(url: &str, options: OpenStore) -> Result<Self, StoreError> {
        let url = url.to_owned();
        let (connections, seal) = (options.max_connections, options.audit);
        let engine = run(Box::pin(async move {
            Engine::open(&url, connections, seal).await
        }))
        .await?;
        Ok(Self {
            engine: Arc::new(engine),
            node: options.node,
        })
    }

    /// Waits for what is under way, then closes every connection and frees the SQLite file for others.
    pub async fn close(&self) {
        let engine = Arc::clone(&self.engine);
        let closed = run(Box::pin(async move {
            engine.close().await;
            Ok(())
        }));
        if let Err(error) = closed.await {
            tracing::warn!(%error, "the store did not close cleanly");
        }
    }

    /// `sqlite` or `postgres`.
    #[must_use]
    pub fn engine_name(&self) -> &'static str {
        self.engine.name()
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.perform(Purpose::Read, |work| {
            Box::pin(async {
                let one = engine::sql("SELECT CAST(1 AS BIGINT)");
                work.fetch_one::<(i64,)>(one).await.map(drop)
            })
        })
        .await
    }

    /// How many statements were sent since the store was opened.
    #[must_use]
    pub fn statements(&self) -> u64 {
        self.engine.statements()
    }

    /// The node that this store was opened for.
    #[must_use]
    pub const fn node(&self) -> NodeId {
        self.node
    }

    /// The same database, as another node sees it.
    #[must_use]
    pub fn as_node(&self, node: NodeId) -> Self {
        Self {
            node,
            ..self.clone()
        }
    }

    /// What belongs to everybody.
    #[must_use]
    pub fn operator(&self) -> OperatorStore {
        OperatorStore {
            store: self.clone(),
        }
    }

    /// What belongs to one tenant.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> TenantStore {
        TenantStore {
            store: self.clone(),
            tenant: id.clone(),
        }
    }

    /// Does one piece of work, whole or not at all, in a task of its own.
    async fn perform<T, F>(&self, purpose: Purpose, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Doing<'w, T> + Send + 'static,
    {
        let engine = Arc::clone(&self.engine);
        run(Box::pin(async move {
            let mut work = engine.work(purpose).await?;
            let result = body(&mut work).await;
            work.end(result).await
        }))
        .await
    }

    /// Does one piece of work on the books, again from the start where another transaction was in the way.
    async fn book<T, F>(&self, months: Vec<Period>, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> Fn(&'w mut Work) -> Doing<'w, T> + Send + Sync + 'static,
    {
        let engine = Arc::clone(&self.engine);
        run(Box::pin(async move {
            let mut attempt = 1;
            loop {
                match book_once(&engine, &months, &body).await {
                    Err(StoreError::Contended { source }) if attempt < BOOK_ATTEMPTS => {
                        tracing::debug!(attempt, %source, "the books are busy: once more");
                        attempt += 1;
                    }
                    result => return result,
                }
            }
        }))
        .await
    }
}

impl TenantStore {
    /// Does one piece of work on this tenant's rows, whole or not at all.
    async fn perform<T, F>(&self, purpose: Purpose, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Doing<'w, T> + Send + 'static,
    {
        let engine = Arc::clone(&self.store.engine);
        let tenant = self.tenant.clone();
        run(Box::pin(async move {
            let mut work = engine.work_of(&tenant, purpose).await?;
            let result = body(&mut work).await;
            work.end(result).await
        }))
        .await
    }
}

impl OperatorStore {
    /// Does one piece of work on anybody's rows, whole or not at all.
    async fn perform<T, F>(&self, purpose: Purpose, body: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: for<'w> FnOnce(&'w mut Work) -> Doing<'w, T> + Send + 'static,
    {
        self.store.perform(purpose, body).await
    }
}

async fn book_once<T, F>(engine: &Engine, months: &[Period], body: &F) -> Result<T, StoreError>
where
    F: for<'w> Fn(&'w mut Work) -> Doing<'w, T> + Send + Sync,
{
    engine.prepare_months(months).await?;
    let mut work = engine.work(Purpose::Book).await?;
    let result = body(&mut work).await;
    work.end(result).await
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store")
            .field("engine", &self.engine.name())
            .finish_non_exhaustive()
    }
}

/// Runs a method's body to its end in a task of its own, whatever becomes of the caller. It is boxed: a body has some thousand
/// bytes, which would be copied from each to the next that holds it.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the store starts a task: a body must outlive the caller who drops it"
)]
async fn run<T: Send + 'static>(body: Doing<'static, T>) -> Result<T, StoreError> {
    match tokio::spawn(body).await {
        Ok(result) => result,
        Err(source) => Err(StoreError::Unavailable {
            source: Box::new(source),
        }),
    }
}

#[cfg(test)]
mod tests {
    use tollgate_core::NodeId;

    use super::*;
    use crate::engine::sql;

    #[test]
    fn a_body_that_panics_leaves_nothing_behind_and_the_store_goes_on() {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let folder = tempfile::tempdir().unwrap();
            let url = format!("sqlite:{}", folder.path().join("books.db").display());
            let options = OpenStore::for_node(NodeId::generate(), AuditSeal::absent());
            let store = Store::open(&url, options).await.unwrap();
            store.migrate(jiff::Timestamp::UNIX_EPOCH).await.unwrap();
            let panicked: Result<(), _> = store
                .perform(Purpose::Change, |work| {
                    Box::pin(async {
                        let insert = "INSERT INTO changes (kind, subject_id) VALUES ('key', 'x')";
                        work.execute(sql(insert)).await?;
                        panic!("a bug in a body");
                    })
                })
                .await;
            assert!(matches!(panicked, Err(StoreError::Unavailable { .. })));
            assert_eq!(store.operator().latest_change().await.unwrap(), 0);
            store
                .operator()
                .heartbeat(jiff::Timestamp::UNIX_EPOCH)
                .await
                .unwrap();
            store.close().await;
        });
    }
}
