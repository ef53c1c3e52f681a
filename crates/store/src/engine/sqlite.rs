//! SQLite: one file, one process, one connection that writes and a few that read.

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqliteSynchronous,
};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, SqlSafeStr, SqlStr, Sqlite};

use super::{Purpose, Statement, Value};
use crate::error::{StoreError, from_driver};

/// Connections that read; more would only compete for the same two or four cores.
const READERS: u32 = 4;

/// Pages that the writer keeps in memory, as `cache_size` says it: 8 MiB. What a batch changes stands together in every
/// index, so more is not faster; the operating system caches the file as well.
const WRITER_CACHE: &str = "-8192";

/// Pages that each reader keeps in memory: 1 MiB.
const READER_CACHE: &str = "-1024";

/// How long to wait for a free connection, or for a lock that a foreign tool holds on the file.
const PATIENCE: Duration = Duration::from_secs(5);

/// The file, and the lock that keeps other processes off it.
pub(super) struct Pools {
    writer: SqlitePool,
    readers: SqlitePool,
    lock: Mutex<Option<File>>,
}

pub(super) async fn open(path: &str) -> Result<Pools, StoreError> {
    if path.is_empty() {
        return Err(StoreError::InvalidUrl {
            reason: "it names no file",
        });
    }
    let options = SqliteConnectOptions::new()
        .foreign_keys(true)
        .busy_timeout(PATIENCE)
        .statement_cache_capacity(256)
        .disable_statement_logging();
    if path == ":memory:" {
        let only = pool(1)
            .connect_with(options.in_memory(true))
            .await
            .map_err(from_driver)?;
        return Ok(Pools {
            writer: only.clone(),
            readers: only,
            lock: Mutex::new(None),
        });
    }
    let path = Path::new(path);
    let lock = take_lock(path)?;
    let options = options.filename(path);
    let writer = options
        .clone()
        .pragma("cache_size", WRITER_CACHE)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("wal_autocheckpoint", "4000")
        // What is deleted or replaced is overwritten: an erased credential is not left in the file.
        .pragma("secure_delete", "on");
    let writer = pool(1).connect_with(writer).await.map_err(from_driver)?;
    let readers = pool(READERS).connect_lazy_with(
        options
            .pragma("cache_size", READER_CACHE)
            .pragma("query_only", "on"),
    );
    Ok(Pools {
        writer,
        readers,
        lock: Mutex::new(Some(lock)),
    })
}

fn pool(connections: u32) -> PoolOptions<Sqlite> {
    PoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(PATIENCE)
        .idle_timeout(None)
        .max_lifetime(None)
        .test_before_acquire(false)
}

/// The operating system frees this lock when the process ends, however it ends.
pub(crate) fn take_lock(path: &Path) -> Result<File, StoreError> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(PathBuf::from(name));
    let file = file.map_err(|source| StoreError::Unavailable {
        source: Box::new(source),
    })?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked {
            path: path.to_owned(),
        }),
        Err(TryLockError::Error(source)) => Err(StoreError::Unavailable {
            source: Box::new(source),
        }),
    }
}

impl Pools {
    pub(super) async fn acquire(
        &self,
        purpose: Purpose,
    ) -> Result<PoolConnection<Sqlite>, StoreError> {
        let pool = match purpose {
            Purpose::Read | Purpose::Snapshot => &self.readers,
            Purpose::Change | Purpose::Erase | Purpose::Book => &self.writer,
        };
        pool.acquire().await.map_err(from_driver)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
        let lock = self.lock.lock().map(|mut lock| lock.take());
        drop(lock);
    }
}

pub(super) const fn begin(purpose: Purpose) -> Option<&'static str> {
    match purpose {
        Purpose::Read => None,
        Purpose::Snapshot => Some("BEGIN DEFERRED"),
        Purpose::Change | Purpose::Erase | Purpose::Book => Some("BEGIN IMMEDIATE"),
    }
}

pub(super) fn render(statement: Statement) -> Result<(SqlStr, SqliteArguments), StoreError> {
    let mut arguments = SqliteArguments::default();
    arguments.reserve(statement.values.len(), 0);
    for value in statement.values {
        let added = match value {
            Value::Text(Some(text)) => arguments.add(text),
            Value::Integer(Some(number)) => arguments.add(number),
            Value::Text(None) | Value::Integer(None) => arguments.add(None::<i64>),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Texts(_) | Value::Integers(_) => {
                return Err(StoreError::InvalidRow {
                    reason: "SQLite has no arrays",
                });
            }
        };
        added.map_err(|source| StoreError::Unavailable { source })?;
    }
    // Text comes from this crate's literals only: values are always bound.
    Ok((AssertSqlSafe(statement.text).into_sql_str(), arguments))
}
