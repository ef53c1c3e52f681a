//! A gateway between a scripted provider and its callers, with books that must be exact.

use std::sync::Arc;

use bytes::Bytes;
use cus_models::{CusLLMUsage, CusProviderType};
use http::{HeaderMap, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tollgate_app::integrations::NewIntegration;
use tollgate_app::testing::{CANARY, MODEL, World};
use tollgate_app::usage::UsageFilter;
use tollgate_core::page::PageAsk;
use tollgate_core::role::Role;
use tollgate_core::{IntegrationId, TenantId};
use tollgate_gateway::{Connector, GatewayConfig, Metrics, Server, serve};
use tollgate_providers::{Loopback, UrlPolicy};

use crate::provider::Provider;

/// Everything that one test needs.
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) provider: Provider,
    pub(crate) tenant: TenantId,
    pub(crate) key: String,
    pub(crate) integration: IntegrationId,
    server: Server,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// Limits of the stage's integration; 0 is none.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Limited {
    pub(crate) budget_cents: i64,
    pub(crate) tokens: i64,
    pub(crate) rpm: i64,
}

/// What a stage can be set with.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) provider_type: CusProviderType,
    pub(crate) limits: Limited,
    pub(crate) more: Value,
    pub(crate) config: GatewayConfig,
    pub(crate) connector: Connector,
}

impl Default for Setting {
    fn default() -> Self {
        Self {
            provider_type: CusProviderType::OpenAi,
            limits: Limited::default(),
            more: json!({}),
            config: GatewayConfig::default(),
            connector: connector(),
        }
    }
}

/// A connector that reaches this machine, as a world's settings allow it.
pub(crate) fn connector() -> Connector {
    Connector::new(UrlPolicy {
        loopback: Loopback::Allowed,
        ..UrlPolicy::default()
    })
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl Said {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }
}

impl Stage {
    pub(crate) async fn set() -> Self {
        Self::limited(Limited::default(), json!({})).await
    }

    /// A stage whose integration has these limits and this more in its config.
    pub(crate) async fn limited(limits: Limited, more: Value) -> Self {
        Self::with(
            CusProviderType::OpenAi,
            limits,
            more,
            GatewayConfig::default(),
        )
        .await
    }

    pub(crate) async fn with(
        provider_type: CusProviderType,
        limits: Limited,
        more: Value,
        config: GatewayConfig,
    ) -> Self {
        Self::in_world(World::start().await, provider_type, limits, more, config).await
    }

    /// A stage in a world of its own.
    pub(crate) async fn in_world(
        world: World,
        provider_type: CusProviderType,
        limits: Limited,
        more: Value,
        config: GatewayConfig,
    ) -> Self {
        let provider = Provider::start().await;
        let setting = Setting {
            provider_type,
            limits,
            more,
            config,
            connector: connector(),
        };
        Self::before(provider, world, setting).await
    }

    /// A stage before this provider.
    pub(crate) async fn before(provider: Provider, world: World, setting: Setting) -> Self {
        let Setting {
            provider_type,
            limits,
            more,
            config,
            connector,
        } = setting;
        let tenant = world.tenant("acme").await;
        let key = world.key(Some(&tenant), Role::Caller).await;
        let mut settings = json!({
            "base_url": format!("http://{}", provider.address),
            "prices": { MODEL: { "input": 1_000_000_000_i64, "output": 2_000_000_000_i64 } },
        });
        for (name, value) in more.as_object().unwrap() {
            settings[name] = value.clone();
        }
        let entered = json!({ "api_key": CANARY }).to_string();
        let context = world.acting_on(&tenant);
        let new = NewIntegration {
            name: "main".to_owned(),
            provider_type,
            credential: Some(serde_json::from_str(&entered).unwrap()),
            credential_ref: None,
            config: settings.as_object().cloned(),
            default_model: None,
            budget_limit_cents: limits.budget_cents,
            token_limit_month: limits.tokens,
            rate_limit_rpm: limits.rpm,
        };
        let made = world.app.create_integration(&context, new).await.unwrap();
        let integration = made.record.id.parse().unwrap();
        world
            .app
            .enable_integration(&context, integration)
            .await
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = serve(
            Arc::clone(&world.app),
            config,
            &connector,
            Arc::new(Metrics::default()),
            listener,
        )
        .unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            world,
            provider,
            tenant,
            key,
            integration,
            server,
            client,
        }
    }

    /// A request to the gateway with the stage's key.
    pub(crate) fn request(&self, method: Method, path: &str, body: &str) -> Request<Full<Bytes>> {
        Request::builder()
            .method(method)
            .uri(format!("http://{}{path}", self.server.address()))
            .header("authorization", format!("Bearer {}", self.key))
            .header("content-type", "application/json")
            .body(Full::new(Bytes::copy_from_slice(body.as_bytes())))
            .unwrap()
    }

    /// Sends a request; the body of the answer is still to be read.
    pub(crate) async fn open(&self, request: Request<Full<Bytes>>) -> http::Response<Incoming> {
        self.client.request(request).await.unwrap()
    }

    /// Sends a request and reads the whole answer.
    pub(crate) async fn send(&self, request: Request<Full<Bytes>>) -> Said {
        let (head, body) = self.open(request).await.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Said {
            status: head.status,
            headers: head.headers,
            body,
        }
    }

    /// A chat completion of this body.
    pub(crate) async fn chat(&self, body: &str) -> Said {
        self.send(self.request(Method::POST, "/v1/chat/completions", body))
            .await
    }

    /// The ledger's rows, oldest first, once everything that was settled is there.
    pub(crate) async fn rows(&self) -> Vec<tollgate_app::usage::UsageRow> {
        self.world.app.books_caught_up().await;
        let context = self.world.acting_on(&self.tenant);
        let page =
            self.world
                .app
                .usage_history(&context, PageAsk::default(), UsageFilter::default());
        let mut rows = page.await.unwrap().rows;
        rows.reverse();
        rows
    }

    /// Waits until the ledger has so many rows.
    pub(crate) async fn rows_once(&self, count: usize) -> Vec<tollgate_app::usage::UsageRow> {
        loop {
            let rows = self.rows().await;
            if rows.len() >= count {
                return rows;
            }
            tokio::task::yield_now().await;
        }
    }

    /// The only row.
    pub(crate) async fn row(&self) -> tollgate_app::usage::UsageRow {
        let mut rows = self.rows_once(1).await;
        assert_eq!(rows.len(), 1, "{rows:?}");
        rows.remove(0)
    }

    /// Where the gateway listens.
    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    /// Stops the gateway, and checks that no hold is open and the books are exact.
    pub(crate) async fn strike(self) {
        self.server.stop().await;
        self.world.close().await;
    }
}

/// The plain request of most tests.
pub(crate) fn hello() -> String {
    json!({
        "model": MODEL, "max_tokens": 100, "messages": [{ "role": "user", "content": "hi" }],
    })
    .to_string()
}

/// The same, as a stream.
pub(crate) fn hello_streamed() -> String {
    json!({
        "model": MODEL, "max_tokens": 100, "stream": true,
        "messages": [{ "role": "user", "content": "hi" }],
    })
    .to_string()
}

/// Tokens in, tokens out, nano-dollars of a row.
pub(crate) fn figures(row: &tollgate_app::usage::UsageRow) -> (i64, i64, i64) {
    let CusLLMUsage {
        tokens_in,
        tokens_out,
        ..
    } = row.usage;
    (tokens_in, tokens_out, row.cost.get())
}
