//! A caller's connection that gives up when nothing of what is written to it is read, and that does
//! not hang up on one who still sends.
//!
//! While a caller reads nothing, the server does not ask the answer for more, so no other timer
//! is looked at: without this one a stalled caller would hold its money and its provider's
//! connection for ever.
//!
//! A caller who is refused before all of its request has come mostly reads the answer only when it
//! has sent everything. A connection that is closed over unread bytes is reset, and the answer may
//! be lost with it: so what still comes is taken and thrown away for a while.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

/// How long a caller who still sends may pause before it is hung up on.
const LINGER_IDLE: Duration = Duration::from_secs(2);

/// How long what it sends is taken altogether.
const LINGER: Duration = Duration::from_secs(30);

/// How much of what it sends is taken altogether, in bytes: more than a body that SDKs send.
const LINGER_BYTES_MAX: usize = 256 << 20;

/// Bytes that are thrown away at once.
const LINGER_BYTES: usize = 16 << 10;

/// Whether a request on a connection may have been answered before all of it had come.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unread(Arc<AtomicBool>);

impl Unread {
    /// Notes how it is with the request that is answered now.
    pub(crate) fn note(&self, may_be: Remains) {
        let may_be = may_be == Remains::Possible;
        self.0.store(may_be, Ordering::Relaxed);
    }
}

/// Whether something of a request may still come after its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remains {
    /// All of it was read.
    None,
    /// Nobody has looked.
    Possible,
}

/// A connection with a bound on how long a write may wait.
#[derive(Debug)]
pub(crate) struct Patient {
    stream: TcpStream,
    patience: Duration,
    /// Runs while a write waits.
    timer: Option<Pin<Box<Sleep>>>,
    unread: Unread,
    /// Until when what still comes is thrown away, once the last was said.
    lingers_until: Option<Instant>,
    /// Bytes that were thrown away.
    thrown_away: usize,
}

impl Patient {
    pub(crate) const fn new(stream: TcpStream, patience: Duration, unread: Unread) -> Self {
        Self {
            stream,
            patience,
            timer: None,
            unread,
            lingers_until: None,
            thrown_away: 0,
        }
    }

    /// Throws away what still comes, until the caller is done, or pauses, or has had its time, or
    /// sends without end.
    fn poll_linger(&mut self, until: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let mut scrap = [0; LINGER_BYTES];
        loop {
            let mut buffer = ReadBuf::new(&mut scrap);
            let read = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let timer = self
                .timer
                .get_or_insert_with(|| Box::pin(tokio::time::sleep(LINGER_IDLE)));
            if read.is_pending() {
                return timer.as_mut().poll(cx);
            }
            let bytes = buffer.filled().len();
            self.thrown_away = self.thrown_away.saturating_add(bytes);
            let now = Instant::now();
            if bytes == 0 || now >= until || self.thrown_away > LINGER_BYTES_MAX {
                return Poll::Ready(());
            }
            timer.as_mut().reset((now + LINGER_IDLE).min(until));
        }
    }

    fn bounded<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.timer = None;
            return written;
        }
        let patience = self.patience;
        let timer = self
            .timer
            .get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        timer
            .as_mut()
            .poll(cx)
            .map(|()| Err(io::ErrorKind::TimedOut.into()))
    }
}

impl AsyncRead for Patient {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, into)
    }
}

impl AsyncWrite for Patient {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.bounded(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, pieces);
        self.bounded(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let until = if let Some(until) = self.lingers_until {
            until
        } else {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
            self.timer = None;
            let until = Instant::now() + LINGER;
            *self.lingers_until.insert(until)
        };
        if self.unread.0.load(Ordering::Relaxed) {
            ready!(self.poll_linger(until, cx));
        }
        Poll::Ready(Ok(()))
    }
}
