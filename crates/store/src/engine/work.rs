//! A connection at work: the only place that sends statements, and the end of a transaction.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::AssertSqlSafe;

#[cfg(any(test, feature = "testing"))]
use super::unfiltered;
use super::{Batch, Link, Purpose, Record, Rows, Statement, sql};
use crate::audit::AuditSeal;
use crate::error::{StoreError, from_driver};

/// A connection at work, in a transaction unless its purpose is to read once.
///
/// Ends in [`Work::end`]. If it is dropped in a transaction (its task panicked), the connection is closed, which
/// undoes everything, and does not go back to the pool.
pub(crate) struct Work {
    pub(super) link: Link,
    pub(super) purpose: Purpose,
    pub(super) is_open: bool,
    #[cfg(any(test, feature = "testing"))]
    pub(super) is_unfiltered: bool,
    pub(super) statements: Arc<AtomicU64>,
    pub(super) audit: AuditSeal,
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

    /// Undoes all that was done so far, and goes on as if it had just begun.
    pub(crate) async fn start_over(&mut self) -> Result<(), StoreError> {
        self.execute(sql("ROLLBACK")).await?;
        let begin = on_engine!(&self.link, _connection in dialect => dialect::begin(self.purpose));
        match begin {
            Some(begin) => self.execute(sql(begin)).await.map(drop),
            None => Ok(()),
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
        let statement = self.counted(statement);
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
        let statement = self.counted(statement);
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
        rows: Rows,
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
        rows: Rows,
    ) -> Result<u64, StoreError> {
        let mut touched = 0;
        for statement in self.statements_of(batch, rows) {
            touched += self.execute(statement).await?;
        }
        Ok(touched)
    }

    /// Runs a file of statements without arguments.
    pub(crate) async fn run_script(&mut self, script: &'static str) -> Result<(), StoreError> {
        self.run_text(script.to_owned()).await
    }

    /// Runs several statements without arguments in one exchange.
    pub(super) async fn run_text(&mut self, text: String) -> Result<(), StoreError> {
        self.count();
        on_engine!(&mut self.link, connection => {
            // The texts are this crate's own.
            sqlx::raw_sql(AssertSqlSafe(text)).execute(&mut **connection).await.map(drop).map_err(from_driver)
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

    fn statements_of(&self, batch: Batch, rows: Rows) -> Vec<Statement> {
        match self.link {
            Link::Sqlite(_) => batch.by_values(rows),
            Link::Postgres(_) => batch.by_arrays(rows),
        }
    }

    #[cfg(any(test, feature = "testing"))]
    fn counted(&self, statement: Statement) -> Statement {
        self.count();
        if self.is_unfiltered {
            return unfiltered::unfiltered(statement);
        }
        statement
    }

    #[cfg(not(any(test, feature = "testing")))]
    fn counted(&self, statement: Statement) -> Statement {
        self.count();
        statement
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
