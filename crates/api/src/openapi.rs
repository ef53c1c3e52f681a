//! The OpenAPI description, put together from what the handlers say of themselves.

mod completion;
pub(crate) mod page;

use cus_models::{CusHealthState, CusIntegrationStatus, CusPolicyResult, CusProviderType};
use serde_json::Value;
use tollgate_app::prices::PriceSource;
use tollgate_core::access::KeyStatus;
use tollgate_core::audit::Tampering;
use tollgate_core::health::Cause;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::role::{Permission, Role};
use tollgate_core::usage::Origin;
use utoipa::openapi::path::{Operation, Paths};
use utoipa::openapi::schema::{Components, Object, ObjectBuilder, Schema, SchemaType, Type};
use utoipa::openapi::security::{Http, HttpAuthScheme, SecurityRequirement, SecurityScheme};
use utoipa::openapi::{InfoBuilder, OpenApi, OpenApiBuilder};
use utoipa::{PartialSchema, ToSchema};

use crate::problem::{FieldError, ProblemBody};
use crate::routes;
use crate::v1::enforcement::ReasonBody;

const SCHEME: &str = "access_key";

/// The description as indented JSON with a line break at its end.
pub(crate) fn text() -> String {
    // The description is plain strings and maps: writing it cannot fail.
    let mut text = serde_json::to_string_pretty(&description()).unwrap_or_default();
    text.push('\n');
    text
}

/// The whole description.
fn description() -> Value {
    let mut description = serde_json::json!(document());
    completion::complete(&mut description);
    description
}

fn document() -> OpenApi {
    let mut paths = Paths::new();
    let mut components = Components::new();
    for route in routes::table() {
        let described = route.described;
        components.schemas.extend(described.schemas);
        let operation = completed(described.operation, route.path, route.permission);
        paths.add_path_operation(described.path, described.methods, operation);
    }
    components
        .schemas
        .insert(ProblemBody::name().into_owned(), ProblemBody::schema());
    components
        .schemas
        .insert(FieldError::name().into_owned(), FieldError::schema());
    components
        .schemas
        .insert(ReasonBody::name().into_owned(), ReasonBody::schema());
    components.add_security_scheme(
        SCHEME,
        SecurityScheme::Http(Http::new(HttpAuthScheme::Bearer)),
    );
    let about = InfoBuilder::new()
        .title("Tollgate")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some(
            "The control plane. Every error is a problem document (RFC 9457) with a stable `code`; \
             lists are pages of `data` with a `next_cursor`; money is a decimal text of dollars with \
             nine places (`*_usd`) or whole cents (`*_cents`); times are RFC 3339 in UTC.",
        ));
    OpenApiBuilder::new()
        .info(about.build())
        .paths(paths)
        .components(Some(components))
        .build()
}

/// Adds what is the same for every operation.
fn completed(mut operation: Operation, path: &str, permission: Option<Permission>) -> Operation {
    let tag = path
        .strip_prefix("/api/v1/")
        .and_then(|rest| rest.split('/').next());
    operation.tags = Some(vec![
        tag.filter(|tag| !tag.contains('.') && *tag != "docs")
            .unwrap_or("node")
            .to_owned(),
    ]);
    if permission.is_none() {
        operation.security = Some(Vec::new());
        return operation;
    }
    operation.security = Some(vec![SecurityRequirement::new(SCHEME, Vec::<String>::new())]);
    operation
}

/// A provider's credential on its way in.
pub(crate) fn credential() -> Object {
    let mut credential = ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::Object))
        .additional_properties(Some(Schema::Object(Object::with_type(Type::String))))
        .description(Some(
            "The provider's credential, sealed on arrival and never shown again; `GET /providers` \
             tells its members.",
        ))
        .build();
    credential.write_only = Some(true);
    credential
}

/// A text that is one of a few.
fn one_of(values: impl IntoIterator<Item = &'static str>) -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::Type(Type::String))
        .enum_values(Some(values))
        .build()
}

pub(crate) fn provider_type() -> Object {
    one_of(CusProviderType::ALL.iter().map(|one| one.as_str()))
}

