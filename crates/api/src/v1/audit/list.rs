//! `GET /api/v1/audit`

use axum::Json;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tollgate_app::audit::{AuditFilter, AuditRow};
use tollgate_core::audit::Actor;
use utoipa::{IntoParams, ToSchema};

use super::trails;
use crate::auth::Asker;
use crate::extract::{Params, bad_parameter, from_parameter, parameter, to_parameter};
use crate::page::{self, ListBody};
use crate::problem::Problem;
use crate::state::Api;

/// The longest text that an action or a target can be, in bytes.
const NAME_MAX: usize = 300;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// Only this action, a noun and a verb: `integration.enable`.
    action: Option<String>,
    /// Only what was done to this: a kind (`integration`), or a kind and an id (`integration/4f0c…`).
    target: Option<String>,
    /// Only what this one did: the id of a key, or `system`, or `console`.
    actor: Option<String>,
    /// Only entries from this time on, or from the beginning of this day in UTC.
    from: Option<String>,
    /// Only entries before this time, or until the end of this day in UTC.
    to: Option<String>,
    /// With an operator's key and no tenant: every trail instead of the operator's own.
    #[param(value_type = Option<bool>)]
    all: Option<String>,
    /// Rows of a page, 1 to 200; 50 if absent.
    #[param(value_type = Option<u16>, minimum = 1, maximum = 200)]
    limit: Option<String>,
    /// The `next_cursor` of the page before.
    cursor: Option<String>,
}

/// One entry of an audit trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditEntry)]
pub(crate) struct EntryBody {
    /// Whose trail it stands in; null for the operator's own.
    tenant_id: Option<String>,
    /// Its number within its trail, from 1, without gaps.
    seq: i64,
    actor: ActorBody,
    /// What was done, a noun and a verb.
    action: String,
    /// What it was done to, a kind and an id.
    target: String,
    /// The target before; null where there was none. Secrets appear as fingerprints.
    #[schema(value_type = Option<Object>)]
    before: Option<Value>,
    /// The target after; null where there is none.
    #[schema(value_type = Option<Object>)]
    after: Option<Value>,
    /// The request that asked for it.
    request_id: Option<String>,
    /// When.
    created_at: Timestamp,
    /// The mark that chains it to the entry before, 64 hexadecimal digits.
    hash: String,
}

/// Who did something.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditActor)]
pub(crate) struct ActorBody {
    /// `key` for the holder of an access key, `system` for Tollgate itself, `console` for whoever has a shell on its
    /// machine.
    #[schema(schema_with = crate::openapi::actor_kind)]
    kind: &'static str,
    /// The key's id.
    id: Option<String>,
    /// The key's name, where whoever reads may know it.
    name: Option<String>,
}

impl From<AuditRow> for EntryBody {
    fn from(row: AuditRow) -> Self {
        let (kind, id) = match row.actor {
            Actor::Key { id } => ("key", Some(id.to_string())),
            Actor::System => ("system", None),
            Actor::Console => ("console", None),
        };
        Self {
            tenant_id: row.tenant.map(String::from),
            seq: row.seq,
            actor: ActorBody {
                kind,
                id,
                name: row.actor_name,
            },
            action: row.action,
            target: row.target,
            before: row.before.map(|text| state(&text)),
            after: row.after.map(|text| state(&text)),
            request_id: row.request_id,
            created_at: row.at,
            hash: row.hash,
        }
    }
}

/// A state as the object that it is; what somebody made of it otherwise is told as an object too.
fn state(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(object @ Value::Object(_)) => object,
        Ok(_) | Err(_) => serde_json::json!({ "unreadable": text }),
    }
}

/// The entries of the tenant's trail, newest first; of an operator that names no tenant, of the operator's own.
#[utoipa::path(get, path = "/api/v1/audit", operation_id = "list_audit", params(Asked),
    responses((status = 200, description = "A page", body = ListBody<EntryBody>)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ListBody<EntryBody>>, Problem> {
    let name = |name: &str, text: Option<String>| match text {
        Some(text) if text.is_empty() || text.len() > NAME_MAX || text.contains('\0') => {
            let detail = format!("give 1 to {NAME_MAX} characters");
            Err(bad_parameter(name, &detail))
        }
        text => Ok(text),
    };
    let actors = "the id of a key, or system, or console";
    let filter = AuditFilter {
        action: name("action", asked.action)?,
        target: name("target", asked.target)?,
        actor: parameter("actor", asked.actor.as_deref(), actors)?,
        from: from_parameter(asked.from.as_deref())?,
        to: to_parameter(asked.to.as_deref())?,
    };
    let trails = trails(&context, asked.all.as_deref())?;
    let ask = page::asked(asked.limit.as_deref(), asked.cursor.as_deref())?;
    let page = api.app.list_audit(&context, trails, ask, filter).await?;
    Ok(Json(ListBody::of(page, EntryBody::from)))
}
