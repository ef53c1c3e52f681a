//! Texts that stand in many rows of a batch: each is made once and shared.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::civil::Date;
use serde_json::{Map, Value as JsonValue};
use tollgate_core::price::Rates;
use tollgate_core::{IntegrationId, NodeId, Period, TokenClass, TokenUsage};
use uuid::Uuid;

use crate::error::StoreError;
use crate::value::to_json;

/// So many values of a kind are looked through: where there are more, making a text again costs less than finding it.
const LATELY: usize = 16;

/// The texts of a batch so far. There are few of each kind but ids.
#[derive(Default)]
pub(super) struct Texts {
    words: Vec<(&'static str, Arc<str>)>,
    ids: HashMap<Uuid, Arc<str>, RandomState>,
    days: Vec<(Date, Arc<str>)>,
    months: Vec<(Period, Arc<str>)>,
    prices: Vec<(Rates, Arc<str>)>,
}

impl Texts {
    pub(super) fn word(&mut self, word: &'static str) -> Arc<str> {
        remembered(&mut self.words, word, |word| (*word).into())
    }

    pub(super) fn integration(&mut self, id: IntegrationId) -> Arc<str> {
        self.id(id.uuid())
    }

    pub(super) fn node(&mut self, id: NodeId) -> Arc<str> {
        self.id(id.uuid())
    }

    pub(super) fn day(&mut self, day: Date) -> Arc<str> {
        remembered(&mut self.days, day, |day| day.to_string().into())
    }

    pub(super) fn month(&mut self, month: Period) -> Arc<str> {
        remembered(&mut self.months, month, |month| month.to_string().into())
    }

    /// Unit prices as JSON, without what a model has no price of.
    pub(super) fn prices(&mut self, rates: &Rates) -> Result<Arc<str>, StoreError> {
        let lately = self.prices.iter().rev().take(LATELY);
        if let Some((_, text)) = lately.into_iter().find(|(known, _)| known == rates) {
            return Ok(Arc::clone(text));
        }
        let text: Arc<str> = sparse(rates)?.into();
        self.prices.push((*rates, Arc::clone(&text)));
        Ok(text)
    }

    fn id(&mut self, id: Uuid) -> Arc<str> {
        let text = self.ids.entry(id).or_insert_with(|| uuid(id));
        Arc::clone(text)
    }
}

/// A UUID as it is kept.
pub(super) fn uuid(id: Uuid) -> Arc<str> {
    let mut text = Uuid::encode_buffer();
    (&*id.as_hyphenated().encode_lower(&mut text)).into()
}

/// Tokens by class as JSON, without the classes that have none: they stand in every row.
pub(super) fn tokens(tokens: &TokenUsage) -> Arc<str> {
    let mut text = String::with_capacity(64);
    for class in TokenClass::ALL {
        let count = tokens.get(class);
        if count > 0 {
            text.push_str(if text.is_empty() { "{\"" } else { ",\"" });
            text.push_str(class.as_str());
            // Writing to a text cannot fail.
            let _always = write!(text, "\":{count}");
        }
    }
    text.push_str(if text.is_empty() { "{}" } else { "}" });
    text.into()
}

/// Prices as JSON, without those that there are none of.
fn sparse(rates: &Rates) -> Result<String, StoreError> {
    let mut prices: Map<String, JsonValue> =
        serde_json::from_str(&to_json(rates)?).or(Err(StoreError::InvalidRow {
            reason: "prices cannot be written as JSON",
        }))?;
    prices.retain(|_, price| !price.is_null());
    to_json(&prices)
}

fn remembered<T: PartialEq>(
    known: &mut Vec<(T, Arc<str>)>,
    value: T,
    text: impl FnOnce(&T) -> Arc<str>,
) -> Arc<str> {
    let lately = known.iter().rev().take(LATELY);
    if let Some((_, text)) = lately.into_iter().find(|(one, _)| *one == value) {
        return Arc::clone(text);
    }
    let text = text(&value);
    known.push((value, Arc::clone(&text)));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_made_once_and_is_the_values_own() {
        let mut texts = Texts::default();
        let days = ["2026-11-15", "2026-11-16", "2026-11-15"];
        let made = days.map(|day| texts.day(day.parse().unwrap()));
        assert_eq!(made.each_ref().map(|text| &**text), days);
        assert!(Arc::ptr_eq(&made[0], &made[2]));
        let dear = Rates {
            input: 2,
            ..Rates::default()
        };
        let first = texts.prices(&dear).unwrap();
        let other = texts.prices(&Rates::default()).unwrap();
        assert!(first.contains("\"input\":2") && !other.contains("\"input\":2"));
        assert!(Arc::ptr_eq(&first, &texts.prices(&dear).unwrap()));
        let cached = Rates {
            cached_input: Some(0),
            ..Rates::default()
        };
        let text = texts.prices(&cached).unwrap();
        assert!(
            text.contains("cached_input") && !text.contains("null"),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Rates>(&text).unwrap(), cached);
        let id = IntegrationId::generate();
        assert_eq!(&*texts.integration(id), id.to_string());
        assert_eq!(
            (&*texts.word("a"), &*texts.word("b"), &*texts.word("a")),
            ("a", "b", "a")
        );
        assert_eq!(&*texts.month("2026-02".parse().unwrap()), "2026-02");
    }

    #[test]
    fn tokens_are_written_by_the_classes_that_have_some_and_read_back() {
        assert_eq!(&*tokens(&TokenUsage::NONE), "{}");
        let mut usage = TokenUsage::plain(374, 44);
        assert_eq!(&*tokens(&usage), r#"{"input":374,"output":44}"#);
        usage.input = 0;
        usage.cached_input = u64::MAX;
        usage.image_output = 1;
        for usage in [usage, TokenUsage::NONE, TokenUsage::plain(0, 1)] {
            let read: TokenUsage = serde_json::from_str(&tokens(&usage)).unwrap();
            assert_eq!(read, usage);
        }
    }
}
