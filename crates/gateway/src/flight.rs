//! A call that has left, until it is settled. It outlives its caller: when the caller goes away,
//! the flight is handed over and read to its end within bounds.

mod recipe;
mod silence;

use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http_body::Body as _;
use tokio::time::Instant;
use tollgate_app::metering::Settled;
use tollgate_core::config::OnDisconnect;
use tollgate_providers::{AnswerShape, End, Failure, Meter};

use crate::config::GatewayConfig;
use crate::connector::is_barred;
use crate::drain::Drains;
use crate::phase::admit::Admitted;
use crate::phase::settle::{self, Cut, Outcome};
use crate::upload::Passage;
use crate::upstream::{Asked, Coming, SendError};

pub(crate) use recipe::Recipe;
pub(crate) use silence::Silence;

/// A call in flight; dropping it before it is settled hands it over to be read on.
#[derive(Debug)]
pub(crate) struct Flight {
    cargo: Option<Box<Cargo>>,
    drains: Drains,
}

/// Everything that a call in flight needs to be brought to its end, with or without a caller.
pub(crate) struct Cargo {
    admitted: Option<Admitted>,
    progress: Progress,
    recipe: Recipe,
    reading: Reading,
    idle: Duration,
    left_at: Instant,
    last_heard: Instant,
    ends_at: Instant,
    first_byte: Duration,
    /// When all of a form must have left.
    upload_ends_at: Instant,
}

/// What the head of the answer said.
enum Reading {
    /// It is not there yet.
    Unopened,
    /// A good answer: its usage is read as it passes.
    Metered(Box<Meter>),
    /// An error of the provider's.
    Failed(Failure),
}

enum Progress {
    Waiting(Asked),
    Reading(Coming),
    Over,
}

impl std::fmt::Debug for Cargo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Cargo")
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

impl Cargo {
    pub(crate) fn new(
        admitted: Admitted,
        answer: Asked,
        recipe: Recipe,
        config: &GatewayConfig,
    ) -> Self {
        let now = Instant::now();
        let first_byte = Duration::from_secs(config.first_byte_seconds);
        Self {
            admitted: Some(admitted),
            progress: Progress::Waiting(answer),
            recipe,
            reading: Reading::Unopened,
            idle: Duration::from_secs(config.idle_seconds),
            left_at: now,
            last_heard: now,
            ends_at: now + Duration::from_secs(config.total_seconds),
            first_byte,
            upload_ends_at: now + Duration::from_secs(config.upload_seconds),
        }
    }

