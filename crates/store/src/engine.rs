//! The two engines behind one seam: connections, transactions, and the only place that sends statements.
//!
//! Above this file there is one body for both engines. To add an engine, give [`Link`] a variant,
//! and the new file in `engine/` a way to open, to begin and to bind.

mod postgres;
mod sqlite;
mod statement;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Postgres, Sqlite};
use tollgate_core::Period;

pub(crate) use self::statement::{Batch, Kind, Statement, Value, sql};
use crate::audit::AuditSeal;
use crate::error::{StoreError, from_driver};

/// The seam: one body, compiled for the connection of each engine, with the module that knows the engine's ways.
macro_rules! on_engine {
    ($link:expr, $connection:ident => $body:expr) => {
        match $link {
            Link::Sqlite($connection) => $body,
            Link::Postgres($connection) => $body,
        }
    };
    ($link:expr, $connection:ident in $dialect:ident => $body:expr) => {
        match $link {
            Link::Sqlite($connection) => {
                use crate::engine::sqlite as $dialect;
                $body
            }
            Link::Postgres($connection) => {
                use crate::engine::postgres as $dialect;
                $body
            }
        }
    };
}

/// A row that can be read from both engines.
pub(crate) trait Record:
    for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

impl<T> Record for T where
    T: for<'r> FromRow<'r, SqliteRow> + for<'r> FromRow<'r, PgRow> + Send + Unpin
{
}

/// An open database.
pub(crate) struct Engine {
    kind: Pools,
    statements: Arc<AtomicU64>,
    audit: AuditSeal,
}

enum Pools {
    Sqlite(sqlite::Pools),
    Postgres(postgres::Pools),
}

/// A connection of one of the engines.
pub(crate) enum Link {
    Sqlite(PoolConnection<Sqlite>),
    Postgres(PoolConnection<Postgres>),
}

/// What a piece of work is for: which connection it takes and how it begins.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    /// One statement that reads.
    Read,
    /// Several statements that read the same moment.
    Snapshot,
    /// A change of the control plane: one at a time.
    Change,
    /// A change that takes secrets out of the database: what they stood on is overwritten too, as far as the engine can.
    Erase,
    /// A change of the books: on PostgreSQL connections of its own, so that it never waits for others.
    Book,
}

impl Engine {
    pub(crate) async fn open(
        url: &str,
        max_connections: u32,
        audit: AuditSeal,
    ) -> Result<Self, StoreError> {
        let kind = if let Some(path) = url.strip_prefix("sqlite:") {
            Pools::Sqlite(sqlite::open(path.strip_prefix("//").unwrap_or(path)).await?)
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            Pools::Postgres(postgres::open(url, max_connections)?)
        } else {
            return Err(StoreError::InvalidUrl {
                reason: "it names neither sqlite nor postgres",
            });
        };
        Ok(Self {
            kind,
            statements: Arc::default(),
            audit,
        })
    }

    pub(crate) const fn name(&self) -> &'static str {
        match self.kind {
            Pools::Sqlite(_) => "sqlite",
            Pools::Postgres(_) => "postgres",
        }
    }

    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::Relaxed)
    }

    pub(crate) async fn close(&self) {
        match &self.kind {
            Pools::Sqlite(pools) => pools.close().await,
            Pools::Postgres(pools) => pools.close().await,
        }
    }

    /// Where a listener's connection comes from, on an engine that has news.
    pub(crate) const fn news_pool(&self) -> Option<&sqlx::PgPool> {
        match &self.kind {
            Pools::Sqlite(_) => None,
            Pools::Postgres(pools) => Some(pools.news()),
        }
    }

    /// A connection that has begun what its purpose needs. Only a task that runs to its end may hold one.
    pub(crate) async fn work(&self, purpose: Purpose) -> Result<Work, StoreError> {
        let (link, begin) = match &self.kind {
            Pools::Sqlite(pools) => (
                Link::Sqlite(pools.acquire(purpose).await?),
                sqlite::begin(purpose),
            ),
            Pools::Postgres(pools) => (
                Link::Postgres(pools.acquire(purpose).await?),
                postgres::begin(purpose),
            ),
        };
        let mut work = Work {
            link,
            purpose,
            is_open: false,
            statements: Arc::clone(&self.statements),
            audit: self.audit.clone(),
        };
        if let Some(begin) = begin {
            work.is_open = true; // from here on a connection that is dropped early is closed
            work.execute(sql(begin)).await?;
        }
        if matches!(purpose, Purpose::Change | Purpose::Erase) && work.is_postgres() {
            work.execute(postgres::lock_changes()).await?;
        }
        Ok(work)
    }

    /// Makes the ledger ready for rows of these months.
    pub(crate) async fn prepare_months(&self, months: &[Period]) -> Result<(), StoreError> {
        let Pools::Postgres(pools) = &self.kind else {
            return Ok(());
        };
        for month in pools.unprepared(months) {
            let mut work = self.work(Purpose::Book).await?;
            let made = postgres::make_partition(&mut work, month).await;
            work.end(made).await?;
            pools.prepared(month);
        }
        Ok(())
    }
}

