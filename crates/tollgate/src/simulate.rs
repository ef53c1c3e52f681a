//! A simulated provider: the wire formats of OpenAI, Azure, Anthropic and Bedrock, deterministic, with faults on request.
//!
//! It stands where a real provider would, in tests, measurements and demonstrations, and keeps its own journal of
//! what it billed, so that a gateway's books can be compared with it.
//!
//! - One word is one token: the input of a request is the number of words in its messages, system prompt, prompt or
//!   inputs; tool definitions and tool results given as blocks are not counted.
//! - The output of each choice is exactly `max_completion_tokens` or `max_tokens`, else [`DEFAULT_OUTPUT_TOKENS`],
//!   and ends for the reason `length` or `stop` accordingly; a tool is called only when `tool_choice` asks for one.
//! - Bedrock's requests are signed with [`SECRET_ACCESS_KEY`], whatever the access key; a wrong signature is refused.
//! - A stream has one event a token, at most 64 events of text a choice.
//! - A request is billed when it is accepted: its line is in the journal before the first byte of its answer, whether
//!   or not the client stays to read it. A request that gets an error is not billed and has no line.
//!
//! Its own paths script it at run time: `POST /__faults` merges a JSON object into the [`Faults`], `GET /__faults`,
//! `GET /__journal` (the newest [`LINES_KEPT`] lines), `GET /__forms` (what arrived of forms of several parts),
//! `GET /__requests` (how often the list of models was asked for), `POST /__reset` (the faults of the start, no lines in memory).

mod answer;
mod anthropic;
mod azure;
mod bedrock;
mod clock;
mod command;
mod exchange;
mod face;
mod faults;
mod forms;
mod journal;
mod models;
mod openai;
mod prompt;
mod shelf;
mod text;
mod world;

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use hyper_util::{rt::TokioIo, server::graceful::GracefulShutdown};
use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
};

use self::{journal::Journal, world::World};

pub use self::{
    bedrock::SECRET_ACCESS_KEY,
    command::{Args, run},
    faults::{Faults, FaultsError},
    journal::{LINES_KEPT, Line},
};

/// Output tokens of a request that does not limit them.
pub const DEFAULT_OUTPUT_TOKENS: u64 = 16;

/// Connections that are busy when the provider is stopped get so long to end.
const DRAIN: Duration = Duration::from_secs(2);

/// After an accept that failed, as for want of file descriptors, the next one waits so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);

/// How a simulated provider is started.
#[derive(Clone)]
pub struct Config {
    /// Where to listen; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The file to append billed requests to; without one they are kept in memory only.
    pub journal: Option<PathBuf>,
    /// What to do wrong from the start.
    pub faults: Faults,
    /// Output tokens of a request that does not limit them.
    pub default_output_tokens: u64,
    /// The only key to accept; without it, all but those that begin with `bad-key`.
    pub require_key: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            journal: None,
            faults: Faults::default(),
            default_output_tokens: DEFAULT_OUTPUT_TOKENS,
            require_key: None,
        }
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, text: &mut fmt::Formatter<'_>) -> fmt::Result {
        text.debug_struct("Config")
            .field("listen", &self.listen)
            .field("journal", &self.journal)
            .field("faults", &self.faults)
            .field("default_output_tokens", &self.default_output_tokens)
            .finish_non_exhaustive()
    }
}

/// A running simulated provider; dropping it ends it at once.
#[derive(Debug)]
pub struct Simulator {
    address: SocketAddr,
    world: Arc<World>,
    tasks: JoinSet<()>,
}

/// Start a simulated provider; it accepts connections when this returns.
pub async fn start(config: Config) -> io::Result<Simulator> {
    let faults = config
        .faults
        .checked()
        .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
    let journal = Journal::open(config.journal.as_deref())?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| {
        io::Error::new(
            error.kind(),
            format!("cannot listen on {}: {error}", config.listen),
        )
    })?;
    let address = listener.local_addr()?;
    let world = Arc::new(World::new(
        journal,
        faults,
        config.require_key,
        config.default_output_tokens,
    ));
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, Arc::clone(&world)));
    Ok(Simulator {
        address,
        world,
        tasks,
    })
}

impl Simulator {
    /// The address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL without a path: OpenAI's SDKs want `/v1` after it, Anthropic's do not.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The faults in force.
    pub fn faults(&self) -> Faults {
        self.world.faults()
    }

    /// Put other faults in force for requests from now on; the sequence of errors begins again.
    pub fn set_faults(&self, faults: Faults) -> Result<(), FaultsError> {
        self.world.set_faults(faults.checked()?);
        Ok(())
    }

    /// The newest lines of the journal as they are in its file, at most [`LINES_KEPT`], oldest first.
    pub fn journal_lines(&self) -> Vec<Arc<str>> {
        self.world.journal.lines()
    }

    /// The newest billed requests, at most [`LINES_KEPT`], oldest first.
    pub fn journal(&self) -> Vec<Line> {
        self.journal_lines()
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// The number of requests billed since the start or the last reset.
    pub fn billed(&self) -> u64 {
        self.world.journal.billed()
    }

    /// Wait until so many requests are billed.
    pub async fn billed_reaches(&self, count: u64) {
        self.world.journal.billed_reaches(count).await;
    }

    /// Back to the faults of the start, with no line in memory; the journal's file stays as it is.
    pub fn reset(&self) {
        self.world.reset();
    }

    /// Stop: no new connection, two seconds for answers on their way, then the rest is cut.
    pub async fn stop(mut self) {
        self.world.stop();
        while self.tasks.join_next().await.is_some() {}
    }
}

async fn serve(listener: TcpListener, world: Arc<World>) {
    // The connections are this task's: whoever aborts it ends them too.
    let mut connections = JoinSet::new();
    let graceful = GracefulShutdown::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(serve_connection(stream, Arc::clone(&world), graceful.watcher()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next() => {}
            () = world.stopped() => break,
        }
    }
    drop(listener);
    drop(tokio::time::timeout(DRAIN, graceful.shutdown()).await);
    connections.shutdown().await;
}

async fn serve_connection(
    stream: TcpStream,
    world: Arc<World>,
    watcher: hyper_util::server::graceful::Watcher,
) {
    // Without it, small writes of a stream wait for acknowledgements.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let service = service_fn(move |request| exchange::exchange(Arc::clone(&world), request));
    let connection = http1::Builder::new()
        // Idle connections stay: a client decides how long it keeps them.
        .header_read_timeout(None)
        .serve_connection(TokioIo::new(stream), service);
    // A connection that breaks is the client's affair, or a fault that was asked for.
    drop(watcher.watch(connection).await);
}
