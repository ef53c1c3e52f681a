//! The control plane: REST under `/api/v1`, its OpenAPI description, and the health of this node.
//!
//! Each operation is one file under `v1/<resource>/`, with its types, its handler and its
//! documentation, and one row in `routes.rs`, where its permission stands beside it. To add one,
//! write both; the description and the table of who may do what follow from them.
#![expect(
    unused_qualifications,
    reason = "utoipa's path macro qualifies what it is given"
)]

mod auth;
mod extract;
mod health;
mod idempotency;
mod mistakes;
mod openapi;
mod page;
mod precondition;
mod problem;
mod query;
mod routes;
mod state;
mod v1;

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware;
use tollgate_app::App;
use tollgate_core::role::Permission;

use crate::auth::Gate;
use crate::state::Api;

/// The most bytes of a request's body.
pub const BODY_BYTES_MAX: usize = 1 << 20;

/// Everything that the control plane answers.
pub fn router(app: Arc<App>) -> Router {
    router_with(app, Router::new())
}

/// The same, with routes of the program's own (`/metrics`) beside it. Those are behind no key;
/// they get request ids and problem documents like every other.
pub fn router_with(app: Arc<App>, extra: Router) -> Router {
    let api = Api { app };
    let mut router = Router::new();
    for route in routes::table() {
        let handler = if idempotency::is_for(route.method, route.path) {
            let once = middleware::from_fn_with_state(api.clone(), idempotency::once);
            route.handler.route_layer(once)
        } else {
            route.handler
        };
        let parameters = query::Parameters::of(&route.described.operation);
        let handler = match route.permission {
            None => handler,
            Some(permission) => {
                let gate = Gate {
                    api: api.clone(),
                    permission,
                    is_conditional: precondition::is_conditional(route.method, route.path),
                };
                handler
                    .route_layer(middleware::from_fn_with_state(parameters, query::check))
                    .route_layer(middleware::from_fn_with_state(gate, auth::guard))
            }
        };
        router = router.route(route.path, handler);
    }
    router
        .with_state(api)
        .merge(extra)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(middleware::from_fn(precondition::spare))
        .layer(middleware::from_fn(problem::dress))
}

/// The OpenAPI 3.1 description of the control plane, as indented JSON.
#[must_use]
pub fn openapi_json() -> String {
    openapi::text()
}

/// One row of the table of routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RouteRow {
    /// The method, in capitals.
    pub method: &'static str,
    /// The path, with `{id}` where an id stands.
    pub path: &'static str,
    /// What its caller must be allowed; none where no key is needed.
    pub permission: Option<Permission>,
}

/// Every route, in the order of the table.
#[must_use]
pub fn routes() -> Vec<RouteRow> {
    let row = |route: routes::Route| RouteRow {
        method: route.method,
        path: route.path,
        permission: route.permission,
    };
    routes::table().into_iter().map(row).collect()
}
