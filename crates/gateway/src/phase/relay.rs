//! Phase six: the provider's bytes go to the caller as they come, and are read in passing.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::ops::DerefMut;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::HeaderValue;
use http::{HeaderMap, Response, StatusCode};
use tokio::time::Instant;
use tollgate_app::metering::Settled;
use tollgate_providers::{AnswerShape, Dialect, ErrorBody, FailureKind, Operation, Reply};

use crate::answer::{Answer, Desk, Origin};
use crate::crossing;
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::flight::{Flight, Silence};
use crate::gathered::Gathered;
use crate::headers;
use crate::phase::forward::{Landed, silent};
use crate::phase::settle::Cut;

/// The answer's end could not be reached: the connection is to be aborted, because SDKs take a
/// clean end for success.
#[derive(Debug, thiserror::Error)]
#[error("the provider's answer broke off")]
pub(crate) struct Broken;

/// A provider's answer on its way to the caller.
#[derive(Debug)]
pub(crate) struct Relay {
    flight: Flight,
    out: VecDeque<Bytes>,
    stage: Stage,
    shape: AnswerShape,
    dialect: Dialect,
    /// Whether the events of a stream have types of their own, as those of responses have.
    is_typed: bool,
    request_id: HeaderValue,
    /// Says the answer in the words of a caller of another dialect.
    reply: Option<Box<Reply>>,
    /// When the provider was last heard before the head of the answer goes to the caller.
    heard_at: Option<Instant>,
}

/// What a caller is told whose stream cannot be gone on with in its words.
const UNTRANSLATABLE: &str =
    "the provider's answer cannot be said in your dialect: it is not what its own prescribes";

#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Flowing,
    /// What is in `out` is the last; then the connection is aborted.
    Breaking,
    /// The last was handed on; the server gets one turn to write it out before the abort.
    Flushing,
    Over,
}

pub(crate) async fn relay(
    gateway: &Arc<Gateway>,
    mut landed: Landed,
    desk: &mut Desk,
) -> Result<Response<Answer>, Refused> {
    refuse_what_is_not_the_callers(gateway, &mut landed)?;
    let status = landed.head.status;
    let crossing = landed.route.crossing.as_ref();
    let reply = crossing.map(|it| it.reply(desk, landed.route.model.as_deref()));
    let shape = match reply {
        None => AnswerShape::of(&landed.head.headers),
        Some(_) => crossing::shape(status, &landed.head.headers),
    };
    let opened_at = landed.flight.cargo().map(|cargo| cargo.last_heard());
    let mut relay = Relay {
        flight: landed.flight,
        out: VecDeque::new(),
        stage: Stage::Flowing,
        shape,
        dialect: desk.dialect,
        is_typed: landed.route.operation == Operation::CreateResponse,
        request_id: desk.request_id.clone(),
        reply,
        heard_at: opened_at,
    };
    let settled = if shape.is_stream() {
        None
    } else {
        relay.gather(gateway).await?
    };
    if let Some(at) = relay.heard_at {
        desk.timing.heard(at);
    }
    let mut head = landed.head;
    head.headers = headers::for_caller(head.headers);
    relay.translate_whole(status, &mut head.headers)?;
    head.version = http::Version::HTTP_11;
    desk.dress(&mut head.headers, Origin::Provider);
    if let Some(Settled { cost, .. }) = settled {
        desk.price(&mut head.headers, cost);
    }
    let answer = if relay.stage == Stage::Over {
        Answer::Whole(relay.out)
    } else {
        Answer::Relayed(Box::new(relay))
    };
    Ok(Response::from_parts(head, answer))
}

/// A provider that refuses the stored credential, or sends elsewhere, is no answer to the caller:
/// the caller's own key is fine, and it must not be led to other addresses.
fn refuse_what_is_not_the_callers(gateway: &Gateway, landed: &mut Landed) -> Result<(), Refused> {
    let kind = landed
        .flight
        .cargo()
        .and_then(|cargo| cargo.failure().map(|failure| failure.kind));
    let refused = match kind {
        Some(FailureKind::CredentialRefused) => {
            let head = &landed.head;
            let provider = landed.route.provider;
            if provider.disowns_credential(head.status, &head.headers) {
                let record = &landed.route.snapshot.record;
                let id = landed.route.integration.id;
                gateway.drains.credential_refused(id, record.updated_at);
            }
            Refused::new(
                StatusCode::BAD_GATEWAY,
                "upstream_auth_failed",
                "the provider refuses the integration's credential: its admin must set it up anew"
                    .to_owned(),
            )
        }
        Some(FailureKind::Redirect) => Refused::new(
            StatusCode::BAD_GATEWAY,
            "upstream_redirect",
            "the provider answered with a redirect, which is never followed".to_owned(),
        ),
        _ if landed.head.status.is_informational() => Refused::new(
            StatusCode::BAD_GATEWAY,
            "upstream_error",
            "the provider wants to speak another protocol, which is never done".to_owned(),
        ),
        _ => return Ok(()),
    };
    landed
        .flight
        .land(|cargo| cargo.settle_read(None, &mut |_| {}));
    Err(refused.never_again())
}

