//! PostgreSQL: a pool for the control plane, connections of its own for the books, a partition a month.

use std::collections::BTreeSet;
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::postgres::{PgArguments, PgBindIterExt, PgConnectOptions, PgPool};
use sqlx::{Arguments, AssertSqlSafe, ConnectOptions, Postgres, SqlSafeStr, SqlStr};
use tollgate_core::Period;

use super::{Purpose, Statement, Value, Work, sql};
use crate::error::{StoreError, from_driver};

/// Connections for the books: one that appends, the rest that draw.
const BOOKKEEPERS: u32 = 4;

/// How long to wait for a connection.
const PATIENCE: Duration = Duration::from_secs(5);

/// The advisory lock of whoever makes a partition.
const PARTITION_LOCK: i64 = 0x746f_6c6c_0001;
/// The advisory lock of whoever changes the control plane.
const CHANGE_LOCK: i64 = 0x746f_6c6c_0002;

/// The pools, and the months whose partitions are known to exist.
pub(super) struct Pools {
    shared: PgPool,
    books: PgPool,
    /// The one connection that listens.
    news: PgPool,
    months: Mutex<BTreeSet<Period>>,
    wall: OnceLock<String>,
}

pub(super) fn open(url: &str, max_connections: u32) -> Result<Pools, StoreError> {
    let options = PgConnectOptions::from_str(url)
        .or(Err(StoreError::InvalidUrl {
            reason: "it is not a PostgreSQL address",
        }))?
        .application_name("tollgate")
        .options([
            ("lock_timeout", "10s"),
            ("idle_in_transaction_session_timeout", "60s"),
        ])
        .disable_statement_logging();
    let pool = |connections: u32| {
        PoolOptions::new()
            .max_connections(connections)
            .acquire_timeout(PATIENCE)
            .connect_lazy_with(options.clone())
    };
    Ok(Pools {
        shared: pool(max_connections.max(1)),
        books: pool(BOOKKEEPERS),
        news: pool(1),
        months: Mutex::default(),
        wall: OnceLock::new(),
    })
}

impl Pools {
    pub(super) async fn acquire(
        &self,
        purpose: Purpose,
    ) -> Result<PoolConnection<Postgres>, StoreError> {
        let pool = match purpose {
            Purpose::Read | Purpose::Snapshot | Purpose::Change | Purpose::Erase => &self.shared,
            Purpose::Book => &self.books,
        };
        pool.acquire().await.map_err(from_driver)
    }

    pub(super) async fn close(&self) {
        self.shared.close().await;
        self.books.close().await;
        self.news.close().await;
    }

    pub(super) const fn news(&self) -> &PgPool {
        &self.news
    }

    /// The role of the second wall, once it was seen to stand.
    pub(super) fn wall_role(&self) -> Option<String> {
        self.wall.get().cloned()
    }

    pub(super) fn stands(&self, role: &str) {
        self.wall.get_or_init(|| role.to_owned());
    }

    pub(super) fn unprepared(&self, months: &[Period]) -> BTreeSet<Period> {
        let known = self.months.lock().unwrap_or_else(PoisonError::into_inner);
        months
            .iter()
            .filter(|month| !known.contains(month))
            .copied()
            .collect()
    }

    pub(super) fn prepared(&self, month: Period) {
        self.months
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert(month);
    }
}

/// Makes a month's partition of the ledger, in a transaction of its own.
pub(super) async fn make_partition(work: &mut Work, month: Period) -> Result<(), StoreError> {
    let name = format!("cus_llm_usage_{}", month.to_string().replace('-', "_"));
    work.execute(sql("SELECT pg_advisory_xact_lock($1)").bind(PARTITION_LOCK))
        .await?;
    let found: Option<(i64,)> = work
        .fetch_optional(
            sql(
                "SELECT CAST(1 AS BIGINT) FROM pg_class WHERE relname = $1 AND relnamespace = \
                 (SELECT relnamespace FROM pg_class WHERE oid = 'cus_llm_usage'::regclass)",
            )
            .bind(name.as_str()),
        )
        .await?;
    if found.is_some() {
        return Ok(());
    }
    let from = month.start().as_microsecond();
    let to = month.end().as_microsecond();
    let create = format!("CREATE TABLE {name} (LIKE cus_llm_usage INCLUDING CONSTRAINTS)");
    // Unlike `PARTITION OF`, attaching holds up neither those who read the ledger nor those who append to it.
    let attach = format!(
        "ALTER TABLE cus_llm_usage ATTACH PARTITION {name} FOR VALUES FROM ({from}) TO ({to})"
    );
    // Row triggers come with the partition; the one against TRUNCATE does not.
    let guard = format!(
        "CREATE TRIGGER no_truncate BEFORE TRUNCATE ON {name} \
         FOR EACH STATEMENT EXECUTE FUNCTION refuse_ledger_change()"
    );
    work.execute(sql("").push(&create)).await?;
    work.execute(sql("").push(&attach)).await?;
    work.execute(sql("").push(&guard)).await.map(drop)
}

/// Lets changes of the control plane, which are rare, through one at a time: they become visible in the order of
/// their numbers, so whoever polls for them misses none, and what one has checked stays true until it commits.
pub(super) fn lock_changes() -> Statement {
    sql("SELECT pg_advisory_xact_lock($1)").bind(CHANGE_LOCK)
}

/// What begins a tenant's work: always a transaction, because the role is set for one.
pub(super) fn begin_behind_wall(purpose: Purpose) -> String {
    let begin = begin(purpose).unwrap_or("BEGIN READ ONLY");
    match purpose {
        Purpose::Change | Purpose::Erase => {
            format!("{begin}; SELECT pg_advisory_xact_lock({CHANGE_LOCK})")
        }
        Purpose::Read | Purpose::Snapshot | Purpose::Book => begin.to_owned(),
    }
}

pub(super) const fn begin(purpose: Purpose) -> Option<&'static str> {
    match purpose {
        Purpose::Read => None,
        Purpose::Snapshot => Some("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"),
        Purpose::Change | Purpose::Erase | Purpose::Book => {
            Some("BEGIN ISOLATION LEVEL READ COMMITTED")
        }
    }
}

pub(super) fn render(statement: Statement) -> Result<(SqlStr, PgArguments), StoreError> {
    let mut arguments = PgArguments::default();
    for value in statement.values {
        let added = match value {
            Value::Text(text) => arguments.add(text.as_deref()),
            Value::Integer(number) => arguments.add(number),
            Value::Bytes(bytes) => arguments.add(bytes),
            Value::Texts(texts) => arguments.add(texts.iter().map(Option::as_deref).bind_iter()),
            Value::Integers(numbers) => arguments.add(numbers),
        };
        added.map_err(|source| StoreError::Unavailable { source })?;
    }
    let mut text = statement.text;
    if statement.locks_rows {
        text.to_mut().push_str(" FOR UPDATE");
    }
    // Text comes from this crate's literals and a month's number only: values are always bound.
    Ok((AssertSqlSafe(text).into_sql_str(), arguments))
}
