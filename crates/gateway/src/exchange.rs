//! One call, from the request's head to the answer's last byte: seven phases, in the only order
//! that their types allow.

use std::sync::Arc;

use http::{Request, Response};
use hyper::body::{Body as _, Incoming};
use tollgate_app::App;

use crate::answer::{Answer, Desk};
use crate::attempts;
use crate::config::GatewayConfig;
use crate::drain::Drains;
use crate::error::Refused;
use crate::metrics::Metrics;
use crate::patience::{Remains, Unread};
use crate::phase::{admit, forward, identify, prepare, relay, resolve};
use crate::upload::spool::Spool;
use crate::upstream::Upstream;

/// What every exchange works with.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) app: Arc<App>,
    pub(crate) config: GatewayConfig,
    pub(crate) upstream: Upstream,
    pub(crate) drains: Drains,
    pub(crate) spool: Arc<Spool>,
    pub(crate) metrics: Arc<Metrics>,
}

/// Answers one request, whatever happens.
pub(crate) async fn exchange(
    gateway: Arc<Gateway>,
    request: Request<Incoming>,
    unread: &Unread,
) -> Response<Answer> {
    let mut desk = Desk::open(&gateway, request.headers());
    desk.has_whole_body = request.body().is_end_stream();
    let answer = match pass(&gateway, request, &mut desk).await {
        Ok(answer) => answer,
        Err(refused) => desk.refuse(&refused),
    };
    // A caller may be refused, and a provider may answer, before all of a form has come.
    unread.note(if desk.has_whole_body {
        Remains::None
    } else {
        Remains::Possible
    });
    gateway.metrics.answered(answer.status());
    answer
}

async fn pass(
    gateway: &Arc<Gateway>,
    request: Request<Incoming>,
    desk: &mut Desk,
) -> Result<Response<Answer>, Refused> {
    let (head, body) = request.into_parts();
    let aim = resolve::aim(&head, desk)?;
    let caller = identify::identify(gateway, &head, desk)?;
    let route = resolve::resolve(gateway, desk, caller, (head, aim), body).await?;
    if route.again.is_some() {
        return Box::pin(attempts::make(gateway, route, desk)).await;
    }
    let admitted = admit::admit(gateway, &route, desk).await?;
    let outbound = prepare::prepare(gateway, &route, &admitted)?;
    desk.timing.leaves();
    let landed = forward::forward(gateway, route, admitted, outbound).await?;
    relay::relay(gateway, landed, desk).await
}
