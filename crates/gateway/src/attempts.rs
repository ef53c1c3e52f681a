//! Further attempts of a call that its provider refused before it can have billed anything: at the
//! same integration again, then at those of its `fallback` list.
//!
//! Each attempt passes through the phases as a call of its own: it is admitted against the limits of
//! the integration that it uses, journaled before it leaves, and booked. The caller gets one answer,
//! and nothing of it is sent before it is known which.

mod elsewhere;
mod pause;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, HeaderValue, Response};
use tollgate_app::directory::{Integration, KeyEntry, Snapshot};
use tollgate_app::metering::AttemptOf;
use tollgate_core::CallId;
use tollgate_core::config::Fallback;
use tollgate_providers::{Billed, Dialect, Failure, FailureKind};

use crate::answer::{Answer, Desk, Origin};
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::flight::Silence;
use crate::phase::resolve::{Request, Route};
use crate::phase::{admit, forward, prepare, relay};

/// What a call needs to be tried again; only a call of an integration that wants it has it.
#[derive(Clone)]
pub(crate) struct Again {
    /// The request as its caller sent it, before it was put into any provider's words.
    request: Arc<Request>,
    /// The model as the caller named it, without the integration's name.
    asked: Option<Arc<str>>,
    /// The model that the present entry of the list names in its place.
    instead: Option<Arc<str>>,
    /// What the integration that was called speaks, whose models the caller names.
    dialect: Dialect,
    reach: Reach,
    /// Which attempt it is; none for the first that reaches a provider.
    pub(crate) attempt: Option<AttemptOf>,
}

/// Through which integrations a caller's key may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Any,
    /// Only through the one that it is bound to.
    One,
}

impl Again {
    /// Whether and how a call can be tried again.
    pub(crate) fn of(
        snapshot: &Snapshot,
        key: &KeyEntry,
        (request, asked): (&Request, Option<&Arc<str>>),
    ) -> Option<Box<Self>> {
        if !snapshot.config.tries_again() || !request.operation.may_be_repeated() {
            return None;
        }
        Some(Box::new(Self {
            request: Arc::new(request.clone()),
            asked: asked.map(Arc::clone),
            instead: None,
            dialect: snapshot.provider()?.describe().dialect,
            reach: match key.key.integration_id {
                None => Reach::Any,
                Some(_) => Reach::One,
            },
            attempt: None,
        }))
    }
}

/// Where a call stands, when it has left there: what the next attempt begins with.
struct Place {
    integration: Arc<Integration>,
    again: Again,
}

impl Place {
    fn of(route: &Route) -> Result<Self, Refused> {
        let again = route.again.as_deref().ok_or_else(Refused::unavailable)?;
        Ok(Self {
            integration: Arc::clone(&route.integration),
            again: again.clone(),
        })
    }
}

/// How one attempt ended.
enum Ending {
    /// Whatever it is, the caller gets it.
    Final(Result<Response<Answer>, Refused>),
    /// It was refused by the provider, which cannot have billed it, or never reached one.
    Spurned {
        answer: Response<Answer>,
        /// Its id, if it reached a provider.
        reached: Option<CallId>,
    },
    /// It was not let out of the gateway: limits, settings, the journal.
    KeptIn(Refused),
}

/// What may still be tried.
struct Plan {
    list: VecDeque<Fallback>,
    retries_left: u32,
    /// How often the present integration was asked again.
    retried: u32,
    patience_left: Duration,
    /// The id of the first attempt that reached a provider, and how many did.
    first: Option<CallId>,
    reached: u32,
}

/// Attempts of one call until one of them has an answer for the caller.
pub(crate) async fn make(
    gateway: &Arc<Gateway>,
    mut route: Box<Route>,
    desk: &mut Desk,
) -> Result<Response<Answer>, Refused> {
    let mut plan = Plan::of(&route);
    let mut place = Place::of(&route)?;
    let mut kept: Option<Response<Answer>> = None;
    let mut tries: u32 = 0;
    loop {
        desk.tries = Some(tries.saturating_add(1));
        match attempt(gateway, route, desk).await {
            Ending::Final(answer) => return answer,
            Ending::KeptIn(refused) if tries == 0 => return Err(refused),
            Ending::KeptIn(_) => plan.retries_left = 0,
            Ending::Spurned { answer, reached } => {
                tries = tries.saturating_add(1);
                plan.note(reached);
                kept = Some(better(kept, answer));
            }
        }
        let said = kept.as_ref().map(Response::headers);
        let next = plan.next(gateway, &place, said).await;
        match (next, kept.take()) {
            (Some(next), waiting) => {
                place = Place::of(&next)?;
                (route, kept) = (next, waiting);
            }
            (None, Some(answer)) => return Ok(counted(answer, tries)),
            // Unreachable: without an answer the loop has ended above.
            (None, None) => return Err(Refused::unavailable()),
        }
    }
}

