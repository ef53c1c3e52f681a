//! The audit trail: each change is written down in its own transaction, numbered within its tenant and chained.

mod chain;
mod verify;

use jiff::Timestamp;
use tollgate_core::audit::Actor;
use tollgate_core::page::{Cursor, Page, PageAsk};
use tollgate_core::{KeyId, TenantId};

pub use self::chain::AuditSeal;
pub(crate) use self::chain::{adopt, record};
pub use self::verify::{AuditReport, BadEntry};
use crate::engine::{Purpose, Statement, Work, sql};
use crate::error::StoreError;
use crate::page::{page, rows};
use crate::value::{Place, micros, to_json};
use crate::{OperatorStore, TenantStore};

/// An entry of the audit trail as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// Whose trail it stands in; none for the operator's own.
    pub tenant: Option<TenantId>,
    /// Its number within its trail, from 1, without gaps.
    pub seq: i64,
    /// Who did it.
    pub actor: Actor,
    /// The name of the key that did it, where whoever reads may know that key.
    pub actor_name: Option<String>,
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
    /// The mark that chains it to the entry before.
    pub hash: String,
}

/// Which entries of a trail; nothing means all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Only this action.
    pub action: Option<String>,
    /// Only what was done to this: a kind (`integration`), or a kind and an id (`integration/4f0c…`).
    pub target: Option<String>,
    /// Only what this one did.
    pub actor: Option<Actor>,
    /// Not earlier than this.
    pub from: Option<Timestamp>,
    /// Earlier than this.
    pub to: Option<Timestamp>,
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT tenant_id, seq, actor, action, target, before, after, request_id, created_at, hash FROM audit_log ",
            $rest
        )
    };
}
use select;

impl TenantStore {
    /// The tenant's trail, newest first.
    pub async fn list_audit(
        &self,
        ask: PageAsk,
        filter: AuditFilter,
    ) -> Result<Page<AuditRow>, StoreError> {
        let tenant = self.tenant.clone();
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let own = sql(select!("WHERE tenant_id = ")).value(tenant.as_str());
                let names = sql("SELECT id, name FROM access_keys WHERE tenant_id = ")
                    .value(tenant.as_str());
                trail(work, filter.apply(own)?, &ask, names).await
            })
        })
        .await
    }
}

impl OperatorStore {
    /// The trail of the operator's own changes, newest first.
    pub async fn list_operator_audit(
        &self,
        ask: PageAsk,
        filter: AuditFilter,
    ) -> Result<Page<AuditRow>, StoreError> {
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let own = sql(select!("WHERE tenant_id = ''"));
                trail(work, filter.apply(own)?, &ask, any_key()).await
            })
        })
        .await
    }

    /// Every trail, the operator's and each tenant's, newest first.
    pub async fn list_every_audit(
        &self,
        ask: PageAsk,
        filter: AuditFilter,
    ) -> Result<Page<AuditRow>, StoreError> {
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let mut every = filter.apply(sql(select!("WHERE 1 = 1")))?;
                if let Some(Cursor { at_micros, id }) = &ask.after {
                    let (seq, tenant) = id.split_once('/').unwrap_or_default();
                    every = every
                        .push(" AND (created_at, tenant_id, seq) < (")
                        .value(*at_micros)
                        .push(", ")
                        .value(tenant)
                        .push(", ")
                        .value(seq.parse::<i64>().unwrap_or_default())
                        .push(")");
                }
                let every = every
                    .push(" ORDER BY created_at DESC, tenant_id DESC, seq DESC LIMIT ")
                    .value(rows(&ask) + 1);
                read(work, every, &ask, any_key()).await
            })
        })
        .await
    }
}

