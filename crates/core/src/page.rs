//! Pages of a list: a cursor names the last row seen, so it stays valid while rows are added.

use serde::{Deserialize, Serialize};

/// The most rows of a page.
pub const PAGE_ROWS_MAX: u16 = 200;

/// The rows of a page when nobody says.
pub const PAGE_ROWS_DEFAULT: u16 = 50;

/// Which page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageAsk {
    /// Rows wanted, 1 to [`PAGE_ROWS_MAX`].
    pub rows: u16,
    /// The last row of the page before.
    pub after: Option<Cursor>,
}

impl Default for PageAsk {
    fn default() -> Self {
        Self {
            rows: PAGE_ROWS_DEFAULT,
            after: None,
        }
    }
}

/// The place of a row in a list ordered by time, then id, both falling.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// The row's time, microseconds since 1970.
    pub at_micros: i64,
    /// The row's id.
    pub id: String,
}

/// One page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page<T> {
    /// Its rows.
    pub rows: Vec<T>,
    /// Where the next page starts, if there is one.
    pub next: Option<Cursor>,
}
