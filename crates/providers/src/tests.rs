//! What goes out to each provider, and what is read of its answers: one folder a case under
//! `golden/`, and the rules that no case shows.

mod forms;
pub(crate) mod golden;
mod splits;
mod urls;

use bytes::Bytes;
use cus_models::CusProviderType;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::{CallId, Moment};
use tollgate_vault::Secret;

use crate::{
    Endpoint, Face, Operation, Outbound, PrepareCall, PrepareError, Presence, ProbeCall, Provider,
    RequestFacts, UrlError, UrlPolicy, UsageChunk, registry,
};

fn provider(provider_type: CusProviderType) -> &'static dyn Provider {
    registry::find(provider_type).unwrap()
}

fn endpoint(provider_type: CusProviderType, url: Option<&str>) -> Result<Endpoint, UrlError> {
    let config = IntegrationConfig {
        base_url: url.map(str::to_owned),
        ..IntegrationConfig::default()
    };
    provider(provider_type).endpoint(&config, &UrlPolicy::default())
}

/// A credential in the form that a provider wants.
fn secret_of(provider: &dyn Provider) -> Secret {
    let signs = provider.describe().credential_fields[0].name == "access_key_id";
    let text = if signs {
        r#"{"access_key_id":"AKIDEXAMPLE","secret_access_key":"secret-canary","session_token":"token-canary"}"#
    } else {
        r#"{"api_key":"sk-canary"}"#
    };
    Secret::new(text.to_owned())
}

/// The moment of every request here.
pub(crate) fn now() -> Moment {
    Moment {
        wall: "2026-01-02T03:04:05Z".parse().unwrap(),
        steady_micros: 0,
    }
}

/// One request, with everything that a test may want to change.
struct Asked {
    provider_type: CusProviderType,
    url: Option<&'static str>,
    operation: Operation,
    face: Face,
    headers: HeaderMap,
    query: Option<&'static str>,
    model: Option<&'static str>,
    credential: Option<Secret>,
    config: IntegrationConfig,
    body: Option<&'static str>,
}

impl Asked {
    fn of(provider_type: CusProviderType, operation: Operation) -> Self {
        let description = provider(provider_type).describe();
        let is_somewhere = description.default_url.is_some();
        Self {
            provider_type,
            url: (!is_somewhere).then_some("https://llm.example.com"),
            operation,
            face: description.faces[0],
            headers: HeaderMap::new(),
            query: None,
            model: None,
            credential: Some(secret_of(provider(provider_type))),
            config: IntegrationConfig {
                region: Some("us-east-1".to_owned()),
                ..IntegrationConfig::default()
            },
            body: None,
        }
    }

    fn chat(provider_type: CusProviderType, body: &'static str) -> Self {
        Self {
            body: Some(body),
            ..Self::of(provider_type, Operation::ChatCompletions)
        }
    }

    fn prepare(&self) -> Result<Outbound, PrepareError> {
        let endpoint = endpoint(self.provider_type, self.url).unwrap();
        let body = self.body.map(|text| Bytes::from_static(text.as_bytes()));
        let facts = body
            .as_ref()
            .map(|body| RequestFacts::read(self.operation, body).unwrap());
        provider(self.provider_type).prepare(&PrepareCall {
            operation: self.operation,
            face: self.face,
            now: now(),
            call_id: &"call-1".parse::<CallId>().unwrap(),
            headers: &self.headers,
            query: self.query,
            endpoint: &endpoint,
            config: &self.config,
            credential: self.credential.as_ref(),
            model: self.model,
            thing: None,
            prices: None,
            body: body.as_ref().zip(facts.as_ref()),
        })
    }

    fn sent_body(&self) -> String {
        let pieces = self.prepare().unwrap().body.into_pieces();
        String::from_utf8(pieces.concat()).unwrap()
    }
}

#[test]
fn a_base_url_is_taken_as_the_official_sdks_take_it() {
    let uri = |provider_type, url, operation| {
        let asked = Asked {
            url,
            ..Asked::of(provider_type, operation)
        };
        asked.prepare().unwrap().uri.to_string()
    };
    let (openai, anthropic) = (CusProviderType::OpenAi, CusProviderType::Anthropic);
    let table = [
        (openai, None, "https://api.openai.com/v1/models"),
        (
            openai,
            Some("https://a.example.com"),
            "https://a.example.com/v1/models",
        ),
        (
            openai,
            Some("https://a.example.com/"),
            "https://a.example.com/v1/models",
        ),
        (
            openai,
            Some("https://a.example.com/v1/"),
            "https://a.example.com/v1/models",
        ),
        (
            openai,
            Some("https://a.example.com/x/openai"),
            "https://a.example.com/x/openai/models",
        ),
        (anthropic, None, "https://api.anthropic.com/v1/models"),
        (
            anthropic,
            Some("https://a.example.com/v1"),
            "https://a.example.com/v1/models",
        ),
        (
            anthropic,
            Some("https://a.example.com/x/"),
            "https://a.example.com/x/v1/models",
        ),
    ];
    for (provider_type, url, expected) in table {
        assert_eq!(
            uri(provider_type, url, Operation::ListModels),
            expected,
            "{url:?}"
        );
    }
    assert_eq!(
        endpoint(CusProviderType::Custom, None),
        Err(UrlError::Missing)
    );
}

