//! Prices of an operator's or an integration's own.

use cus_models::CusProviderType::{self, AzureOpenAi, Custom, OpenAi};
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::book::{PriceOverride, prices_from_config};
use tollgate_core::price::{Rates, Tier};

use super::{book, price};

fn own(provider: CusProviderType, model: &str, input: i64) -> PriceOverride {
    let rates = Rates {
        input,
        output: 2,
        ..Rates::default()
    };
    PriceOverride {
        provider,
        model: model.to_owned(),
        rates,
        tiers: Vec::new(),
    }
}

#[test]
fn the_operators_prices_win_over_the_book() {
    let tiers = [300, 200].map(|bound| Tier {
        above_input_tokens: bound,
        rates: Rates {
            input: i64::try_from(bound).unwrap(),
            ..Rates::default()
        },
    });
    let tiered = PriceOverride {
        tiers: tiers.to_vec(),
        ..own(OpenAi, "tiered", 1)
    };
    let overrides = [
        own(OpenAi, "GPT-4o", 7),
        own(OpenAi, "GPT-4o", 8),
        own(Custom, "local", 9),
        tiered,
    ];
    let book = book().with_overrides(overrides).unwrap();
    for name in ["gpt-4o", "gpt-4o-2024-08-06", "Gpt-4o-latest"] {
        let prices = price(&book, OpenAi, name);
        assert_eq!(
            (prices.rates.input, &*prices.version),
            (8, "operator"),
            "{name}"
        );
    }
    assert_eq!(price(&book, Custom, "local").rates.input, 9);
    assert_eq!(price(&book, OpenAi, "gpt-4o-mini").rates.input, 150_000_000);
    assert_eq!(
        price(&book, AzureOpenAi, "gpt-4o").rates.input,
        2_500_000_000
    );
    let tiered = price(&book, OpenAi, "tiered");
    assert_eq!(
        [201, 301].map(|tokens| tiered.rates_for(tokens).input),
        [200, 300]
    );
}

#[test]
fn a_negative_override_is_refused_and_named() {
    let error = book()
        .with_overrides([own(Custom, "mine", -1)])
        .unwrap_err();
    assert!(error.to_string().contains("`mine`"), "{error}");
    let tier = Tier {
        above_input_tokens: 1,
        rates: own(Custom, "m", -1).rates,
    };
    let tiered = PriceOverride {
        tiers: vec![tier],
        ..own(Custom, "m", 1)
    };
    assert!(book().with_overrides([tiered]).is_err());
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
        let prices = prices_from_config(&config, name).unwrap();
        assert_eq!(
            (prices.rates.input, &*prices.version),
            (5, "integration"),
            "{name}"
        );
    }
    for name in ["llama-local-2", "llama", "bad", ""] {
        assert_eq!(prices_from_config(&config, name), None, "{name}");
    }
    assert_eq!(
        prices_from_config(&IntegrationConfig::default(), "gpt-4o"),
        None
    );
}