/// A connection at work, in a transaction unless its purpose is to read once.
///
/// Ends in [`Work::end`]. If it is dropped in a transaction (its task panicked), the connection is closed, which
/// undoes everything, and does not go back to the pool.
pub(crate) struct Work {
    link: Link,
    purpose: Purpose,
    is_open: bool,
    statements: Arc<AtomicU64>,
    audit: AuditSeal,
}

impl Work {
    /// Commits what went well, and undoes what did not.
    pub(crate) async fn end<T>(mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if !self.is_open {
            return result;
        }
        match result {
            Ok(value) => {
                self.execute(sql("COMMIT")).await?;
                self.is_open = false;
                if self.purpose == Purpose::Erase {
                    self.overwrite().await;
                }
                Ok(value)
            }
            Err(error) => {
                // Where even this fails the connection is closed, which undoes as well.
                self.is_open = self.execute(sql("ROLLBACK")).await.is_err();
                Err(error)
            }
        }
    }

    /// Empties SQLite's log, which still has the pages as they were. What is erased is erased: this
    /// only keeps it from being found in the files, and is made up for by the next one if it fails.
    async fn overwrite(&mut self) {
        if self.is_postgres() {
            return;
        }
        let emptied = self
            .fetch_one::<(i64, i64, i64)>(sql("PRAGMA wal_checkpoint(TRUNCATE)"))
            .await;
        match emptied {
            Ok((0, _, _)) => {}
            Ok(_) => tracing::warn!("the database's log is in use and was not emptied"),
            Err(error) => tracing::warn!(%error, "the database's log could not be emptied"),
        }
    }

    /// Sends a statement and tells how many rows it touched.
    pub(crate) async fn execute(&mut self, statement: Statement) -> Result<u64, StoreError> {
        self.count();
        on_engine!(&mut self.link, connection in dialect => {
            let (text, arguments) = dialect::render(statement)?;
            let done = sqlx::query_with(text, arguments).execute(&mut **connection).await;
            done.map(|done| done.rows_affected()).map_err(from_driver)
        })
    }

    /// All rows of a statement.
    pub(crate) async fn fetch_all<T: Record>(
        &mut self,
        statement: Statement,
    ) -> Result<Vec<T>, StoreError> {
        self.count();
        on_engine!(&mut self.link, connection in dialect => {
            let (text, arguments) = dialect::render(statement)?;
            let rows = sqlx::query_as_with(text, arguments).fetch_all(&mut **connection).await;
            rows.map_err(from_driver)
        })
    }

    /// The row of a statement that gives one or none.
    pub(crate) async fn fetch_optional<T: Record>(
        &mut self,
        statement: Statement,
    ) -> Result<Option<T>, StoreError> {
        Ok(self.fetch_all(statement).await?.pop())
    }

    /// The row of a statement that always gives one.
    pub(crate) async fn fetch_one<T: Record>(
        &mut self,
        statement: Statement,
    ) -> Result<T, StoreError> {
        self.fetch_optional(statement)
            .await?
            .ok_or(StoreError::NotFound)
    }

    /// Sends rows in as few statements as the engine takes them; the rows that come back are in no order.
    pub(crate) async fn fetch_batch<T: Record>(
        &mut self,
        batch: Batch,
        rows: Vec<Vec<Value>>,
    ) -> Result<Vec<T>, StoreError> {
        let mut found = Vec::new();
        for statement in self.statements_of(batch, rows) {
            found.append(&mut self.fetch_all(statement).await?);
        }
        Ok(found)
    }

    /// Sends rows in as few statements as the engine takes them.
    pub(crate) async fn execute_batch(
        &mut self,
        batch: Batch,
        rows: Vec<Vec<Value>>,
    ) -> Result<u64, StoreError> {
        let mut touched = 0;
        for statement in self.statements_of(batch, rows) {
            touched += self.execute(statement).await?;
        }
        Ok(touched)
    }

    /// Runs a file of statements without arguments.
    pub(crate) async fn run_script(&mut self, script: &'static str) -> Result<(), StoreError> {
        self.count();
        on_engine!(&mut self.link, connection => {
            sqlx::raw_sql(script).execute(&mut **connection).await.map(drop).map_err(from_driver)
        })
    }

    /// What marks entries of the audit trail.
    pub(crate) const fn audit_seal(&self) -> &AuditSeal {
        &self.audit
    }

    /// The moment by the store's own clock, in microseconds since 1970, as an expression.
    pub(crate) const fn clock_micros(&self) -> &'static str {
        match self.link {
            Link::Sqlite(_) => "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
            Link::Postgres(_) => "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000 AS BIGINT)",
        }
    }

    pub(crate) const fn is_postgres(&self) -> bool {
        matches!(self.link, Link::Postgres(_))
    }

    fn statements_of(&self, batch: Batch, rows: Vec<Vec<Value>>) -> Vec<Statement> {
        match self.link {
            Link::Sqlite(_) => batch.by_values(rows),
            Link::Postgres(_) => batch.by_arrays(rows),
        }
    }

    fn count(&self) {
        self.statements.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        if self.is_open {
            on_engine!(&mut self.link, connection => connection.close_on_drop());
        }
    }
}
