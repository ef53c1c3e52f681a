//! `Idempotency-Key`: a POST that is sent again gets the first answer again, and nothing is done
//! twice. One layer between the guard and the handlers; the decision record is `docs/adr/0013`.

use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::{ALLOW, CONTENT_TYPE, ETAG, IF_MATCH, LOCATION};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use tollgate_app::idempotency::{Repeatable, Repetition, Ticket};
use tollgate_app::{AppError, Context};

use crate::BODY_BYTES_MAX;
use crate::problem::{self, Problem, RequestId};
use crate::state::Api;

pub(crate) const KEY: HeaderName = HeaderName::from_static("idempotency-key");
pub(crate) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");
const KEY_LENGTH_MAX: usize = 255;
/// The largest answer that is kept, in bytes.
const ANSWER_BYTES_MAX: usize = 8 << 20;

/// POSTs that change nothing: each is answered anew, and a key is of no use.
const READ_ONLY: [&str; 2] = ["/api/v1/enforcement/check", "/api/v1/enforcement/batch"];

/// Whether requests of this route may carry an idempotency key.
pub(crate) fn is_for(method: &str, path: &str) -> bool {
    method == "POST" && !READ_ONLY.contains(&path)
}

/// An answer as it is kept, sealed.
#[derive(Serialize, Deserialize)]
struct Kept {
    status: u16,
    headers: Vec<(String, String)>,
    body: String,
}

/// Answers a repeated request as it was answered, and keeps the answer of a new one.
#[expect(
    clippy::disallowed_methods,
    reason = "a request with an idempotency key runs to its end even if its caller goes away: \
              the caller comes back for the answer"
)]
pub(crate) async fn once(
    State(api): State<Api>,
    request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let Some(key) = key(request.headers())? else {
        return Ok(next.run(request).await);
    };
    let (parts, body) = request.into_parts();
    let Some(asker) = parts.extensions.get::<Context>().cloned() else {
        return Err(Problem::unauthorized());
    };
    let id = parts.extensions.get::<RequestId>().cloned();
    let id = id.map(|id| id.0).unwrap_or_default();
    let body = to_bytes(body, BODY_BYTES_MAX).await;
    let body = body.map_err(|_cut| Problem::of_status(StatusCode::PAYLOAD_TOO_LARGE))?;
    let path = parts.uri.path().to_owned();
    let operation = format!("{} {path}", parts.method);
    let header = |name| {
        parts
            .headers
            .get(name)
            .map_or(&[][..], HeaderValue::as_bytes)
    };
    let content = [
        parts.uri.query().unwrap_or_default().as_bytes(),
        header(CONTENT_TYPE),
        header(IF_MATCH),
        &body,
    ];
    let repeatable = Repeatable {
        key: &key,
        operation: &operation,
        content: &content,
    };
    let ticket = match api.app.begin_request(&asker, repeatable).await? {
        Repetition::New(ticket) => ticket,
        Repetition::Answered(kept) => return replay(&kept),
    };
    let request = Request::from_parts(parts, Body::from(body));
    let doing = async move {
        let response = next.run(request).await;
        keep(&api, ticket, problem::told(response, &path, &id)).await
    };
    match tokio::spawn(doing).await {
        Ok(response) => Ok(response),
        Err(_panicked) => Err(Problem::of_status(StatusCode::INTERNAL_SERVER_ERROR)),
    }
}

/// The key of a request, if it has one.
fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut lines = headers.get_all(KEY).iter();
    let Some(line) = lines.next() else {
        return Ok(None);
    };
    let text = line.to_str().unwrap_or_default();
    let fits = (1..=KEY_LENGTH_MAX).contains(&text.len())
        && text.bytes().all(|byte| byte.is_ascii_graphic());
    if !fits || lines.next().is_some() {
        let detail = "give one key of 1 to 255 visible ASCII characters, a new UUID for example";
        return Err(Problem::header(KEY.as_str(), detail));
    }
    Ok(Some(text.to_owned()))
}

/// Keeps an answer for repetitions, unless it is one that asks to try again.
async fn keep(api: &Api, ticket: Ticket, response: Response) -> Response {
    let (parts, body) = response.into_parts();
    let bytes = match to_bytes(body, ANSWER_BYTES_MAX).await {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "an answer cannot be kept: it is too large");
            return problem::of(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    let done = if parts.status.is_server_error() {
        api.app.forget_request(ticket).await
    } else {
        let kept = Kept::of(&parts, &bytes);
        let kept = serde_json::to_vec(&kept).unwrap_or_default();
        api.app.keep_answer(ticket, &kept).await
    };
    if let Err(error) = done {
        // A repetition will be told that nobody knows what became of it.
        tracing::warn!(%error, "the answer to a request with an idempotency key is not kept");
    }
    Response::from_parts(parts, Body::from(bytes))
}

impl Kept {
    fn of(parts: &http::response::Parts, body: &Bytes) -> Self {
        let headers = [CONTENT_TYPE, ETAG, LOCATION, ALLOW];
        let headers = headers.into_iter().filter_map(|name| {
            let value = parts.headers.get(&name)?.to_str().ok()?;
            Some((name.as_str().to_owned(), value.to_owned()))
        });
        Self {
            status: parts.status.as_u16(),
            headers: headers.collect(),
            body: String::from_utf8_lossy(body).into_owned(),
        }
    }
}

fn replay(kept: &[u8]) -> Result<Response, Problem> {
    let kept: Kept = serde_json::from_slice(kept).map_err(internal)?;
    let mut response = Response::builder().status(kept.status);
    for (name, value) in kept.headers {
        response = response.header(name, value);
    }
    response = response.header(REPLAYED, "true");
    response.body(Body::from(kept.body)).map_err(internal)
}

fn internal(error: impl std::error::Error + Send + Sync + 'static) -> Problem {
    AppError::Internal(Box::new(error)).into()
}
