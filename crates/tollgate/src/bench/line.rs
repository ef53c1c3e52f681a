//! One connection that calls again and again, and what it hears.

use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use super::load::Target;

/// A call that takes longer has failed.
const PATIENCE: Duration = Duration::from_mins(2);

/// After a connection that could not be made, the next attempt waits so long.
const PAUSE: Duration = Duration::from_millis(50);

/// What a call ran into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    /// No connection could be made.
    #[error("no connection")]
    Unreachable,
    /// The connection broke before the answer's end.
    #[error("broken off")]
    Broken,
    /// An answer without success.
    #[error("status {0}")]
    Status(u16),
    /// No end within two minutes.
    #[error("too slow")]
    TooSlow,
    /// The rate was more than the connections could carry; it was never sent.
    #[error("not sent in time")]
    NotSent,
}

/// What was heard of a call that was answered, counted from when it was due.
#[derive(Debug)]
pub(super) struct Heard {
    pub(super) first: Duration,
    pub(super) latency: Duration,
    pub(super) gaps: Vec<Duration>,
}

/// One connection; it is made anew when it breaks.
#[derive(Debug, Default)]
pub(super) struct Line {
    sender: Option<SendRequest<Full<Bytes>>>,
    driver: JoinSet<()>,
}

impl Line {
    /// Makes one call that was due at a moment, and waits for the end of its answer.
    pub(super) async fn call(
        &mut self,
        target: &Target,
        body: Bytes,
        due: Instant,
    ) -> Result<Heard, Fault> {
        let ended = timeout(PATIENCE, self.attempt(target, body, due)).await;
        let ended = ended.unwrap_or(Err(Fault::TooSlow));
        match ended {
            Ok(_) | Err(Fault::Status(_)) => {}
            Err(Fault::Unreachable) => tokio::time::sleep(PAUSE).await,
            Err(Fault::Broken | Fault::TooSlow | Fault::NotSent) => self.hang_up().await,
        }
        ended
    }

    async fn attempt(
        &mut self,
        target: &Target,
        body: Bytes,
        due: Instant,
    ) -> Result<Heard, Fault> {
        let request = target.request(body);
        let sender = self.connected(target).await?;
        hear(sender, request, due).await
    }

    async fn connected(&mut self, target: &Target) -> Result<&mut SendRequest<Full<Bytes>>, Fault> {
        let is_good = match &mut self.sender {
            Some(sender) => sender.ready().await.is_ok(),
            None => false,
        };
        if !is_good {
            self.hang_up().await;
            self.sender = Some(self.connect(target).await.ok_or(Fault::Unreachable)?);
        }
        self.sender.as_mut().ok_or(Fault::Unreachable)
    }

    async fn connect(&mut self, target: &Target) -> Option<SendRequest<Full<Bytes>>> {
        let stream = TcpStream::connect(target.address()).await.ok()?;
        stream.set_nodelay(true).ok()?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await.ok()?;
        self.driver.spawn(async move {
            // What breaks is heard by the call that is under way.
            drop(connection.await);
        });
        Some(sender)
    }

    async fn hang_up(&mut self) {
        self.sender = None;
        self.driver.shutdown().await;
    }
}

async fn hear(
    sender: &mut SendRequest<Full<Bytes>>,
    request: Request<Full<Bytes>>,
    due: Instant,
) -> Result<Heard, Fault> {
    let answer = sender.send_request(request).await;
    let (head, mut body) = answer.map_err(|_broken| Fault::Broken)?.into_parts();
    let mut first = None;
    let mut gaps = Vec::new();
    let mut last_heard = due;
    while let Some(frame) = body.frame().await {
        frame.map_err(|_broken| Fault::Broken)?;
        let now = Instant::now();
        if first.is_some() {
            gaps.push(now.duration_since(last_heard));
        } else {
            first = Some(now.duration_since(due));
        }
        last_heard = now;
    }
    if !head.status.is_success() {
        return Err(Fault::Status(head.status.as_u16()));
    }
    let latency = due.elapsed();
    Ok(Heard {
        first: first.unwrap_or(latency),
        latency,
        gaps,
    })
}
