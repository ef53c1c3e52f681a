//! The same call on its way through another integration, or through the same as it is by now.

use std::sync::Arc;

use tollgate_app::directory::Integration;
use tollgate_app::metering::AttemptOf;
use tollgate_core::config::Fallback;

use super::{Again, Place};
use crate::exchange::Gateway;
use crate::phase::resolve::{self, Request, Route};

/// The call through the same integration again, with the settings and the credential of now.
pub(super) fn same(
    gateway: &Gateway,
    place: &Place,
    attempt: Option<AttemptOf>,
) -> Option<Box<Route>> {
    // One that was deleted meanwhile is in nobody's directory.
    let one = gateway.app.directory().integration(place.integration.id)?;
    let next = Again {
        attempt,
        ..place.again.clone()
    };
    through(gateway, one, next)
}

/// The call through an integration of the list; none if it cannot serve it: it is gone, not
/// enabled, in error or failing, or the call cannot be said in its words.
pub(super) fn find(
    gateway: &Gateway,
    place: &Place,
    entry: &Fallback,
    attempt: Option<AttemptOf>,
) -> Option<Box<Route>> {
    // Never outside the tenant: its own entry in the directory is what is searched.
    let tenant = gateway
        .app
        .directory()
        .tenant(&place.integration.tenant_id)?;
    let one = tenant.find(&entry.integration)?;
    // The models of another dialect have other names.
    let spoken = one.snapshot().provider()?.describe().dialect;
    if entry.model.is_none() && spoken != place.again.dialect {
        return None;
    }
    let next = Again {
        attempt,
        instead: entry.model.as_deref().map(Into::into),
        ..place.again.clone()
    };
    through(gateway, one, next)
}

fn through(gateway: &Gateway, integration: Arc<Integration>, again: Again) -> Option<Box<Route>> {
    gateway.app.metering().check_standing(&integration).ok()?;
    let asked = again
        .instead
        .as_ref()
        .or(again.asked.as_ref())
        .map(Arc::clone);
    let request = Request::clone(&again.request);
    let mut route = resolve::through(gateway, request, integration, asked).ok()?;
    route.again = Some(Box::new(again));
    Some(route)
}
