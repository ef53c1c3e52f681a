//! Where calls and probes go: never where a name server of somebody else's says.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use serde_json::json;
use tollgate_app::health::{Carrier as _, NoAnswer};
use tollgate_app::testing::World;
use tollgate_gateway::connector::{Resolver, Resolving};
use tollgate_gateway::{Connector, GatewayConfig, ProbeCarrier};
use tollgate_providers::{EditedBody, Outbound};

use crate::provider::{Provider, completion, json, json_with};
use crate::stage::{Setting, Stage, connector, hello};

/// Names lead where the test says, until it says otherwise.
#[derive(Debug, Default)]
struct Names(Mutex<Vec<IpAddr>>);

impl Names {
    fn lead_to(&self, addresses: &[&str]) {
        let addresses = addresses.iter().map(|address| address.parse().unwrap());
        *self.0.lock() = addresses.collect();
    }
}

impl Resolver for Names {
    fn resolve<'a>(&'a self, _name: &'a str) -> Resolving<'a> {
        let addresses = self.0.lock().clone();
        Box::pin(std::future::ready(Ok(addresses)))
    }
}

fn listening_to(names: &Arc<Names>) -> Connector {
    connector().with_resolver(Arc::<Names>::clone(names))
}

#[tokio::test]
async fn a_call_whose_provider_moves_to_a_private_address_is_not_sent_and_costs_nothing() {
    let names = Arc::new(Names::default());
    let provider = Provider::start().await;
    let port = provider.address.port();
    let setting = Setting {
        connector: listening_to(&names),
        more: json!({ "base_url": format!("http://localhost:{port}") }),
        ..Setting::default()
    };
    let stage = Stage::before(provider, World::start().await, setting).await;
    for addresses in [
        &["10.0.0.1"][..],
        &["169.254.169.254"],
        &["127.0.0.1", "10.0.0.1"],
        &["8.8.8.8"],
        &["::ffff:127.0.0.1"],
        &["0.0.0.0"],
    ] {
        names.lead_to(addresses);
        let said = stage.chat(&hello()).await;
        assert_eq!(said.status, StatusCode::BAD_GATEWAY, "{addresses:?}");
        let error = &said.json()["error"];
        assert_eq!(error["code"], "upstream_not_public");
        let told = error["message"].as_str().unwrap();
        assert!(!told.contains("10.0"), "{told}");
        assert_eq!(said.header("x-should-retry"), Some("false"));
    }
    assert!(stage.provider.seen().is_empty());
    assert!(stage.rows().await.is_empty(), "nothing was sent");
    names.lead_to(&["127.0.0.1"]);
    stage.provider.script(completion(1, 1));
    assert_eq!(stage.chat(&hello()).await.status, StatusCode::OK);
    assert_eq!(stage.rows_once(1).await.len(), 1);
    stage.strike().await;
}

#[tokio::test]
async fn a_probe_goes_only_where_a_call_would_go() {
    let names = Arc::new(Names::default());
    let provider = Provider::start().await;
    let carrier = ProbeCarrier::new(&GatewayConfig::default(), &listening_to(&names));
    let uri = format!("http://localhost:{}/v1/models", provider.address.port());
    let probe = || Outbound {
        method: Method::GET,
        uri: uri.parse().unwrap(),
        headers: HeaderMap::new(),
        body: EditedBody::default(),
        usage_chunk: tollgate_providers::UsageChunk::Keep,
    };
    names.lead_to(&["10.0.0.1"]);
    let patience = Duration::from_secs(20);
    let answer = carrier.carry(probe(), patience).await;
    assert_eq!(answer.unwrap_err(), NoAnswer::Unreachable);
    assert!(provider.seen().is_empty());
    names.lead_to(&["127.0.0.1"]);
    provider.script(json(200, "{}"));
    let answered = carrier.carry(probe(), patience).await.unwrap();
    assert_eq!(answered.status, StatusCode::OK);
    provider.script(json_with(302, "location: http://localhost:1/\r\n", ""));
    let redirected = carrier.carry(probe(), patience).await;
    let status = redirected.unwrap().status;
    assert_eq!(status, StatusCode::FOUND, "told, and not followed");
    assert_eq!(provider.seen().len(), 2);
}
