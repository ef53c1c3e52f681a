//! A world with two tenants and their keys, and a client that asks its control plane.

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Method, Request};
use http_body_util::BodyExt;
use serde_json::Value;
use tollgate_app::testing::World;
use tollgate_core::TenantId;
use tollgate_core::role::Role;
use tower::ServiceExt;

/// The control plane of a world, and the keys of those who use it.
pub(crate) struct Client {
    pub(crate) world: World,
    pub(crate) acme: TenantId,
    pub(crate) operator: String,
    pub(crate) admin: String,
    pub(crate) viewer: String,
    pub(crate) caller: String,
    /// The admin of another tenant, `globex`.
    pub(crate) stranger: String,
    router: Router,
}

/// A request on its way.
pub(crate) struct Asking<'c> {
    client: &'c Client,
    request: http::request::Builder,
    body: Body,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
    pub(crate) json: Value,
}

impl Client {
    pub(crate) async fn start() -> Self {
        let world = World::start().await;
        let acme = world.tenant("acme").await;
        let globex = world.tenant("globex").await;
        Self {
            operator: world.key(None, Role::Operator).await,
            admin: world.key(Some(&acme), Role::Admin).await,
            viewer: world.key(Some(&acme), Role::Viewer).await,
            caller: world.key(Some(&acme), Role::Caller).await,
            stranger: world.key(Some(&globex), Role::Admin).await,
            router: tollgate_api::router(std::sync::Arc::clone(&world.app)),
            acme,
            world,
        }
    }

    /// The same world, asked through another router.
    pub(crate) fn through(self, router: Router) -> Self {
        Self { router, ..self }
    }

    /// A request without a key.
    pub(crate) fn ask(&self, method: &str, path: &str) -> Asking<'_> {
        let method: Method = method.parse().unwrap();
        let request = Request::builder().method(method).uri(path);
        Asking {
            client: self,
            request,
            body: Body::empty(),
        }
    }

    /// A request of the tenant's admin.
    pub(crate) fn admin(&self, method: &str, path: &str) -> Asking<'_> {
        self.ask(method, path).key(&self.admin)
    }

    /// A request of the operator.
    pub(crate) fn operator(&self, method: &str, path: &str) -> Asking<'_> {
        self.ask(method, path).key(&self.operator)
    }

    /// A get of the tenant's admin that succeeds.
    pub(crate) async fn get(&self, path: &str) -> Value {
        self.admin("GET", path).send().await.json_of(200)
    }
}

impl Asking<'_> {
    pub(crate) fn key(self, key: &str) -> Self {
        self.header("authorization", &format!("Bearer {key}"))
    }

    pub(crate) fn tenant(self, tenant: &str) -> Self {
        self.header("x-tollgate-tenant", tenant)
    }

    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self {
            request: self.request.header(name, value),
            ..self
        }
    }

    pub(crate) fn json(self, body: &Value) -> Self {
        let body = Body::from(body.to_string());
        Self {
            request: self.request.header("content-type", "application/json"),
            body,
            ..self
        }
    }

    pub(crate) fn text(self, body: String) -> Self {
        Self {
            body: Body::from(body),
            ..self
        }
    }

    pub(crate) async fn send(self) -> Answer {
        let request = self.request.body(self.body).unwrap();
        let response = self.client.router.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        let text = String::from_utf8(bytes.to_vec()).unwrap();
        let json = serde_json::from_str(&text).unwrap_or(Value::Null);
        Answer {
            status: head.status.as_u16(),
            headers: head.headers,
            text,
            json,
        }
    }
}

impl Answer {
    /// The body of an answer with this status.
    #[track_caller]
    pub(crate) fn json_of(self, status: u16) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        self.json
    }

    /// A problem document with this status and code; its detail.
    #[track_caller]
    pub(crate) fn problem(self, status: u16, code: &str) -> Value {
        assert_eq!(self.status, status, "{}", self.text);
        assert_eq!(
            self.headers["content-type"], "application/problem+json",
            "{}",
            self.text
        );
        assert_eq!(self.json["code"], code, "{}", self.text);
        assert_eq!(self.json["status"], status, "{}", self.text);
        assert_eq!(
            self.json["request_id"],
            self.headers["x-request-id"].to_str().unwrap()
        );
        self.json
    }
}
