//! The price book against prices typed by hand and against the rules for names. Its modules hold
//! it to the calculator of the crate that the prices come from, and try prices of one's own.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

#[path = "prices/oracle.rs"]
mod oracle;
#[path = "prices/overrides.rs"]
mod overrides;

use std::sync::Arc;

use cus_models::CusProviderType::{self, Anthropic, AzureOpenAi, Bedrock, Custom, OpenAi};
use jiff::Timestamp;
use proptest::prelude::*;
use tollgate_core::price::book::PriceBook;
use tollgate_core::price::catalogue::{Catalogue, CatalogueError, CatalogueModel};
use tollgate_core::price::{ModelPrices, Rates};

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn today() -> Timestamp {
    time("2026-11-01T00:00:00Z")
}

fn book() -> PriceBook {
    PriceBook::bundled().unwrap()
}

/// The price of a model that has to have one.
fn price(book: &PriceBook, provider: CusProviderType, model: &str) -> Arc<ModelPrices> {
    let found = book.find(provider, model, today());
    found.unwrap_or_else(|| panic!("{model} has no price at {provider}"))
}

/// Every text that stands for a model; the text of a rule is a name too.
fn names(model: &CatalogueModel) -> impl Iterator<Item = &String> {
    let rules = model
        .starts_with
        .iter()
        .chain(&model.ends_with)
        .chain(&model.contains);
    model.equals.iter().chain(rules)
}

/// Provider, model, then nano-dollars per million tokens of input, output and cached input:
/// `1_000_000_000` is one dollar.
#[rustfmt::skip]
const WELL_KNOWN: [(CusProviderType, &str, i64, i64, Option<i64>); 11] = [
    (OpenAi, "gpt-4o-mini", 150_000_000, 600_000_000, Some(75_000_000)),
    (OpenAi, "gpt-4o", 2_500_000_000, 10_000_000_000, Some(1_250_000_000)),
    (OpenAi, "gpt-4o-2024-05-13", 5_000_000_000, 15_000_000_000, None),
    (OpenAi, "gpt-4", 30_000_000_000, 60_000_000_000, None),
    (OpenAi, "o3", 2_000_000_000, 8_000_000_000, Some(500_000_000)),
    (OpenAi, "text-embedding-3-small", 20_000_000, 0, None),
    (Anthropic, "claude-sonnet-4-5", 3_000_000_000, 15_000_000_000, Some(300_000_000)),
    (Anthropic, "claude-haiku-4-5", 1_000_000_000, 5_000_000_000, Some(100_000_000)),
    (Anthropic, "claude-opus-4-1", 15_000_000_000, 75_000_000_000, Some(1_500_000_000)),
    (Bedrock, "us.anthropic.claude-haiku-4-5-20251001-v1:0", 1_100_000_000, 5_500_000_000, Some(110_000_000)),
    (Bedrock, "global.anthropic.claude-haiku-4-5-20251001-v1:0", 1_000_000_000, 5_000_000_000, Some(100_000_000)),
];

#[test]
fn well_known_models_have_their_well_known_prices() {
    let book = book();
    for (provider, model, input, output, cached) in WELL_KNOWN {
        let Rates {
            input: i,
            output: o,
            cached_input: c,
            ..
        } = price(&book, provider, model).rates;
        assert_eq!((i, o, c), (input, output, cached), "{model}");
    }
    let hour = price(&book, Anthropic, "claude-haiku-4-5").rates;
    assert_eq!(
        (hour.cache_write, hour.cache_write_hour),
        (Some(1_250_000_000), Some(2_000_000_000))
    );
}

#[test]
fn the_book_says_what_it_is() {
    let book = book();
    assert!(
        book.version().starts_with("genai-prices-0.2.1+"),
        "{}",
        book.version()
    );
    assert_eq!(book.dated().to_string(), "2026-10-30");
    assert_eq!(&*price(&book, OpenAi, "gpt-4o").version, book.version());
}

#[test]
fn a_price_applies_from_its_first_day_in_utc() {
    let book = book();
    let input = |at: &str| book.find(OpenAi, "o3", time(at)).unwrap().rates.input;
    assert_eq!(input("2025-06-09T23:59:59.999999Z"), 10_000_000_000);
    assert_eq!(input("2025-06-10T00:00:00Z"), 2_000_000_000);
    assert_eq!(input("1970-01-01T00:00:00Z"), 10_000_000_000);
}

