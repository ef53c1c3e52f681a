//! One call of a replay: its body, its attempts, and what came back.

use std::time::Duration;

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri,
    header::{CONTENT_TYPE, RETRY_AFTER},
};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioTimer},
};
use serde::Deserialize;

use super::{cost::Cost, plan::Row, stopwatch::Stopwatch};

/// No wait before another attempt is longer than this.
const LONGEST_WAIT: Duration = Duration::from_mins(1);
/// The wait before another attempt when a 503 names none.
const USUAL_WAIT: Duration = Duration::from_secs(1);
/// An answer larger than this, in bytes, is taken for a broken one.
const MAX_ANSWER: usize = 64 << 20;

/// How a call ended.
#[derive(Debug)]
pub(super) enum Ending {
    /// An answer, complete.
    Answered(StatusCode),
    /// No answer, or not all of it.
    Unreachable,
}

/// What is known of a call after its last attempt.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ending: Ending,
    /// How long the last attempt took, to the last byte of its answer.
    pub(super) latency: Duration,
    /// Attempts before the last one.
    pub(super) retries: u64,
    /// Tokens as the answer reports them.
    pub(super) usage: Option<Usage>,
    /// What the gateway says it cost.
    pub(super) cost: Option<Cost>,
    /// What an answer without success says.
    pub(super) refusal: Option<String>,
}

/// The usage of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) struct Usage {
    #[serde(rename = "prompt_tokens")]
    pub(super) tokens_in: u64,
    #[serde(rename = "completion_tokens")]
    pub(super) tokens_out: u64,
}

#[derive(Deserialize)]
struct Completion {
    #[serde(default)]
    usage: Option<Usage>,
}

#[derive(Deserialize)]
struct Refusal {
    error: RefusalError,
}

#[derive(Deserialize)]
struct RefusalError {
    message: String,
}

/// Sends calls to one place with the same headers.
#[derive(Debug)]
pub(super) struct Caller {
    client: Client<HttpConnector, Full<Bytes>>,
    uri: Uri,
    headers: HeaderMap,
    /// The body up to the first word of the prompt.
    opening: String,
    attempts: u32,
}

struct Attempt {
    ending: Ending,
    wait: Option<Duration>,
    usage: Option<Usage>,
    cost: Option<Cost>,
    refusal: Option<String>,
}

