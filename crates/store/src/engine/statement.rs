//! A statement before it is sent: fixed text, and values that never become text.

use std::borrow::Cow;
use std::sync::Arc;

/// A value of a statement. Texts are shared: what stands in many rows is kept once.
#[derive(Clone)]
pub(crate) enum Value {
    Text(Option<Arc<str>>),
    Integer(Option<i64>),
    Bytes(Vec<u8>),
    /// A column of texts; PostgreSQL only.
    Texts(Vec<Option<Arc<str>>>),
    /// A column of numbers; PostgreSQL only.
    Integers(Vec<Option<i64>>),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(Some(text.into()))
    }
}

impl From<Option<String>> for Value {
    fn from(text: Option<String>) -> Self {
        Self::Text(text.map(Into::into))
    }
}

impl From<Arc<str>> for Value {
    fn from(text: Arc<str>) -> Self {
        Self::Text(Some(text))
    }
}

impl From<Option<Arc<str>>> for Value {
    fn from(text: Option<Arc<str>>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value {
    fn from(number: i64) -> Self {
        Self::Integer(Some(number))
    }
}

impl From<Option<i64>> for Value {
    fn from(number: Option<i64>) -> Self {
        Self::Integer(number)
    }
}

impl From<Vec<u8>> for Value {
    fn from(bytes: Vec<u8>) -> Self {
        Self::Bytes(bytes)
    }
}

/// A statement that begins with `text`, whose placeholders are `$1`, `$2` and so on.
pub(crate) const fn sql(text: &'static str) -> Statement {
    Statement {
        text: Cow::Borrowed(text),
        values: Vec::new(),
        locks_rows: false,
    }
}

/// A statement with its values.
#[derive(Clone)]
pub(crate) struct Statement {
    pub(super) text: Cow<'static, str>,
    pub(super) values: Vec<Value>,
    pub(super) locks_rows: bool,
}

impl Statement {
    /// Gives the next placeholder its value.
    pub(crate) fn bind(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        self
    }

    /// Adds text.
    pub(crate) fn push(mut self, text: &str) -> Self {
        self.text.to_mut().push_str(text);
        self
    }

    /// Adds a placeholder and its value.
    pub(crate) fn value(mut self, value: impl Into<Value>) -> Self {
        self.values.push(value.into());
        let placeholder = format!("${}", self.values.len());
        self.push(&placeholder)
    }

    /// Locks the rows that it reads until the transaction ends. On SQLite the one writer has them locked already.
    pub(crate) const fn locking(mut self) -> Self {
        self.locks_rows = true;
        self
    }
}

/// The type of a batch's column.
#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Text,
    Integer,
}

/// A statement about many rows: `head`, the rows, `tail`.
///
/// The rows become a `VALUES` list on SQLite and arrays with `UNNEST` on PostgreSQL, so `head` ends in `INSERT INTO …` or `IN (`.
#[derive(Clone, Copy)]
pub(crate) struct Batch {
    pub(crate) head: &'static str,
    pub(crate) columns: &'static [Kind],
    pub(crate) tail: &'static str,
    pub(crate) locks_rows: bool,
}

/// The rows of a batch, one after the other, cut as [`Batch::by_values`] sends them, so that none is moved again.
#[derive(Default)]
pub(crate) struct Rows {
    full: Vec<Vec<Value>>,
    last: Vec<Value>,
    /// Rows in it.
    length: usize,
}

/// Rows of one `VALUES` list, at most; the others are halves, so that a batch of any size is a few statements and each is
/// prepared once. Far below SQLite's 32,766 values of a statement for the widest row.
const VALUES_ROWS: usize = 128;

impl Rows {
    /// Adds a row: as many values as its batch has columns.
    pub(crate) fn add(&mut self, row: impl IntoIterator<Item = Value>) {
        if self.length == VALUES_ROWS {
            let room = Vec::with_capacity(self.last.len());
            self.full.push(std::mem::replace(&mut self.last, room));
            self.length = 0;
        }
        self.last.extend(row);
        self.length += 1;
    }

    fn len(&self) -> usize {
        self.full.len() * VALUES_ROWS + self.length
    }
}

impl From<Vec<Vec<Value>>> for Rows {
    fn from(rows: Vec<Vec<Value>>) -> Self {
        rows.into_iter().collect()
    }
}

impl FromIterator<Vec<Value>> for Rows {
    fn from_iter<T: IntoIterator<Item = Vec<Value>>>(rows: T) -> Self {
        let mut all = Self::default();
        rows.into_iter().for_each(|row| all.add(row));
        all
    }
}

impl Batch {
    pub(super) fn by_values(self, rows: Rows) -> Vec<Statement> {
        let mut statements = Vec::with_capacity(rows.full.len() + 1);
        for values in rows.full {
            statements.push(self.values_list(VALUES_ROWS, values));
        }
        let (mut values, mut left) = (rows.last, rows.length);
        while left > 0 {
            // The greatest power of two that there are rows for.
            let size = 1 << left.ilog2();
            let rest = values.split_off(values.len().min(size * self.columns.len()));
            statements.push(self.values_list(size, std::mem::replace(&mut values, rest)));
            left -= size;
        }
        statements
    }

    fn values_list(self, rows: usize, values: Vec<Value>) -> Statement {
        debug_assert_eq!(values.len(), rows * self.columns.len());
        // Unnamed: SQLite finds a named one by looking through all names before it.
        let row = format!("({}), ", vec!["?"; self.columns.len()].join(", "));
        let list = row.repeat(rows);
        let list = list.strip_suffix(", ").unwrap_or_default();
        // Whatever fails ends the transaction. SQLite may leave a failed statement half done, then: else it would keep the
        // pages as they were before each, to undo it alone, and that in a file.
        let head = self.head.replacen("INSERT INTO", "INSERT OR FAIL INTO", 1);
        Statement {
            text: format!("{head} VALUES {list} {}", self.tail).into(),
            values,
            locks_rows: false,
        }
    }

    pub(super) fn by_arrays(self, rows: Rows) -> Vec<Statement> {
        let count = rows.len();
        if count == 0 {
            return Vec::new();
        }
        let mut arrays: Vec<Value> = self.columns.iter().map(|kind| kind.array(count)).collect();
        let mut values = rows.full.into_iter().flatten().chain(rows.last);
        for _ in 0..count {
            for (array, value) in arrays.iter_mut().zip(values.by_ref()) {
                match (array, value) {
                    (Value::Texts(texts), Value::Text(text)) => texts.push(text),
                    (Value::Integers(numbers), Value::Integer(number)) => numbers.push(number),
                    (_, _) => debug_assert!(false, "a batch row differs from its columns"),
                }
            }
        }
        let mut statement = sql(self.head).push(" SELECT * FROM UNNEST(");
        statement.locks_rows = self.locks_rows;
        for (index, (array, kind)) in arrays.into_iter().zip(self.columns).enumerate() {
            if index > 0 {
                statement = statement.push(", ");
            }
            statement = statement.value(array).push(kind.cast());
        }
        vec![statement.push(") ").push(self.tail)]
    }
}

impl Kind {
    fn array(self, capacity: usize) -> Value {
        match self {
            Self::Text => Value::Texts(Vec::with_capacity(capacity)),
            Self::Integer => Value::Integers(Vec::with_capacity(capacity)),
        }
    }

    const fn cast(self) -> &'static str {
        match self {
            Self::Text => "::text[]",
            Self::Integer => "::bigint[]",
        }
    }
}