#[test]
fn a_long_request_is_priced_by_its_tier() {
    let prices = price(&book(), Anthropic, "claude-haiku-5-5");
    assert_eq!(prices.rates_for(100_000).input, 100_000_000);
    assert_eq!(prices.rates_for(100_001).input, 500_000_000);
    assert_eq!(prices.rates_for(100_001).output, 2_500_000_000);
}

#[test]
fn a_dated_snapshot_costs_what_its_family_costs() {
    let book = book();
    let catalogue = Catalogue::bundled().unwrap();
    let direct = catalogue
        .models
        .iter()
        .filter(|model| model.provider != AzureOpenAi);
    for model in direct {
        for name in &model.equals {
            let family = price(&book, model.provider, name);
            for date in ["-2027-03-05", "-20270305", "@20270305", "-latest"] {
                let dated = format!("{name}{date}");
                let listed = catalogue
                    .models
                    .iter()
                    .any(|other| other.equals.contains(&dated));
                let found = price(&book, model.provider, &dated);
                assert!(listed || Arc::ptr_eq(&found, &family), "{dated}");
            }
        }
    }
    // A snapshot with a price of its own keeps it, however its date is written.
    for name in ["gpt-4o-2024-05-13", "gpt-4o-20240513", "GPT-4o-2024-05-13"] {
        assert_eq!(
            price(&book, OpenAi, name).rates.input,
            5_000_000_000,
            "{name}"
        );
    }
}

#[test]
fn at_bedrock_a_model_is_found_by_region_profile_and_revision() {
    let book = book();
    let regional = price(&book, Bedrock, "anthropic.claude-sonnet-4-5-20250929-v1:0");
    for name in [
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "eu.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "ca.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "anthropic.claude-sonnet-4-5-20250929-v1:0:200k",
        "arn:aws:bedrock:us-east-1::foundation-model/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ] {
        assert!(
            Arc::ptr_eq(&price(&book, Bedrock, name), &regional),
            "{name}"
        );
    }
    let global = price(
        &book,
        Bedrock,
        "global.anthropic.claude-sonnet-4-5-20250929-v1:0",
    );
    assert!(global.rates.input < regional.rates.input);
    let llama = price(&book, Bedrock, "us.meta.llama3-1-8b-instruct-v1:0");
    assert_eq!(
        llama,
        price(&book, Bedrock, "meta.llama3-1-8b-instruct-v1:0")
    );
}

#[test]
fn an_unrelated_model_has_no_price() {
    let book = book();
    let unknown = [
        (OpenAi, "gpt-4x"),
        (OpenAi, "gpt-4o-nano"),
        (OpenAi, "gpt-4-2-turbo"),
        (OpenAi, "gpt"),
        (OpenAi, ""),
        (OpenAi, "-latest"),
        (OpenAi, "ogpt-4o"),
        (OpenAi, "claude-haiku-4-5"),
        (OpenAi, "whisper-1"),
        (OpenAi, "ft:gpt-4.1:acme::1"),
        (Anthropic, "claude-opus-4-15"),
        (Anthropic, "claude-opus-5-7"),
        (Anthropic, "gpt-4o"),
        (Bedrock, "anthropic.claude-opus-4-50-v1:0"),
        (Bedrock, "gpt-4o"),
        (Bedrock, "us."),
        (Custom, "gpt-4o"),
    ];
    for (provider, model) in unknown {
        assert_eq!(
            book.find(provider, model, today()),
            None,
            "{provider} {model}"
        );
    }
    assert_ne!(
        price(&book, OpenAi, "gpt-4"),
        price(&book, OpenAi, "gpt-4o")
    );
    assert_ne!(
        price(&book, OpenAi, "gpt-4o-mini"),
        price(&book, OpenAi, "gpt-4o")
    );
}

#[test]
fn of_two_rules_that_fit_the_longer_wins() {
    let book = book();
    let spoken = price(&book, OpenAi, "gpt-4o-mini-realtime-preview-2024-12-17");
    assert_eq!(spoken.rates.audio_input, Some(10_000_000_000));
    let tuned = price(&book, OpenAi, "ft:gpt-4o-mini-2024-07-18:acme::x");
    assert_eq!(tuned.rates.input, 300_000_000);
    assert_eq!(
        price(&book, OpenAi, "ft:gpt-4o-2024-08-06:acme::x")
            .rates
            .input,
        3_750_000_000
    );
}

