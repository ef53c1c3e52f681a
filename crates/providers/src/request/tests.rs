//! Requests as callers write them, and as attackers would.

use std::sync::Arc;

use tollgate_core::config::IntegrationConfig;
use tollgate_core::money::Nanos;
use tollgate_core::price::{ModelPrices, Rates};

use super::*;

fn chat(body: &str) -> Result<RequestFacts, RequestError> {
    RequestFacts::read(Operation::ChatCompletions, body.as_bytes())
}

fn config() -> IntegrationConfig {
    IntegrationConfig::default()
}

/// $1 a million input, $10 a million output; a write to a cache costs $2, to the hour's $3.
fn prices() -> ModelPrices {
    ModelPrices {
        version: Arc::from("test"),
        rates: Rates {
            input: 1_000_000_000,
            output: 10_000_000_000,
            cache_write: Some(2_000_000_000),
            cache_write_hour: Some(3_000_000_000),
            audio_input: Some(40_000_000_000),
            ..Rates::default()
        },
        tiers: Vec::new(),
        output_tokens_max: Some(2_000),
        context_tokens: None,
    }
}

#[test]
fn the_facts_of_an_ordinary_request_are_read() {
    let body = r#" { "model" : "gpt-4o" , "messages":[{"role":"user","content":"hi"}],"stream":true,
        "stream_options":{"include_usage":true},"max_tokens":5,"max_completion_tokens":7,"n":2}"#;
    let facts = chat(body).unwrap();
    assert_eq!(facts.model().map(AsRef::as_ref), Some("gpt-4o"));
    assert_eq!(
        body.get(facts.places.model.clone().unwrap()),
        Some("\"gpt-4o\"")
    );
    assert!(facts.streams() && facts.wants_usage());
    assert_eq!(facts.output_maximum(), Some(7));
    let ask = facts.ask(&config(), None).unwrap();
    assert_eq!(ask.tokens(), i64::try_from(body.len()).unwrap() + 14);
    assert_eq!(ask.cost, None);
}

