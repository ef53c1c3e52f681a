//! Who asks: the one place that takes a key out of a request, and the guard before every handler.

use axum::extract::{FromRequestParts, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use http::header::AUTHORIZATION;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_app::revision::Precondition;
use tollgate_app::{AppError, Context};
use tollgate_core::TenantId;
use tollgate_core::audit::Actor;
use tollgate_core::role::{Permission, Role};

use crate::precondition::precondition;
use crate::problem::{Problem, RequestId};
use crate::state::Api;

const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const TENANT: HeaderName = HeaderName::from_static("x-tollgate-tenant");

/// What stands before a handler.
#[derive(Debug, Clone)]
pub(crate) struct Gate {
    pub(crate) api: Api,
    pub(crate) permission: Permission,
    /// Whether the operation honors `If-Match`.
    pub(crate) is_conditional: bool,
}

/// Lets a request pass whose key may do what the route is for.
pub(crate) async fn guard(
    State(gate): State<Gate>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .map(|id| id.0.clone());
    let context = gate.identify(request.headers(), request_id).await?;
    context.must_be_allowed(gate.permission)?;
    if !gate.is_conditional && context.precondition != Precondition::None {
        let detail = "this operation takes no condition: leave it out";
        return Err(Problem::header("if-match", detail));
    }
    request.extensions_mut().insert(context);
    Ok(next.run(request).await)
}

/// Who asks, as the guard found it.
pub(crate) struct Asker(pub(crate) Context);

impl<S: Sync> FromRequestParts<S> for Asker {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        let context = parts.extensions.get::<Context>().cloned();
        context.map(Self).ok_or_else(Problem::unauthorized)
    }
}

impl Gate {
    async fn identify(
        &self,
        headers: &HeaderMap,
        request_id: Option<String>,
    ) -> Result<Context, Problem> {
        let app = &self.api.app;
        let now = app.now();
        let presented = presented_key(headers)?.ok_or_else(Problem::unauthorized)?;
        // Unknown, revoked, expired and suspended look the same from outside.
        let known = app
            .identify(presented, now)
            .map_err(|_refusal| Problem::unauthorized())?;
        let precondition = precondition(headers)?;
        let named = named_tenant(headers)?;
        let tenant = match (known.key.role, &known.key.tenant_id) {
            (Role::Operator, _) => {
                if let Some(id) = &named
                    && !app.has_tenant(id).await?
                {
                    return Err(AppError::NotFound("tenant").into());
                }
                named
            }
            (_, own) if named.is_none() || named == *own => own.clone(),
            _ => return Err(AppError::NotFound("tenant").into()),
        };
        let actor = Actor::Key { id: known.key.id };
        Ok(Context {
            actor,
            role: known.key.role,
            tenant,
            precondition,
            bound_to: known.key.integration_id,
            request_id,
            now,
        })
    }
}

/// The one key of a request; two different ones are refused, so that nobody guesses which counts.
fn presented_key(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut found = None;
    let bearers = headers.get_all(AUTHORIZATION).iter().map(bearer);
    for key in bearers.chain(
        headers
            .get_all(API_KEY)
            .iter()
            .map(|value| value.to_str().ok()),
    ) {
        // What cannot be a key is an unknown one.
        let key = key.unwrap_or_default();
        if found.is_some_and(|earlier| earlier != key) {
            return Err(Problem::new(
                StatusCode::BAD_REQUEST,
                "conflicting_credentials",
                "the request carries two different keys: send one, as `Authorization: Bearer`",
            ));
        }
        found = Some(key);
    }
    Ok(found)
}

/// The token of `Bearer <token>`; the scheme is read in any case.
fn bearer(value: &HeaderValue) -> Option<&str> {
    let (scheme, token) = value.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

/// The tenant that the request names.
fn named_tenant(headers: &HeaderMap) -> Result<Option<TenantId>, Problem> {
    let mut named = headers.get_all(TENANT).iter();
    let Some(first) = named.next() else {
        return Ok(None);
    };
    if named.any(|other| other != first) {
        return Err(Problem::new(
            StatusCode::BAD_REQUEST,
            "conflicting_tenants",
            "the request names two tenants: send x-tollgate-tenant once",
        ));
    }
    let tenant = first.to_str().ok().and_then(|text| text.parse().ok());
    let needed = "give the id of a tenant: 1 to 100 visible ASCII characters";
    tenant
        .map(Some)
        .ok_or_else(|| Problem::header(TENANT.as_str(), needed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(lines: &[(HeaderName, &'static str)]) -> Result<Option<String>, StatusCode> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(name, HeaderValue::from_static(value));
        }
        match presented_key(&headers) {
            Ok(key) => Ok(key.map(str::to_owned)),
            Err(problem) => Err(problem.status()),
        }
    }

    #[test]
    fn one_key_is_read_from_either_header() {
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(
            key(&[(AUTHORIZATION, "Bearer a")]),
            Ok(Some("a".to_owned()))
        );
        assert_eq!(
            key(&[(AUTHORIZATION, "bearer  a ")]),
            Ok(Some("a".to_owned()))
        );
        assert_eq!(key(&[(API_KEY, "a")]), Ok(Some("a".to_owned())));
        assert_eq!(
            key(&[(API_KEY, "a"), (AUTHORIZATION, "Bearer a")]),
            Ok(Some("a".to_owned()))
        );
    }

    #[test]
    fn two_different_keys_are_refused_wherever_they_stand() {
        let refused = Err(StatusCode::BAD_REQUEST);
        assert_eq!(key(&[(API_KEY, "a"), (AUTHORIZATION, "Bearer b")]), refused);
        assert_eq!(
            key(&[(AUTHORIZATION, "Bearer a"), (AUTHORIZATION, "Bearer b")]),
            refused
        );
        assert_eq!(
            key(&[(API_KEY, "a"), (AUTHORIZATION, "Basic YTpi")]),
            refused
        );
    }
}