    /// Waits for the head of the provider's answer.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Parts, Silence>> {
        let Progress::Waiting(answer) = &mut self.progress else {
            return Poll::Ready(Err(Silence::Broke));
        };
        match Pin::new(answer).poll(cx) {
            Poll::Ready(Ok(answer)) => {
                let (head, body) = answer.into_parts();
                self.progress = Progress::Reading(body);
                self.open(&head);
                self.heard();
                Poll::Ready(Ok(head))
            }
            Poll::Ready(Err(error)) => {
                self.progress = Progress::Over;
                Poll::Ready(Err(self.silence(&error)))
            }
            Poll::Pending => {
                ready!(self.poll_head_patience(cx));
                self.progress = Progress::Over;
                Poll::Ready(Err(self.lateness()))
            }
        }
    }

    /// Is ready when the head is late. A provider has its time from when it has the whole request.
    fn poll_head_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = match &self.recipe.passage {
            None => self.left_at + self.first_byte,
            Some(passage) => match passage.ended_at() {
                Some(ended_at) => ended_at + self.first_byte,
                None => self.upload_ends_at,
            },
        };
        match &mut self.progress {
            Progress::Waiting(asked) => asked.poll_late(deadline, cx),
            Progress::Reading(_) | Progress::Over => Poll::Ready(()),
        }
    }

    /// What it is when the head did not come in time.
    fn lateness(&self) -> Silence {
        match &self.recipe.passage {
            Some(passage) if !passage.is_closed() => Silence::CutShort,
            Some(_) | None => Silence::TooSlow,
        }
    }

    /// The next piece of the provider's answer; nothing at its clean end.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Silence>>> {
        loop {
            let Progress::Reading(body) = &mut self.progress else {
                return Poll::Ready(None);
            };
            match Pin::new(body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(piece) = frame.into_data() else {
                        continue;
                    };
                    self.heard();
                    // Who never pauses is not waited for, so that no timer would be looked at.
                    if self.last_heard >= self.ends_at {
                        self.progress = Progress::Over;
                        return Poll::Ready(Some(Err(Silence::TooSlow)));
                    }
                    return Poll::Ready(Some(Ok(piece)));
                }
                Poll::Ready(Some(Err(_))) => {
                    self.progress = Progress::Over;
                    return Poll::Ready(Some(Err(Silence::Broke)));
                }
                Poll::Ready(None) => {
                    self.progress = Progress::Over;
                    return Poll::Ready(None);
                }
                Poll::Pending => return self.poll_patience(cx),
            }
        }
    }

    /// When the provider was last heard.
    pub(crate) const fn last_heard(&self) -> Instant {
        self.last_heard
    }

    /// The declared length of the answer's body, in bytes.
    pub(crate) fn declared_bytes(&self) -> Option<u64> {
        match &self.progress {
            Progress::Reading(body) => body.size_hint().exact(),
            Progress::Waiting(_) | Progress::Over => None,
        }
    }

    /// The provider's error, if its answer is one.
    pub(crate) const fn failure(&self) -> Option<&Failure> {
        match &self.reading {
            Reading::Failed(failure) => Some(failure),
            Reading::Unopened | Reading::Metered(_) => None,
        }
    }

    /// Lets the meter see a piece, and passes on what the caller is to get of it.
    pub(crate) fn meter(&mut self, piece: Bytes, out: &mut impl FnMut(Bytes)) {
        match &mut self.reading {
            Reading::Metered(meter) => meter.push(&piece, out),
            Reading::Unopened | Reading::Failed(_) => out(piece),
        }
    }

    /// Whether a stream that ends now has said everything: a finish or an error of its own.
    pub(crate) fn has_said_all(&self) -> bool {
        let Reading::Metered(meter) = &self.reading else {
            return true;
        };
        meter.has_said_all()
    }

    /// Whether the head of the answer is still awaited.
    pub(crate) const fn is_waiting(&self) -> bool {
        matches!(self.progress, Progress::Waiting(_))
    }

    /// Ends the call; a second end does nothing.
    pub(crate) fn settle(&mut self, outcome: Outcome) -> Option<Settled> {
        self.progress = Progress::Over;
        settle::settle(self.admitted.take()?, outcome)
    }

    /// Ends the call with what was read of its answer; what was held back of it comes out.
    pub(crate) fn settle_read(
        &mut self,
        cut: Option<Cut>,
        out: &mut impl FnMut(Bytes),
    ) -> Option<Settled> {
        let end = cut.map_or(End::Clean, |_| End::Broken);
        let outcome = match std::mem::replace(&mut self.reading, Reading::Unopened) {
            Reading::Metered(meter) => {
                let mut observed = meter.finish(end, out);
                observed.halved &= self.recipe.flex;
                if let (Some(batch), Some(results), None) =
                    (&self.recipe.batch, &observed.results, cut)
                {
                    batch.book(results);
                }
                if let Some(id) = &observed.pending
                    && let Some(again) = self.recipe.again.take()
                    && let Some(admitted) = self.admitted.take()
                {
                    self.progress = Progress::Over;
                    again.wait_for(id, admitted, &self.recipe);
                    return None;
                }
                Outcome::Observed {
                    observed,
                    input_bound: self.recipe.input_bound,
                    cut,
                }
            }
            Reading::Failed(failure) => Outcome::Failed(failure),
            Reading::Unopened => Outcome::Unknown("upstream_broken"),
        };
        self.settle(outcome)
    }

    /// Whether it is to be read on when its caller goes away: it has left, and its integration
    /// wants it so.
    pub(crate) fn is_worth_draining(&self) -> bool {
        // What a batch cost is known when its results have come to their end.
        let reads_results = self.recipe.batch.is_some()
            && matches!(&self.reading, Reading::Metered(meter) if meter.may_be_results());
        reads_results || (self.recipe.on_disconnect == OnDisconnect::Drain && self.has_left())
    }

    /// Cuts the provider off, and charges what was seen so far.
    pub(crate) fn cancel(&mut self) {
        if self.is_waiting() {
            self.settle(Outcome::Unknown("caller_gone"));
        } else {
            self.settle_read(Some(Cut::CallerGone), &mut |_| {});
        }
    }

    fn open(&mut self, head: &Parts) {
        let Recipe {
            provider,
            operation,
            plan,
            ..
        } = &self.recipe;
        self.reading = if let Some(failure) = provider.classify(head.status, &head.headers) {
            Reading::Failed(failure)
        } else {
            let shape = AnswerShape::of(&head.headers);
            let mut meter = provider.meter(*operation, shape, *plan);
            meter.head(&head.headers);
            Reading::Metered(Box::new(meter))
        };
    }

    /// Whether a call that will be booked may have reached its provider.
    fn has_left(&self) -> bool {
        matches!(&self.admitted, Some(Admitted::Held(hold)) if hold.has_left())
    }

    fn silence(&self, error: &SendError) -> Silence {
        if let Some(reached) = self.recipe.passage.as_deref().and_then(Passage::halted) {
            return Silence::Halted(reached);
        }
        match &self.admitted {
            Some(Admitted::Held(hold)) if hold.was_refused_by_journal() => Silence::NotJournaled,
            Some(Admitted::Held(hold)) if hold.has_left() => self.breach(),
            Some(Admitted::Free(_)) | None if !error.is_connect() => self.breach(),
            _ if is_barred(error) => Silence::Barred,
            _ => Silence::NotConnected,
        }
    }

    /// What it is when the connection breaks before the head of the answer.
    fn breach(&self) -> Silence {
        if self.lateness() == Silence::CutShort {
            Silence::CutShort
        } else {
            Silence::Broke
        }
    }

    fn heard(&mut self) {
        self.last_heard = Instant::now();
    }

    /// Notices a provider that pauses too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Silence>>> {
        let deadline = (self.last_heard + self.idle).min(self.ends_at);
        if let Progress::Reading(body) = &mut self.progress {
            ready!(body.poll_late(deadline, cx));
        }
        self.progress = Progress::Over;
        Poll::Ready(Some(Err(Silence::TooSlow)))
    }
}

impl Drop for Cargo {
    /// Nothing in flight is ever just forgotten: what was seen of it is booked.
    fn drop(&mut self) {
        if self.admitted.is_some() {
            self.cancel();
        }
    }
}

impl Flight {
    pub(crate) fn new(cargo: Cargo, drains: Drains) -> Self {
        Self {
            cargo: Some(Box::new(cargo)),
            drains,
        }
    }

    /// The call, while it is in flight.
    pub(crate) fn cargo(&mut self) -> Option<&mut Cargo> {
        self.cargo.as_deref_mut()
    }

    /// Ends the call; nothing is left to hand over.
    pub(crate) fn land<T>(&mut self, end: impl FnOnce(&mut Cargo) -> T) -> Option<T> {
        self.cargo.take().map(|mut cargo| end(&mut cargo))
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        if let Some(cargo) = self.cargo.take() {
            self.drains.take_over(cargo);
        }
    }
}
