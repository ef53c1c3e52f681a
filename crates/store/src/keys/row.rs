//! A row of the table of keys, and the key that it holds.

use tollgate_core::access::{AccessKey, KeyDigest};
use tollgate_core::page::Cursor;

use crate::error::StoreError;
use crate::value::Place;

#[derive(sqlx::FromRow)]
pub(super) struct Row {
    id: String,
    tenant_id: Option<String>,
    name: String,
    role: String,
    integration_id: Option<String>,
    prefix: String,
    digest: Vec<u8>,
    created_at: i64,
    expires_at: Option<i64>,
    revoked_at: Option<i64>,
    last_used_at: Option<i64>,
    rotated_from: Option<String>,
    replaced_by: Option<String>,
}

impl Row {
    pub(super) fn cursor(&self) -> Cursor {
        Cursor {
            at_micros: self.created_at,
            id: self.id.clone(),
        }
    }

    pub(super) fn read(self) -> Result<(KeyDigest, AccessKey), StoreError> {
        let place = Place {
            table: "access_keys",
            row: &self.id,
        };
        let digest = place.known("digest", self.digest.as_slice().try_into().ok())?;
        let key = AccessKey {
            id: place.text("id", &self.id)?,
            tenant_id: place.maybe_text("tenant_id", self.tenant_id.as_deref())?,
            role: place.text("role", &self.role)?,
            integration_id: place.maybe_text("integration_id", self.integration_id.as_deref())?,
            created_at: place.time("created_at", self.created_at)?,
            expires_at: place.maybe_time("expires_at", self.expires_at)?,
            revoked_at: place.maybe_time("revoked_at", self.revoked_at)?,
            last_used_at: place.maybe_time("last_used_at", self.last_used_at)?,
            rotated_from: place.maybe_text("rotated_from", self.rotated_from.as_deref())?,
            replaced_by: place.maybe_text("replaced_by", self.replaced_by.as_deref())?,
            name: self.name,
            prefix: self.prefix,
        };
        Ok((KeyDigest(digest), key))
    }
}
