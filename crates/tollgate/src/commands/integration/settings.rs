//! The flags that say an integration's credential, limits and settings.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::client::read_secret;
use crate::output::{Exit, Failure};

/// A credential, limits and settings of an integration.
#[derive(Debug, Default, clap::Args)]
pub(super) struct SettingFlags {
    /// Where the credential comes from: - is standard input, or a prompt. A key alone, or JSON
    #[arg(long, value_name = "-", allow_hyphen_values = true)]
    credential: Option<String>,
    /// A reference to the credential, as `env://TOLLGATE_CRED_OPENAI`
    #[arg(long, value_name = "REFERENCE", conflicts_with = "credential")]
    credential_ref: Option<String>,
    /// The most that calls may cost in a month, in cents; 0 is no limit
    #[arg(long, value_name = "CENTS")]
    budget_cents: Option<i64>,
    /// The most tokens in a month; 0 is no limit
    #[arg(long, value_name = "TOKENS")]
    token_limit: Option<i64>,
    /// The most calls in a minute; 0 is no limit
    #[arg(long, value_name = "CALLS")]
    rpm: Option<i64>,
    /// The model of calls that name none
    #[arg(long, value_name = "MODEL")]
    default_model: Option<String>,
    /// Where the provider is, when not at its usual address
    #[arg(long, value_name = "URL")]
    base_url: Option<String>,
    /// Whose words a server of your own speaks (custom): openai or anthropic
    #[arg(long, value_parser = ["openai", "anthropic"])]
    dialect: Option<String>,
    /// The provider's region, where it has regions (Bedrock)
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The provider's API version, where it has one (Azure)
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
    /// A deployment, or a profile of your own, and the model that it runs; may be given again
    #[arg(long = "deployment", value_name = "NAME=MODEL", value_parser = deployment)]
    deployments: Vec<(String, String)>,
    /// A name that callers may use, and the provider's name of the model; may be given again
    #[arg(long = "alias", value_name = "NAME=MODEL", value_parser = deployment)]
    aliases: Vec<(String, String)>,
    /// How often the provider is asked again after a refusal that it cannot have billed
    #[arg(long, value_name = "TIMES")]
    retries: Option<u32>,
    /// Seconds that a call may be kept waiting before further attempts, all together
    #[arg(long, value_name = "SECONDS")]
    retry_wait: Option<u32>,
    /// An integration to ask after that, perhaps for another model; may be given again
    #[arg(long = "fallback", value_name = "INTEGRATION[=MODEL]")]
    fallbacks: Vec<String>,
    /// Write an output maximum into calls that have none, so that spending never passes the limit
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    hard_cap: Option<bool>,
    /// A file with the settings as a JSON object
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl SettingFlags {
    /// Whether the credential comes from standard input.
    pub(super) const fn reads_credential(&self) -> bool {
        self.credential.is_some()
    }

    /// The fields of a request for what the flags say.
    pub(super) fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = Map::new();
        let fields = [
            ("credential", self.credential()?),
            (
                "credential_ref",
                self.credential_ref.as_ref().map(|it| json!(it)),
            ),
            ("budget_limit_cents", self.budget_cents.map(Value::from)),
            ("token_limit_month", self.token_limit.map(Value::from)),
            ("rate_limit_rpm", self.rpm.map(Value::from)),
            (
                "default_model",
                self.default_model.as_ref().map(|it| json!(it)),
            ),
            ("config", self.config()?),
        ];
        for (name, value) in fields {
            if let Some(value) = value {
                body.insert(name.to_owned(), value);
            }
        }
        Ok(body)
    }

