//! The chain: how an entry is marked, written behind its trail's head, and how the entries of older databases got theirs.

use std::fmt::Write;
use std::sync::Arc;

use tollgate_core::TenantId;
use tollgate_core::audit::AuditEntry;

use super::{Row, select};
use crate::engine::{Work, sql};
use crate::error::{Conflict, StoreError};
use crate::value::{micros, storable, to_json};

/// What the encoding of an entry begins with, so that no other use of the key can make the same bytes.
const LABEL: &[u8] = b"tollgate/audit-entry/1";

/// Rows of one step through a trail.
pub(super) const STEP: i64 = 1_000;

/// Makes a mark of bytes.
type Mark = dyn Fn(&[u8]) -> [u8; 32] + Send + Sync;

/// What marks entries: a keyed hash whose key is not in the database.
#[derive(Clone)]
pub struct AuditSeal(Option<Arc<Mark>>);

impl AuditSeal {
    /// Marks by a keyed hash.
    pub fn new(mark: impl Fn(&[u8]) -> [u8; 32] + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(mark)))
    }

    /// Marks nothing: for a store that is only looked at. What would write an entry or verify one fails with
    /// [`StoreError::NoAuditKey`].
    #[must_use]
    pub const fn absent() -> Self {
        Self(None)
    }

    fn mark(&self, bytes: &[u8]) -> Result<String, StoreError> {
        let mark = self.0.as_ref().ok_or(StoreError::NoAuditKey)?;
        let mut text = String::with_capacity(64);
        for byte in mark(bytes) {
            write!(text, "{byte:02x}").or(Err(StoreError::NoAuditKey))?;
        }
        Ok(text)
    }
}

impl std::fmt::Debug for AuditSeal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is = self.0.as_ref().map_or("absent", |_| "…");
        write!(f, "AuditSeal({is})")
    }
}

impl Row {
    /// The mark that the entry must bear behind an entry of this mark; behind none it is empty.
    pub(super) fn mark(&self, seal: &AuditSeal, previous: &str) -> Result<String, StoreError> {
        let (seq, at) = (self.seq.to_string(), self.created_at.to_string());
        let fields = [
            Some(self.tenant_id.as_str()),
            Some(&seq),
            Some(&self.actor),
            Some(&self.action),
            Some(&self.target),
            self.before.as_deref(),
            self.after.as_deref(),
            self.request_id.as_deref(),
            Some(&at),
            Some(previous),
        ];
        let mut bytes = LABEL.to_vec();
        for field in fields {
            // A byte for its presence and its length before it: no two lists of fields make the same bytes.
            bytes.push(u8::from(field.is_some()));
            let text = field.unwrap_or_default().as_bytes();
            let length = u64::try_from(text.len()).unwrap_or(u64::MAX);
            bytes.extend(length.to_be_bytes());
            bytes.extend(text);
        }
        seal.mark(&bytes)
    }
}

/// Writes an entry down behind the last one of its trail.
pub(crate) async fn record(work: &mut Work, entry: &AuditEntry) -> Result<(), StoreError> {
    let tenant = entry.tenant.as_ref().map_or("", TenantId::as_str);
    // Taking the next number locks the head, so that entries of one trail wait for each other.
    let claim = "INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, 1, '') \
                 ON CONFLICT (tenant_id) DO UPDATE SET seq = audit_heads.seq + 1 RETURNING seq, hash";
    let (seq, previous): (i64, String) = work.fetch_one(sql(claim).bind(tenant)).await?;
    let mut row = Row {
        tenant_id: tenant.to_owned(),
        seq,
        actor: to_json(&entry.actor)?,
        action: entry.action.to_owned(),
        target: storable(&entry.target),
        before: entry.before.as_deref().map(storable),
        after: entry.after.as_deref().map(storable),
        request_id: entry.request_id.as_deref().map(storable),
        created_at: micros(entry.at),
        hash: String::new(),
    };
    row.hash = row.mark(work.audit_seal(), &previous)?;
    insert(work, &row).await?;
    set_head(work, &row).await
}

async fn insert(work: &mut Work, row: &Row) -> Result<(), StoreError> {
    let insert = "INSERT INTO audit_log \
         (tenant_id, seq, actor, action, target, before, after, request_id, created_at, hash) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";
    let statement = sql(insert)
        .bind(row.tenant_id.as_str())
        .bind(row.seq)
        .bind(row.actor.as_str())
        .bind(row.action.as_str())
        .bind(row.target.as_str())
        .bind(row.before.clone())
        .bind(row.after.clone())
        .bind(row.request_id.clone())
        .bind(row.created_at)
        .bind(row.hash.as_str());
    match work.execute(statement).await {
        // The head does not go as far as its trail: somebody was at the tables.
        Err(StoreError::Conflict(Conflict::Exists)) => {
            Err(StoreError::corrupt("audit_heads", "seq", &row.tenant_id))
        }
        done => done.map(drop),
    }
}

async fn set_head(work: &mut Work, row: &Row) -> Result<(), StoreError> {
    let update = sql("UPDATE audit_heads SET hash = $2 WHERE tenant_id = $1")
        .bind(row.tenant_id.as_str())
        .bind(row.hash.as_str());
    work.execute(update).await.map(drop)
}

/// Takes the entries of a database from before the chain into it, in their order; a part of the migration.
pub(crate) async fn adopt(work: &mut Work) -> Result<(), StoreError> {
    let (mut place, mut previous) = ((String::new(), i64::MIN), String::new());
    let mut adopted = 0_u64;
    loop {
        let step = sql(ADOPT).bind(place.0.as_str()).bind(place.1).bind(STEP);
        let rows: Vec<Row> = work.fetch_all(step).await?;
        let is_last = rows.is_empty();
        for mut row in rows {
            if row.tenant_id != place.0 {
                previous.clear();
            }
            row.hash = row.mark(work.audit_seal(), &previous)?;
            insert(work, &row).await?;
            let head = "INSERT INTO audit_heads (tenant_id, seq, hash) VALUES ($1, $2, $3) \
                        ON CONFLICT (tenant_id) DO UPDATE SET seq = excluded.seq, hash = excluded.hash";
            let head = sql(head)
                .bind(row.tenant_id.as_str())
                .bind(row.seq)
                .bind(row.hash.as_str());
            work.execute(head).await?;
            place = (row.tenant_id, row.seq);
            previous = row.hash;
            adopted += 1;
        }
        if is_last {
            break;
        }
    }
    if adopted > 0 {
        tracing::warn!(
            adopted,
            "audit entries from before the chain were taken into it as they were found"
        );
    }
    work.execute(sql("DROP TABLE audit_log_unchained"))
        .await
        .map(drop)
}

const ADOPT: &str = "SELECT tenant_id, seq, actor, action, target, before, after, request_id, created_at, '' AS hash \
     FROM audit_log_unchained WHERE (tenant_id, seq) > ($1, $2) ORDER BY tenant_id, seq LIMIT $3";

/// The entries of one trail from a number on, oldest first.
pub(super) const WALK: &str = select!("WHERE tenant_id = $1 AND seq >= $2 ORDER BY seq LIMIT $3");
