//! What has no counterpart is refused by its name, and what is harmless is not.

use serde_json::{Map, Value, json};

use super::*;

/// A request of a dialect with these members more.
fn with(caller: Dialect, more: &Value) -> Vec<u8> {
    let mut body: Map<String, Value> = Map::new();
    body.insert("model".to_owned(), json!("m"));
    if caller == Dialect::Anthropic {
        body.insert("max_tokens".to_owned(), json!(9));
    }
    body.insert(
        "messages".to_owned(),
        json!([{ "role": "user", "content": "hi" }]),
    );
    for (name, value) in more.as_object().unwrap() {
        body.insert(name.clone(), value.clone());
    }
    serde_json::to_vec(&body).unwrap()
}

/// The member at fault; none where the request can be translated.
fn fault(caller: Dialect, provider: CusProviderType, more: &Value) -> Option<String> {
    let translated = translation(caller, provider).request(&with(caller, more), OUTPUT_MAX);
    translated.err().map(|error| error.param().to_owned())
}

fn said(content: &Value) -> Value {
    json!({ "messages": [{ "role": "user", "content": content }] })
}

/// The rows of a list of what is refused: the place at fault, and the members.
fn listed(list: &str) -> impl Iterator<Item = (&str, Value)> {
    let rows = list.lines().filter(|line| !line.starts_with('#'));
    rows.map(|line| {
        let (param, members) = line.split_once(' ').unwrap();
        (param, serde_json::from_str(members.trim()).unwrap())
    })
}

#[test]
fn what_only_openai_has_is_refused_by_its_name() {
    let list = include_str!("../../../translated/refused-of-openai.txt");
    assert!(listed(list).count() >= 40);
    for (param, more) in listed(list) {
        for provider in [CusProviderType::Anthropic, CusProviderType::Bedrock] {
            let found = fault(Dialect::OpenAi, provider, &more);
            assert_eq!(found.as_deref(), Some(param), "{more}");
        }
    }
}

#[test]
fn what_only_anthropic_has_is_refused_by_its_name() {
    let list = include_str!("../../../translated/refused-of-anthropic.txt");
    assert!(listed(list).count() >= 30);
    for (param, more) in listed(list) {
        for provider in [CusProviderType::OpenAi, CusProviderType::Bedrock] {
            let found = fault(Dialect::Anthropic, provider, &more);
            assert_eq!(found.as_deref(), Some(param), "{more}");
        }
    }
}

#[test]
fn what_one_provider_does_not_take_is_refused_for_it_alone() {
    let picture = json!([{ "type": "image_url", "image_url": { "url": "https://x/y.png" } }]);
    let tools = json!([{ "type": "function", "function": { "name": "f" } }]);
    let bedrock = [
        (said(&picture), "messages[0].content[0].image_url.url"),
        (
            json!({ "tools": tools, "tool_choice": "none" }),
            "tool_choice",
        ),
        (
            json!({ "tools": tools, "parallel_tool_calls": false }),
            "parallel_tool_calls",
        ),
    ];
    for (more, param) in bedrock {
        let found = fault(Dialect::OpenAi, CusProviderType::Bedrock, &more);
        assert_eq!(found.as_deref(), Some(param), "{more}");
        assert_eq!(
            fault(Dialect::OpenAi, CusProviderType::Anthropic, &more),
            None,
            "{more}"
        );
    }
    let whole = json!({ "cache_control": { "type": "ephemeral" } });
    let found = fault(Dialect::Anthropic, CusProviderType::Bedrock, &whole);
    assert_eq!(found.as_deref(), Some("cache_control"));
    let shown = json!([{ "type": "tool_result", "tool_use_id": "t", "content": [
        { "type": "image", "source": { "type": "base64", "media_type": "image/png", "data": "" } },
    ] }]);
    let openai = [
        (
            json!({ "stop_sequences": ["a", "b", "c", "d", "e"] }),
            "stop_sequences",
        ),
        (
            json!({ "messages": [{ "role": "user", "content": "a" }, { "role": "assistant", "content": "b" }] }),
            "messages",
        ),
        (said(&shown), "messages[0].content[0].content[0].source"),
    ];
    for (more, param) in openai {
        let found = fault(Dialect::Anthropic, CusProviderType::OpenAi, &more);
        assert_eq!(found.as_deref(), Some(param), "{more}");
        assert_eq!(
            fault(Dialect::Anthropic, CusProviderType::Bedrock, &more),
            None,
            "{more}"
        );
    }
}

