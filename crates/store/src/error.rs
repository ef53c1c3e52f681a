//! What can go wrong in the store, said without a driver's type and without a row's content.

use std::path::PathBuf;

use thiserror::Error;

/// The cause below an error of the store.
pub type Source = Box<dyn std::error::Error + Send + Sync>;

/// Why the store did not do what it was asked; nothing of it was done.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum StoreError {
    /// It is not there, or not there for this tenant.
    #[error("not found")]
    NotFound,
    /// It cannot be done beside what is already there.
    #[error("{0}")]
    Conflict(Conflict),
    /// The database cannot be reached or failed; worth trying again.
    #[error("the database is unavailable: {source}")]
    Unavailable {
        /// What the driver said.
        source: Source,
    },
    /// Another transaction was in the way; worth trying again at once.
    #[error("another transaction was in the way: {source}")]
    Contended {
        /// What the driver said.
        source: Source,
    },
    /// A stored value is not what this program writes.
    #[error("the column {column} of {table} holds a value that cannot be read (row {row})")]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The column.
        column: String,
        /// The row's key, where it is known.
        row: String,
    },
    /// The schema was made by a newer program.
    #[error(
        "the database has schema version {found} and this program knows {known}: start the newer program"
    )]
    SchemaTooNew {
        /// The version that was found.
        found: i64,
        /// The newest version that this program knows.
        known: i64,
    },
    /// A migration that was applied is not the one that this program carries.
    #[error(
        "migration {version} ({name}) was applied with another text: this is not the program that made the schema"
    )]
    MigrationChanged {
        /// The migration.
        version: i64,
        /// Its name.
        name: String,
    },
    /// The tables are missing or old.
    #[error("the database is not migrated: run the migrations first")]
    NotMigrated,
    /// The key that chains the audit trail was not given.
    #[error(
        "the audit trail cannot be written or verified without the key file: name it in the settings"
    )]
    NoAuditKey,
    /// Another process works on the SQLite file.
    #[error("{} is in use by another process: SQLite serves one; share PostgreSQL instead, or stop the other", path.display())]
    Locked {
        /// The database file.
        path: PathBuf,
    },
    /// A backup cannot be made or used.
    #[error("{reason}")]
    Backup {
        /// Why not.
        reason: String,
    },
    /// The address of the database cannot be read.
    #[error(
        "the address of the database cannot be used: {reason}; give sqlite:PATH or postgres://USER@HOST/NAME"
    )]
    InvalidUrl {
        /// What is wrong with it; never the address itself, which may hold a password.
        reason: &'static str,
    },
    /// What was given cannot be kept.
    #[error("{reason}")]
    InvalidRow {
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What stands in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Conflict {
    /// Another tenant has the id.
    #[error("a tenant with this id exists")]
    TenantExists,
    /// The tenant's id was used before.
    #[error("a tenant with this id was deleted")]
    TenantDeleted,
    /// The key's id or digest was used before.
    #[error("this access key exists already")]
    KeyExists,
    /// The key has ended, so nothing can take its place.
    #[error("this access key was revoked or has expired")]
    KeyEnded,
    /// The key was rotated before.
    #[error("this access key was replaced already")]
    KeyReplaced,
    /// Without the key nobody could operate the installation.
    #[error("this is the last operator key that works")]
    LastOperatorKey,
    /// The integration's id was used before.
    #[error("an integration with this id exists or existed")]
    IntegrationExists,
    /// Another living integration of the tenant has the name.
    #[error("the tenant has another integration with this name")]
    IntegrationNameTaken,
    /// The integration was changed since it was read.
    #[error("the integration was changed meanwhile: read it again")]
    IntegrationChanged,
    /// The tenant was changed since it was read.
    #[error("the tenant was changed meanwhile: read it again")]
    TenantChanged,
    /// The credential's version was used before.
    #[error("the integration has a credential of this version already")]
    CredentialVersionExists,
    /// The node was retired; what it drew is free again.
    #[error("this node was retired: it needs a new id")]
    NodeRetired,
    /// The node gave a sign of life too lately to be retired.
    #[error("this node is alive: stop it first")]
    NodeAlive,
    /// Something else that must be unique is there already.
    #[error("it exists already")]
    Exists,
}

impl StoreError {
    /// Names what an insert found in its way.
    pub(crate) fn named(self, conflict: Conflict) -> Self {
        if matches!(self, Self::Conflict(Conflict::Exists)) {
            return Self::Conflict(conflict);
        }
        self
    }

    /// A stored value that this program does not write.
    pub(crate) fn corrupt(table: &'static str, column: &str, row: &str) -> Self {
        Self::Corrupt {
            table,
            column: column.to_owned(),
            row: row.to_owned(),
        }
    }
}

impl From<Conflict> for StoreError {
    fn from(conflict: Conflict) -> Self {
        Self::Conflict(conflict)
    }
}

/// PostgreSQL: serialization failure, deadlock, lock timeout. SQLite: busy and locked, with their kinds.
const CONTENDED: [&str; 8] = ["40001", "40P01", "55P03", "5", "6", "261", "262", "517"];

pub(crate) fn from_driver(error: sqlx::Error) -> StoreError {
    if let sqlx::Error::ColumnDecode { index, .. } = &error {
        return StoreError::corrupt("the result", index, "unknown");
    }
    let Some(database) = error.as_database_error() else {
        return StoreError::Unavailable {
            source: Box::new(error),
        };
    };
    if database.is_unique_violation() {
        return Conflict::Exists.into();
    }
    let code = database.code().unwrap_or_default();
    if CONTENDED.contains(&code.as_ref()) {
        return StoreError::Contended {
            source: Box::new(error),
        };
    }
    if code == "42P01" || database.message().starts_with("no such table") {
        return StoreError::NotMigrated;
    }
    StoreError::Unavailable {
        source: Box::new(error),
    }
}