#[test]
fn of_a_callers_headers_only_named_ones_go_on() {
    let mut asked = Asked::chat(CusProviderType::OpenAi, r#"{"model":"a"}"#);
    let hostile = [
        ("authorization", "Bearer theirs"),
        ("x-api-key", "theirs"),
        ("api-key", "theirs"),
        ("cookie", "theirs"),
        ("host", "theirs.example"),
        ("x-tollgate-integration", "theirs"),
        ("x-client-request-id", "theirs"),
        ("connection", "close, OpenAI-Beta"),
        ("openai-beta", "dropped"),
        ("openai-organization", "theirs"),
        ("transfer-encoding", "chunked"),
        ("content-length", "5"),
        ("content-type", "text/plain"),
        ("accept-encoding", "gzip"),
        ("x-forwarded-for", "10.0.0.1"),
        ("metadata-flavor", "Google"),
        ("user-agent", "sdk/1"),
        ("accept", "application/json"),
    ];
    for (name, value) in hostile {
        asked.headers.append(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let outbound = asked.prepare().unwrap();
    let mut sent: Vec<String> = outbound
        .headers
        .iter()
        .map(|(name, value)| format!("{name}: {value:?}"))
        .collect();
    sent.sort();
    assert_eq!(
        sent,
        [
            "accept-encoding: \"identity\"",
            "accept: \"application/json\"",
            "authorization: Sensitive",
            "content-type: \"application/json\"",
            "user-agent: \"sdk/1\"",
            "x-client-request-id: \"call-1\"",
        ]
    );
    assert_eq!(
        outbound.headers.get("authorization").unwrap(),
        "Bearer sk-canary"
    );
    assert!(!format!("{outbound:?}").contains("canary"));
}

#[test]
fn anthropic_gets_its_own_headers_and_query() {
    let mut asked = Asked {
        query: Some("beta=true&key=x&limit=5&after_id=a%26b&before_id=m_1"),
        ..Asked::of(CusProviderType::Anthropic, Operation::ListModels)
    };
    let outbound = asked.prepare().unwrap();
    assert_eq!(
        outbound.headers.get("anthropic-version").unwrap(),
        "2023-06-01"
    );
    assert_eq!(outbound.headers.get("x-api-key").unwrap(), "sk-canary");
    assert!(outbound.headers.get("x-api-key").unwrap().is_sensitive());
    assert!(outbound.headers.get("content-type").is_none() && outbound.body.is_empty());
    let uri = "https://api.anthropic.com/v1/models?beta=true&limit=5&before_id=m_1";
    assert_eq!(outbound.uri, uri);
    asked
        .headers
        .insert("anthropic-version", HeaderValue::from_static("2099-01-01"));
    asked
        .headers
        .append("anthropic-beta", HeaderValue::from_static("one"));
    asked
        .headers
        .append("anthropic-beta", HeaderValue::from_static("two"));
    let headers = asked.prepare().unwrap().headers;
    assert_eq!(headers.get("anthropic-version").unwrap(), "2099-01-01");
    assert_eq!(headers.get_all("anthropic-beta").iter().count(), 2);
}

#[test]
fn azure_is_asked_where_its_caller_aimed() {
    let uri = |face, query, version: Option<&str>, operation| {
        let asked = Asked {
            face,
            query,
            model: Some("d/1"),
            config: IntegrationConfig {
                api_version: version.map(str::to_owned),
                ..IntegrationConfig::default()
            },
            ..Asked::of(CusProviderType::AzureOpenAi, operation)
        };
        let uri = asked.prepare().unwrap().uri.to_string();
        uri.strip_prefix("https://llm.example.com/openai")
            .unwrap()
            .to_owned()
    };
    let (chat, list) = (Operation::ChatCompletions, Operation::ListModels);
    let (dated, v1, openai) = (Face::AzureDeployments, Face::AzureV1, Face::OpenAi);
    let asked = Some("x=1&api-version=2024-10-21&y");
    let table = [
        (
            (dated, asked, None, chat),
            "/deployments/d%2F1/chat/completions?api-version=2024-10-21",
        ),
        (
            (dated, asked, Some("2025-01-01-preview"), chat),
            "/deployments/d%2F1/chat/completions?api-version=2024-10-21",
        ),
        (
            (openai, asked, Some("2025-01-01-preview"), chat),
            "/deployments/d%2F1/chat/completions?api-version=2025-01-01-preview",
        ),
        ((dated, None, None, chat), "/v1/chat/completions"),
        ((openai, asked, None, chat), "/v1/chat/completions"),
        (
            (v1, Some("api-version=preview"), Some("2024-10-21"), chat),
            "/v1/chat/completions?api-version=preview",
        ),
        ((dated, asked, None, list), "/models?api-version=2024-10-21"),
        ((v1, None, None, list), "/v1/models"),
        (
            (dated, asked, None, Operation::GetModel),
            "/models/d%2F1?api-version=2024-10-21",
        ),
        // Nothing of a caller's gets into the query but a day.
        (
            (dated, Some("api-version=2024-10-21%26k"), None, chat),
            "/v1/chat/completions",
        ),
    ];
    for ((face, query, version, operation), expected) in table {
        assert_eq!(uri(face, query, version, operation), expected);
    }
}

#[test]
fn azure_gets_its_key_or_its_token_in_the_header_of_each() {
    let mut asked = Asked::chat(CusProviderType::AzureOpenAi, r#"{"model":"d"}"#);
    asked.model = Some("d");
    let headers = asked.prepare().unwrap().headers;
    let key = headers.get("api-key").unwrap();
    assert!(key.is_sensitive() && key == "sk-canary");
    assert!(headers.get("authorization").is_none());
    asked.credential = Some(Secret::new(r#"{"entra_token":"ey-canary"}"#.to_owned()));
    let headers = asked.prepare().unwrap().headers;
    let token = headers.get("authorization").unwrap();
    assert!(token.is_sensitive() && token == "Bearer ey-canary");
    assert!(headers.get("api-key").is_none());
    for wrong in [
        "{}",
        r#"{"api_key":"a","entra_token":"b"}"#,
        r#"{"api_key":"a","other":"b"}"#,
    ] {
        asked.credential = Some(Secret::new(wrong.to_owned()));
        assert!(matches!(
            asked.prepare().unwrap_err(),
            PrepareError::Credential(_)
        ));
    }
}

#[test]
fn azures_older_versions_are_not_asked_for_what_they_refuse() {
    let outbound = |query, body| {
        let mut asked = Asked::chat(CusProviderType::AzureOpenAi, body);
        asked.query = Some(query);
        asked.model = Some("d");
        asked.config.hard_cap = true;
        asked.config.default_max_output_tokens = Some(9);
        let chunk = asked.prepare().unwrap().usage_chunk;
        (asked.sent_body(), chunk)
    };
    let body = r#"{"stream":true,"model":"other"}"#;
    assert_eq!(
        outbound("api-version=2024-06-01", body),
        (
            r#"{"max_tokens":9,"stream":true,"model":"other"}"#.to_owned(),
            UsageChunk::Keep
        )
    );
    assert_eq!(
        outbound("api-version=2024-10-21", body),
        (
            r#"{"stream_options":{"include_usage":true},"max_completion_tokens":9,"stream":true,"model":"other"}"#
                .to_owned(),
            UsageChunk::Strip
        )
    );
    // At `/openai/v1` the body names the deployment.
    let (sent, _) = outbound("", r#"{"max_tokens":1,"model":"other"}"#);
    assert_eq!(sent, r#"{"max_tokens":1,"model":"d"}"#);
}

#[test]
fn a_models_name_stays_one_segment_of_the_path() {
    let asked = Asked {
        model: Some("meta/llama?x"),
        ..Asked::of(CusProviderType::Custom, Operation::GetModel)
    };
    let uri = asked.prepare().unwrap().uri;
    assert_eq!(uri, "https://llm.example.com/v1/models/meta%2Fllama%3Fx");
    let unnamed = Asked {
        model: None,
        ..asked
    };
    assert_eq!(unnamed.prepare().unwrap_err(), PrepareError::NoModel);
}

#[test]
fn only_a_server_of_ones_own_may_be_without_credential() {
    for provider in registry::all() {
        let description = provider.describe();
        let asked = Asked {
            credential: None,
            model: Some("m"),
            ..Asked::of(description.provider_type, description.operations[0])
        };
        match description.credential {
            Presence::Required => {
                assert_eq!(asked.prepare().unwrap_err(), PrepareError::NoCredential);
            }
            Presence::Optional => assert!(
                asked
                    .prepare()
                    .unwrap()
                    .headers
                    .get("authorization")
                    .is_none()
            ),
        }
    }
}

#[test]
fn a_hard_cap_is_written_in_the_words_of_the_provider() {
    let config = IntegrationConfig {
        hard_cap: true,
        default_max_output_tokens: Some(9),
        ..IntegrationConfig::default()
    };
    let sent = |provider_type, operation, body| {
        let asked = Asked {
            config: config.clone(),
            body: Some(body),
            ..Asked::of(provider_type, operation)
        };
        asked.sent_body()
    };
    let (openai, custom) = (CusProviderType::OpenAi, CusProviderType::Custom);
    let table = [
        (
            openai,
            Operation::ChatCompletions,
            "{}",
            r#"{"max_completion_tokens":9}"#,
        ),
        (openai, Operation::Completions, "{}", r#"{"max_tokens":9}"#),
        (openai, Operation::Embeddings, "{}", "{}"),
        (
            openai,
            Operation::ChatCompletions,
            r#"{"max_tokens":5}"#,
            r#"{"max_tokens":5}"#,
        ),
        (
            custom,
            Operation::ChatCompletions,
            r#"{"x":1}"#,
            r#"{"max_tokens":9,"x":1}"#,
        ),
        (CusProviderType::Anthropic, Operation::Messages, "{}", "{}"),
    ];
    for (provider_type, operation, body, expected) in table {
        assert_eq!(sent(provider_type, operation, body), expected);
    }
}

#[test]
fn usage_is_asked_for_and_taken_out_again_only_on_the_callers_behalf() {
    let chunk = |body| {
        Asked::chat(CusProviderType::OpenAi, body)
            .prepare()
            .unwrap()
            .usage_chunk
    };
    assert_eq!(chunk(r#"{"stream":true}"#), UsageChunk::Strip);
    assert_eq!(
        chunk(r#"{"stream":true,"stream_options":{"include_usage":true}}"#),
        UsageChunk::Keep
    );
    assert_eq!(chunk(r#"{"stream":false}"#), UsageChunk::Keep);
}

#[test]
fn a_probe_costs_nothing() {
    for provider in registry::all() {
        let description = provider.describe();
        let asked = Asked::of(description.provider_type, Operation::ListModels);
        let endpoint = endpoint(description.provider_type, asked.url).unwrap();
        let call = ProbeCall {
            endpoint: &endpoint,
            config: &asked.config,
            credential: asked.credential.as_ref(),
            now: now(),
        };
        let probe = provider.probe(&call).unwrap();
        assert_eq!(probe.method, http::Method::GET);
        assert!(probe.body.is_empty() && !probe.uri.path().starts_with("/model/"));
        let read = ["/v1/models", "/async-invoke"];
        assert!(read.iter().any(|end| probe.uri.path().ends_with(end)));
        assert_eq!(provider.classify(StatusCode::OK, &HeaderMap::new()), None);
    }
}

#[test]
fn an_operation_of_the_other_dialect_is_not_served() {
    let asked = Asked::of(CusProviderType::Anthropic, Operation::Embeddings);
    assert_eq!(
        asked.prepare().unwrap_err(),
        PrepareError::Unserved(Operation::Embeddings)
    );
    let asked = Asked::of(CusProviderType::OpenAi, Operation::Messages);
    assert_eq!(
        asked.prepare().unwrap_err(),
        PrepareError::Unserved(Operation::Messages)
    );
}

#[test]
fn a_description_reads_as_json_for_the_forms_that_are_drawn_from_it() {
    let openai = provider(CusProviderType::OpenAi).describe();
    insta::assert_json_snapshot!(openai);
}

#[test]
fn every_setting_of_an_integration_is_described_for_a_form() {
    let unknown = serde_json::from_str::<IntegrationConfig>(r#"{"no_such_setting":1}"#);
    let told = unknown.unwrap_err().to_string();
    let (_, names) = told.split_once("expected one of ").unwrap();
    let described: Vec<&str> = registry::all()
        .iter()
        .flat_map(|provider| provider.describe().config_fields)
        .map(|field| field.name)
        .collect();
    // Every other piece stands between back quotes; `endpoint` is Azure's word for `base_url`.
    let names = names.split('`').skip(1).step_by(2);
    let missing: Vec<&str> = names
        .filter(|name| *name != "endpoint" && !described.contains(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new());
}
