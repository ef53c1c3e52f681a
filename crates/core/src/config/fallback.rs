//! What may be tried for a call whose provider refused it: the same integration again, then others.

use std::fmt;
use std::time::Duration;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use serde::{Deserialize, Serialize};

use super::IntegrationConfig;

/// The most integrations in a `fallback` list.
pub const FALLBACKS_MAX: usize = 8;

/// The most times that an integration is asked again.
pub const RETRIES_MAX: u32 = 5;

/// Seconds that a call may be kept waiting before further attempts, all together, unless configured.
pub const RETRY_WAIT_SECONDS: u32 = 10;

/// The most such seconds that can be configured.
pub const RETRY_WAIT_SECONDS_MAX: u32 = 60;

/// The most characters of a model's name in the books.
const MODEL_CHARS_MAX: usize = 100;

/// An integration to try when the one that was called is refused by its provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Fallback {
    /// Its id or its name; a name is looked up when it is needed.
    pub integration: String,
    /// The model to ask it for; the one that the caller named, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
}

/// A setting of further attempts that makes no sense.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AttemptsMistake {
    /// The member of the settings.
    pub member: &'static str,
    /// What to give instead.
    pub reason: &'static str,
}

impl IntegrationConfig {
    /// Whether a call may be tried more than once.
    #[must_use]
    pub fn tries_again(&self) -> bool {
        self.retries.is_some_and(|retries| retries > 0) || !self.fallback.is_empty()
    }

    /// How long a call may be kept waiting before further attempts, all together.
    #[must_use]
    pub fn retry_wait(&self) -> Duration {
        let seconds = self.retry_wait_seconds.unwrap_or(RETRY_WAIT_SECONDS);
        Duration::from_secs(seconds.min(RETRY_WAIT_SECONDS_MAX).into())
    }

    /// What is wrong with the settings of further attempts, as far as they tell by themselves.
    #[must_use]
    pub fn attempts_mistake(&self) -> Option<AttemptsMistake> {
        let mistake = |member, reason| Some(AttemptsMistake { member, reason });
        if self.retries.is_some_and(|retries| retries > RETRIES_MAX) {
            return mistake(
                "retries",
                "give 0 to 5: how often the provider is asked again",
            );
        }
        let wait = self.retry_wait_seconds;
        if wait.is_some_and(|seconds| seconds > RETRY_WAIT_SECONDS_MAX) {
            return mistake(
                "retry_wait_seconds",
                "give 0 to 60: the seconds that a call may be kept waiting in all",
            );
        }
        if self.fallback.len() > FALLBACKS_MAX {
            return mistake("fallback", "give at most 8 integrations");
        }
        let is_name = |name: &str, most| (1..=most).contains(&name.chars().count());
        let is_sound = |one: &Fallback| {
            let model = one.model.as_deref();
            is_name(&one.integration, 255)
                && model.is_none_or(|model| is_name(model, MODEL_CHARS_MAX))
        };
        if !self.fallback.iter().all(is_sound) {
            return mistake(
                "fallback",
                "give each integration by its id or its name, and a `model` of 1 to 100 characters \
                 or none",
            );
        }
        None
    }
}

impl<'de> Deserialize<'de> for Fallback {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Written)
    }
}

/// Reads a name alone, or an object.
struct Written;

impl<'de> Visitor<'de> for Written {
    type Value = Fallback;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integration's id or name, or an object of `integration` and `model`")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<Fallback, E> {
        Ok(Fallback {
            integration: name.to_owned(),
            model: None,
        })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Fallback, A::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Members {
            integration: String,
            #[serde(default)]
            model: Option<String>,
        }
        let Members { integration, model } = Members::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Fallback { integration, model })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(config: serde_json::Value) -> Result<IntegrationConfig, serde_json::Error> {
        serde_json::from_value(config)
    }

    #[test]
    fn a_fallback_is_a_name_or_a_name_with_a_model() {
        let config = read(json!({
            "fallback": ["backup", {"integration": "other", "model": "m"}, {"integration": "third"}],
        }));
        let config = config.unwrap();
        let list: Vec<_> = config
            .fallback
            .iter()
            .map(|one| (&*one.integration, one.model.as_deref()))
            .collect();
        assert_eq!(
            list,
            [("backup", None), ("other", Some("m")), ("third", None)]
        );
        assert_eq!(config.attempts_mistake(), None);
        let again = serde_json::to_value(&config).unwrap();
        assert_eq!(read(again).unwrap(), config);
    }

    #[test]
    fn what_is_no_fallback_is_refused_and_not_repeated() {
        for wrong in [
            json!(["a", 5]),
            json!("a"),
            json!([{"model": "m"}]),
            json!([{"integration": "a", "modle": "m"}]),
            json!([["a"]]),
        ] {
            assert!(read(json!({ "fallback": wrong })).is_err(), "{wrong}");
        }
    }

    #[test]
    fn settings_out_of_bounds_are_named() {
        let long = "x".repeat(101);
        for (config, member) in [
            (json!({"retries": 6}), "retries"),
            (json!({"retry_wait_seconds": 61}), "retry_wait_seconds"),
            (
                json!({"fallback": ["a", "b", "c", "d", "e", "f", "g", "h", "i"]}),
                "fallback",
            ),
            (json!({"fallback": [""]}), "fallback"),
            (
                json!({"fallback": [{"integration": "a", "model": ""}]}),
                "fallback",
            ),
            (
                json!({"fallback": [{"integration": "a", "model": long}]}),
                "fallback",
            ),
        ] {
            let mistake = read(config.clone()).unwrap().attempts_mistake();
            assert_eq!(
                mistake.map(|mistake| mistake.member),
                Some(member),
                "{config}"
            );
        }
    }

    #[test]
    fn nothing_is_tried_again_unless_it_is_said() {
        let of = |config| read(config).unwrap();
        assert!(!of(json!({})).tries_again());
        assert!(!of(json!({"retries": 0, "retry_wait_seconds": 5})).tries_again());
        assert!(of(json!({"retries": 1})).tries_again());
        assert!(of(json!({"fallback": ["b"]})).tries_again());
        assert_eq!(of(json!({})).retry_wait(), Duration::from_secs(10));
        assert_eq!(
            of(json!({"retry_wait_seconds": 0})).retry_wait(),
            Duration::ZERO
        );
    }
}
