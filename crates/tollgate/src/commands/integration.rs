//! `tollgate integration`: a tenant's connections to providers. A credential comes from standard
//! input or a prompt and is never an argument.

use std::path::PathBuf;

use serde_json::{Map, Value, json};

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Answer, Client, encoded, query, read_secret};
use crate::output::{self, Column, Exit, Failure};

const PATH: &str = "/api/v1/integrations";

const COLUMNS: [Column; 8] = [
    Column::text("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("PROVIDER", "/provider_type"),
    Column::text("STATUS", "/status"),
    Column::text("HEALTH", "/health_state"),
    Column::number("BUDGET CENTS", "/budget_limit_cents"),
    Column::number("TOKENS", "/token_limit_month"),
    Column::number("RPM", "/rate_limit_rpm"),
];

/// What can be done with integrations.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The tenant's integrations, newest first
    List(Filter),
    /// Connect a provider; enable it afterwards
    Create(New),
    /// Show an integration
    Get(One),
    /// Change an integration; what is not given stays
    Update(Edit),
    /// Let calls through
    Enable(One),
    /// Let no calls through
    Disable(One),
    /// Delete an integration; its part of the ledger stays
    Delete(One),
    /// What is left of its limits
    Limits(One),
    /// Ask its provider now, at no cost; takes it out of error when the credential works
    Test(Test),
    /// Its health as it was last seen; of all integrations together when none is named
    Health(Maybe),
    /// Replace its credential by the one on standard input, once its provider takes it
    Credential(Replacement),
}

/// Which integrations.
#[derive(Debug, clap::Args)]
pub struct Filter {
    #[command(flatten)]
    paging: Paging,
    /// Only those in this status
    #[arg(long, value_parser = ["created", "enabled", "disabled", "error"])]
    status: Option<String>,
    /// Only those of this provider
    #[arg(long, value_name = "PROVIDER")]
    provider_type: Option<String>,
}

/// An integration that is to be made.
#[derive(Debug, clap::Args)]
pub struct New {
    /// What people call it
    name: String,
    /// openai, anthropic, `azure_openai`, bedrock or custom
    #[arg(long, value_name = "PROVIDER")]
    provider_type: String,
    #[command(flatten)]
    settings: SettingFlags,
}

/// What is to be different about an integration.
#[derive(Debug, clap::Args)]
pub struct Edit {
    #[command(flatten)]
    one: One,
    /// Another name
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    settings: SettingFlags,
}

/// One integration.
#[derive(Debug, clap::Args)]
pub struct One {
    /// The integration's id
    id: String,
}

/// One integration, or all.
#[derive(Debug, clap::Args)]
pub struct Maybe {
    /// The integration's id
    id: Option<String>,
}

/// An integration that is to be tested.
#[derive(Debug, clap::Args)]
pub struct Test {
    #[command(flatten)]
    one: One,
    /// Ask although it was asked within the last minute
    #[arg(long)]
    force: bool,
}

/// Another credential.
#[derive(Debug, clap::Args)]
pub struct Replacement {
    #[command(flatten)]
    one: One,
    /// A reference to the credential instead, as `env://TOLLGATE_CRED_OPENAI`
    #[arg(long, value_name = "REFERENCE")]
    credential_ref: Option<String>,
    /// Replace it although the provider cannot be asked whether it takes the new one
    #[arg(long)]
    unproven: bool,
}

/// A credential, limits and settings of an integration.
#[derive(Debug, Default, clap::Args)]
pub struct SettingFlags {
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
    /// The provider's region, where it has regions (Bedrock)
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The provider's API version, where it has one (Azure)
    #[arg(long, value_name = "VERSION")]
    api_version: Option<String>,
    /// A deployment, or a profile of your own, and the model that it runs; may be given again
    #[arg(long = "deployment", value_name = "NAME=MODEL", value_parser = deployment)]
    deployments: Vec<(String, String)>,
    /// Write an output maximum into calls that have none, so that spending never passes the limit
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    hard_cap: Option<bool>,
    /// A file with the settings as a JSON object
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    if noun.remote.key.is_some() && noun.verb.reads_credential() {
        return Err(Failure::usage(
            "standard input cannot be both the access key and the credential: set TOLLGATE_KEY, \
             or give --key-file",
        ));
    }
    let client = Client::new(&noun.remote)?;
    let answer = match &noun.verb {
        Verb::List(filter) => {
            let answer = client.get(&filter.path()).await?;
            return show(&answer, noun.form, Shown::List(&COLUMNS));
        }
        Verb::Create(new) => create(&client, new, noun.remote.tenant.as_deref()).await?,
        Verb::Get(one) => client.get(&one.path("")).await?,
        Verb::Update(edit) => {
            let body = Value::Object(edit.body()?);
            client.update(&edit.one.path(""), &body).await?
        }
        Verb::Enable(one) => client.post(&one.path("/enable"), None).await?,
        Verb::Disable(one) => client.post(&one.path("/disable"), None).await?,
        Verb::Limits(one) => client.get(&one.path("/limits")).await?,
        Verb::Test(test) => {
            let body = json!({ "force": test.force });
            client.post(&test.one.path("/test"), Some(&body)).await?
        }
        Verb::Health(Maybe { id: None }) => client.get(&format!("{PATH}/health")).await?,
        Verb::Health(Maybe { id: Some(id) }) => {
            client
                .get(&format!("{PATH}/{}/health", encoded(id)))
                .await?
        }
        Verb::Credential(replacement) => {
            let body = replacement.body()?;
            let path = replacement.one.path("/credential");
            client.post(&path, Some(&body)).await?
        }
        Verb::Delete(one) => {
            client.delete(&one.path("")).await?;
            output::say("deleted");
            return Ok(());
        }
    };
    show(&answer, noun.form, Shown::Card)
}

