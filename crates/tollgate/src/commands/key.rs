//! `tollgate key`: access keys. A key is shown once, when it is made.

use serde_json::{Value, json};

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Client, encoded, query};
use crate::output::{self, Column, Failure};

const PATH: &str = "/api/v1/keys";

const COLUMNS: [Column; 6] = [
    Column::text("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("ROLE", "/role"),
    Column::text("BEGINS", "/prefix"),
    Column::text("LAST USED", "/last_used_at"),
    Column::text("REVOKED", "/revoked_at"),
];

/// What can be done with access keys.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The keys of a tenant, newest first; without --tenant, an operator's own
    List(Paging),
    /// Make a key; it is shown this once
    Create {
        /// What people call it
        name: String,
        /// What it may do
        #[arg(long, value_parser = ["operator", "admin", "viewer", "caller"])]
        role: String,
        /// The id of the only integration that it may use
        #[arg(long, value_name = "ID")]
        integration: Option<String>,
        /// When it stops working, as 2027-01-31T00:00:00Z
        #[arg(long, value_name = "TIME")]
        expires_at: Option<String>,
    },
    /// Show a key, without its secret
    Get {
        /// The key's id
        id: String,
    },
    /// End a key for good
    Revoke {
        /// The key's id
        id: String,
    },
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match &noun.verb {
        Verb::List(paging) => {
            let answer = client
                .get(&format!("{PATH}{}", query(&paging.parameters())))
                .await?;
            show(&answer, noun.form, Shown::List(&COLUMNS))
        }
        Verb::Create {
            name,
            role,
            integration,
            expires_at,
        } => {
            let mut body = json!({ "name": name, "role": role });
            if let Some(integration) = integration {
                body["integration_id"] = Value::from(integration.as_str());
            }
            if let Some(expires_at) = expires_at {
                body["expires_at"] = Value::from(expires_at.as_str());
            }
            let answer = client.post(PATH, Some(&body)).await?;
            if !noun.form.json {
                output::say("keep the key: it is not shown again");
            }
            show(&answer, noun.form, Shown::Card)
        }
        Verb::Get { id } => show(&client.get(&one(id)).await?, noun.form, Shown::Card),
        Verb::Revoke { id } => {
            let answer = client.delete(&one(id)).await?;
            output::say("revoked");
            show(&answer, noun.form, Shown::Card)
        }
    }
}

fn one(id: &str) -> String {
    format!("{PATH}/{}", encoded(id))
}