impl Relay {
    /// Gathers a whole answer until its cost is known. One that is larger than may be kept flows
    /// on as a stream does.
    async fn gather(&mut self, gateway: &Gateway) -> Result<Option<Settled>, Refused> {
        let most = gateway.config.whole_answer_bytes_max;
        let declared = self
            .flight
            .cargo()
            .and_then(|cargo| cargo.declared_bytes())
            .unwrap_or(0);
        if usize::try_from(declared).map_or(true, |bytes| bytes > most) {
            return Ok(None);
        }
        let mut gathered = Gathered::default();
        loop {
            let piece = poll_fn(|cx| match self.flight.cargo() {
                Some(cargo) => cargo.poll_piece(cx),
                None => Poll::Ready(None),
            });
            match piece.await {
                Some(Ok(piece)) => {
                    if let Some(cargo) = self.flight.cargo() {
                        self.heard_at = Some(cargo.last_heard());
                        cargo.meter(piece, &mut |piece| gathered.push(piece));
                    }
                    if gathered.len() > most {
                        self.out = gathered.into_pieces();
                        return Ok(None);
                    }
                }
                None => {
                    self.stage = Stage::Over;
                    self.out = gathered.into_pieces();
                    return Ok(self.land(None));
                }
                Some(Err(silence)) => {
                    self.land(Some(Cut::Broken));
                    return Err(silent(silence, gateway));
                }
            }
        }
    }

    /// The next piece for the caller.
    pub(crate) fn poll_piece(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(piece) = self.out.pop_front() {
                return Poll::Ready(Some(Ok(piece)));
            }
            match self.stage {
                Stage::Flowing => {}
                Stage::Breaking => {
                    self.stage = Stage::Flushing;
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                Stage::Flushing => {
                    self.stage = Stage::Over;
                    return Poll::Ready(Some(Err(Broken)));
                }
                Stage::Over => return Poll::Ready(None),
            }
            let next = match self.flight.cargo() {
                Some(cargo) => ready!(cargo.poll_piece(cx)),
                None => None,
            };
            match next {
                Some(Ok(piece)) => self.pass(piece),
                Some(Err(silence)) => self.break_off(silence),
                None => self.end(),
            }
        }
    }

    fn pass(&mut self, piece: Bytes) {
        let (out, reply) = (&mut self.out, &mut self.reply);
        if let Some(cargo) = self.flight.cargo() {
            cargo.meter(piece, &mut |piece| say(reply, piece, out));
        }
        if self.reply.as_ref().is_some_and(|reply| reply.is_lost()) {
            // The flight is not ended: it is read on and booked when this is dropped.
            self.break_with("upstream_untranslatable", UNTRANSLATABLE);
        }
    }

    /// Says an answer that is no stream in the caller's words, where these are others.
    fn translate_whole(
        &mut self,
        status: StatusCode,
        headers: &mut HeaderMap,
    ) -> Result<(), Refused> {
        let Some(reply) = &mut self.reply else {
            return Ok(());
        };
        reply.head(headers, self.shape);
        if self.shape.is_stream() {
            return Ok(());
        }
        if self.stage != Stage::Over {
            return Err(crossing::untold("it is too large to be kept"));
        }
        crossing::say_whole(reply, status, &mut self.out)
    }

    fn land(&mut self, cut: Option<Cut>) -> Option<Settled> {
        let (out, reply) = (&mut self.out, &mut self.reply);
        let reply = &mut reply.as_deref_mut().filter(|_| self.shape.is_stream());
        self.flight
            .land(|cargo| cargo.settle_read(cut, &mut |piece| say(reply, piece, out)))
            .flatten()
    }

    /// The provider ended the answer. A stream that ends without its finish was cut on the way.
    fn end(&mut self) {
        if self
            .flight
            .cargo()
            .is_some_and(|cargo| !cargo.has_said_all())
        {
            self.break_off(Silence::Broke);
        } else {
            self.land(None);
            self.stage = Stage::Over;
            let (out, reply) = (&mut self.out, &mut self.reply);
            if let Some(reply) = reply {
                reply.finish(&mut |piece| out.push_back(piece));
                if reply.is_lost() {
                    self.break_with("upstream_untranslatable", UNTRANSLATABLE);
                }
            }
        }
    }

    /// Ends an answer that cannot be brought to its end: a stream with the vendor's error event,
    /// and any with an aborted connection.
    fn break_off(&mut self, silence: Silence) {
        self.land(Some(Cut::Broken));
        let (code, message) = match silence {
            Silence::TooSlow => ("upstream_timeout", "the provider paused for too long"),
            Silence::NotConnected
            | Silence::Barred
            | Silence::NotJournaled
            | Silence::Broke
            | Silence::Halted(_)
            | Silence::CutShort => (
                "upstream_broken",
                "the provider's answer broke off before its end",
            ),
        };
        self.break_with(code, message);
    }

    fn break_with(&mut self, code: &str, message: &str) {
        self.stage = Stage::Breaking;
        if !self.shape.is_stream() {
            return;
        }
        let error = ErrorBody {
            status: StatusCode::BAD_GATEWAY,
            error_type: None,
            code,
            message,
            param: None,
            tollgate: None,
            request_id: self.request_id.to_str().unwrap_or_default(),
        };
        self.out.push_back(if self.is_typed {
            Dialect::typed_error_event(&error)
        } else {
            self.dialect.error_event(&error)
        });
    }
}

/// Hands a piece on, in the caller's words where these are others.
fn say(reply: &mut Option<impl DerefMut<Target = Reply>>, piece: Bytes, out: &mut VecDeque<Bytes>) {
    match reply {
        None => out.push_back(piece),
        Some(reply) => reply.push(&piece, &mut |piece| out.push_back(piece)),
    }
}
