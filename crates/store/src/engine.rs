//! The two engines behind one seam: connections, transactions, and the only place that sends statements.
//!
//! Above this file there is one body for both engines. To add an engine, give [`Link`] a variant,
//! and the new file in `engine/` a way to open, to begin and to bind.

mod postgres;
mod sqlite;
mod statement;
#[cfg(any(test, feature = "testing"))]
mod unfiltered;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::pool::PoolConnection;
use sqlx::postgres::PgRow;
use sqlx::sqlite::SqliteRow;
use sqlx::{FromRow, Postgres, Sqlite};
use tollgate_core::{Period, TenantId};

pub(crate) use self::sqlite::take_lock;
pub(crate) use self::statement::{Batch, Kind, Rows, Statement, Value, sql};
use crate::audit::AuditSeal;
use crate::error::StoreError;
use crate::wall::{self, RowSecurity};

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

// After the seam, which it uses.
mod work;

pub(crate) use self::work::Work;

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
    #[cfg(any(test, feature = "testing"))]
    switches: unfiltered::Switches,
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
            #[cfg(any(test, feature = "testing"))]
            switches: unfiltered::Switches::default(),
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
        let mut work = self.idle(purpose).await?;
        let begin = match &self.kind {
            Pools::Sqlite(_) => sqlite::begin(purpose),
            Pools::Postgres(_) => postgres::begin(purpose),
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

    /// The same for a tenant: on PostgreSQL behind the second wall, where it stands.
    pub(crate) async fn work_of(
        &self,
        tenant: &TenantId,
        purpose: Purpose,
    ) -> Result<Work, StoreError> {
        #[cfg_attr(
            not(any(test, feature = "testing")),
            expect(unused_mut, reason = "only the switches of tests change it here")
        )]
        let mut work = match self.wall(purpose).await? {
            None => self.work(purpose).await?,
            Some((mut work, role)) => {
                let begin = postgres::begin_behind_wall(purpose);
                work.is_open = true;
                // One exchange for all of it.
                let script = format!("{begin}; {}", wall::behind(&role, tenant));
                work.run_text(script).await?;
                work
            }
        };
        #[cfg(any(test, feature = "testing"))]
        {
            work.is_unfiltered = self.switches.are_filters_forgotten();
        }
        Ok(work)
    }

    /// A connection that has begun nothing, and the role of the second wall; none where it does not stand.
    async fn wall(&self, purpose: Purpose) -> Result<Option<(Work, String)>, StoreError> {
        let Pools::Postgres(pools) = &self.kind else {
            return Ok(None);
        };
        #[cfg(any(test, feature = "testing"))]
        if self.switches.is_wall_down() {
            return Ok(None);
        }
        let mut work = self.idle(purpose).await?;
        if let Some(role) = pools.wall_role() {
            return Ok(Some((work, role)));
        }
        match wall::look(&mut work).await? {
            RowSecurity::Standing { role } => {
                pools.stands(&role);
                Ok(Some((work, role)))
            }
            RowSecurity::Missing { .. } | RowSecurity::NotOffered => Ok(None),
        }
    }

    async fn idle(&self, purpose: Purpose) -> Result<Work, StoreError> {
        let link = match &self.kind {
            Pools::Sqlite(pools) => Link::Sqlite(pools.acquire(purpose).await?),
            Pools::Postgres(pools) => Link::Postgres(pools.acquire(purpose).await?),
        };
        Ok(Work {
            link,
            purpose,
            is_open: false,
            #[cfg(any(test, feature = "testing"))]
            is_unfiltered: false,
            statements: Arc::clone(&self.statements),
            audit: self.audit.clone(),
        })
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) const fn switches(&self) -> &unfiltered::Switches {
        &self.switches
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
