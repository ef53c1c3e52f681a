//! Backups of a SQLite database: a consistent copy, made while another process works on it, that says of itself what it
//! is; and the copy made ready to take a database's place.
//!
//! A backup is an ordinary SQLite file with one table more, `backup_note`. It holds neither master keys nor a journal.

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteJournalMode};
use sqlx::{ConnectOptions, Connection};
use tollgate_core::NodeId;
use tollgate_core::audit::AuditEntry;

use crate::engine::{Purpose, sql, take_lock};
use crate::error::StoreError;
use crate::{OpenStore, OperatorStore, Store, VerifyReport, audit};

/// The form of backups that is written, and the only one that is read so far.
const FORMAT: &str = "1";

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupNote {
    /// When it was made.
    pub made_at: Timestamp,
    /// The version of the program that made it.
    pub program: String,
    /// The mark of the pepper that belongs to it: tells a key file that does not fit.
    pub pepper_mark: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupContent {
    /// What it says of itself.
    pub note: BackupNote,
    /// Rows of the ledger.
    pub rows: u64,
    /// What they cost together, in nano-dollars.
    pub cost_nanos: i64,
    /// When the last of them was settled.
    pub last_settled_at: Option<Timestamp>,
}

/// A copy that can take a database's place.
#[derive(Debug, Clone)]
pub struct Ready {
    /// What the verification of its books found.
    pub books: VerifyReport,
    /// The first 35 bytes of everything sealed in it.
    pub sealed_openings: Vec<Vec<u8>>,
    /// Nodes that were retired in it, because they are not the one that it will serve.
    pub retired: Vec<NodeId>,
}

/// Keeps every other process off a SQLite database until it is dropped.
#[derive(Debug)]
pub struct Held {
    _lock: File,
}

/// Keeps other processes off a database that none may be working on; [`StoreError::Locked`] if one is.
pub fn hold(database: &Path) -> Result<Held, StoreError> {
    take_lock(database).map(|lock| Held { _lock: lock })
}

/// Writes a copy of the database to a file that is not there yet, or empty. It is as of one moment, and whoever works
/// on the database is not disturbed.
pub async fn create(
    database: &Path,
    to: &Path,
    note: BackupNote,
) -> Result<BackupContent, StoreError> {
    let source = SqliteConnectOptions::new()
        .filename(database)
        .read_only(true);
    let mut source = connect(source).await?;
    let target = to.to_string_lossy().into_owned();
    let copied = sqlx::query("VACUUM INTO $1")
        .bind(target)
        .execute(&mut source)
        .await;
    copied.map_err(unusable)?;
    source.close().await.map_err(unusable)?;
    let mut copy = connect(alone(to)).await?;
    let make =
        "CREATE TABLE backup_note (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL) STRICT";
    sqlx::query(make)
        .execute(&mut copy)
        .await
        .map_err(unusable)?;
    let lines = [
        ("format", FORMAT.to_owned()),
        ("made_at", note.made_at.to_string()),
        ("program", note.program),
        ("pepper_mark", note.pepper_mark),
    ];
    for (name, value) in lines {
        let insert = sqlx::query("INSERT INTO backup_note (name, value) VALUES ($1, $2)");
        let inserted = insert.bind(name).bind(value).execute(&mut copy).await;
        inserted.map_err(unusable)?;
    }
    copy.close().await.map_err(unusable)?;
    inspect(to).await
}

/// Reads what a backup holds, after every page of it was checked.
pub async fn inspect(file: &Path) -> Result<BackupContent, StoreError> {
    let mut backup = connect(alone(file).read_only(true)).await?;
    let checked = sqlx::query_as("PRAGMA integrity_check(1)")
        .fetch_one(&mut backup)
        .await;
    let (said,): (String,) = checked.map_err(unusable)?;
    if said != "ok" {
        return Err(refused("its pages are damaged"));
    }
    let select = "SELECT name, value FROM backup_note";
    let lines = sqlx::query_as(select).fetch_all(&mut backup).await;
    let lines: Vec<(String, String)> = lines.or(Err(refused(
        "it is not a backup that `tollgate backup create` made",
    )))?;
    let sums = "SELECT COUNT(*), COALESCE(SUM(cost_nanos), 0), MAX(settled_at) FROM cus_llm_usage";
    let sums = sqlx::query_as(sums).fetch_one(&mut backup).await;
    let (rows, cost_nanos, last): (i64, i64, Option<i64>) = sums.map_err(unusable)?;
    backup.close().await.map_err(unusable)?;
    let line = |wanted: &str| {
        let found = lines.iter().find(|(name, _)| name == wanted);
        found
            .map(|(_, value)| value.clone())
            .ok_or(refused("its note lacks a line"))
    };
    if line("format")? != FORMAT {
        return Err(refused(
            "it was made by a newer program: restore it with that",
        ));
    }
    let made_at = line("made_at")?.parse();
    let last_settled_at = last.map(Timestamp::from_microsecond).transpose();
    Ok(BackupContent {
        note: BackupNote {
            made_at: made_at.or(Err(refused("its note has no time")))?,
            program: line("program")?,
            pepper_mark: line("pepper_mark")?,
        },
        rows: u64::try_from(rows).unwrap_or(0),
        cost_nanos,
        last_settled_at: last_settled_at.or(Err(refused("its ledger has no times")))?,
    })
}

/// Makes a copy of a backup ready to be the database of a node: brought up to date, its books verified, every other
/// node in it retired, since what they had drawn will never be settled there. `entry` is written into its audit trail.
pub async fn make_ready(
    copy: &Path,
    options: OpenStore,
    entry: AuditEntry,
) -> Result<Ready, StoreError> {
    let node = options.node;
    let url = format!("sqlite:{}", copy.display());
    let store = Store::open(&url, options).await?;
    let ready = ready(&store, node, entry).await;
    store.close().await;
    ready
}

async fn ready(store: &Store, node: NodeId, entry: AuditEntry) -> Result<Ready, StoreError> {
    store.migrate(entry.at).await?;
    let operator = store.operator();
    let books = operator.verify(None).await?;
    let mut retired = Vec::new();
    for row in operator.list_nodes().await? {
        if row.id != node && row.retired_at.is_none() {
            let entry = AuditEntry {
                action: "node.retire",
                target: format!("node/{}", row.id),
                ..entry.clone()
            };
            operator.retire_node(row.id, None, entry).await?;
            retired.push(row.id);
        }
    }
    operator.forget_backup(entry).await?;
    Ok(Ready {
        books,
        sealed_openings: operator.sealed_openings().await?,
        retired,
    })
}

/// Brings what stands beside a database into it, so that its one file is all of it.
pub async fn gather(database: &Path) -> Result<(), StoreError> {
    let mut all = connect(SqliteConnectOptions::new().filename(database)).await?;
    let gathered = sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut all)
        .await;
    gathered.map_err(unusable)?;
    all.close().await.map_err(unusable)
}

impl OperatorStore {
    /// Takes the note of a backup out of what is to be a database again.
    async fn forget_backup(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.perform(Purpose::Change, move |work| {
            Box::pin(async move {
                work.execute(sql("DROP TABLE backup_note")).await?;
                audit::record(work, &entry).await
            })
        })
        .await
    }
}

/// The files that SQLite may keep beside a database's own.
#[must_use]
pub fn files_beside(database: &Path) -> [PathBuf; 2] {
    ["-wal", "-shm"].map(|suffix| {
        let mut name = database.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    })
}

/// A file that nobody else works on, and that has nothing beside it.
fn alone(file: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(file);
    options.journal_mode(SqliteJournalMode::Delete)
}

async fn connect(options: SqliteConnectOptions) -> Result<SqliteConnection, StoreError> {
    let opened = options.disable_statement_logging().connect().await;
    opened.map_err(unusable)
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "it is given to map_err, which gives the error away"
)]
fn unusable(source: sqlx::Error) -> StoreError {
    StoreError::Backup {
        reason: source
            .as_database_error()
            .map_or_else(|| source.to_string(), |error| error.message().to_owned()),
    }
}

fn refused(reason: &str) -> StoreError {
    StoreError::Backup {
        reason: reason.to_owned(),
    }
}
