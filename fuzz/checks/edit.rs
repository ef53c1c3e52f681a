//! The documented edits of any body that is taken: the model, the output maximum and the asking for usage, and not one
//! other member.

use bytes::Bytes;
use cus_models::CusProviderType;
use http::HeaderMap;
use serde_json::{Map, Value};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::{CallId, Moment};
use tollgate_providers::{
    Face, Operation, Outbound, PrepareCall, RequestFacts, UrlPolicy, UsageChunk, registry,
};
use tollgate_vault::Secret;

/// The members that may be edited.
const EDITED: [&str; 4] = [
    "model",
    "stream_options",
    "max_tokens",
    "max_completion_tokens",
];

/// The first byte chooses operation and settings, the rest is the body.
pub(crate) fn check(input: &[u8]) {
    let [choice, body @ ..] = input else {
        return;
    };
    let (provider, face, operation) = match choice & 3 {
        0 => (
            CusProviderType::OpenAi,
            Face::OpenAi,
            Operation::ChatCompletions,
        ),
        1 => (
            CusProviderType::OpenAi,
            Face::OpenAi,
            Operation::Completions,
        ),
        2 => (
            CusProviderType::Anthropic,
            Face::Anthropic,
            Operation::Messages,
        ),
        _ => (CusProviderType::OpenAi, Face::OpenAi, Operation::Embeddings),
    };
    let config = IntegrationConfig {
        hard_cap: choice & 4 != 0,
        ..IntegrationConfig::default()
    };
    let body = Bytes::copy_from_slice(body);
    let Ok(facts) = RequestFacts::read(operation, &body) else {
        return;
    };
    let renamed = (choice & 8 != 0).then_some("another-model");
    let outbound = sent((provider, face), &config, renamed, (&body, &facts));
    let pieces = outbound.body.into_pieces();
    let edited = pieces.concat();
    let asks_for_usage = outbound.usage_chunk == UsageChunk::Strip;
    if renamed.is_none() && !config.hard_cap && !asks_for_usage {
        assert_eq!(edited, body, "edited without a reason");
        assert!(pieces.len() <= 1, "copied without a reason");
    }
    let read = |bytes: &[u8]| serde_json::from_slice::<Map<String, Value>>(bytes);
    let Ok(before) = read(&body) else {
        return;
    };
    let after = read(&edited).expect("what was JSON is none any more");
    compare(before, after, renamed, outbound.usage_chunk);
}

fn sent(
    (provider, face): (CusProviderType, Face),
    config: &IntegrationConfig,
    renamed: Option<&str>,
    body: (&Bytes, &RequestFacts),
) -> Outbound {
    let provider = registry::find(provider).expect("it is served");
    let endpoint = provider.endpoint(config, &UrlPolicy::default());
    let call_id = "call-1".parse::<CallId>().expect("it is an id");
    let secret = Secret::new(r#"{"api_key":"sk-canary"}"#.to_owned());
    let wall = "2026-01-02T03:04:05Z".parse().expect("it is a time");
    let prepared = provider.prepare(&PrepareCall {
        operation: body.1.operation(),
        face,
        now: Moment {
            wall,
            steady_micros: 0,
        },
        call_id: &call_id,
        headers: &HeaderMap::new(),
        query: None,
        endpoint: &endpoint.expect("it has its usual address"),
        config,
        credential: Some(&secret),
        model: renamed.or(body.1.model().map(|model| &**model)),
        thing: None,
        prices: None,
        body: Some(body),
    });
    prepared.expect("what was read can be sent")
}

fn compare(
    mut before: Map<String, Value>,
    mut after: Map<String, Value>,
    renamed: Option<&str>,
    usage_chunk: UsageChunk,
) {
    let [model, options, max_tokens, max_completion_tokens] =
        EDITED.map(|name| (before.remove(name), after.remove(name)));
    assert_eq!(before, after, "another member was changed");
    match renamed {
        Some(renamed) => assert_eq!(model.1, Some(renamed.into())),
        None => assert_eq!(model.0, model.1),
    }
    if usage_chunk == UsageChunk::Strip {
        let option = |options: Option<Value>| match options {
            Some(Value::Object(mut options)) => {
                let usage = options.remove("include_usage");
                (options, usage)
            }
            _ => (Map::new(), None),
        };
        let (before, after) = (option(options.0), option(options.1));
        assert_eq!(before.0, after.0, "another option was changed");
        assert_eq!(after.1, Some(true.into()));
    } else {
        assert_eq!(options.0, options.1);
    }
    for (before, after) in [max_tokens, max_completion_tokens] {
        if before.as_ref().is_some_and(|maximum| !maximum.is_null()) {
            assert_eq!(before, after, "a maximum of the caller's was changed");
        }
    }
}
