//! Migrations: numbered files for each engine, carried in the program, applied all or none in one transaction.
//!
//! The program refuses a schema that it does not know and a migration whose text is not its own.

use jiff::Timestamp;

use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::value::{Place, content_hash, micros};
use crate::{Store, audit, wall};

/// Where the schema stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MigrationStatus {
    /// What was applied, oldest first.
    pub applied: Vec<AppliedMigration>,
    /// What this program would apply, in that order.
    pub pending: Vec<PendingMigration>,
}

/// A migration that was applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AppliedMigration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: String,
    /// When it was applied.
    pub applied_at: Timestamp,
}

/// A migration that was not applied yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMigration {
    /// Its number.
    pub version: i64,
    /// Its name.
    pub name: &'static str,
}

struct Migration {
    version: i64,
    name: &'static str,
    sqlite: &'static str,
    postgres: &'static str,
}

const MIGRATIONS: &[Migration] = &[
    Migration {
        version: 1,
        name: "books",
        sqlite: include_str!("../migrations/sqlite/0001_books.sql"),
        postgres: include_str!("../migrations/postgres/0001_books.sql"),
    },
    Migration {
        version: 2,
        name: "reports",
        sqlite: include_str!("../migrations/sqlite/0002_reports.sql"),
        postgres: include_str!("../migrations/postgres/0002_reports.sql"),
    },
    Migration {
        version: 3,
        name: "holds",
        sqlite: include_str!("../migrations/sqlite/0003_holds.sql"),
        postgres: include_str!("../migrations/postgres/0003_holds.sql"),
    },
    Migration {
        version: 4,
        name: "tenancy",
        sqlite: include_str!("../migrations/sqlite/0004_tenancy.sql"),
        postgres: include_str!("../migrations/postgres/0004_tenancy.sql"),
    },
    Migration {
        version: 5,
        name: "idempotency",
        sqlite: include_str!("../migrations/sqlite/0005_idempotency.sql"),
        postgres: include_str!("../migrations/postgres/0005_idempotency.sql"),
    },
    Migration {
        version: 6,
        name: "health",
        sqlite: include_str!("../migrations/sqlite/0006_health.sql"),
        postgres: include_str!("../migrations/postgres/0006_health.sql"),
    },
    Migration {
        version: 7,
        name: "master_keys",
        sqlite: include_str!("../migrations/sqlite/0007_master_keys.sql"),
        postgres: include_str!("../migrations/postgres/0007_master_keys.sql"),
    },
    Migration {
        version: AUDIT_CHAIN,
        name: "audit_chain",
        sqlite: include_str!("../migrations/sqlite/0008_audit_chain.sql"),
        postgres: include_str!("../migrations/postgres/0008_audit_chain.sql"),
    },
    Migration {
        version: 9,
        name: "row_security",
        sqlite: include_str!("../migrations/sqlite/0009_row_security.sql"),
        postgres: include_str!("../migrations/postgres/0009_row_security.sql"),
    },
    Migration {
        version: 10,
        name: "permits",
        sqlite: include_str!("../migrations/sqlite/0010_permits.sql"),
        postgres: include_str!("../migrations/postgres/0010_permits.sql"),
    },
    Migration {
        version: 11,
        name: "checks",
        sqlite: include_str!("../migrations/sqlite/0011_checks.sql"),
        postgres: include_str!("../migrations/postgres/0011_checks.sql"),
    },
];

/// The migration after which the entries of before are taken into the chain: no SQL has its key.
const AUDIT_CHAIN: i64 = 8;

const CREATE_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (\
     version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, checksum BIGINT NOT NULL, applied_at BIGINT NOT NULL)";

impl Store {
    /// Applies what is pending, all or nothing; `now` is noted with it. Nodes that start together wait for each other.
    ///
    /// Fails with [`StoreError::SchemaTooNew`] or [`StoreError::MigrationChanged`], and then changes nothing.
    pub async fn migrate(&self, now: Timestamp) -> Result<MigrationStatus, StoreError> {
        self.perform(Purpose::Change, move |work| Box::pin(apply(work, now)))
            .await
    }

    /// Where the schema stands; refuses what [`Store::migrate`] would refuse.
    pub async fn migration_status(&self) -> Result<MigrationStatus, StoreError> {
        self.perform(Purpose::Snapshot, |work| {
            Box::pin(async {
                let name = if work.is_postgres() {
                    "SELECT CAST(COUNT(*) AS BIGINT) FROM pg_tables WHERE tablename = 'schema_migrations' \
                     AND schemaname = ANY (current_schemas(false))"
                } else {
                    "SELECT COUNT(*) FROM sqlite_master WHERE name = 'schema_migrations'"
                };
                let (tables,): (i64,) = work.fetch_one(sql(name)).await?;
                if tables == 0 {
                    return Ok(status(Vec::new()));
                }
                check(work).await.map(status)
            })
        })
        .await
    }
}

async fn apply(work: &mut Work, now: Timestamp) -> Result<MigrationStatus, StoreError> {
    work.execute(sql(CREATE_TABLE)).await?;
    let applied = check(work).await?;
    for migration in pending(&applied) {
        let script = migration.script(work);
        work.run_script(script).await?;
        if migration.version == AUDIT_CHAIN {
            audit::adopt(work).await?;
        }
        let record = "INSERT INTO schema_migrations (version, name, checksum, applied_at) \
                      VALUES ($1, $2, $3, $4)";
        let record = sql(record)
            .bind(migration.version)
            .bind(migration.name)
            .bind(content_hash(script.as_bytes()))
            .bind(micros(now));
        work.execute(record).await?;
    }
    wall::raise(work).await?;
    check(work).await.map(status)
}

/// What was applied, if all of it is known and unchanged.
async fn check(work: &mut Work) -> Result<Vec<AppliedMigration>, StoreError> {
    let select =
        "SELECT version, name, checksum, applied_at FROM schema_migrations ORDER BY version";
    let rows: Vec<(i64, String, i64, i64)> = work.fetch_all(sql(select)).await?;
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    let mut applied = Vec::new();
    for (version, name, checksum, applied_at) in rows {
        let Some(migration) = MIGRATIONS
            .iter()
            .find(|migration| migration.version == version)
        else {
            return Err(StoreError::SchemaTooNew {
                found: version,
                known,
            });
        };
        if content_hash(migration.script(work).as_bytes()) != checksum {
            return Err(StoreError::MigrationChanged { version, name });
        }
        let place = Place {
            table: "schema_migrations",
            row: &name,
        };
        let applied_at = place.time("applied_at", applied_at)?;
        applied.push(AppliedMigration {
            version,
            name,
            applied_at,
        });
    }
    Ok(applied)
}

fn pending(applied: &[AppliedMigration]) -> impl Iterator<Item = &'static Migration> {
    let newest = applied.last().map_or(0, |migration| migration.version);
    MIGRATIONS
        .iter()
        .filter(move |migration| migration.version > newest)
}

fn status(applied: Vec<AppliedMigration>) -> MigrationStatus {
    let pending = pending(&applied)
        .map(|migration| PendingMigration {
            version: migration.version,
            name: migration.name,
        })
        .collect();
    MigrationStatus { applied, pending }
}

impl Migration {
    const fn script(&self, work: &Work) -> &'static str {
        if work.is_postgres() {
            self.postgres
        } else {
            self.sqlite
        }
    }
}
