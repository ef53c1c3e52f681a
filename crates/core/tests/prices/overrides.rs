//! Prices of an operator's or an integration's own.

use cus_models::CusProviderType::{self, AzureOpenAi, Bedrock, Custom, OpenAi};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::book::{MatchedBy, prices_from_config};
use tollgate_core::price::overrides::{
    PRICE_MAX, PriceError, PriceOverride, PriceOverrides, REQUEST_PRICE_MAX, TIER_BOUND_MAX,
};
use tollgate_core::price::{Rates, Tier};

use super::{book, price, today};

fn own(provider_type: CusProviderType, model: &str, input: i64) -> PriceOverride {
    let rates = Rates {
        input,
        output: 2,
        ..Rates::default()
    };
    PriceOverride {
        provider_type,
        model: model.to_owned(),
        rates,
        tiers: Vec::new(),
        created_at: today(),
        updated_at: today(),
    }
}

fn tier(above_input_tokens: u64, input: i64) -> Tier {
    Tier {
        above_input_tokens,
        rates: own(OpenAi, "m", input).rates,
    }
}

#[test]
fn a_price_of_ones_own_is_found_by_name_and_family_and_says_who_set_it() {
    let tiered = PriceOverride {
        tiers: vec![tier(200, 200), tier(300, 300)],
        ..own(OpenAi, "tiered", 1)
    };
    let set = [
        own(OpenAi, "GPT-4o", 7),
        own(OpenAi, "gpt-4o", 8),
        own(Custom, "local", 9),
        tiered,
    ];
    let own = PriceOverrides::new("tenant", &set);
    for name in ["gpt-4o", "gpt-4o-2024-08-06", "Gpt-4o-latest"] {
        let (matched, prices) = own.matching(OpenAi, name).unwrap();
        assert_eq!(
            (matched, prices.rates.input, &*prices.version),
            ("gpt-4o", 8, "tenant:2026-11-01T00:00:00Z"),
            "{name}"
        );
    }
    assert_eq!(own.find(Custom, "local").unwrap().rates.input, 9);
    assert_eq!(own.find(OpenAi, "gpt-4o-mini"), None);
    assert_eq!(own.find(AzureOpenAi, "gpt-4o"), None);
    let tiered = own.find(OpenAi, "tiered").unwrap();
    assert_eq!(
        [201, 301].map(|tokens| tiered.rates_for(tokens).input),
        [200, 300]
    );
}

#[test]
fn a_price_that_cannot_be_meant_is_refused_with_its_class() {
    let good = own(Custom, "mine", PRICE_MAX);
    assert_eq!(good.check(), Ok(()));
    let negative = own(Custom, "mine", -1).check();
    assert_eq!(negative, Err(PriceError::Rate { class: "input" }));
    let dear = own(Custom, "mine", PRICE_MAX + 1).check();
    assert_eq!(dear, Err(PriceError::Rate { class: "input" }));
    let mut by_request = good.clone();
    by_request.rates.request = REQUEST_PRICE_MAX + 1;
    assert_eq!(
        by_request.check(),
        Err(PriceError::Rate { class: "request" })
    );
    let mut by_tier = good.clone();
    by_tier.tiers = vec![tier(1, -1)];
    assert_eq!(by_tier.check(), Err(PriceError::Rate { class: "input" }));
    for bounds in [
        vec![2, 1],
        vec![1, 1],
        (0..17).collect(),
        vec![TIER_BOUND_MAX + 1],
    ] {
        let mut by_tiers = good.clone();
        by_tiers.tiers = bounds.into_iter().map(|bound| tier(bound, 1)).collect();
        assert_eq!(by_tiers.check(), Err(PriceError::Tiers));
    }
    for name in ["", "a b", "a\n", &"x".repeat(201)] {
        assert_eq!(
            own(Custom, name, 1).check(),
            Err(PriceError::Name),
            "{name}"
        );
    }
}

#[test]
fn a_quote_says_which_model_of_the_list_a_name_led_to() {
    let book = book();
    for (name, model, by) in [
        ("gpt-4o-mini", "gpt-4o-mini", MatchedBy::Name),
        ("GPT-4o-Mini", "gpt-4o-mini", MatchedBy::Name),
        ("gpt-4o-mini-2029-01-01", "gpt-4o-mini", MatchedBy::Snapshot),
    ] {
        let quote = book.quote(OpenAi, name, today()).unwrap();
        assert_eq!((&*quote.model, quote.by), (model, by), "{name}");
        assert_eq!(quote.prices, price(&book, OpenAi, name));
    }
    let borrowed = book.quote(AzureOpenAi, "gpt-4o-mini", today()).unwrap();
    assert_eq!(borrowed.provider, OpenAi);
    assert_eq!(book.quote(OpenAi, "no-such-model", today()), None);
    assert!(
        book.models()
            .any(|(provider, model)| provider == OpenAi && &**model == "gpt-4o")
    );
}

#[test]
fn an_integrations_own_prices_are_found_by_name_and_family() {
    let config: IntegrationConfig = serde_json::from_str(
        r#"{"prices":{"Llama-Local":{"input":5,"output":6},"bad":{"input":1,"output":-1}}}"#,
    )
    .unwrap();
    for name in [
        "Llama-Local",
        "llama-local",
        "llama-local-20260101",
        "LLAMA-local-latest",
    ] {
        let prices = prices_from_config(&config, Custom, name).unwrap();
        assert_eq!(
            (prices.rates.input, &*prices.version),
            (5, "integration"),
            "{name}"
        );
    }
    for name in ["llama-local-2", "llama", "bad", ""] {
        assert_eq!(prices_from_config(&config, Custom, name), None, "{name}");
    }
    let nothing = IntegrationConfig::default();
    assert_eq!(prices_from_config(&nothing, OpenAi, "gpt-4o"), None);
}

#[test]
fn own_prices_of_a_model_of_bedrocks_are_found_through_its_profiles_and_regions() {
    let config: IntegrationConfig = serde_json::from_str(
        r#"{"prices":{"anthropic.m":{"input":5,"output":6},"eu.anthropic.m":{"input":7,"output":8}}}"#,
    )
    .unwrap();
    let arn = "arn:aws:bedrock:us-east-1:123456789012:inference-profile";
    for (name, input) in [
        ("anthropic.m-20250929-v1:0", 5),
        ("us.anthropic.m-20250929-v1:0", 5),
        ("global.anthropic.m-v1:0", 5),
        (&*format!("{arn}/apac.anthropic.m-v1:0"), 5),
        ("eu.anthropic.m", 7),
    ] {
        let prices = prices_from_config(&config, Bedrock, name).unwrap();
        assert_eq!(prices.rates.input, input, "{name}");
    }
    for name in ["us.anthropic.m", "anthropic.m-v1:0"] {
        assert_eq!(prices_from_config(&config, Custom, name), None, "{name}");
    }
    assert_eq!(prices_from_config(&config, Bedrock, "us.anthropic.n"), None);
}
