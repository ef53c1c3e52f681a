//! `POST /api/v1/telemetry/llm-usage`

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde_json::value::RawValue;

use super::report::{self, RecordBody, ResultBody};
use crate::auth::Asker;
use crate::extract::Body;
use crate::problem::Problem;
use crate::state::Api;

/// Books a call that was made elsewhere. The same report again changes nothing and is answered with 200.
#[utoipa::path(post, path = "/api/v1/telemetry/llm-usage", operation_id = "report_usage",
    request_body = RecordBody,
    responses(
        (status = 201, description = "It is in the ledger", body = ResultBody),
        (status = 200, description = "It was in the ledger already", body = ResultBody),
    ))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Body(raw): Body<Box<RawValue>>,
) -> Result<(StatusCode, Json<ResultBody>), Problem> {
    let read = report::read(&raw, &context);
    let (call_id, told) = match read {
        Err(complaint) => (report::call_id_of(&raw), Err(complaint)),
        Ok(new) => {
            let call_id = Some(new.report.call_id.to_string());
            let mut told = api.app.report_usage(&context, vec![new]).await?;
            let one = told.pop();
            (call_id, one.ok_or_else(report::Complaint::without_fate))
        }
    };
    let body = ResultBody::of(call_id, told);
    match body.problem() {
        Some(problem) => Err(problem),
        None if body.result == "accepted" => Ok((StatusCode::CREATED, Json(body))),
        None => Ok((StatusCode::OK, Json(body))),
    }
}