    fn config(&self) -> Result<Option<Value>, Failure> {
        let mut config = match &self.config {
            None => Map::new(),
            Some(path) => {
                let text = std::fs::read_to_string(path)
                    .map_err(|error| Failure::file("read", path, &error).with(Exit::Usage))?;
                serde_json::from_str(&text).map_err(|error| {
                    let (line, path) = (error.line(), path.display());
                    Failure::usage(format_args!("{path}:{line} is not a JSON object"))
                })?
            }
        };
        let texts = [
            ("base_url", &self.base_url),
            ("dialect", &self.dialect),
            ("region", &self.region),
            ("api_version", &self.api_version),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                config.insert(name.to_owned(), json!(value));
            }
        }
        let maps = [
            ("deployments", &self.deployments),
            ("aliases", &self.aliases),
        ];
        for (name, models) in maps.into_iter().filter(|(_, models)| !models.is_empty()) {
            let models = models.iter().cloned();
            let models: Map<_, _> = models.map(|(name, model)| (name, json!(model))).collect();
            config.insert(name.to_owned(), Value::Object(models));
        }
        let fallbacks: Vec<Value> = self.fallbacks.iter().map(|it| fallback(it)).collect();
        let others = [
            ("hard_cap", self.hard_cap.map(Value::from)),
            ("retries", self.retries.map(Value::from)),
            ("retry_wait_seconds", self.retry_wait.map(Value::from)),
            (
                "fallback",
                (!fallbacks.is_empty()).then_some(Value::Array(fallbacks)),
            ),
        ];
        for (name, value) in others {
            if let Some(value) = value {
                config.insert(name.to_owned(), value);
            }
        }
        Ok((!config.is_empty()).then_some(Value::Object(config)))
    }

    fn credential(&self) -> Result<Option<Value>, Failure> {
        match self.credential.as_deref() {
            None => Ok(None),
            Some("-") => Ok(Some(credential_in(&read_secret("Credential: ")?))),
            // What was given is not repeated: it may be the credential.
            Some(_) => Err(Failure::usage(
                "--credential takes nothing but -, for standard input: others can read arguments",
            )),
        }
    }
}

/// A deployment's name and its model; the name of a profile may be an ARN, a model's has no `=`.
fn deployment(text: &str) -> Result<(String, String), &'static str> {
    match text.rsplit_once('=') {
        Some((name, model)) if !name.is_empty() && !model.is_empty() => {
            Ok((name.to_owned(), model.to_owned()))
        }
        _ => Err("give NAME=MODEL"),
    }
}

/// An integration to fall back to, and the model to ask it for where one is given.
fn fallback(text: &str) -> Value {
    match text.rsplit_once('=') {
        Some((integration, model)) => json!({ "integration": integration, "model": model }),
        None => json!(text),
    }
}

/// A JSON object as it is; anything else is the API key itself.
pub(super) fn credential_in(text: &str) -> Value {
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Value::Object(fields),
        _ => json!({ "api_key": text }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_alone_is_the_credential_of_a_provider_that_needs_only_that() {
        assert_eq!(credential_in("sk-1"), json!({"api_key": "sk-1"}));
        assert_eq!(credential_in("123"), json!({"api_key": "123"}));
        assert_eq!(credential_in(r#"{"api_key":"a"}"#), json!({"api_key": "a"}));
    }

    #[test]
    fn flags_say_only_what_is_to_be_different() {
        let flags = SettingFlags {
            budget_cents: Some(10),
            hard_cap: Some(true),
            base_url: Some("https://llm.example/v1".to_owned()),
            region: Some("us-east-1".to_owned()),
            deployments: vec![deployment("a=b=gpt-4o").unwrap()],
            aliases: vec![deployment("fast=gpt-4o-mini").unwrap()],
            retries: Some(1),
            retry_wait: Some(5),
            fallbacks: vec!["backup".to_owned(), "cheap=gpt-4o-mini".to_owned()],
            ..SettingFlags::default()
        };
        let expected = json!({
            "budget_limit_cents": 10,
            "config": {
                "base_url": "https://llm.example/v1",
                "hard_cap": true,
                "region": "us-east-1",
                "deployments": {"a=b": "gpt-4o"},
                "aliases": {"fast": "gpt-4o-mini"},
                "retries": 1,
                "retry_wait_seconds": 5,
                "fallback": ["backup", {"integration": "cheap", "model": "gpt-4o-mini"}],
            }
        });
        assert_eq!(Value::Object(flags.body().unwrap()), expected);
    }

    #[test]
    fn a_credential_on_the_command_line_is_refused_and_not_repeated() {
        let flags = SettingFlags {
            credential: Some("sk-canary".to_owned()),
            ..SettingFlags::default()
        };
        let refused = flags.body().unwrap_err();
        assert!(!refused.message.contains("canary"), "{refused}");
    }
}
