//! `GET /api/v1/audit/verify`

use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use tollgate_app::audit::{AuditReport, BadEntry};
use tollgate_core::audit::AuditHead;
use utoipa::{IntoParams, ToSchema};

use super::trails;
use crate::auth::Asker;
use crate::extract::{Params, parameter};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The head that an earlier verification told, as `SEQ:HASH`: the trail must have been through it.
    head: Option<String>,
    /// With an operator's key and no tenant: every trail instead of the operator's own.
    #[param(value_type = Option<bool>)]
    all: Option<String>,
}

/// What verifying a trail found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditReport)]
pub(crate) struct ReportBody {
    /// Whether every entry is as it was written, and none is missing.
    ok: bool,
    /// Trails that were walked.
    trails: u64,
    /// Entries that were read; of a bad trail those up to the first bad place.
    entries: u64,
    /// How far the trail goes; null for an empty trail, and where every trail was asked for.
    head: Option<HeadBody>,
    /// The first bad place; null if there is none.
    first_bad: Option<BadBody>,
}

/// How far a trail goes. Kept elsewhere, it proves later that nothing was taken away since.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditHead)]
pub(crate) struct HeadBody {
    /// The number of the last entry.
    seq: i64,
    /// The mark of the last entry, 64 hexadecimal digits.
    hash: String,
}

/// The first bad place of a trail.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = AuditFault)]
pub(crate) struct BadBody {
    /// Whose trail; null for the operator's own.
    tenant_id: Option<String>,
    /// The number of the entry.
    seq: i64,
    /// What is wrong there.
    #[schema(schema_with = crate::openapi::tampering)]
    reason: &'static str,
    /// The same in words.
    detail: String,
}

impl From<AuditReport> for ReportBody {
    fn from(report: AuditReport) -> Self {
        let head = |AuditHead { seq, hash }| HeadBody { seq, hash };
        let bad = |BadEntry {
                       tenant,
                       seq,
                       reason,
                   }| BadBody {
            tenant_id: tenant.map(String::from),
            seq,
            reason: reason.as_str(),
            detail: format!("entry {seq} {reason}"),
        };
        Self {
            ok: report.is_good(),
            trails: report.trails,
            entries: report.entries,
            head: report.head.map(head),
            first_bad: report.first_bad.map(bad),
        }
    }
}

/// Walks the tenant's trail and names the first entry that is not as it was written.
#[utoipa::path(get, path = "/api/v1/audit/verify", operation_id = "verify_audit", params(Asked),
    responses((status = 200, description = "What was found", body = ReportBody)))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Json<ReportBody>, Problem> {
    let expected =
        "SEQ:HASH as an earlier verification told it: a number, a colon, 64 hexadecimal digits";
    let head: Option<AuditHead> = parameter("head", asked.head.as_deref(), expected)?;
    let trails = trails(&context, asked.all.as_deref())?;
    let report = api.app.verify_audit(&context, trails, head).await?;
    Ok(Json(report.into()))
}
