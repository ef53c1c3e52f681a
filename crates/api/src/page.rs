//! Pages of a list: how a page is asked for, and what it looks like.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;
use tollgate_core::page::{Cursor, PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX, Page, PageAsk};
use utoipa::ToSchema;

use crate::extract::{bad_parameter, parameter};
use crate::problem::Problem;

/// One page of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ListBody<T> {
    /// The rows, newest first unless the operation says otherwise.
    pub(crate) data: Vec<T>,
    /// What to give as `cursor` for the next page; null on the last one.
    pub(crate) next_cursor: Option<String>,
}

impl<T> ListBody<T> {
    /// A page of rows, each made from one of the page's own.
    pub(crate) fn of<R>(page: Page<R>, row: impl FnMut(R) -> T) -> Self {
        Self {
            data: page.rows.into_iter().map(row).collect(),
            next_cursor: page.next.as_ref().map(opaque),
        }
    }

    /// A list that is always one page.
    pub(crate) const fn whole(data: Vec<T>) -> Self {
        Self {
            data,
            next_cursor: None,
        }
    }
}

/// The page that `limit` and `cursor` ask for.
pub(crate) fn asked(limit: Option<&str>, cursor: Option<&str>) -> Result<PageAsk, Problem> {
    let expected = format!("a number of rows from 1 to {PAGE_ROWS_MAX}");
    let rows = parameter::<u16>("limit", limit, &expected)?.unwrap_or(PAGE_ROWS_DEFAULT);
    if !(1..=PAGE_ROWS_MAX).contains(&rows) {
        return Err(bad_parameter("limit", &format!("give {expected}")));
    }
    let read = |text: &str| {
        let expected = "give the `next_cursor` of the page before, or nothing";
        cursor_in(text).ok_or_else(|| bad_parameter("cursor", expected))
    };
    Ok(PageAsk {
        rows,
        after: cursor.map(read).transpose()?,
    })
}

/// A cursor that nobody is tempted to read.
fn opaque(cursor: &Cursor) -> String {
    // Two plain fields: writing them cannot fail.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(cursor).unwrap_or_default())
}

fn cursor_in(text: &str) -> Option<Cursor> {
    let json = URL_SAFE_NO_PAD.decode(text).ok()?;
    serde_json::from_slice(&json).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_comes_back_as_it_went() {
        let cursor = Cursor {
            at_micros: -7,
            id: "é/+\"".to_owned(),
        };
        let ask = asked(Some("200"), Some(&opaque(&cursor))).unwrap();
        assert_eq!(
            ask,
            PageAsk {
                rows: 200,
                after: Some(cursor)
            }
        );
    }

    #[test]
    fn a_page_that_cannot_be_is_refused() {
        for (limit, cursor) in [
            ("0", None),
            ("201", None),
            ("-1", None),
            ("1", Some("e30")),
            ("1", Some("!")),
        ] {
            assert!(asked(Some(limit), cursor).is_err(), "{limit} {cursor:?}");
        }
        assert_eq!(asked(None, None).unwrap().rows, PAGE_ROWS_DEFAULT);
    }
}
