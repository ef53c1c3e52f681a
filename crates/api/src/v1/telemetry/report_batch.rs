//! `POST /api/v1/telemetry/llm-usage/batch`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use utoipa::ToSchema;
use utoipa::openapi::schema::{AnyOfBuilder, Array, ArrayBuilder, ObjectBuilder, Ref, SchemaType};

use super::report::{self, Complaint, RecordBody, ResultBody};
use crate::auth::Asker;
use crate::extract::Body;
use crate::problem::Problem;
use crate::state::Api;

/// The most records of one batch.
const RECORDS_MAX: usize = 100;

/// Calls that were made elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewUsageBatch)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// The calls, 1 to 100; each is read and booked for itself.
    #[schema(schema_with = records)]
    records: Vec<Box<RawValue>>,
}

/// The records as they are described: a wrong one does not make the batch wrong, so that anything may stand beside those that fit.
fn records() -> Array {
    let anything = ObjectBuilder::new()
        .schema_type(SchemaType::AnyValue)
        .description(Some("Anything else is answered with `rejected`, and why."));
    let record = AnyOfBuilder::new()
        .item(Ref::from_schema_name(RecordBody::name()))
        .item(anything);
    ArrayBuilder::new()
        .items(record)
        .min_items(Some(1))
        .max_items(Some(RECORDS_MAX))
        .description(Some(
            "The calls, 1 to 100; each is read and booked for itself.",
        ))
        .build()
}

/// What became of the records of a batch.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = UsageBatchResult)]
pub(crate) struct BatchBody {
    /// Records that are in the ledger now.
    accepted: usize,
    /// Records that were in the ledger already.
    duplicates: usize,
    /// Records whose call is in the ledger with other content, which stands.
    conflicts: usize,
    /// Records that cannot be booked.
    rejected: usize,
    /// All records.
    total: usize,
    /// What became of each, in their order.
    results: Vec<ResultBody>,
}

impl BatchBody {
    fn of(results: Vec<ResultBody>) -> Self {
        let count = |result| results.iter().filter(|one| one.result == result).count();
        Self {
            accepted: count("accepted"),
            duplicates: count("duplicate"),
            conflicts: count("conflict"),
            rejected: count("rejected"),
            total: results.len(),
            results,
        }
    }

    const fn is_whole(&self) -> bool {
        self.conflicts == 0 && self.rejected == 0
    }
}

/// Books calls that were made elsewhere, each for itself: one that is wrong spoils no other.
#[utoipa::path(post, path = "/api/v1/telemetry/llm-usage/batch", operation_id = "report_usage_batch",
    request_body = Asked,
    responses(
        (status = 200, description = "All of them are in the ledger", body = BatchBody),
        (status = 207, description = "Some are not in the ledger as they were sent: see `results`", body = BatchBody),
    ))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(asked): Body<Asked>,
) -> Result<(StatusCode, Json<BatchBody>), Problem> {
    let given = asked.records.len();
    if given == 0 || given > RECORDS_MAX {
        let detail = format!("give 1 to {RECORDS_MAX} records, not {given}");
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return Err(Problem::at(status, "invalid", "/records", detail));
    }
    let mut new = Vec::with_capacity(given);
    let mut read = Vec::with_capacity(given);
    for raw in &asked.records {
        match report::read(raw, &context) {
            Ok(report) => {
                read.push(Ok(report.report.call_id.to_string()));
                new.push(report);
            }
            Err(complaint) => read.push(Err((report::call_id_of(raw), complaint))),
        }
    }
    let mut told = api.app.report_usage(&context, new).await?.into_iter();
    let results = read.into_iter().enumerate().map(|(index, read)| {
        let body = match read {
            Ok(call_id) => {
                let one = told.next().ok_or_else(Complaint::without_fate);
                ResultBody::of(Some(call_id), one)
            }
            Err((call_id, complaint)) => ResultBody::of(call_id, Err(complaint)),
        };
        body.at(index)
    });
    let body = BatchBody::of(results.collect());
    let status = if body.is_whole() {
        StatusCode::OK
    } else {
        StatusCode::MULTI_STATUS
    };
    Ok((status, Json(body)))
}
