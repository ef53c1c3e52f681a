//! Every route: its method, its path, what its caller must be allowed, and its handler.

use axum::routing::{MethodFilter, MethodRouter, on};
use tollgate_core::role::Permission;
use utoipa::openapi::RefOr;
use utoipa::openapi::path::{HttpMethod, Operation};
use utoipa::openapi::schema::Schema;

use crate::state::Api;

/// A schema with its name.
pub(crate) type NamedSchema = (String, RefOr<Schema>);

/// One route.
pub(crate) struct Route {
    pub(crate) method: &'static str,
    pub(crate) path: &'static str,
    /// None: anybody may ask, without a key.
    pub(crate) permission: Option<Permission>,
    pub(crate) handler: MethodRouter<Api>,
    pub(crate) described: Described,
}

/// What the code of a handler says about it.
pub(crate) struct Described {
    pub(crate) methods: Vec<HttpMethod>,
    pub(crate) path: String,
    pub(crate) operation: Operation,
    pub(crate) schemas: Vec<NamedSchema>,
}

impl Described {
    fn by<D: utoipa::Path + utoipa::__dev::SchemaReferences>() -> Self {
        let mut schemas = Vec::new();
        D::schemas(&mut schemas);
        Self {
            methods: D::methods(),
            path: D::path(),
            operation: D::operation(),
            schemas,
        }
    }
}

/// A row: method, path, permission, and the module that has the handler.
macro_rules! route {
    ($method:ident $path:literal, $permission:expr, $($module:ident)::+) => {
        Route {
            method: stringify!($method),
            path: $path,
            permission: $permission,
            handler: on(MethodFilter::$method, crate::$($module)::+::handle),
            described: Described::by::<crate::$($module)::+::__path_handle>(),
        }
    };
}

const ANYBODY: Option<Permission> = None;
const TENANTS: Option<Permission> = Some(Permission::ManageTenants);
const KEYS: Option<Permission> = Some(Permission::ManageKeys);
const READ: Option<Permission> = Some(Permission::ReadIntegrations);
const WRITE: Option<Permission> = Some(Permission::ManageIntegrations);
const USAGE: Option<Permission> = Some(Permission::ReadUsage);
const CALL: Option<Permission> = Some(Permission::Call);
const REPORT: Option<Permission> = Some(Permission::ReportUsage);
const AUDIT: Option<Permission> = Some(Permission::ReadAudit);
const LEDGER: Option<Permission> = Some(Permission::ManageLedger);
const INSTALLATION: Option<Permission> = Some(Permission::ManageInstallation);
const PRICES: Option<Permission> = Some(Permission::ManagePrices);

/// The table of routes.
pub(crate) fn table() -> Vec<Route> {
    [accounts(), integrations(), books()]
        .into_iter()
        .flatten()
        .collect()
}

/// This node, tenants and their keys.
#[rustfmt::skip]
fn accounts() -> Vec<Route> {
    vec![
        route!(GET    "/livez", ANYBODY, health::live),
        route!(GET    "/readyz", ANYBODY, health::ready),
        route!(GET    "/api/v1/openapi.json", ANYBODY, openapi::get),
        route!(GET    "/api/v1/docs", ANYBODY, openapi::page::get),

        route!(GET    "/api/v1/tenants", TENANTS, v1::tenants::list),
        route!(POST   "/api/v1/tenants", TENANTS, v1::tenants::create),
        route!(GET    "/api/v1/tenants/{id}", TENANTS, v1::tenants::get),
        route!(PATCH  "/api/v1/tenants/{id}", TENANTS, v1::tenants::update),
        route!(DELETE "/api/v1/tenants/{id}", TENANTS, v1::tenants::delete),

        route!(GET    "/api/v1/keys", KEYS, v1::keys::list),
        route!(POST   "/api/v1/keys", KEYS, v1::keys::create),
        route!(GET    "/api/v1/keys/{id}", KEYS, v1::keys::get),
        route!(DELETE "/api/v1/keys/{id}", KEYS, v1::keys::revoke),
        route!(POST   "/api/v1/keys/{id}/rotate", KEYS, v1::keys::rotate),
    ]
}

