//! `tollgate integration`: a tenant's connections to providers. A credential comes from standard
//! input or a prompt and is never an argument.

mod settings;

use serde_json::{Map, Value, json};

use self::settings::{SettingFlags, credential_in};
use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Answer, Client, encoded, query, read_secret};
use crate::output::{self, Column, Failure};

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
        settings.reads_credential()
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
