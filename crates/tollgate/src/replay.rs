//! Replaying a recorded trace: each row becomes a real call through a gateway, and a bill is added up at the end.
//!
//! Columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`: the prompt of a call has as many words as its row has
//! context tokens, and its answer is asked to have as many tokens as its row generated.

mod bill;
mod call;
mod command;
mod cost;
mod plan;
mod stopwatch;

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use http::{HeaderName, HeaderValue, Uri, header::AUTHORIZATION};
use indicatif::ProgressBar;
use tokio::task::JoinSet;

pub(crate) use self::stopwatch::Stopwatch;
use self::{bill::Tally, call::Caller};

pub use self::{
    bill::Bill,
    command::{Args, run_command},
    plan::{Plan, PlanError, Row},
};

const CONCURRENCY: usize = 32;
const ATTEMPTS: u32 = 10;
const MODEL: &str = "gpt-4o-mini";
const INTEGRATION: HeaderName = HeaderName::from_static("x-tollgate-integration");

/// A call that starts later than this after its moment counts as late.
const PUNCTUAL: Duration = Duration::from_millis(10);

/// Why a trace was not replayed, or not with success; what it displays says what to do.
#[derive(Debug, thiserror::Error)]
pub enum ReplayError {
    /// The trace is not as it must be; nothing was sent.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// There is no key to call with; nothing was sent.
    #[error(
        "there is no access key: set TOLLGATE_KEY, or give it on standard input with `--key -`"
    )]
    NoKey,
    /// An option cannot be used; nothing was sent.
    #[error("{0}")]
    Option(String),
    /// Reading the key or writing the bill failed.
    #[error("cannot read or write: {0}")]
    Io(#[from] std::io::Error),
    /// A task of the replay ended before its calls did.
    #[error("the replay broke off: {0}")]
    Broken(#[from] tokio::task::JoinError),
    /// No call got an answer.
    #[error("{url} cannot be reached: is a gateway running there, and is --url right?")]
    Unreachable {
        /// Where the calls were sent.
        url: String,
    },
    /// The gateway refused the key for every call; what it said.
    #[error("{0}")]
    Denied(String),
    /// The trace was replayed, but not all calls were answered with success.
    #[error("{failed} of {calls} calls failed; the bill says how")]
    CallsFailed {
        /// Calls without success after all their attempts.
        failed: u64,
        /// All calls.
        calls: u64,
    },
}

/// An access key on its way into the calls' headers.
pub struct Key(HeaderValue);

impl Key {
    /// The key of a text, without white space around it; an error if a header cannot carry it or it is empty.
    pub fn new(text: &str) -> Result<Self, ReplayError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(ReplayError::NoKey);
        }
        let refuse =
            |_| ReplayError::Option("the access key has characters that no key has".into());
        let mut value = HeaderValue::try_from(format!("Bearer {text}")).map_err(refuse)?;
        value.set_sensitive(true);
        Ok(Self(value))
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.write_str("Key")
    }
}

/// How a trace is replayed.
#[derive(Debug)]
pub struct Options {
    /// Where to send the calls, as `http://host:port`; a path stands before `/v1/chat/completions`.
    pub url: String,
    /// The key that the calls present.
    pub key: Key,
    /// How many times the recorded pace; 0 is as fast as possible.
    pub speed: f64,
    /// The most calls at a time, at least 1.
    pub concurrency: usize,
    /// The integration that the calls name, if any.
    pub integration: Option<String>,
    /// The model that the calls ask for.
    pub model: String,
    /// How often a call is tried that is throttled (429 with `retry-after`) or finds no service (503), at least 1.
    pub attempts: u32,
}

impl Options {
    /// Calls with a key to a URL, as fast as possible, all else as the command line has it by default.
    pub fn new(url: impl Into<String>, key: Key) -> Self {
        Self {
            url: url.into(),
            key,
            speed: 0.0,
            concurrency: CONCURRENCY,
            integration: None,
            model: MODEL.to_owned(),
            attempts: ATTEMPTS,
        }
    }

    fn caller(self) -> Result<Caller, ReplayError> {
        let base = self.url.trim_end_matches('/');
        let uri: Uri = format!("{base}/v1/chat/completions")
            .parse()
            .map_err(|error| ReplayError::Option(format!("'{base}' is not a URL: {error}")))?;
        if uri.scheme_str() != Some("http") || uri.host().is_none() {
            return Err(ReplayError::Option(format!(
                "'{base}' does not begin with http:// and a host: a replay speaks plain HTTP only"
            )));
        }
        let integration = self
            .integration
            .map(HeaderValue::try_from)
            .transpose()
            .map_err(|error| ReplayError::Option(format!("not an integration: {error}")))?;
        let mut headers = http::HeaderMap::new();
        headers.insert(AUTHORIZATION, self.key.0);
        headers.extend(integration.map(|value| (INTEGRATION, value)));
        Ok(Caller::new(
            uri,
            headers,
            &self.model,
            (self.concurrency, self.attempts),
        ))
    }
}

/// The moment of each row after the start of the replay; none when it is as fast as possible.
fn due(row: &Row, speed: f64) -> Option<Duration> {
    (speed > 0.0).then(|| {
        Duration::try_from_secs_f64(row.offset.as_secs_f64() / speed).unwrap_or(Duration::MAX)
    })
}

/// Send every row of a plan as a call and add up the bill; calls that fail are in the bill, not an error.
pub async fn run(
    plan: Plan,
    options: Options,
    progress: &ProgressBar,
) -> Result<Bill, ReplayError> {
    if options.concurrency == 0 || options.attempts == 0 {
        return Err(ReplayError::Option(
            "concurrency and attempts must be at least 1".to_owned(),
        ));
    }
    let speed = options.speed;
    if !speed.is_finite() || speed < 0.0 {
        return Err(ReplayError::Option(
            "the speed must be 0 or a positive number".to_owned(),
        ));
    }
    let workers = options.concurrency.min(plan.rows().len());
    let caller = Arc::new(options.caller()?);
    let plan = Arc::new(plan);
    let next = Arc::new(AtomicUsize::new(0));
    progress.set_length(u64::try_from(plan.rows().len()).unwrap_or(u64::MAX));
    let stopwatch = Stopwatch::start();
    let mut tasks = JoinSet::new();
    for _ in 0..workers {
        let (caller, plan, next) = (Arc::clone(&caller), Arc::clone(&plan), Arc::clone(&next));
        let progress = progress.clone();
        tasks.spawn(async move {
            let mut tally = Tally::default();
            while let Some(row) = plan.rows().get(next.fetch_add(1, Ordering::Relaxed)) {
                if let Some(due) = due(row, speed) {
                    stopwatch.wait_until(due).await;
                    tally.started(stopwatch.elapsed().saturating_sub(due), PUNCTUAL);
                }
                tally.call(row, &caller.call(row).await);
                progress.inc(1);
            }
            tally
        });
    }
    let mut total = Tally::default();
    while let Some(tally) = tasks.join_next().await {
        total.add(tally?);
    }
    Ok(total.bill(stopwatch.elapsed()))
}