/// One attempt, from admission to the head of an answer.
async fn attempt(gateway: &Arc<Gateway>, route: Box<Route>, desk: &mut Desk) -> Ending {
    let admitted = match admit::admit(gateway, &route, desk).await {
        Ok(admitted) => admitted,
        Err(refused) => return Ending::KeptIn(refused),
    };
    let call_id = admitted.call_id().clone();
    let outbound = match prepare::prepare(gateway, &route, &admitted) {
        Ok(outbound) => outbound,
        Err(refused) => return Ending::KeptIn(refused),
    };
    desk.timing.leaves();
    let mut landed = match forward::forward(gateway, route, admitted, outbound).await {
        Ok(landed) => landed,
        Err(unanswered) => return unanswered_ending(unanswered, desk),
    };
    let failure = landed
        .flight
        .cargo()
        .and_then(|cargo| cargo.failure().copied());
    let answer = relay::relay(gateway, landed, desk).await;
    if !failure.is_some_and(is_refusal) {
        return Ending::Final(answer);
    }
    let answer = answer.unwrap_or_else(|refused| desk.refuse(&refused));
    match answer.body() {
        // Too large to be kept, or a stream: its bytes are the caller's already.
        Answer::Relayed(_) => Ending::Final(Ok(answer)),
        Answer::Whole(_) => Ending::Spurned {
            answer,
            reached: Some(call_id),
        },
    }
}

fn unanswered_ending(unanswered: forward::Unanswered, desk: &mut Desk) -> Ending {
    let forward::Unanswered { silence, refused } = unanswered;
    match silence {
        Silence::NotConnected => Ending::Spurned {
            answer: desk.refuse(&refused),
            reached: None,
        },
        Silence::Barred | Silence::NotJournaled => Ending::KeptIn(refused),
        Silence::Broke | Silence::CutShort | Silence::Halted(_) | Silence::TooSlow => {
            Ending::Final(Err(refused))
        }
    }
}

/// Whether a provider's failure is a refusal by which it cannot have billed anything: 429, 503, 529.
fn is_refusal(failure: Failure) -> bool {
    let refuses = matches!(
        failure.kind,
        FailureKind::RateLimited | FailureKind::Overloaded
    );
    refuses && failure.billed == Billed::No
}

/// Of two answers the one to pass: the later, but a provider's before our own.
fn better(kept: Option<Response<Answer>>, answer: Response<Answer>) -> Response<Answer> {
    let is_ours = |answer: &Response<Answer>| Origin::Gateway.stands_on(answer.headers());
    match kept {
        Some(kept) if is_ours(&answer) && !is_ours(&kept) => kept,
        _ => answer,
    }
}

/// The answer that is passed after all, with how many attempts there were.
fn counted(mut answer: Response<Answer>, tries: u32) -> Response<Answer> {
    let tries = HeaderValue::from(tries);
    answer.headers_mut().insert("x-tollgate-attempts", tries);
    answer
}

impl Plan {
    fn of(route: &Route) -> Self {
        let config = &route.snapshot.config;
        let reach = route.again.as_ref().map(|again| again.reach);
        let list = if reach == Some(Reach::Any) {
            config.fallback.iter().cloned().collect()
        } else {
            VecDeque::new()
        };
        Self {
            list,
            retries_left: config.retries.unwrap_or_default(),
            retried: 0,
            patience_left: config.retry_wait(),
            first: None,
            reached: 0,
        }
    }

    /// Takes in that an attempt is over, which reached a provider or did not.
    fn note(&mut self, reached: Option<CallId>) {
        if let Some(call_id) = reached {
            self.reached = self.reached.saturating_add(1);
            self.first.get_or_insert(call_id);
        }
    }

    /// Which attempt the next one is. One that reached nobody gives its id back.
    fn attempt(&self) -> Option<AttemptOf> {
        self.first.as_ref().map(|call_id| AttemptOf {
            call_id: call_id.clone(),
            number: self.reached.saturating_add(1),
        })
    }

    /// The next attempt, after the wait that the provider asked for: the same integration while
    /// there are retries and patience, then the next of the list that can serve the call.
    async fn next(
        &mut self,
        gateway: &Gateway,
        place: &Place,
        said: Option<&HeaderMap>,
    ) -> Option<Box<Route>> {
        if let Some(wait) = self.pause(gateway, said) {
            tokio::time::sleep(wait).await;
            let same = elsewhere::same(gateway, place, self.attempt());
            if same.is_some() {
                return same;
            }
        }
        while let Some(entry) = self.list.pop_front() {
            let found = elsewhere::find(gateway, place, &entry, self.attempt());
            if let Some(next) = found {
                tracing::debug!(from = %place.integration.id, to = %next.integration.id, "falls back");
                self.retries_left = next.snapshot.config.retries.unwrap_or_default();
                self.retried = 0;
                return Some(next);
            }
            tracing::debug!(from = %place.integration.id, "a fallback cannot serve the call");
        }
        None
    }

    /// How long to wait before the same integration is asked again; none where it is not.
    fn pause(&mut self, gateway: &Gateway, said: Option<&HeaderMap>) -> Option<Duration> {
        self.retries_left = self.retries_left.checked_sub(1)?;
        let wait = pause::before(self.retried, said?, gateway.app.now().wall)?;
        self.patience_left = self.patience_left.checked_sub(wait)?;
        self.retried = self.retried.saturating_add(1);
        Some(wait)
    }
}
