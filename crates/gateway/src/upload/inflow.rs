//! What a caller sends of a form, with a bound on its size and on how long it may pause.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Incoming};
use tokio::time::{Instant, Sleep};

use super::Fault;
use crate::config::GatewayConfig;

/// The caller's body.
#[derive(Debug)]
pub(super) struct Inflow {
    body: Incoming,
    /// Bytes that may still come.
    room: u64,
    idle: Duration,
    ends_at: Instant,
    /// Since when the caller is waited for. While the provider is waited for, it is not at fault.
    waiting_since: Option<Instant>,
    clock: Pin<Box<Sleep>>,
}

impl Inflow {
    /// A body of which nothing was read; one that is said to be larger than may come is refused.
    pub(super) fn new(body: Incoming, config: &GatewayConfig) -> Result<Self, Fault> {
        if body.size_hint().lower() > config.upload_bytes_max {
            return Err(Fault::TooLarge);
        }
        let now = Instant::now();
        let ends_at = now + Duration::from_secs(config.upload_seconds);
        Ok(Self {
            body,
            room: config.upload_bytes_max,
            idle: Duration::from_secs(config.upload_idle_seconds),
            ends_at,
            waiting_since: None,
            clock: Box::pin(tokio::time::sleep_until(ends_at)),
        })
    }

    /// How long the body is as its head says it, in bytes.
    pub(super) fn declared(&self) -> Option<u64> {
        self.body.size_hint().exact()
    }

    /// The next piece, which is not empty.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Fault> {
        poll_fn(|cx| self.poll_piece(cx)).await.transpose()
    }

    pub(super) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Fault>>> {
        loop {
            let frame = match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => frame,
                Poll::Ready(Some(Err(_broken))) => return Poll::Ready(Some(Err(Fault::Gone))),
                Poll::Ready(None) => return Poll::Ready(None),
                Poll::Pending => return self.poll_patience(cx),
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            self.waiting_since = None;
            if piece.is_empty() {
                continue;
            }
            let bytes = u64::try_from(piece.len()).unwrap_or(u64::MAX);
            let Some(room) = self.room.checked_sub(bytes) else {
                return Poll::Ready(Some(Err(Fault::TooLarge)));
            };
            self.room = room;
            return Poll::Ready(Some(Ok(piece)));
        }
    }

    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Fault>>> {
        let since = *self.waiting_since.get_or_insert_with(Instant::now);
        let deadline = (since + self.idle).min(self.ends_at);
        if self.clock.deadline() != deadline {
            self.clock.as_mut().reset(deadline);
        }
        let late = self.clock.as_mut().poll(cx);
        late.map(|()| Some(Err(Fault::TooSlow)))
    }
}
