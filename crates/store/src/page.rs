//! Pages of lists: one row more than asked for is read, to know whether there is a next page.

use tollgate_core::page::{Cursor, PAGE_ROWS_MAX, Page, PageAsk};

use crate::engine::Statement;
use crate::error::StoreError;

/// Adds the page's bounds to a statement on a table that has `created_at` and an id in the column `id`.
pub(crate) fn newest_first(statement: Statement, ask: &PageAsk, id: &'static str) -> Statement {
    let mut statement = statement;
    if let Some(after) = &ask.after {
        statement = statement
            .push(" AND (created_at, ")
            .push(id)
            .push(") < (")
            .value(after.at_micros)
            .push(", ")
            .value(after.id.as_str())
            .push(")");
    }
    let order = format!(" ORDER BY created_at DESC, {id} DESC LIMIT ");
    statement.push(&order).value(rows(ask) + 1)
}

/// How many rows the page may have.
pub(crate) fn rows(ask: &PageAsk) -> i64 {
    i64::from(ask.rows.clamp(1, PAGE_ROWS_MAX))
}

/// Makes a page of the rows that were found.
pub(crate) fn page<R, T>(
    mut found: Vec<R>,
    ask: &PageAsk,
    cursor: impl Fn(&R) -> Cursor,
    read: impl Fn(R) -> Result<T, StoreError>,
) -> Result<Page<T>, StoreError> {
    let most = usize::from(ask.rows.clamp(1, PAGE_ROWS_MAX));
    let has_more = found.len() > most;
    found.truncate(most);
    let next = if has_more {
        found.last().map(cursor)
    } else {
        None
    };
    Ok(Page {
        rows: found.into_iter().map(read).collect::<Result<_, _>>()?,
        next,
    })
}
