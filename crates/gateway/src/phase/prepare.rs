//! Phase four: the request as the provider wants it, with the tenant's credential in it.

use http::StatusCode;
use tollgate_providers::{Outbound, PrepareCall, UrlError};

use crate::error::Refused;
use crate::exchange::Gateway;
use crate::phase::admit::Admitted;
use crate::phase::resolve::Route;

pub(crate) fn prepare(
    gateway: &Gateway,
    route: &Route,
    admitted: &Admitted,
) -> Result<Outbound, Refused> {
    let unusable = |error: &dyn std::error::Error| {
        tracing::error!(integration = %route.integration.id, %error, "a call cannot be prepared");
        Refused::new(
            StatusCode::BAD_GATEWAY,
            "integration_unusable",
            "the integration's settings or credential cannot be used: its admin must look at them"
                .to_owned(),
        )
        .never_again()
    };
    let snapshot = &route.snapshot;
    let endpoint = snapshot
        .endpoint
        .as_ref()
        .map_err(|error| unusable(error))?;
    let endpoint = endpoint
        .as_ref()
        .ok_or_else(|| unusable(&UrlError::Missing))?;
    let credential = gateway
        .app
        .open_credential(snapshot)
        .map_err(|error| unusable(&error))?;
    let call = PrepareCall {
        operation: route.operation,
        face: route.face,
        now: gateway.app.now(),
        call_id: admitted.call_id(),
        headers: &route.head.headers,
        // What a caller of another dialect says there means nothing to the provider.
        query: route.head.uri.query().filter(|_| route.crossing.is_none()),
        endpoint,
        config: &snapshot.config,
        credential: credential.as_ref(),
        model: route.model.as_deref(),
        thing: route.thing.as_deref(),
        prices: route.prices.as_deref(),
        body: route.body.as_ref().map(|(bytes, facts)| (bytes, facts)),
    };
    route
        .provider
        .prepare(&call)
        .map_err(|error| unusable(&error))
}
