//! Answers that are made in the background: the provider says at once that it has begun, and what
//! it used is known when it is asked again. The hold stays until then.
//!
//! The gateway asks by itself, so that a call is booked exactly and once, whether or not its caller
//! ever comes back, and whichever node it comes back to.

use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use tokio::time::{Instant, sleep, timeout};
use tollgate_app::App;
use tollgate_app::directory::Integration;
use tollgate_providers::{
    AnswerShape, End, Face, FailureKind, MeterPlan, Observed, Operation, Outbound, PrepareCall,
    Provider,
};

use crate::config::GatewayConfig;
use crate::drain::Drains;
use crate::exchange::Gateway;
use crate::flight::Recipe;
use crate::phase::admit::Admitted;
use crate::phase::resolve::Route;
use crate::phase::settle::{self, Outcome};
use crate::upstream::{Departure, Upstream};

/// The longest pause between two questions.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Answers of so many bytes are not read on.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// What is needed to ask for an answer again.
pub(crate) struct Again {
    drains: Drains,
    integration: Arc<Integration>,
    face: Face,
    query: Option<Box<str>>,
    terms: Terms,
}

/// How long and how often is asked.
#[derive(Debug, Clone, Copy)]
struct Terms {
    total: Duration,
    pause: Duration,
    each: Duration,
}

/// A call whose answer is waited for.
pub(crate) struct Awaited {
    admitted: Option<Admitted>,
    provider: &'static dyn Provider,
    integration: Arc<Integration>,
    face: Face,
    query: Option<Box<str>>,
    id: Box<str>,
    plan: MeterPlan,
    input_bound: u64,
    flex: bool,
    terms: Terms,
}

/// What asking brought.
enum Reply {
    /// It is made still, or could not be asked for.
    NotYet,
    /// It is there.
    Finished(Box<Observed>),
    /// The provider does not have it any more.
    Gone,
}

impl Again {
    pub(crate) fn new(gateway: &Gateway, route: &Route) -> Self {
        Self {
            drains: gateway.drains.clone(),
            integration: Arc::clone(&route.integration),
            face: route.face,
            query: route.head.uri.query().map(Into::into),
            terms: Terms::of(&gateway.config),
        }
    }

    /// Hands a call over to be waited for.
    pub(crate) fn wait_for(self, id: &str, admitted: Admitted, recipe: &Recipe) {
        self.drains.wait_for(Box::new(Awaited {
            admitted: Some(admitted),
            provider: recipe.provider,
            integration: self.integration,
            face: self.face,
            query: self.query,
            id: id.into(),
            plan: recipe.plan,
            input_bound: recipe.input_bound,
            flex: recipe.flex,
            terms: self.terms,
        }));
    }
}

impl Terms {
    fn of(config: &GatewayConfig) -> Self {
        Self {
            total: Duration::from_secs(config.background_seconds),
            pause: Duration::from_millis(config.background_poll_ms.max(1)),
            each: Duration::from_secs(config.first_byte_seconds.min(config.idle_seconds)),
        }
    }
}

impl std::fmt::Debug for Awaited {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Awaited")
            .field("admitted", &self.admitted)
            .finish_non_exhaustive()
    }
}

impl Awaited {
    /// Asks until the answer is there, then settles. Cut short, it settles at what is held.
    pub(crate) async fn run(mut self: Box<Self>, app: Arc<App>, upstream: Upstream) {
        let until = Instant::now() + self.terms.total;
        let mut pause = self.terms.pause.min(PAUSE_MAX);
        while Instant::now() < until {
            sleep(pause).await;
            pause = (pause * 2).min(PAUSE_MAX);
            match timeout(self.terms.each, self.ask(&app, &upstream)).await {
                Ok(Reply::Finished(observed)) => {
                    let input_bound = self.input_bound;
                    return self.settle(Outcome::Observed {
                        observed: *observed,
                        input_bound,
                        cut: None,
                    });
                }
                Ok(Reply::Gone) => return self.settle(Outcome::Unknown("background_lost")),
                Ok(Reply::NotYet) | Err(_) => {}
            }
        }
    }

    fn settle(&mut self, outcome: Outcome) {
        if let Some(admitted) = self.admitted.take() {
            settle::settle(admitted, outcome);
        }
    }

    async fn ask(&self, app: &App, upstream: &Upstream) -> Reply {
        let Some(outbound) = self.outbound(app) else {
            return Reply::NotYet;
        };
        let mut request = Request::new(Departure::new(outbound.body, None));
        *request.method_mut() = outbound.method;
        *request.uri_mut() = outbound.uri;
        *request.headers_mut() = outbound.headers;
        let Ok(answer) = upstream.send(request).await else {
            return Reply::NotYet;
        };
        let (head, mut body) = answer.into_parts();
        match self.provider.classify(head.status, &head.headers) {
            Some(failure) if failure.kind == FailureKind::NotFound => return Reply::Gone,
            Some(_) => return Reply::NotYet,
            None => {}
        }
        let shape = AnswerShape::of(&head.headers);
        let mut meter = self
            .provider
            .meter(Operation::CreateResponse, shape, self.plan);
        let mut bytes = 0_usize;
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return Reply::NotYet;
            };
            let Ok(piece) = frame.into_data() else {
                continue;
            };
            bytes = bytes.saturating_add(piece.len());
            if bytes > ANSWER_BYTES_MAX {
                break;
            }
            meter.push(&piece, &mut |_| {});
        }
        let mut observed = meter.finish(End::Clean, &mut |_| {});
        observed.halved &= self.flex;
        if observed.pending.is_some() || (observed.unreadable && observed.usage.is_none()) {
            Reply::NotYet
        } else {
            Reply::Finished(Box::new(observed))
        }
    }

    /// The question, with the credential that the integration has now.
    fn outbound(&self, app: &App) -> Option<Outbound> {
        let snapshot = self.integration.snapshot();
        let endpoint = snapshot.endpoint.as_ref().ok()?.as_ref()?;
        let credential = app.open_credential(&snapshot).ok()?;
        let call = PrepareCall {
            operation: Operation::GetResponse,
            face: self.face,
            now: app.now(),
            call_id: self.admitted.as_ref()?.call_id(),
            headers: &HeaderMap::new(),
            query: self.query.as_deref(),
            endpoint,
            config: &snapshot.config,
            credential: credential.as_ref(),
            model: None,
            thing: Some(&self.id),
            prices: None,
            body: None,
        };
        self.provider.prepare(&call).ok()
    }
}

impl Drop for Awaited {
    /// Stopping, or tired of asking: the provider may bill it all the same.
    fn drop(&mut self) {
        self.settle(Outcome::Unknown("background_unfinished"));
    }
}
