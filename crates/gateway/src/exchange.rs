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
    let mut remains = if request.body().is_end_stream() {
        Remains::None
    } else {
        Remains::Possible
    };
    let mut desk = Desk::open(&gateway, request.headers());
    let answer = match pass(&gateway, request, &mut desk).await {
        Ok(answer) => {
            // A provider may answer before it has all of a form; other bodies were read whole.
            if !desk.sends_form {
                remains = Remains::None;
            }
            answer
        }
        Err(refused) => desk.refuse(&refused),
    };
    unread.note(remains);
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
    let route = resolve::resolve(gateway, caller, head, aim, body).await?;
    if route.again.is_some() {
        return Box::pin(attempts::make(gateway, route, desk)).await;
    }
    let admitted = admit::admit(gateway, &route, desk).await?;
    let outbound = prepare::prepare(gateway, &route, &admitted)?;
    desk.timing.leaves();
    let landed = forward::forward(gateway, route, admitted, outbound).await?;
    relay::relay(gateway, landed, desk).await
}
