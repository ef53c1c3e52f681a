//! The price book against the calculator of the crate that its prices come from.

use std::time::{Duration, UNIX_EPOCH};

use cus_models::CusProviderType::{self, Anthropic, AzureOpenAi, Bedrock, OpenAi};
use genai_prices::{Calculator, PriceRequest, Usage, UsageKey};
use jiff::Timestamp;
use tollgate_core::TokenUsage;
use tollgate_core::price::catalogue::{Catalogue, CatalogueModel};

use super::{book, names, price, time, today};

const SELLERS: [(CusProviderType, &str); 4] = [
    (OpenAi, "openai"),
    (Anthropic, "anthropic"),
    (AzureOpenAi, "azure"),
    (Bedrock, "aws"),
];

/// Before the first change of a price that the list knows, between changes, and after the last.
const DAYS: [&str; 5] = [
    "2025-06-09T23:59:59Z",
    "2025-06-10T00:00:00Z",
    "2026-07-30T12:00:00Z",
    "2026-10-18T23:59:59Z",
    "2026-11-01T00:00:00Z",
];

fn usages() -> Vec<TokenUsage> {
    let mixed = |scale: u64| TokenUsage {
        input: 7 * scale,
        cached_input: 5 * scale,
        cache_write: 3 * scale,
        cache_write_hour: 2 * scale,
        audio_input: scale,
        output: 11 * scale,
        reasoning: 4 * scale,
        audio_output: 6 * scale,
        ..TokenUsage::NONE
    };
    let mut usages = vec![TokenUsage::NONE, mixed(1), mixed(997), mixed(30_011)];
    // On and beside the bounds of tiers.
    for tokens in [
        1, 99_999, 100_000, 100_001, 200_000, 200_001, 272_000, 272_001, 1_000_000,
    ] {
        usages.push(TokenUsage::plain(tokens, 1_234));
        usages.push(TokenUsage {
            cached_input: tokens,
            ..TokenUsage::plain(0, 77)
        });
    }
    usages
}

/// The same usage in the calculator's words, where a class contains its special cases.
fn in_its_words(usage: &TokenUsage) -> Usage {
    let count = |tokens: u64| f64::from(u32::try_from(tokens).unwrap());
    Usage::from([
        (UsageKey::INPUT_TOKENS, count(usage.tokens_in())),
        (UsageKey::CACHE_READ_TOKENS, count(usage.cached_input)),
        (
            UsageKey::CACHE_WRITE_TOKENS,
            count(usage.cache_write + usage.cache_write_hour),
        ),
        (
            UsageKey::CACHE_WRITE_1H_TOKENS,
            count(usage.cache_write_hour),
        ),
        // Cached audio has no class of its own here: what is cached counts as text.
        (UsageKey::CACHE_AUDIO_READ_TOKENS, 0.0),
        (UsageKey::INPUT_AUDIO_TOKENS, count(usage.audio_input)),
        (UsageKey::OUTPUT_TOKENS, count(usage.tokens_out())),
        (UsageKey::OUTPUT_REASONING_TOKENS, count(usage.reasoning)),
        (UsageKey::OUTPUT_AUDIO_TOKENS, count(usage.audio_output)),
    ])
}

/// What the calculator says, in nano-dollars; none for a model that it does not know.
fn calculated(seller: &str, model: &str, at: Timestamp, usage: &Usage) -> Option<i64> {
    let since = Duration::from_secs(at.as_second().unsigned_abs());
    let request = PriceRequest::new(model, usage)
        .with_provider_id(seller)
        .with_timestamp(UNIX_EPOCH + since);
    let dollars = Calculator::bundled().calculate(&request).ok()?.total_price;
    Some(format!("{:.0}", dollars * 1e9).parse().unwrap())
}

#[test]
fn every_model_costs_what_the_source_of_its_prices_says() {
    let book = book();
    let catalogue = Catalogue::bundled().unwrap();
    let usages: Vec<_> = usages()
        .into_iter()
        .map(|usage| (usage, in_its_words(&usage)))
        .collect();
    let mut compared = 0;
    for (provider, seller) in SELLERS {
        let models = catalogue
            .models
            .iter()
            .filter(|model| model.provider == provider);
        let days = |model: &CatalogueModel| {
            if model.prices.len() > 1 {
                &DAYS[..]
            } else {
                &DAYS[4..]
            }
        };
        let all = models.flat_map(|model| names(model).map(move |name| (name, days(model))));
        for (name, day) in all.flat_map(|(name, days)| days.iter().map(move |day| (name, day))) {
            let at = time(day);
            let prices = book.find(provider, name, at).unwrap();
            for (usage, words) in &usages {
                let theirs = calculated(seller, name, at, words)
                    .unwrap_or_else(|| panic!("{seller} does not know {name}"));
                let ours = prices.pin(usage).rates.cost(usage).unwrap().get();
                assert!(
                    ours.abs_diff(theirs) <= 5,
                    "{seller} {name} on {day}: {ours} and not {theirs} for {usage:?}"
                );
                compared += 1;
            }
        }
    }
    assert!(compared > 10_000, "only {compared} comparisons");
}

#[test]
fn azure_sells_the_models_of_others_at_their_prices() {
    let book = book();
    let catalogue = Catalogue::bundled().unwrap();
    let usage = TokenUsage::plain(1_000_003, 500_009);
    let words = in_its_words(&usage);
    let others = catalogue
        .models
        .iter()
        .filter(|model| [OpenAi, Anthropic].contains(&model.provider));
    // The source takes every name that contains `o4-mini` for o4-mini; here the exact name wins.
    // It gives these completion models no price for output at Azure; here they cost what they
    // cost at OpenAI.
    let ours = [
        "o4-mini-deep-research",
        "babbage",
        "curie",
        "text-curie",
        "text-davinci",
        "davinci",
    ];
    let is_ours = |name: &str| ours.iter().any(|ours| name.starts_with(ours));
    let names = others.flat_map(names).filter(|name| !is_ours(name));
    for name in names {
        let ours = price(&book, AzureOpenAi, name)
            .pin(&usage)
            .rates
            .cost(&usage)
            .unwrap()
            .get();
        let theirs = calculated("azure", name, today(), &words);
        assert!(
            theirs.is_some_and(|theirs| ours.abs_diff(theirs) <= 5),
            "{name}: {ours}, {theirs:?}"
        );
    }
    assert_eq!(
        price(&book, AzureOpenAi, "o4-mini-deep-research"),
        price(&book, OpenAi, "o4-mini-deep-research")
    );
    assert_eq!(
        price(&book, AzureOpenAi, "o4-mini").rates.input,
        1_100_000_000
    );
}
