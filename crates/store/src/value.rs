//! Domain values as the database keeps them, and back: what cannot be read is named with its table, column and row.

use std::str::FromStr;
use std::sync::Arc;

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use crate::error::StoreError;

/// Where a stored value stands, for the error if it cannot be read.
#[derive(Clone, Copy)]
pub(crate) struct Place<'a> {
    pub(crate) table: &'static str,
    pub(crate) row: &'a str,
}

impl Place<'_> {
    fn corrupt(self, column: &str) -> StoreError {
        StoreError::corrupt(self.table, column, self.row)
    }

    /// Reads a value that is kept as text.
    pub(crate) fn text<T: FromStr>(self, column: &str, text: &str) -> Result<T, StoreError> {
        text.parse().or(Err(self.corrupt(column)))
    }

    /// Reads a value that is kept as text, or is absent.
    pub(crate) fn maybe_text<T: FromStr>(
        self,
        column: &str,
        text: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| self.text(column, text)).transpose()
    }

    /// Reads a value that is kept as a name which only its own type knows.
    pub(crate) fn known<T>(self, column: &str, value: Option<T>) -> Result<T, StoreError> {
        value.ok_or_else(|| self.corrupt(column))
    }

    /// Reads a value that is kept as JSON, or is absent.
    pub(crate) fn json<T: DeserializeOwned>(
        self,
        column: &str,
        text: Option<&str>,
    ) -> Result<Option<T>, StoreError> {
        text.map(|text| serde_json::from_str(text).or(Err(self.corrupt(column))))
            .transpose()
    }

    /// Reads a time.
    pub(crate) fn time(self, column: &str, micros: i64) -> Result<Timestamp, StoreError> {
        Timestamp::from_microsecond(micros).or(Err(self.corrupt(column)))
    }

    /// Reads a time that may be absent.
    pub(crate) fn maybe_time(
        self,
        column: &str,
        micros: Option<i64>,
    ) -> Result<Option<Timestamp>, StoreError> {
        micros.map(|micros| self.time(column, micros)).transpose()
    }
}

/// A time as it is kept.
pub(crate) fn micros(time: Timestamp) -> i64 {
    time.as_microsecond()
}

/// Text of unknown origin as both engines can keep it: PostgreSQL takes no zero character.
pub(crate) fn storable(text: &str) -> String {
    if text.contains('\0') {
        text.replace('\0', "\u{fffd}")
    } else {
        text.to_owned()
    }
}

/// The same of text that is shared, copied only where it has to be changed.
pub(crate) fn storable_shared(text: &Arc<str>) -> Arc<str> {
    if text.contains('\0') {
        storable(text).into()
    } else {
        Arc::clone(text)
    }
}

/// A value as JSON text.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, StoreError> {
    serde_json::to_string(value).or(Err(StoreError::InvalidRow {
        reason: "a value cannot be written as JSON",
    }))
}

/// FNV-1a with 64 bits: tells one content from another. It is no protection against someone who looks for an equal one.
pub(crate) fn content_hash(bytes: &[u8]) -> i64 {
    let hash = bytes.iter().fold(0xcbf2_9ce4_8422_2325_u64, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3)
    });
    hash.cast_signed()
}

#[cfg(test)]
mod tests {
    use super::content_hash;

    #[test]
    fn the_content_hash_is_fnv_1a() {
        assert_eq!(content_hash(b"").cast_unsigned(), 0xcbf2_9ce4_8422_2325);
        assert_eq!(content_hash(b"a").cast_unsigned(), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(
            content_hash(b"foobar").cast_unsigned(),
            0x8594_4171_f739_67e8
        );
    }
}
