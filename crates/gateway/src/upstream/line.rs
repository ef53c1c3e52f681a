//! One connection to a provider. It has no task of its own: whoever waits for something on it works
//! it, so that a call is not handed from one task to another and back at each step.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::task::AtomicWaker;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use tokio::time::Instant;

use super::departure::Departure;
use crate::alarm::Alarm;
use crate::connector::Stream;

/// Bytes that a connection buffers of what a provider says; a head must fit.
const READ_BUFFER_BYTES_MAX: usize = 64 << 10;

/// How often one poll works the connection before other tasks have their turn.
const TURNS_MAX: usize = 16;

/// The answer to a request; the request itself where none of it has left.
pub(super) type Answer = Pin<
    Box<dyn Future<Output = Result<Response<Incoming>, TrySendError<Request<Departure>>>> + Send>,
>;

/// A connection, and what is needed to work it.
pub(super) struct Line {
    sender: SendRequest<Departure>,
    connection: Connection<Stream, Departure>,
    bell: Arc<Bell>,
    /// Rings the bell.
    waker: Waker,
    is_over: bool,
    /// For the waits of the call that is on it.
    pub(super) alarm: Alarm,
    /// Whether a call was on it before.
    pub(super) has_served: bool,
    /// When it was last put aside.
    pub(super) rests_since: Instant,
}

/// Tells that something has happened on a connection. Wakes the task that waits for it, and not the
/// one that is just working it and looks anyway.
#[derive(Debug)]
struct Bell {
    has_rung: AtomicBool,
    is_awaited: AtomicBool,
    task: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.has_rung.store(true, Ordering::SeqCst);
        if self.is_awaited.load(Ordering::SeqCst) {
            self.task.wake();
        }
    }
}

impl Bell {
    /// The bell of a connection that was not worked yet.
    fn new() -> Self {
        Self {
            has_rung: AtomicBool::new(true),
            is_awaited: AtomicBool::new(false),
            task: AtomicWaker::new(),
        }
    }

    /// Nobody is to be woken for what rings from now on.
    fn muffle(&self) {
        self.is_awaited.store(false, Ordering::SeqCst);
    }

    /// What rings from now on is new, and nobody is to be woken for it.
    fn hush(&self) {
        self.muffle();
        self.has_rung.store(false, Ordering::SeqCst);
    }

    /// Has the task woken when it rings; whether it has rung already.
    fn await_in(&self, task: &Waker) -> bool {
        self.task.register(task);
        self.is_awaited.store(true, Ordering::SeqCst);
        self.has_rung.load(Ordering::SeqCst)
    }
}

impl Line {
    /// Takes up HTTP on a connection that was made.
    pub(super) async fn open(stream: Stream) -> Result<Self, hyper::Error> {
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(READ_BUFFER_BYTES_MAX)
            .handshake(stream)
            .await?;
        let bell = Arc::new(Bell::new());
        Ok(Self {
            sender,
            connection,
            waker: Arc::clone(&bell).into(),
            bell,
            is_over: false,
            alarm: Alarm::default(),
            has_served: false,
            rests_since: Instant::now(),
        })
    }

    /// Gives it a request, which leaves when the line is worked.
    pub(super) fn ask(&mut self, request: Request<Departure>) -> Answer {
        self.bell.has_rung.store(true, Ordering::SeqCst);
        Box::pin(self.sender.try_send_request(request))
    }

    /// Looks for something without working the connection.
    pub(super) fn look<T>(&self, look: impl FnOnce(&mut Context<'_>) -> Poll<T>) -> Poll<T> {
        // Whoever looks needs not be woken for what the looking does.
        self.bell.muffle();
        look(&mut Context::from_waker(&self.waker))
    }

    /// Works the connection until what is looked for is there, or there is nothing more to do. One
    /// on which nothing has happened since is not worked: whoever waits is polled for other reasons
    /// too.
    pub(super) fn work<T>(
        &mut self,
        cx: &mut Context<'_>,
        mut look: impl FnMut(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        for _ in 0..TURNS_MAX {
            if self.bell.has_rung.load(Ordering::SeqCst) {
                self.turn();
            }
            let found = self.look(&mut look);
            if found.is_ready() {
                return found;
            }
            if !self.bell.await_in(cx.waker()) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Whether nothing is on it, and it can take the next call.
    pub(super) fn is_free(&mut self) -> bool {
        self.turn();
        self.is_quiet()
    }

    /// The same, of one that was free when it was put aside.
    pub(super) fn is_still_free(&mut self) -> bool {
        !self.bell.has_rung.load(Ordering::SeqCst) || self.is_free()
    }

    fn is_quiet(&self) -> bool {
        !self.is_over && self.sender.is_ready()
    }

    fn turn(&mut self) {
        self.bell.hush();
        if self.is_over {
            return;
        }
        let mut cx = Context::from_waker(&self.waker);
        if let Poll::Ready(ended) = Pin::new(&mut self.connection).poll(&mut cx) {
            self.is_over = true;
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection to a provider ended");
            }
        }
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Line")
            .field("is_over", &self.is_over)
            .finish_non_exhaustive()
    }
}
