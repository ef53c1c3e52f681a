//! `GET /api/v1/telemetry/usage-export`

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use futures_util::stream;
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use serde::Deserialize;
use tollgate_app::AppError;
use tollgate_app::usage::export::Export;
use tollgate_app::usage::{Days, Span};
use utoipa::IntoParams;

use super::csv;
use super::usage_history::UsageBody;
use crate::auth::Asker;
use crate::extract::{Params, bad_parameter, day_parameter, parameter};
use crate::problem::Problem;
use crate::state::Api;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(crate) struct Asked {
    /// `csv` or `jsonl`.
    #[param(schema_with = crate::openapi::export_format)]
    format: Option<String>,
    /// The first day in UTC, or a time of it; the first of the month if absent.
    from: Option<String>,
    /// The last day in UTC, or a time of it; today if absent.
    to: Option<String>,
    /// Only the calls of this integration.
    integration_id: Option<String>,
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Csv,
    Jsonl,
}

impl Format {
    fn of(text: Option<&str>) -> Result<Self, Problem> {
        match text {
            None | Some("csv") => Ok(Self::Csv),
            Some("jsonl") => Ok(Self::Jsonl),
            Some(_) => Err(bad_parameter("format", "give csv or jsonl")),
        }
    }

    const fn extension(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Jsonl => "jsonl",
        }
    }

    const fn content_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Jsonl => "application/jsonl",
        }
    }

    /// Some rows as bytes.
    fn write(self, rows: impl Iterator<Item = UsageBody>) -> Result<Vec<u8>, serde_json::Error> {
        let mut out = Vec::new();
        for row in rows {
            match self {
                Self::Csv => csv::write_row(&mut out, &row),
                Self::Jsonl => {
                    serde_json::to_writer(&mut out, &row)?;
                    out.push(b'\n');
                }
            }
        }
        Ok(out)
    }
}

/// The tenant's calls of some days, oldest first, as a file: this month as CSV unless told otherwise. What settles while it is
/// read is not in it. A file that breaks off ends in a broken connection, never in a clean end.
#[utoipa::path(get, path = "/api/v1/telemetry/usage-export", operation_id = "export_usage",
    params(Asked), responses((status = 200, description = "The file", content(
        (String = "text/csv"), (String = "application/jsonl")))))]
pub(crate) async fn handle(
    State(api): State<Api>,
    Asker(context): Asker,
    Params(asked): Params<Asked>,
) -> Result<Response, Problem> {
    let format = Format::of(asked.format.as_deref())?;
    let span = Span {
        from: day_parameter("from", asked.from.as_deref())?,
        to: day_parameter("to", asked.to.as_deref())?,
    };
    let days = span.days(&context)?;
    let integration = parameter("integration_id", asked.integration_id.as_deref(), "a UUID")?;
    let mut export = api.app.export_usage(&context, days, integration).await?;
    // What goes wrong before the first row can still be told by a status.
    let first = piece(&mut export, format).await?;
    let opening = Opening::new(format, first);
    let rest = stream::try_unfold(
        (opening, export),
        move |(mut opening, mut export)| async move {
            if let Some(bytes) = opening.0.pop() {
                return Ok(Some((bytes, (opening, export))));
            }
            let next = piece(&mut export, format).await.inspect_err(
                |error| tracing::warn!(%error, "an export breaks off, and its connection with it"),
            )?;
            Ok::<_, AppError>(next.map(|bytes| (bytes, (opening, export))))
        },
    );
    let headers = [
        (CONTENT_TYPE, format.content_type().to_owned()),
        (CONTENT_DISPOSITION, file_name(days, format)),
    ];
    Ok((headers, Body::from_stream(rest)).into_response())
}

/// What is sent before more is read: last first.
struct Opening(Vec<Bytes>);

impl Opening {
    fn new(format: Format, first: Option<Bytes>) -> Self {
        let mut parts: Vec<_> = first.into_iter().collect();
        if format == Format::Csv {
            parts.push(Bytes::from(csv::header()));
        }
        Self(parts)
    }
}

async fn piece(export: &mut Export, format: Format) -> Result<Option<Bytes>, AppError> {
    let Some(rows) = export.next().await? else {
        return Ok(None);
    };
    let written = format.write(rows.into_iter().map(UsageBody::from));
    let written = written.map_err(|error| AppError::Internal(Box::new(error)))?;
    Ok(Some(Bytes::from(written)))
}

fn file_name(days: Days, format: Format) -> String {
    let Days { from, to } = days;
    let extension = format.extension();
    format!("attachment; filename=\"usage-{from}-{to}.{extension}\"")
}