pub(crate) fn integration_status() -> Object {
    one_of(CusIntegrationStatus::ALL.iter().map(|one| one.as_str()))
}

pub(crate) fn health_state() -> Object {
    one_of(CusHealthState::ALL.iter().map(|one| one.as_str()))
}

/// Why an integration is not healthy, or null.
pub(crate) fn health_cause() -> Object {
    nullable(Cause::ALL.iter().map(|one| one.as_str()))
}

/// What a state of health rests on, or null.
pub(crate) fn health_evidence() -> Object {
    nullable(["probe", "traffic"])
}

/// A text that is one of a few, or null.
fn nullable(values: impl IntoIterator<Item = &'static str>) -> Object {
    let values = values.into_iter().map(serde_json::Value::from);
    ObjectBuilder::new()
        .schema_type(SchemaType::Array(vec![Type::String, Type::Null]))
        .enum_values(Some(values.chain([serde_json::Value::Null])))
        .build()
}

pub(crate) fn policy_result() -> Object {
    one_of(CusPolicyResult::ALL.iter().map(|one| one.as_str()))
}

pub(crate) fn hold_outcome() -> Object {
    nullable(HoldOutcome::ALL.into_iter().map(HoldOutcome::as_str))
}

pub(crate) fn verdict() -> Object {
    one_of(["allowed", "warned", "throttled", "blocked", "hard_blocked"])
}

pub(crate) fn actor_kind() -> Object {
    one_of(["key", "system", "console"])
}

pub(crate) fn tampering() -> Object {
    one_of(Tampering::ALL.into_iter().map(Tampering::as_str))
}

pub(crate) fn role() -> Object {
    one_of(Role::ALL.into_iter().map(Role::as_str))
}

pub(crate) fn key_status() -> Object {
    one_of(KeyStatus::ALL.into_iter().map(KeyStatus::as_str))
}

/// The codes of a wrong place.
pub(crate) fn mistake() -> Object {
    one_of([
        "unknown_field",
        "missing_field",
        "duplicate_field",
        "wrong_type",
        "invalid_value",
        "unknown_parameter",
        "duplicate_parameter",
    ])
}

pub(crate) fn price_source() -> Object {
    one_of(PriceSource::ALL.into_iter().map(PriceSource::as_str))
}

pub(crate) fn matched_by() -> Object {
    one_of(["name", "snapshot", "rule"])
}

pub(crate) fn tenant_status() -> Object {
    one_of(["active", "suspended"])
}

pub(crate) fn usage_source() -> Object {
    one_of(["provider", "counted", "estimated"])
}

pub(crate) fn report_result() -> Object {
    one_of(["accepted", "duplicate", "conflict", "rejected"])
}

pub(crate) fn export_format() -> Object {
    one_of(["csv", "jsonl"])
}

pub(crate) fn usage_group() -> Object {
    one_of(["model"])
}

pub(crate) fn usage_origin() -> Object {
    one_of(Origin::ALL.into_iter().map(Origin::as_str))
}

/// `GET /api/v1/openapi.json`.
pub(crate) mod get {
    use axum::response::IntoResponse;
    use http::header::CONTENT_TYPE;

    /// This description.
    #[utoipa::path(get, path = "/api/v1/openapi.json", operation_id = "get_openapi",
        responses((status = 200, description = "OpenAPI 3.1", body = Object)))]
    pub(crate) async fn handle() -> impl IntoResponse {
        ([(CONTENT_TYPE, "application/json")], super::text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_handler_says_of_its_place_is_where_the_table_has_it() {
        for route in routes::table() {
            assert_eq!(route.described.path, route.path);
            let methods = serde_json::json!(route.described.methods);
            let method = route.method.to_ascii_lowercase();
            assert_eq!(methods, serde_json::json!([method]), "{}", route.path);
            assert!(
                route.described.operation.operation_id.is_some(),
                "{}",
                route.path
            );
        }
    }

    #[test]
    fn no_two_operations_have_the_same_id() {
        let ids = routes::table()
            .into_iter()
            .filter_map(|route| route.described.operation.operation_id);
        let mut ids: Vec<_> = ids.collect();
        let all = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), all);
    }
}
