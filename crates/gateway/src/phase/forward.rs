//! Phase five: the request goes to the provider, and the head of its answer comes back.

use std::future::poll_fn;
use std::sync::Arc;

use http::response::Parts;
use http::{Request, StatusCode};
use tollgate_app::health::Sign;
use tollgate_app::metering::Dispatch;
use tollgate_providers::{Bounds, MeterPlan, Outbound, RequestFacts, UsageChunk};

use crate::background::Again;
use crate::error::Refused;
use crate::exchange::Gateway;
use crate::flight::{Cargo, Flight, Recipe, Silence};
use crate::phase::admit::Admitted;
use crate::phase::resolve::Route;
use crate::phase::settle::Outcome;
use crate::upload::{Passage, Upload};
use crate::upstream::{Asked, Departure};

/// A call whose provider has begun to answer.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) flight: Flight,
    pub(crate) head: Parts,
    pub(crate) route: Box<Route>,
}

/// A call to which no answer came: why, and what its caller is told.
#[derive(Debug)]
pub(crate) struct Unanswered {
    pub(crate) silence: Silence,
    pub(crate) refused: Refused,
}

impl From<Unanswered> for Refused {
    fn from(unanswered: Unanswered) -> Self {
        unanswered.refused
    }
}

pub(crate) async fn forward(
    gateway: &Gateway,
    mut route: Box<Route>,
    admitted: Admitted,
    outbound: Outbound,
) -> Result<Landed, Unanswered> {
    let dispatch = match &admitted {
        Admitted::Held(hold) => Some(hold.dispatch()),
        Admitted::Free(_) => None,
    };
    let recipe = recipe(gateway, &route, &outbound);
    route.forget_request();
    let passage = recipe.passage.clone();
    let answer = depart(gateway, outbound, route.upload.take(), dispatch);
    let cargo = Cargo::new(admitted, answer, recipe, &gateway.config);
    let mut flight = Flight::new(cargo, gateway.drains.clone());
    let head = poll_fn(|cx| match flight.cargo() {
        Some(cargo) => cargo.poll_head(cx),
        None => std::task::Poll::Ready(Err(Silence::Broke)),
    });
    match head.await {
        Ok(head) => {
            if let Some(sign) = Sign::of_status(head.status) {
                route.integration.note(sign);
            }
            Ok(Landed {
                flight,
                head,
                route,
            })
        }
        Err(silence) => {
            if !matches!(silence, Silence::NotJournaled | Silence::Halted(_)) {
                route.integration.note(Sign::Failed);
            }
            let fault = passage.as_deref().and_then(Passage::fault);
            let refused = fault.map_or_else(
                || silent(silence, gateway),
                |fault| fault.refused(&gateway.config),
            );
            flight.land(|cargo| cargo.settle(Outcome::of_silence(silence)));
            Err(Unanswered { silence, refused })
        }
    }
}

/// Sends the request: its body as it was prepared, or the form that comes for it.
fn depart(
    gateway: &Gateway,
    outbound: Outbound,
    upload: Option<Upload>,
    dispatch: Option<Arc<Dispatch>>,
) -> Asked {
    let departure = match upload {
        Some(upload) => Departure::of_upload(upload, dispatch),
        None => Departure::new(outbound.body, dispatch),
    };
    let mut request = Request::new(departure);
    *request.method_mut() = outbound.method;
    *request.uri_mut() = outbound.uri;
    *request.headers_mut() = outbound.headers;
    gateway.upstream.send(request)
}

/// How the answer is to be read.
fn recipe(gateway: &Gateway, route: &Route, outbound: &Outbound) -> Recipe {
    let batch = match &route.thing {
        Some(thing) if route.operation.reads_results() => {
            Some(gateway.app.batch_reading(&route.integration, thing))
        }
        _ => None,
    };
    let facts = route.body.as_ref().map(|(_, facts)| facts);
    let config = &route.snapshot.config;
    Recipe {
        provider: route.provider,
        operation: route.operation,
        plan: MeterPlan {
            // A translation writes the caller's own usage, and needs the provider's for it.
            usage_chunk: match route.crossing {
                Some(_) => UsageChunk::Keep,
                None => outbound.usage_chunk,
            },
            bounds: facts.map_or(Bounds::NONE, |facts| {
                facts.bounds(config, route.prices.as_deref())
            }),
        },
        input_bound: facts.map_or(0, |facts| facts.input_bound(route.prices.as_deref())),
        on_disconnect: config.on_disconnect.unwrap_or_default(),
        passage: route.upload.as_ref().map(Upload::passage),
        flex: facts.is_some_and(RequestFacts::asks_for_flex),
        batch,
        again: facts
            .filter(|facts| facts.is_background())
            .map(|_| Again::new(gateway, route)),
    }
}

/// What a caller is told whose provider does not answer.
pub(crate) fn silent(silence: Silence, gateway: &Gateway) -> Refused {
    match silence {
        Silence::NotConnected => Refused::new(
            StatusCode::BAD_GATEWAY,
            "upstream_unreachable",
            "no connection to the provider could be made; nothing was sent, and nothing is charged"
                .to_owned(),
        ),
        Silence::Barred => Refused::new(
            StatusCode::BAD_GATEWAY,
            "upstream_not_public",
            "the provider's name leads to an address that is not public, where nothing is sent; \
             the operator can allow it"
                .to_owned(),
        )
        .never_again(),
        Silence::NotJournaled => Refused::not_written_down(),
        Silence::Broke => Refused::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            "the connection to the provider broke after the request was sent; the provider may \
             have billed it, so it is charged at what was held"
                .to_owned(),
        )
        .never_again(),
        Silence::CutShort | Silence::Halted(_) => Refused::new(
            StatusCode::BAD_GATEWAY,
            "upstream_broken",
            "the connection to the provider broke before all of the request had gone out; nothing \
             is charged"
                .to_owned(),
        ),
        Silence::TooSlow => Refused::new(
            StatusCode::GATEWAY_TIMEOUT,
            "upstream_timeout",
            format!(
                "the provider did not answer within {} seconds; it may have billed the call, so \
                 it is charged at what was held",
                gateway.config.first_byte_seconds
            ),
        )
        .never_again(),
    }
}