#[test]
fn an_escaped_name_is_the_same_name() {
    let facts = chat(r#"{"mod\u0065l":"gpt-\u0034o"}"#).unwrap();
    assert_eq!(facts.model().map(AsRef::as_ref), Some("gpt-4o"));
    let twice = chat(r#"{"mod\u0065l":"a","model":"b"}"#);
    assert_eq!(twice, Err(RequestError::Duplicate("model")));
}

#[test]
fn what_matters_may_stand_there_once_and_other_letters_are_left_alone() {
    for name in [
        "model",
        "stream",
        "stream_options",
        "max_tokens",
        "n",
        "prompt",
        "tools",
    ] {
        let body = format!(r#"{{"{name}":null,"x":1,"{name}":null}}"#);
        assert_eq!(
            chat(&body),
            Err(RequestError::Duplicate(known(name).unwrap())),
            "{name}"
        );
    }
    let inner = r#"{"stream_options":{"include_usage":true,"include_usage":false}}"#;
    assert_eq!(chat(inner), Err(RequestError::Duplicate("include_usage")));
    let cased = chat(r#"{"model":"cheap","Model":"costly","x":1,"x":2}"#).unwrap();
    assert_eq!(cased.model().map(AsRef::as_ref), Some("cheap"));
}

#[test]
fn a_body_that_is_no_object_is_refused_with_its_reason() {
    for body in [
        "",
        "[]",
        "[\"gpt-4o\",true]",
        "null",
        "{",
        "{\"model\":}",
        "{} {}",
        "\u{feff}{}",
    ] {
        assert!(
            matches!(chat(body), Err(RequestError::Malformed(_))),
            "{body}"
        );
    }
    let bytes = b"{\"model\":\"a\xff\"}";
    let error = RequestFacts::read(Operation::Messages, bytes).unwrap_err();
    assert!(error.to_string().contains("UTF-8"), "{error}");
}

#[test]
fn a_member_of_the_wrong_kind_is_named() {
    let table = [
        (r#"{"model":5}"#, "model"),
        (r#"{"model":""}"#, "model"),
        (r#"{"model":"a\nb"}"#, "model"),
        (r#"{"stream":"true"}"#, "stream"),
        (r#"{"stream":1}"#, "stream"),
        (r#"{"stream_options":true}"#, "stream_options"),
        (r#"{"stream_options":[true]}"#, "stream_options"),
        (
            r#"{"stream_options":{"include_usage":1}}"#,
            "stream_options.include_usage",
        ),
        (r#"{"max_tokens":-1}"#, "max_tokens"),
        (r#"{"max_tokens":1.5}"#, "max_tokens"),
        (r#"{"max_tokens":1e3}"#, "max_tokens"),
        (r#"{"max_tokens":"9"}"#, "max_tokens"),
        (
            r#"{"max_completion_tokens":18446744073709551615}"#,
            "max_completion_tokens",
        ),
        (r#"{"max_tokens":99999999999999999999999}"#, "max_tokens"),
        (r#"{"n":1000000000}"#, "n"),
    ];
    for (body, param) in table {
        assert_eq!(chat(body).unwrap_err().param(), Some(param), "{body}");
    }
}

#[test]
fn a_hundred_thousand_levels_do_not_overflow_the_stack() {
    let deep = |name: &str| {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        format!(r#"{{"model":"a","{name}":{open}{close}}}"#)
    };
    assert!(chat(&deep("messages")).is_ok());
    assert!(chat(&deep("tools")).is_ok());
    assert!(chat(&deep("stream_options")).is_err());
    assert!(RequestFacts::read(Operation::Completions, deep("prompt").as_bytes()).is_ok());
}

#[test]
fn without_a_maximum_the_default_is_held_and_not_above_the_models() {
    let facts = chat(r#"{"model":"a"}"#).unwrap();
    assert_eq!(facts.output_allowance(&config(), None), 4_096);
    assert_eq!(facts.output_allowance(&config(), Some(&prices())), 2_000);
    let own = IntegrationConfig {
        default_max_output_tokens: Some(100),
        ..config()
    };
    assert_eq!(facts.output_allowance(&own, Some(&prices())), 100);
}

#[test]
fn a_hold_costs_the_dearest_class_that_may_apply() {
    let cost = |operation, body: &str| {
        let ask = RequestFacts::read(operation, body.as_bytes()).unwrap();
        let per_token = ask
            .ask(&config(), Some(&prices()))
            .unwrap()
            .cost
            .unwrap()
            .get();
        per_token / i64::try_from(body.len()).unwrap()
    };
    let messages = |extra: &str| {
        cost(
            Operation::Messages,
            &format!(
                r#"{{"max_tokens":0,"system":"{}"{extra}}}"#,
                "x".repeat(500)
            ),
        )
    };
    assert_eq!(messages(""), 1_000);
    assert_eq!(
        messages(r#","a":{"cache_control":{"type":"ephemeral"}}"#),
        3_000
    );
    assert_eq!(
        cost(Operation::ChatCompletions, r#"{"max_tokens":0}"#),
        2_000
    );
    assert_eq!(
        cost(Operation::Embeddings, r#"{"input":"abc","max_tokens":9}"#),
        2_000
    );
}

#[test]
fn parts_that_bytes_do_not_bound_are_held_at_their_bound() {
    let extra = |body: &str| {
        let facts = chat(body).unwrap();
        facts.input_bound(None) - u64::try_from(body.len()).unwrap()
    };
    assert_eq!(
        extra(r#"{"messages":[{"content":"\"type\":\"image\" \"image_url\":1"}]}"#),
        0
    );
    assert_eq!(
        extra(r#"{"m":[{"type":"image_url","image_url":{"url":"https://a.example/b"}}]}"#),
        50_000
    );
    assert_eq!(
        extra(r#"{"m":[{ "type" : "image" ,"source":{}},{"type":"image"}]}"#),
        100_000
    );
    assert_eq!(
        extra(r#"{"m":[{"type":"document","source":{}},{"type":"image"}]}"#),
        1_050_000
    );
    assert_eq!(
        extra(r#"{"m":[{"type":"file","file":{"file_id":"f"}}]}"#),
        1_050_000
    );
    assert_eq!(
        extra(r#"{"tools":[{"name":"open","properties":{"file":{"type":"string"}}}]}"#),
        2_048
    );
    assert_eq!(
        extra(r#"{"tools":[{"type":"web_search_20250305"}]}"#),
        1_052_048
    );
    // A tool of the caller may be called anything.
    assert_eq!(
        extra(r#"{"tools":[{"type":"custom","name":"web_search"},{"name":"mcp_toolset"}]}"#),
        2_048
    );
    // Hidden by escapes that no JSON writer makes; é and < are what some do make.
    assert_eq!(extra(r#"{"m":[{"type":"im\u0061ge"}]}"#), 1_052_048);
    assert_eq!(extra(r#"{"m":"caf\u00e9 \u003cb\u003e \u001b"}"#), 0);
}

#[test]
fn each_prompt_of_a_list_is_answered_and_held() {
    let tokens = |body: &str| {
        let facts = RequestFacts::read(Operation::Completions, body.as_bytes()).unwrap();
        let ask = facts.ask(&config(), None).unwrap();
        ask.tokens() - i64::try_from(body.len()).unwrap()
    };
    assert_eq!(tokens(r#"{"max_tokens":10,"prompt":"a"}"#), 10);
    assert_eq!(tokens(r#"{"max_tokens":10,"prompt":[1,2,3]}"#), 10);
    assert_eq!(tokens(r#"{"max_tokens":10,"prompt":["a","b","c"]}"#), 30);
    assert_eq!(
        tokens(r#"{"max_tokens":10,"prompt":[[1,2],[3]],"n":2,"best_of":4}"#),
        80
    );
}

#[test]
fn under_a_hard_cap_no_usage_beyond_the_hold_is_believed() {
    for body in [r#"{"messages":[]}"#, r#"{"max_tokens":7,"messages":[]}"#] {
        let capped = IntegrationConfig {
            hard_cap: true,
            ..config()
        };
        let facts = chat(body).unwrap();
        let worst = facts.ask(&capped, None).unwrap().worst;
        let bounds = facts.bounds(&capped, None);
        assert_eq!(
            (bounds.tokens_in, bounds.tokens_out),
            (worst.tokens_in(), worst.tokens_out())
        );
        assert!(facts.bounds(&config(), None).tokens_in > worst.tokens_in());
    }
}

#[test]
fn under_a_hard_cap_the_marks_of_a_chat_template_are_held_and_believed() {
    let capped = IntegrationConfig {
        hard_cap: true,
        ..config()
    };
    let facts = chat(r#"{"max_tokens":1,"messages":[]}"#).unwrap();
    let bounds = facts.bounds(&capped, None);
    assert_eq!(bounds.tokens_in, facts.input_bound(None) + 256);
    let held = |config: &IntegrationConfig| facts.ask(config, Some(&prices())).unwrap();
    let (capped, usual) = (held(&capped), held(&config()));
    assert_eq!(capped.tokens() - usual.tokens(), 256);
    assert!(capped.cost > usual.cost);
}

#[test]
fn a_service_that_costs_more_than_usual_is_known_as_such() {
    let table = [
        (r#"{"model":"a"}"#, true),
        (r#"{"service_tier":null,"speed":null}"#, true),
        (r#"{"service_tier":"auto"}"#, true),
        (r#"{"service_tier":"default"}"#, true),
        (r#"{"service_tier":"standard_only"}"#, true),
        (r#"{"service_tier":"flex"}"#, true),
        (r#"{"speed":"standard","inference_geo":"global"}"#, true),
        (r#"{"service_tier":"priority"}"#, false),
        (r#"{"service_tier":"\u0070riority"}"#, false),
        (r#"{"service\u005ftier":"priority"}"#, false),
        (r#"{"service_tier":1}"#, false),
        (r#"{"service_tier":{"x":"auto"}}"#, false),
        (r#"{"speed":"fast"}"#, false),
        (r#"{"inference_geo":"us"}"#, false),
        (r#"{"metadata":{"speed":"fast"}}"#, true),
    ];
    for (body, standard) in table {
        for operation in [Operation::ChatCompletions, Operation::Messages] {
            let facts = RequestFacts::read(operation, body.as_bytes()).unwrap();
            assert_eq!(facts.is_standard_priced(), standard, "{body}");
        }
    }
    let twice = r#"{"service_tier":"auto","service_tier":"priority"}"#;
    assert_eq!(chat(twice), Err(RequestError::Duplicate("service_tier")));
}

#[test]
fn only_tools_that_the_provider_runs_itself_are_unpriced() {
    let table = [
        (r#"{"model":"a"}"#, false),
        (r#"{"tools":[{"type":"function","name":"look"}]}"#, false),
        (r#"{"tools":[{"type":"web_search_20250305"}]}"#, true),
        (r#"{"web_search_options":{}}"#, true),
    ];
    for (body, unpriced) in table {
        assert_eq!(chat(body).unwrap().has_unpriced_tools(), unpriced, "{body}");
    }
}

#[test]
fn an_earlier_answer_in_audio_is_held_at_the_price_of_audio() {
    let cost = |body: &str| {
        let ask = chat(body).unwrap().ask(&config(), Some(&prices()));
        let input = i64::try_from(body.len()).unwrap();
        ask.unwrap().cost.unwrap().get() / input
    };
    let with = |audio: &str| {
        format!(r#"{{"max_tokens":0,"messages":[{{"role":"assistant","audio":{audio}}}]}}"#)
    };
    assert_eq!(cost(&with(r#"{"id":"audio_1"}"#)), 40_000);
    assert_eq!(cost(&with("null")), 2_000);
    assert_eq!(cost(&with(r#""\"audio\":{""#)), 2_000);
}

#[test]
fn absurd_requests_are_refused_and_never_wrap() {
    let most = TOKENS_MAX;
    let facts = chat(&format!(r#"{{"max_tokens":{most},"n":1024}}"#)).unwrap();
    assert_eq!(
        facts.ask(&config(), None),
        Err(RequestError::Unbookable("n"))
    );
    assert_eq!(
        facts.bounds(&IntegrationConfig::default(), None).tokens_out,
        TOKENS_MAX
    );
    let facts = chat(&format!(r#"{{"max_tokens":{}}}"#, most - 1_000)).unwrap();
    assert!(facts.ask(&config(), None).is_ok());
    assert_eq!(
        facts.ask(&config(), Some(&prices())),
        Err(RequestError::Unbookable("max_tokens"))
    );
}

#[test]
fn what_is_not_billed_asks_for_nothing() {
    let facts = RequestFacts::read(Operation::CountTokens, br#"{"model":"a"}"#).unwrap();
    let ask = facts.ask(&config(), Some(&prices())).unwrap();
    assert_eq!((ask.tokens(), ask.cost), (0, Some(Nanos::ZERO)));
}

#[test]
fn a_missing_model_is_an_error_only_where_it_is_needed() {
    let facts = chat(r#"{"model":null}"#).unwrap();
    assert_eq!(facts.required_model(), Err(RequestError::Missing("model")));
}
