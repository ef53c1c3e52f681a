//! The `config` of an integration: how its provider is reached, priced and bounded.

mod fallback;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::price::Rates;

pub use fallback::{
    AttemptsMistake, FALLBACKS_MAX, Fallback, RETRIES_MAX, RETRY_WAIT_SECONDS,
    RETRY_WAIT_SECONDS_MAX,
};

/// The most output tokens that are held for a request which names no maximum, unless configured.
pub const DEFAULT_OUTPUT_TOKENS: u64 = 4_096;

/// What happens to a provider's answer when its caller goes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDisconnect {
    /// Read on within bounds, so that the provider's own usage is known.
    #[default]
    Drain,
    /// Cut the provider off, and charge what was counted so far.
    Cancel,
}

/// Whose words a server speaks that may speak either's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Spoken {
    /// OpenAI's.
    #[default]
    #[serde(rename = "openai")]
    OpenAi,
    /// Anthropic's.
    Anthropic,
}

/// The settings of an integration. Unknown names are refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IntegrationConfig {
    /// Where the provider is, when not at its usual address: scheme, host and path prefix. It may
    /// be written as `endpoint`, which is what some providers call it.
    #[serde(alias = "endpoint", skip_serializing_if = "Option::is_none")]
    pub base_url: Option<String>,
    /// Whose words the provider speaks, where that is not clear from its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dialect: Option<Spoken>,
    /// The provider's API version, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<String>,
    /// The provider's region, where it has regions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<String>,
    /// Name of a deployment, or of a profile of one's own, to the name of the model that it runs.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub deployments: BTreeMap<String, String>,
    /// Model name to prices of its own, in nano-dollars per million tokens.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub prices: BTreeMap<String, Rates>,
    /// The model names callers may use to the names the provider knows.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    /// Whether an output maximum is written into requests that have none, so that settled spend
    /// can never pass the limit.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub hard_cap: bool,
    /// Output tokens held for, or with `hard_cap` written into, a request that names no maximum.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub default_max_output_tokens: Option<u64>,
    /// What happens to an answer when its caller goes away.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub on_disconnect: Option<OnDisconnect>,
    /// How often a call is tried again here when the provider refuses it and cannot have billed
    /// it; never, if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retries: Option<u32>,
    /// Seconds that a call may be kept waiting before further attempts, all together.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_wait_seconds: Option<u32>,
    /// Integrations of the same tenant to try in turn after that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub fallback: Vec<Fallback>,
}

impl IntegrationConfig {
    /// The output maximum of a request that names none, in tokens.
    #[must_use]
    pub fn output_tokens(&self) -> u64 {
        self.default_max_output_tokens
            .unwrap_or(DEFAULT_OUTPUT_TOKENS)
    }

    /// The provider's name for a model, after aliases.
    #[must_use]
    pub fn model<'a>(&'a self, asked: &'a str) -> &'a str {
        self.aliases.get(asked).map_or(asked, String::as_str)
    }

    /// The model that runs behind a name of the provider's: what a call is priced as.
    #[must_use]
    pub fn deployed<'a>(&'a self, name: &'a str) -> &'a str {
        self.deployments.get(name).map_or(name, String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_refused_and_named() {
        let error = serde_json::from_str::<IntegrationConfig>(r#"{"hard_cop": true}"#).unwrap_err();
        assert!(error.to_string().contains("hard_cop"), "{error}");
    }

    #[test]
    fn nothing_said_means_drain_and_four_thousand_tokens() {
        let config: IntegrationConfig = serde_json::from_str("{}").unwrap();
        assert_eq!(config.output_tokens(), 4_096);
        assert_eq!(
            config.on_disconnect.unwrap_or_default(),
            OnDisconnect::Drain
        );
        assert_eq!(serde_json::to_string(&config).unwrap(), "{}");
    }
}