/// The routes of integrations.
#[rustfmt::skip]
fn integrations() -> Vec<Route> {
    vec![
        route!(GET    "/api/v1/integrations", READ, v1::integrations::list),
        route!(POST   "/api/v1/integrations", WRITE, v1::integrations::create),
        route!(GET    "/api/v1/integrations/{id}", READ, v1::integrations::get),
        route!(PATCH  "/api/v1/integrations/{id}", WRITE, v1::integrations::update),
        route!(DELETE "/api/v1/integrations/{id}", WRITE, v1::integrations::delete),
        route!(POST   "/api/v1/integrations/{id}/enable", WRITE, v1::integrations::enable),
        route!(POST   "/api/v1/integrations/{id}/disable", WRITE, v1::integrations::disable),
        route!(GET    "/api/v1/integrations/{id}/limits", READ, v1::integrations::limits),
        route!(GET    "/api/v1/integrations/health", READ, v1::integrations::health_summary),
        route!(GET    "/api/v1/integrations/{id}/health", READ, v1::integrations::health),
        route!(POST   "/api/v1/integrations/{id}/test", WRITE, v1::integrations::test),
        route!(POST   "/api/v1/integrations/{id}/credential", WRITE, v1::integrations::credential),
    ]
}

/// What was used and what would pass, the trail, the books and the installation.
#[rustfmt::skip]
fn books() -> Vec<Route> {
    vec![
        route!(POST   "/api/v1/telemetry/llm-usage", REPORT, v1::telemetry::report_usage),
        route!(POST   "/api/v1/telemetry/llm-usage/batch", REPORT, v1::telemetry::report_batch),
        route!(GET    "/api/v1/telemetry/usage-summary", USAGE, v1::telemetry::usage_summary),
        route!(GET    "/api/v1/telemetry/usage-history", USAGE, v1::telemetry::usage_history),
        route!(GET    "/api/v1/telemetry/usage-daily", USAGE, v1::telemetry::usage_daily),
        route!(GET    "/api/v1/telemetry/usage-export", USAGE, v1::telemetry::usage_export),

        route!(POST   "/api/v1/enforcement/check", CALL, v1::enforcement::check),
        route!(POST   "/api/v1/enforcement/batch", CALL, v1::enforcement::batch),
        route!(POST   "/api/v1/enforcement/hold", CALL, v1::enforcement::create_hold),
        route!(DELETE "/api/v1/enforcement/hold/{id}", CALL, v1::enforcement::release_hold),
        route!(GET    "/api/v1/enforcement/status", CALL, v1::enforcement::status),

        route!(GET    "/api/v1/audit", AUDIT, v1::audit::list),
        route!(GET    "/api/v1/audit/verify", AUDIT, v1::audit::verify),

        route!(GET    "/api/v1/ledger/verify", LEDGER, v1::ledger::verify),
        route!(GET    "/api/v1/ledger/status", LEDGER, v1::ledger::status),
        route!(GET    "/api/v1/ledger/rollups/verify", LEDGER, v1::ledger::verify_rollups),
        route!(POST   "/api/v1/ledger/rollups/rebuild", LEDGER, v1::ledger::rebuild_rollups),

        route!(GET    "/api/v1/masterkeys", INSTALLATION, v1::masterkeys::status),
        route!(POST   "/api/v1/masterkeys/rewrap", INSTALLATION, v1::masterkeys::rewrap),

        route!(GET    "/api/v1/nodes", INSTALLATION, v1::nodes::list),
        route!(POST   "/api/v1/nodes/{id}/retire", INSTALLATION, v1::nodes::retire),

        route!(GET    "/api/v1/prices", PRICES, v1::prices::list),
        route!(GET    "/api/v1/prices/unknown", PRICES, v1::prices::unknown),
        route!(GET    "/api/v1/prices/{provider_type}/{model}", PRICES, v1::prices::get),
        route!(PUT    "/api/v1/prices/{provider_type}/{model}", PRICES, v1::prices::set),
        route!(DELETE "/api/v1/prices/{provider_type}/{model}", PRICES, v1::prices::remove),

        route!(GET    "/api/v1/providers", READ, v1::providers::list),
    ]
}