#[test]
fn what_says_only_what_is_so_anyway_is_left_out() {
    for more in [
        json!({ "n": 1, "logprobs": false, "top_logprobs": 0, "seed": null }),
        json!({ "stream_options": { "include_obfuscation": true } }),
        json!({ "prompt_cache_key": "a", "prompt_cache_retention": "24h" }),
        json!({ "parallel_tool_calls": false }),
        said(&json!([{ "type": "text", "text": "a" }, { "type": "text", "text": "" }])),
    ] {
        assert_eq!(
            fault(Dialect::OpenAi, CusProviderType::Anthropic, &more),
            None,
            "{more}"
        );
    }
    for more in [
        json!({ "cache_control": { "type": "ephemeral" }, "thinking": { "type": "disabled" } }),
        json!({ "speed": "standard", "inference_geo": "global", "service_tier": "auto" }),
        said(&json!([{ "type": "text", "text": "a", "cache_control": { "type": "ephemeral" } }])),
    ] {
        assert_eq!(
            fault(Dialect::Anthropic, CusProviderType::OpenAi, &more),
            None,
            "{more}"
        );
    }
}

#[test]
fn chats_alone_are_translated_and_only_where_dialects_differ() {
    let anthropic = registry::find(CusProviderType::Anthropic).unwrap();
    let bedrock = registry::find(CusProviderType::Bedrock).unwrap();
    let openai = registry::find(CusProviderType::OpenAi).unwrap();
    let between = |face, operation, provider: &dyn crate::Provider| {
        Translation::between(face, operation, provider.describe()).is_some()
    };
    assert!(between(Face::OpenAi, Operation::ChatCompletions, anthropic));
    assert!(between(Face::Anthropic, Operation::Messages, bedrock));
    assert!(!between(Face::OpenAi, Operation::ChatCompletions, openai));
    assert!(!between(Face::Anthropic, Operation::Messages, anthropic));
    for operation in [
        Operation::Embeddings,
        Operation::Completions,
        Operation::ListModels,
    ] {
        assert!(!between(Face::OpenAi, operation, anthropic));
    }
    assert!(!between(Face::Anthropic, Operation::CountTokens, openai));
    assert!(!between(Face::Bedrock, Operation::Converse, openai));
    assert!(!between(
        Face::AzureV1,
        Operation::ChatCompletions,
        anthropic
    ));
}

#[test]
fn older_servers_are_told_the_maximum_by_its_older_name() {
    let body = with(Dialect::Anthropic, &json!({}));
    let cap = |provider: CusProviderType, version: Option<&str>| {
        let config = IntegrationConfig {
            api_version: version.map(str::to_owned),
            ..IntegrationConfig::default()
        };
        let provider = registry::find(provider).unwrap();
        let translation = provider.translation(Face::Anthropic, Operation::Messages, &config);
        let sent = translation.unwrap().request(&body, OUTPUT_MAX).unwrap();
        let sent: Value = serde_json::from_slice(&sent.body).unwrap();
        sent.get("max_tokens").is_some()
    };
    assert!(!cap(CusProviderType::OpenAi, None));
    assert!(cap(CusProviderType::Custom, None));
    assert!(!cap(CusProviderType::AzureOpenAi, None));
    assert!(!cap(CusProviderType::AzureOpenAi, Some("2024-10-21")));
    assert!(cap(CusProviderType::AzureOpenAi, Some("2024-06-01")));
}

#[test]
fn a_body_that_is_deep_or_large_is_refused_or_passed_without_harm() {
    let deep = format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000));
    let body = format!(r#"{{"model":"m","messages":[{{"role":"user","content":{deep}}}]}}"#);
    let translation = translation(Dialect::OpenAi, CusProviderType::Anthropic);
    let refused = translation
        .request(body.as_bytes(), OUTPUT_MAX)
        .unwrap_err();
    assert_eq!(refused.param(), "messages[0].content[0]");
    let schema = format!(r#"{{"x":{deep}}}"#);
    let body = format!(
        r#"{{"model":"m","messages":[{{"role":"user","content":"a"}}],"tools":[{{"function":{{"name":"f","parameters":{schema}}}}}]}}"#
    );
    let sent = translation.request(body.as_bytes(), OUTPUT_MAX).unwrap();
    assert!(
        String::from_utf8(sent.body.to_vec())
            .unwrap()
            .contains(&schema)
    );
}
