//! The audit trail: each change is written down in its own transaction, numbered within its tenant.

use jiff::Timestamp;
use tollgate_core::TenantId;
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::page::{Cursor, Page, PageAsk};

use crate::engine::{Purpose, Work, sql};
use crate::error::StoreError;
use crate::page::{page, rows};
use crate::value::{Place, micros, storable, to_json};
use crate::{OperatorStore, Store, TenantStore};

/// An entry of the audit trail as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Its number within its tenant, from 1, without gaps.
    pub seq: i64,
    /// Who did it.
    pub actor: Actor,
    /// What was done, noun and verb.
    pub action: String,
    /// What it was done to.
    pub target: String,
    /// The target before, as JSON text.
    pub before: Option<String>,
    /// The target after, as JSON text.
    pub after: Option<String>,
    /// The request that asked for it.
    pub request_id: Option<String>,
    /// When.
    pub at: Timestamp,
}

impl TenantStore {
    /// The tenant's trail, newest first.
    pub async fn list_audit(&self, ask: PageAsk) -> Result<Page<AuditRow>, StoreError> {
        list(&self.store, self.tenant.to_string(), ask).await
    }
}

impl OperatorStore {
    /// The trail of the operator's own changes, newest first.
    pub async fn list_operator_audit(&self, ask: PageAsk) -> Result<Page<AuditRow>, StoreError> {
        list(&self.store, String::new(), ask).await
    }
}

/// Writes an entry down.
pub(crate) async fn record(work: &mut Work, entry: &AuditEntry) -> Result<(), StoreError> {
    let insert = "INSERT INTO audit_log \
         (tenant_id, seq, actor, action, target, before, after, request_id, created_at) \
         SELECT $1, COALESCE(MAX(seq), 0) + 1, $2, $3, $4, $5, $6, $7, $8 FROM audit_log WHERE tenant_id = $1";
    let statement = sql(insert)
        .bind(entry.tenant.as_ref().map_or("", TenantId::as_str))
        .bind(to_json(&entry.actor)?)
        .bind(entry.action)
        .bind(storable(&entry.target))
        .bind(entry.before.as_deref().map(storable))
        .bind(entry.after.as_deref().map(storable))
        .bind(entry.request_id.as_deref().map(storable))
        .bind(micros(entry.at));
    work.execute(statement).await.map(drop)
}

#[derive(sqlx::FromRow)]
struct Row {
    seq: i64,
    actor: String,
    action: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    request_id: Option<String>,
    created_at: i64,
}

async fn list(store: &Store, tenant: String, ask: PageAsk) -> Result<Page<AuditRow>, StoreError> {
    let before = ask
        .after
        .as_ref()
        .map(|after| after.id.parse::<i64>().unwrap_or(0));
    let select = "SELECT seq, actor, action, target, before, after, request_id, created_at \
                  FROM audit_log WHERE tenant_id = $1 AND seq < $2 ORDER BY seq DESC LIMIT $3";
    let statement = sql(select)
        .bind(tenant)
        .bind(before.unwrap_or(i64::MAX))
        .bind(rows(&ask) + 1);
    let found: Vec<Row> = store
        .perform(Purpose::Read, |work| Box::pin(work.fetch_all(statement)))
        .await?;
    let cursor = |row: &Row| Cursor {
        at_micros: row.created_at,
        id: row.seq.to_string(),
    };
    page(found, &ask, cursor, Row::read)
}

impl Row {
    fn read(self) -> Result<AuditRow, StoreError> {
        let seq = self.seq.to_string();
        let place = Place {
            table: "audit_log",
            row: &seq,
        };
        Ok(AuditRow {
            seq: self.seq,
            actor: place.known("actor", place.json("actor", Some(&self.actor))?)?,
            action: self.action,
            target: self.target,
            before: self.before,
            after: self.after,
            request_id: self.request_id,
            at: place.time("created_at", self.created_at)?,
        })
    }
}
