//! A request that was sent, and what comes of it: the head of the answer, then its body, and at the
//! end of both the connection goes back to the others.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::Instant;

use super::departure::Departure;
use super::line::{Answer, Line};
use super::pool::Rack;
use crate::alarm::Alarm;
use crate::connector::StreamError;

/// Why there is no answer to a request.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Its address names nobody.
    #[error("the address names no host")]
    Nobody,
    /// There is no connection, so that nothing has left.
    #[error("no connection could be made")]
    NotConnected(#[source] StreamError),
    /// The connection broke, or what came on it is no answer.
    #[error("the connection broke")]
    Broke(#[from] hyper::Error),
}

impl SendError {
    /// Whether nothing can have left.
    pub(crate) const fn is_connect(&self) -> bool {
        match self {
            Self::Nobody | Self::NotConnected(_) => true,
            Self::Broke(_) => false,
        }
    }
}

/// Bytes up to which a piece of an answer is copied. It is a handle on the buffer that its connection
/// reads into next: held until it was written to the caller, it would cost another buffer.
const COPIED_BYTES_MAX: usize = 1 << 10;

type Connecting = Pin<Box<dyn Future<Output = Result<Box<Line>, SendError>> + Send>>;

/// A request on its way; gives the answer when its head has come. Dropped before, it closes its
/// connection.
pub(crate) struct Asked {
    stage: Stage,
    /// For as long as there is no connection.
    alarm: Alarm,
}

enum Stage {
    Connecting(Arc<Rack>, Connecting, Box<Request<Departure>>),
    Waiting(Arc<Rack>, Box<Line>, Answer),
    Nobody,
    Over,
}

/// The body of an answer. Dropped before its end, it closes its connection.
pub(crate) struct Coming {
    body: Incoming,
    /// Where small pieces are copied to, one behind the other; it is free again when they were
    /// written.
    room: BytesMut,
    /// Until the body has come to its end.
    line: Option<(Arc<Rack>, Box<Line>)>,
}

impl Asked {
    pub(super) fn new(rack: Arc<Rack>, mut request: Request<Departure>) -> Self {
        rack.address(&mut request);
        Self {
            stage: Stage::begin(rack, request),
            alarm: Alarm::default(),
        }
    }

    /// A request that leads nowhere.
    pub(super) fn nobody() -> Self {
        Self {
            stage: Stage::Nobody,
            alarm: Alarm::default(),
        }
    }

    /// Is ready when the deadline has passed.
    pub(crate) fn poll_late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.stage {
            Stage::Waiting(_, line, _) => line.alarm.poll_at(deadline, cx),
            Stage::Connecting(..) | Stage::Nobody | Stage::Over => self.alarm.poll_at(deadline, cx),
        }
    }
}

impl Stage {
    fn begin(rack: Arc<Rack>, request: Request<Departure>) -> Self {
        if let Some(line) = rack.take() {
            return Self::on(rack, line, request);
        }
        let connecting = Box::pin(Arc::clone(&rack).connect());
        Self::Connecting(rack, connecting, Box::new(request))
    }

    fn on(rack: Arc<Rack>, mut line: Box<Line>, request: Request<Departure>) -> Self {
        let answer = line.ask(request);
        Self::Waiting(rack, line, answer)
    }
}

impl Future for Asked {
    type Output = Result<Response<Coming>, SendError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            match std::mem::replace(&mut self.stage, Stage::Over) {
                Stage::Connecting(rack, mut connecting, request) => {
                    let Poll::Ready(made) = connecting.as_mut().poll(cx) else {
                        self.stage = Stage::Connecting(rack, connecting, request);
                        return Poll::Pending;
                    };
                    self.stage = Stage::on(rack, made?, *request);
                }
                Stage::Waiting(rack, mut line, mut answer) => {
                    match line.work(cx, |cx| answer.as_mut().poll(cx)) {
                        Poll::Pending => {
                            self.stage = Stage::Waiting(rack, line, answer);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(answer)) => {
                            let line = Some((rack, line));
                            return Poll::Ready(Ok(answer.map(|body| Coming::new(body, line))));
                        }
                        // It comes back where none of it has left: the connection ended before.
                        Poll::Ready(Err(mut error)) => {
                            let request = error.take_message().filter(|_| line.has_served);
                            let request = request.ok_or_else(|| error.into_error())?;
                            self.stage = Stage::begin(rack, request);
                        }
                    }
                }
                Stage::Nobody => return Poll::Ready(Err(SendError::Nobody)),
                Stage::Over => return Poll::Pending,
            }
        }
    }
}

impl Coming {
    fn new(body: Incoming, line: Option<(Arc<Rack>, Box<Line>)>) -> Self {
        let room = BytesMut::new();
        Self { body, room, line }
    }

    /// A piece that holds on to no buffer of its connection's, where it is small.
    fn unbuffered(&mut self, piece: Bytes) -> Bytes {
        if piece.len() > COPIED_BYTES_MAX {
            return piece;
        }
        if self.room.capacity() < piece.len() {
            self.room.reserve(COPIED_BYTES_MAX);
        }
        self.room.extend_from_slice(&piece);
        self.room.split().freeze()
    }

    /// Is ready when the deadline has passed; never once the body has come to its end.
    pub(crate) fn poll_late(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        match &mut self.line {
            Some((_, line)) => line.alarm.poll_at(deadline, cx),
            None => Poll::Pending,
        }
    }

    /// The body has come to its end, and the connection goes back to the others.
    fn put_back(&mut self) {
        if let Some((rack, line)) = self.line.take() {
            rack.put(line);
        }
    }
}

impl Body for Coming {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let this = self.get_mut();
        let Some((_, line)) = &mut this.line else {
            return Poll::Ready(None);
        };
        let body = &mut this.body;
        let mut look = |cx: &mut Context<'_>| Pin::new(&mut *body).poll_frame(cx);
        // What came along with what was read last is there already.
        let mut frame = line.look(&mut look);
        if frame.is_pending() {
            frame = line.work(cx, look);
        }
        match &frame {
            Poll::Pending => {}
            Poll::Ready(Some(Err(_))) => this.line = None,
            Poll::Ready(Some(Ok(_))) if !this.body.is_end_stream() => {}
            Poll::Ready(Some(Ok(_)) | None) => this.put_back(),
        }
        frame.map_ok(|frame| frame.map_data(|piece| this.unbuffered(piece)))
    }

    fn is_end_stream(&self) -> bool {
        self.line.is_none() || self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Coming {
    /// A body that nobody needed to read, because it has none, has come to its end too.
    fn drop(&mut self) {
        if self.body.is_end_stream() {
            self.put_back();
        }
    }
}

impl fmt::Debug for Coming {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Coming").finish_non_exhaustive()
    }
}