impl Caller {
    pub(super) fn new(
        uri: Uri,
        mut headers: HeaderMap,
        model: &str,
        (concurrency, attempts): (usize, u32),
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_max_idle_per_host(concurrency)
            .pool_timer(TokioTimer::new())
            .build(connector);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let model = serde_json::Value::from(model);
        let opening = format!(r#"{{"model":{model},"messages":[{{"role":"user","content":""#);
        Self {
            client,
            uri,
            headers,
            opening,
            attempts,
        }
    }

    /// Send a row as a call, again and again while it is throttled, up to the bound of attempts.
    pub(super) async fn call(&self, row: &Row) -> Outcome {
        let body = self.body(row);
        let mut retries = 0;
        loop {
            let stopwatch = Stopwatch::start();
            let attempt = self.attempt(body.clone()).await;
            let latency = stopwatch.elapsed();
            match attempt.wait {
                Some(wait) if retries + 1 < self.attempts => tokio::time::sleep(wait).await,
                _ => {
                    let Attempt {
                        ending,
                        usage,
                        cost,
                        refusal,
                        ..
                    } = attempt;
                    return Outcome {
                        ending,
                        latency,
                        retries: retries.into(),
                        usage,
                        cost,
                        refusal,
                    };
                }
            }
            retries += 1;
        }
    }

    fn body(&self, row: &Row) -> Bytes {
        let words = usize::try_from(row.tokens_in).unwrap_or_default();
        let mut body = String::with_capacity(self.opening.len() + 2 * words + 48);
        body.push_str(&self.opening);
        body.extend(std::iter::repeat_n("a ", words.saturating_sub(1)));
        body.push_str(if words > 0 { "a" } else { "" });
        body.push_str(r#""}],"max_tokens":"#);
        body.push_str(&row.tokens_out.to_string());
        body.push('}');
        body.into()
    }

    async fn attempt(&self, body: Bytes) -> Attempt {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.uri.clone();
        *request.headers_mut() = self.headers.clone();
        let unreachable = Attempt {
            ending: Ending::Unreachable,
            wait: None,
            usage: None,
            cost: None,
            refusal: None,
        };
        match self.client.request(request).await {
            Ok(response) => answered(response).await.unwrap_or(unreachable),
            Err(_) => unreachable,
        }
    }
}

/// What an answer says; none if it breaks off.
async fn answered(response: Response<Incoming>) -> Option<Attempt> {
    let (head, body) = response.into_parts();
    let body = Limited::new(body, MAX_ANSWER)
        .collect()
        .await
        .ok()?
        .to_bytes();
    let usage = head
        .status
        .is_success()
        .then(|| serde_json::from_slice::<Completion>(&body).ok()?.usage)
        .flatten();
    let cost = head.headers.get("x-tollgate-cost-usd");
    let refusal = (!head.status.is_success())
        .then(|| serde_json::from_slice::<Refusal>(&body).ok())
        .flatten();
    Some(Attempt {
        refusal: refusal.map(|refusal| refusal.error.message),
        wait: wait(head.status, &head.headers),
        ending: Ending::Answered(head.status),
        usage,
        cost: cost.and_then(|value| Cost::parse(value.to_str().ok()?)),
    })
}

/// How long to wait before another attempt; none if there is no sense in one.
fn wait(status: StatusCode, headers: &HeaderMap) -> Option<Duration> {
    if headers
        .get("x-should-retry")
        .is_some_and(|value| value == "false")
    {
        return None;
    }
    let number = |value: &HeaderValue| value.to_str().ok()?.trim().parse::<u64>().ok();
    let told = headers
        .get("retry-after-ms")
        .and_then(number)
        .map(Duration::from_millis)
        .or_else(|| {
            headers
                .get(RETRY_AFTER)
                .and_then(number)
                .map(Duration::from_secs)
        });
    let wait = match status {
        StatusCode::TOO_MANY_REQUESTS => told,
        StatusCode::SERVICE_UNAVAILABLE => Some(told.unwrap_or(USUAL_WAIT)),
        _ => None,
    };
    wait.map(|wait| wait.min(LONGEST_WAIT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_has_as_many_words_as_its_row_has_tokens() {
        let uri = Uri::from_static("http://127.0.0.1:1/");
        let caller = Caller::new(uri, HeaderMap::new(), "a \"b\"", (1, 1));
        for tokens_in in [0, 1, 2, 500] {
            let row = Row {
                offset: Duration::ZERO,
                tokens_in,
                tokens_out: 7,
            };
            let body: serde_json::Value = serde_json::from_slice(&caller.body(&row)).unwrap();
            assert_eq!(body["model"], "a \"b\"");
            assert_eq!(body["max_tokens"], 7);
            let prompt = body["messages"][0]["content"].as_str().unwrap();
            assert_eq!(prompt.split_whitespace().count() as u64, tokens_in);
        }
    }

    #[test]
    fn another_attempt_is_made_only_where_waiting_helps() {
        let waits = |status: u16, headers: &[(&'static str, &'static str)]| {
            let headers = headers
                .iter()
                .map(|(name, value)| {
                    (
                        http::HeaderName::from_static(name),
                        HeaderValue::from_static(value),
                    )
                })
                .collect();
            wait(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let ms = |ms| Some(Duration::from_millis(ms));
        assert_eq!(waits(429, &[("retry-after", "2")]), ms(2_000));
        assert_eq!(
            waits(429, &[("retry-after", "2"), ("retry-after-ms", "1500")]),
            ms(1_500)
        );
        assert_eq!(waits(429, &[("retry-after", "3600")]), ms(60_000));
        assert_eq!(waits(429, &[]), None);
        assert_eq!(waits(503, &[]), ms(1_000));
        assert_eq!(waits(503, &[("x-should-retry", "false")]), None);
        assert_eq!(waits(402, &[("retry-after", "2")]), None);
        assert_eq!(waits(500, &[("retry-after", "2")]), None);
    }
}
