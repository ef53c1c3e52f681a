//! The `config` of an integration on its way in: only known names, only places that may be asked.

use cus_models::{CusIntegration, CusProviderType};
use serde_json::{Map, Value};
use tollgate_core::TokenClass;
use tollgate_core::config::IntegrationConfig;
use tollgate_core::price::Rates;
use tollgate_providers::{Provider, registry};

use crate::app::App;
use crate::error::AppError;
use crate::wording::without_values;

/// The provider of a type, if this version speaks to it.
pub(super) fn provider_of(
    provider_type: CusProviderType,
) -> Result<&'static dyn Provider, AppError> {
    registry::find(provider_type).ok_or_else(|| {
        let served: Vec<_> = registry::all()
            .iter()
            .map(|one| one.describe().provider_type.as_str())
            .collect();
        AppError::Invalid {
            field: "provider_type",
            reason: format!(
                "{provider_type} is not served yet: give one of {}",
                served.join(", ")
            ),
        }
    })
}

/// The provider of an integration, with its settings.
pub(super) fn provider_with(
    record: &CusIntegration,
) -> Result<(&'static dyn Provider, IntegrationConfig), AppError> {
    let config = kept_settings(record).unwrap_or_default();
    let provider = registry::of(record.provider_type, &config);
    let provider = provider.map_or_else(|| provider_of(record.provider_type), Ok)?;
    Ok((provider, config))
}

/// The settings that are kept of an integration; none where they cannot be read.
pub(super) fn kept_settings(record: &CusIntegration) -> Option<IntegrationConfig> {
    let config = record.config.clone().unwrap_or_default();
    serde_json::from_value(Value::Object(config)).ok()
}

impl App {
    /// Reads settings strictly, and checks with the provider that their address may be asked.
    pub(super) fn read_settings(
        &self,
        provider: &dyn Provider,
        entered: Option<&Map<String, Value>>,
    ) -> Result<IntegrationConfig, AppError> {
        let invalid = |field, reason: String| AppError::Invalid { field, reason };
        let config: IntegrationConfig = match entered {
            None => IntegrationConfig::default(),
            Some(entered) => serde_json::from_value(Value::Object(entered.clone()))
                .map_err(|error| invalid("config", without_values(&error.to_string())))?,
        };
        let description = provider.describe();
        let provider = registry::of(description.provider_type, &config).unwrap_or(provider);
        let takes_dialect = description
            .config_fields
            .iter()
            .any(|it| it.name == "dialect");
        if config.dialect.is_some() && !takes_dialect {
            let reason = "give none: only a server of your own may speak one dialect or another";
            return Err(invalid("config.dialect", reason.to_owned()));
        }
        let checked = provider.check_config(&config);
        checked.map_err(|mistake| invalid(place_of(mistake.member), mistake.to_string()))?;
        let endpoint = provider.endpoint(&config, &self.url_policy);
        endpoint.map_err(|error| invalid("config.base_url", error.to_string()))?;
        if config.prices.values().any(is_negative) {
            let reason = "give prices of zero or more nano-dollars a million tokens".to_owned();
            return Err(invalid("config.prices", reason));
        }
        if let Some(mistake) = config.attempts_mistake() {
            let place = place_of(mistake.member);
            return Err(invalid(place, mistake.reason.to_owned()));
        }
        Ok(config)
    }
}

/// Where a member of the settings stands in a request.
fn place_of(member: &str) -> &'static str {
    match member {
        "api_version" => "config.api_version",
        "region" => "config.region",
        "deployments" => "config.deployments",
        "fallback" => "config.fallback",
        "retries" => "config.retries",
        "retry_wait_seconds" => "config.retry_wait_seconds",
        _ => "config.base_url",
    }
}

fn is_negative(rates: &Rates) -> bool {
    rates.request < 0 || TokenClass::ALL.into_iter().any(|class| rates.of(class) < 0)
}

/// Applies a merge patch (RFC 7396): null removes, objects are merged, everything else replaces.
pub(super) fn merge(target: &mut Map<String, Value>, patch: Map<String, Value>) {
    for (name, value) in patch {
        match value {
            Value::Null => {
                target.remove(&name);
            }
            Value::Object(inner) => {
                if !matches!(target.get(&name), Some(Value::Object(_))) {
                    target.insert(name.clone(), Value::Object(Map::new()));
                }
                if let Some(Value::Object(there)) = target.get_mut(&name) {
                    merge(there, inner);
                }
            }
            plain @ (Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_)) => {
                target.insert(name, plain);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The cases of RFC 7396, appendix A, whose target and patch are objects.
    #[test]
    fn a_merge_patch_merges_as_its_standard_says() {
        for (target, patch, merged) in [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ] {
            let (Value::Object(mut target), Value::Object(patch)) = (target, patch) else {
                panic!("objects only");
            };
            merge(&mut target, patch);
            assert_eq!(Value::Object(target), merged);
        }
    }
}