#[test]
fn two_models_of_one_name_are_an_error() {
    let mut catalogue = Catalogue::bundled().unwrap();
    let copies = [
        |model: &CatalogueModel| model.equals.len(),
        |model: &CatalogueModel| model.contains.len(),
    ];
    for count in copies {
        let twice = catalogue
            .models
            .iter()
            .find(|model| count(model) > 0)
            .unwrap()
            .clone();
        catalogue.models.push(twice);
        let error = PriceBook::new(&catalogue).unwrap_err();
        assert!(matches!(error, CatalogueError::Ambiguous { .. }), "{error}");
        catalogue.models.pop();
    }
}

/// Names of models that can be called directly and that no rule of their model stands in.
fn a_direct_name() -> impl Strategy<Value = (CusProviderType, String)> {
    let mut direct = Vec::new();
    for model in Catalogue::bundled().unwrap().models {
        let rules: Vec<_> = model.starts_with.iter().chain(&model.contains).collect();
        let by_name = model
            .equals
            .iter()
            .filter(|name| !rules.iter().any(|rule| name.contains(*rule)));
        direct.extend(by_name.map(|name| (model.provider, name.clone())));
    }
    direct.retain(|(provider, _)| *provider != AzureOpenAi);
    prop::sample::select(direct)
}

/// A book of one OpenAI model for each list of rules, whose input costs the place in the list.
fn ruled(rules: &[String]) -> PriceBook {
    let mut catalogue = Catalogue::bundled().unwrap();
    let mut blank = catalogue.models.swap_remove(0);
    (blank.provider, blank.equals) = (OpenAi, Vec::new());
    let models = rules.iter().zip(0_i64..).map(|(rule, place)| {
        let mut model = blank.clone();
        model.starts_with = vec![rule.clone()];
        model.prices[0].rates.input = place;
        model
    });
    catalogue.models = models.collect();
    PriceBook::new(&catalogue).unwrap()
}

proptest! {
    #[test]
    fn the_longest_rule_that_fits_a_name_prices_it(
        rules in prop::collection::btree_set("[ab](-[ab]){0,3}", 1..12),
        name in "[ab](-[ab]){0,4}",
    ) {
        let rules: Vec<String> = rules.into_iter().collect();
        let fits = |rule: &String| name == *rule || name.starts_with(&format!("{rule}-"));
        let longest = (0_i64..).zip(&rules).filter(|(_, rule)| fits(rule));
        let expected = longest.max_by_key(|(_, rule)| rule.len()).map(|(place, _)| place);
        let found = ruled(&rules).find(OpenAi, &name, today()).map(|prices| prices.rates.input);
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn of_a_rule_and_a_family_the_longer_prices_a_snapshot(family in "m(-[ab]){1,3}") {
        let mut catalogue = Catalogue::bundled().unwrap();
        let mut exact = catalogue.models.swap_remove(0);
        (exact.provider, exact.equals) = (OpenAi, vec![family.clone()]);
        let mut rule = exact.clone();
        (rule.equals, rule.starts_with) = (Vec::new(), vec!["m".to_owned()]);
        (exact.prices[0].rates.input, rule.prices[0].rates.input) = (1, 2);
        catalogue.models = vec![rule, exact];
        let book = PriceBook::new(&catalogue).unwrap();
        let input = |name: String| price(&book, OpenAi, &name).rates.input;
        prop_assert_eq!(input(format!("{family}-20260101")), 1);
        prop_assert_eq!(input(format!("{family}-c-20260101")), 2);
    }

    #[test]
    fn a_name_that_goes_on_is_never_priced_as_its_beginning(
        (provider, name) in a_direct_name(), more in "[a-z0-9]{1,5}", rest in "(-[a-z]{1,5})?"
    ) {
        let book = book();
        let begun = price(&book, provider, &name);
        if let Some(found) = book.find(provider, &format!("{name}{more}{rest}"), today()) {
            prop_assert!(!Arc::ptr_eq(&found, &begun));
        }
    }

    #[test]
    fn case_says_nothing((provider, name) in a_direct_name(), upper in any::<u64>()) {
        let mixed: String = name.char_indices().map(|(at, letter)| {
            if (upper >> (at % 64)) & 1 == 1 { letter.to_ascii_uppercase() } else { letter }
        }).collect();
        let book = book();
        prop_assert!(Arc::ptr_eq(&price(&book, provider, &mixed), &price(&book, provider, &name)));
    }

    #[test]
    fn no_text_at_all_breaks_the_book(name in "\\PC{0,40}", dated in "(us\\.|arn:)?[a-zé]{0,3}[-@:.v0-9]{0,14}") {
        let book = book();
        for provider in CusProviderType::ALL {
            let _found = book.find(*provider, &name, today());
            let _found = book.find(*provider, &dated, today());
        }
    }
}