impl AuditFilter {
    fn apply(self, statement: Statement) -> Result<Statement, StoreError> {
        let mut statement = statement;
        if let Some(action) = self.action {
            statement = statement.push(" AND action = ").value(action);
        }
        if let Some(target) = self.target {
            statement = if target.contains('/') {
                statement.push(" AND target = ").value(target)
            } else {
                let kind = format!("{target}/");
                let length = kind.chars().count();
                statement
                    .push(&format!(" AND SUBSTR(target, 1, {length}) = "))
                    .value(kind)
            };
        }
        if let Some(actor) = &self.actor {
            statement = statement.push(" AND actor = ").value(to_json(actor)?);
        }
        if let Some(from) = self.from {
            statement = statement.push(" AND created_at >= ").value(micros(from));
        }
        if let Some(to) = self.to {
            statement = statement.push(" AND created_at < ").value(micros(to));
        }
        Ok(statement)
    }
}

fn any_key() -> Statement {
    sql("SELECT id, name FROM access_keys WHERE 1 = 1")
}

/// A page of one trail.
async fn trail(
    work: &mut Work,
    own: Statement,
    ask: &PageAsk,
    names: Statement,
) -> Result<Page<AuditRow>, StoreError> {
    let before = ask.after.as_ref();
    let before = before.map(|after| after.id.split('/').next().unwrap_or_default().parse());
    let before = before.map_or(i64::MAX, |seq| seq.unwrap_or(0));
    let own = own
        .push(" AND seq < ")
        .value(before)
        .push(" ORDER BY seq DESC LIMIT ")
        .value(rows(ask) + 1);
    read(work, own, ask, names).await
}

/// Reads entries, with the names of the keys that made them.
async fn read(
    work: &mut Work,
    entries: Statement,
    ask: &PageAsk,
    names: Statement,
) -> Result<Page<AuditRow>, StoreError> {
    let found: Vec<Row> = work.fetch_all(entries).await?;
    let cursor = |row: &Row| Cursor {
        at_micros: row.created_at,
        id: format!("{}/{}", row.seq, row.tenant_id),
    };
    let mut page = page(found, ask, cursor, Row::read)?;
    let mut keys: Vec<KeyId> = page.rows.iter().filter_map(AuditRow::key).collect();
    keys.sort_unstable();
    keys.dedup();
    if keys.is_empty() {
        return Ok(page);
    }
    let mut names = names.push(" AND id IN (");
    for (index, key) in keys.iter().enumerate() {
        let comma = if index == 0 { "" } else { ", " };
        names = names.push(comma).value(key.to_string());
    }
    let names: Vec<(String, String)> = work.fetch_all(names.push(")")).await?;
    for row in &mut page.rows {
        let id = row.key().map(|id| id.to_string());
        row.actor_name = names
            .iter()
            .find(|(key, _)| Some(key) == id.as_ref())
            .map(|(_, name)| name.clone());
    }
    Ok(page)
}

impl AuditRow {
    const fn key(&self) -> Option<KeyId> {
        match self.actor {
            Actor::Key { id } => Some(id),
            Actor::System | Actor::Console => None,
        }
    }
}

/// An entry as its table has it.
#[derive(sqlx::FromRow)]
struct Row {
    tenant_id: String,
    seq: i64,
    actor: String,
    action: String,
    target: String,
    before: Option<String>,
    after: Option<String>,
    request_id: Option<String>,
    created_at: i64,
    hash: String,
}

impl Row {
    fn read(self) -> Result<AuditRow, StoreError> {
        let seq = self.seq.to_string();
        let place = Place {
            table: "audit_log",
            row: &seq,
        };
        let tenant = Some(self.tenant_id.as_str()).filter(|tenant| !tenant.is_empty());
        Ok(AuditRow {
            tenant: place.maybe_text("tenant_id", tenant)?,
            seq: self.seq,
            actor: place.known("actor", place.json("actor", Some(&self.actor))?)?,
            actor_name: None,
            action: self.action,
            target: self.target,
            before: self.before,
            after: self.after,
            request_id: self.request_id,
            at: place.time("created_at", self.created_at)?,
            hash: self.hash,
        })
    }
}