async fn create(client: &Client, new: &New, tenant: Option<&str>) -> Result<Answer, Failure> {
    let mut body = new.settings.body()?;
    body.insert("name".to_owned(), json!(new.name));
    body.insert("provider_type".to_owned(), json!(new.provider_type));
    let answer = client.post(PATH, Some(&Value::Object(body))).await?;
    let id = answer.json.get("id").and_then(Value::as_str);
    let id = id.unwrap_or("ID");
    let tenant = tenant.map_or_else(String::new, |tenant| format!(" --tenant {tenant}"));
    output::say(format_args!(
        "created; let calls through with `tollgate integration enable {id}{tenant}`"
    ));
    Ok(answer)
}

impl Verb {
    fn reads_credential(&self) -> bool {
        let settings = match self {
            Self::Create(new) => &new.settings,
            Self::Update(edit) => &edit.settings,
            Self::Credential(replacement) => return replacement.credential_ref.is_none(),
            Self::List(_)
            | Self::Get(_)
            | Self::Enable(_)
            | Self::Disable(_)
            | Self::Delete(_)
            | Self::Limits(_)
            | Self::Test(_)
            | Self::Health(_) => return false,
        };
        settings.credential.is_some()
    }
}

impl Filter {
    fn path(&self) -> String {
        let own = [
            ("status", self.status.clone()),
            ("provider_type", self.provider_type.clone()),
        ];
        let parameters = [self.paging.parameters(), own].concat();
        format!("{PATH}{}", query(&parameters))
    }
}

impl Edit {
    fn body(&self) -> Result<Map<String, Value>, Failure> {
        let mut body = self.settings.body()?;
        if let Some(name) = &self.name {
            body.insert("name".to_owned(), json!(name));
        }
        if body.is_empty() {
            return Err(Failure::usage(
                "nothing to change: give a flag for what is to be different",
            ));
        }
        Ok(body)
    }
}

impl Replacement {
    fn body(&self) -> Result<Value, Failure> {
        let mut body = json!({ "unproven": self.unproven });
        match &self.credential_ref {
            Some(reference) => body["credential_ref"] = json!(reference),
            None => body["credential"] = credential_in(&read_secret("Credential: ")?),
        }
        Ok(body)
    }
}

impl One {
    fn path(&self, below: &str) -> String {
        format!("{PATH}/{}{below}", encoded(&self.id))
    }
}

impl SettingFlags {
    /// The fields of a request for what the flags say.
    fn body(&self) -> Result<Map<String, Value>, Failure> {
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
            ("region", &self.region),
            ("api_version", &self.api_version),
        ];
        for (name, value) in texts {
            if let Some(value) = value {
                config.insert(name.to_owned(), json!(value));
            }
        }
        if !self.deployments.is_empty() {
            let models = self.deployments.iter().cloned();
            let models: Map<_, _> = models.map(|(name, model)| (name, json!(model))).collect();
            config.insert("deployments".to_owned(), Value::Object(models));
        }
        if let Some(hard_cap) = self.hard_cap {
            config.insert("hard_cap".to_owned(), json!(hard_cap));
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

/// A JSON object as it is; anything else is the API key itself.
fn credential_in(text: &str) -> Value {
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
            ..SettingFlags::default()
        };
        let expected = json!({
            "budget_limit_cents": 10,
            "config": {
                "base_url": "https://llm.example/v1",
                "hard_cap": true,
                "region": "us-east-1",
                "deployments": {"a=b": "gpt-4o"},
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
