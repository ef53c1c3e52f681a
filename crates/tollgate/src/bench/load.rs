//! Calls from many connections at once: as fast as they are answered, or at a fixed rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderMap, HeaderValue};
use http::uri::{Authority, PathAndQuery};
use http::{Method, Request, Uri};
use http_body_util::Full;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::line::{Fault, Line};
use super::pacer::{self, Releases};
use super::sample::Sample;
use crate::output::Failure;

/// Calls that were let go and found no free connection are sent this long after the last; then they have failed.
const OVERTIME: Duration = Duration::from_secs(10);

/// Whom to call, and as whom: with several keys, as each in turn.
#[derive(Debug, Clone)]
pub(super) struct Target {
    address: String,
    path: Uri,
    /// One a key.
    headers: Vec<HeaderMap>,
    turn: Arc<AtomicUsize>,
}

/// How the answers are to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    Whole,
    Stream,
}

/// When calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pace {
    /// Each connection calls again when it has its answer.
    AsAnswered,
    /// So many a second, whatever becomes of those before.
    Fixed(NonZeroU32),
}

/// A load to put on a target.
#[derive(Debug, Clone)]
pub(super) struct Load {
    pub(super) target: Target,
    pub(super) body: Bytes,
    pub(super) connections: u32,
    pub(super) pace: Pace,
    pub(super) time: Duration,
}

impl Target {
    /// A target at `http://host:port`, perhaps with a path before `/v1`, called with the keys that stand in a text
    /// between white space.
    pub(super) fn new(url: &str, keys: &str) -> Result<Self, Failure> {
        let unfit = |why: &str| Failure::usage(format_args!("'{url}' is not a URL to load: {why}"));
        let uri: Uri = url
            .parse()
            .map_err(|error: http::uri::InvalidUri| unfit(&error.to_string()))?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http"));
        let authority = authority.ok_or_else(|| {
            unfit("it does not begin with http:// and a host; only plain HTTP is spoken")
        })?;
        let path = format!("{}/v1/chat/completions", uri.path().trim_end_matches('/'));
        let path = PathAndQuery::try_from(path).map_err(|error| unfit(&error.to_string()))?;
        let host = HeaderValue::try_from(authority.as_str()).map_err(Failure::usage)?;
        let headers = keys.split_whitespace().map(|key| headers(&host, key));
        let headers = headers.collect::<Result<Vec<_>, _>>()?;
        if headers.is_empty() {
            return Err(Failure::usage("the access key is empty"));
        }
        Ok(Self {
            address: address(authority),
            path: path.into(),
            headers,
            turn: Arc::default(),
        })
    }

    /// Where to connect.
    pub(super) fn address(&self) -> &str {
        &self.address
    }

    /// A call with this body.
    pub(super) fn request(&self, body: Bytes) -> Request<Full<Bytes>> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.path.clone();
        // Wraps after a long time, which puts one key out of its turn.
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let turn = turn.checked_rem(self.headers.len()).unwrap_or_default();
        if let Some(headers) = self.headers.get(turn) {
            request.headers_mut().clone_from(headers);
        }
        request
    }
}

fn headers(host: &HeaderValue, key: &str) -> Result<HeaderMap, Failure> {
    let mut bearer = HeaderValue::try_from(format!("Bearer {key}"))
        .map_err(|_unfit| Failure::usage("the access key has characters that no key has"))?;
    bearer.set_sensitive(true);
    let mut headers = HeaderMap::new();
    headers.insert(HOST, host.clone());
    headers.insert(AUTHORIZATION, bearer);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    Ok(headers)
}

fn address(authority: &Authority) -> String {
    let port = authority.port_u16().unwrap_or(80);
    format!("{}:{port}", authority.host())
}

/// Puts a load on its target and says what was heard.
pub(super) async fn run(load: Load) -> Result<Sample, Failure> {
    let load = Arc::new(load);
    let began = Instant::now();
    let (releases, pacing) = match load.pace {
        Pace::AsAnswered => (None, None),
        Pace::Fixed(rate) => {
            let (releases, pacing) = pacer::start(rate, load.time);
            (Some(releases), Some(pacing))
        }
    };
    let mut workers = JoinSet::new();
    for _ in 0..load.connections {
        workers.spawn(work(Arc::clone(&load), releases.clone(), began + load.time));
    }
    let mut total = Sample::default();
    while let Some(sample) = workers.join_next().await {
        total.add(sample.map_err(Failure::plain)?);
    }
    total.took = began.elapsed();
    if let Some(releases) = releases {
        total.fail(Fault::NotSent, releases.leftover().await);
    }
    if let Some(pacing) = pacing {
        total.late = pacing.await.map_err(Failure::plain)?;
    }
    Ok(total)
}

async fn work(load: Arc<Load>, releases: Option<Releases>, ends_at: Instant) -> Sample {
    let mut line = Line::default();
    let mut sample = Sample::default();
    loop {
        let due = match &releases {
            Some(releases) if Instant::now() < ends_at + OVERTIME => releases.next().await,
            Some(_) => None,
            None => Some(Instant::now()).filter(|now| *now < ends_at),
        };
        let Some(due) = due else { return sample };
        sample.take(line.call(&load.target, load.body.clone(), due).await);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_plain_http_and_keeps_its_path() {
        let target = Target::new("http://127.0.0.1:8080/edge/", "k").unwrap();
        assert_eq!(target.address(), "127.0.0.1:8080");
        let request = target.request(Bytes::new());
        assert_eq!(request.uri().path(), "/edge/v1/chat/completions");
        assert_eq!(request.headers()["host"], "127.0.0.1:8080");
        assert_eq!(
            Target::new("http://gate", "k").unwrap().address(),
            "gate:80"
        );
        for unfit in ["https://gate", "gate:80", "http://", "http://a b"] {
            assert!(Target::new(unfit, "k").is_err(), "{unfit}");
        }
    }

    #[test]
    fn several_keys_call_in_turn() {
        let target = Target::new("http://gate", "one two\n").unwrap();
        let said: Vec<_> = (0..3)
            .map(|_| target.request(Bytes::new()).headers()["authorization"].clone())
            .collect();
        assert_eq!(said, ["Bearer one", "Bearer two", "Bearer one"]);
        assert!(Target::new("http://gate", " ").is_err());
    }
}
