//! Phase five: the request goes to the provider, and the head of its answer comes back.

use std::future::poll_fn;

use http::response::Parts;
use http::{Request, StatusCode};
use tollgate_app::health::Sign;
use tollgate_providers::{Bounds, MeterPlan, Outbound, RequestFacts, UsageChunk};

use crate::error::Refused;
use crate::exchange::Gateway;
use crate::flight::{Cargo, Flight, Recipe, Silence};
use crate::phase::admit::Admitted;
use crate::phase::resolve::Route;
use crate::phase::settle::Outcome;
use crate::upstream::Departure;

/// A call whose provider has begun to answer.
#[derive(Debug)]
pub(crate) struct Landed {
    pub(crate) flight: Flight,
    pub(crate) head: Parts,
    pub(crate) route: Route,
}

pub(crate) async fn forward(
    gateway: &Gateway,
    route: Route,
    admitted: Admitted,
    outbound: Outbound,
) -> Result<Landed, Refused> {
    let dispatch = match &admitted {
        Admitted::Held(hold) => Some(hold.dispatch()),
        Admitted::Free(_) => None,
    };
    let facts = route.body.as_ref().map(|(_, facts)| facts);
    let config = &route.snapshot.config;
    let recipe = Recipe {
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
        input_bound: facts.map_or(0, RequestFacts::input_bound),
        on_disconnect: config.on_disconnect.unwrap_or_default(),
    };
    let mut request = Request::new(Departure::new(outbound.body, dispatch));
    *request.method_mut() = outbound.method;
    *request.uri_mut() = outbound.uri;
    *request.headers_mut() = outbound.headers;
    let answer = gateway.upstream.send(request);
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
            if silence != Silence::NotJournaled {
                route.integration.note(Sign::Failed);
            }
            let refused = silent(silence, gateway);
            flight.land(|cargo| cargo.settle(Outcome::of_silence(silence)));
            Err(refused)
        }
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
