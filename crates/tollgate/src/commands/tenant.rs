//! `tollgate tenant`: the customers of whoever runs Tollgate. Needs an operator's key.

use serde_json::{Value, json};

use super::{Paging, Shown, confirm, show};
use crate::cli::Noun;
use crate::client::{Client, encoded, query};
use crate::output::{self, Column, Failure};

const PATH: &str = "/api/v1/tenants";

const COLUMNS: [Column; 4] = [
    Column::text("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("STATUS", "/status"),
    Column::text("CREATED", "/created_at"),
];

/// What can be done with tenants.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The tenants, newest first
    List {
        /// Only those with this status
        #[arg(long, value_parser = ["active", "suspended"])]
        status: Option<String>,
        /// Which page
        #[command(flatten)]
        paging: Paging,
    },
    /// Make a tenant
    Create {
        /// What people call it
        name: String,
        /// Its id; a random one if not given
        #[arg(long)]
        id: Option<String>,
    },
    /// Show a tenant
    Get {
        /// The tenant's id
        id: String,
    },
    /// Refuse all keys of a tenant until it is resumed
    Suspend {
        /// The tenant's id
        id: String,
    },
    /// Let the keys of a tenant work again
    Resume {
        /// The tenant's id
        id: String,
    },
    /// Delete a tenant for good, with its keys, integrations and credentials; its ledger stays
    Delete {
        /// The tenant's id
        id: String,
        /// Do not ask first
        #[arg(long)]
        yes: bool,
    },
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    let answer = match &noun.verb {
        Verb::List { status, paging } => {
            let [limit, cursor] = paging.parameters();
            let parameters = query(&[("status", status.clone()), limit, cursor]);
            let answer = client.get(&format!("{PATH}{parameters}")).await?;
            return show(&answer, noun.form, Shown::List(&COLUMNS));
        }
        Verb::Create { name, id } => {
            let mut body = json!({ "name": name });
            if let Some(id) = id {
                body["id"] = Value::from(id.as_str());
            }
            client.post(PATH, Some(&body)).await?
        }
        Verb::Get { id } => client.get(&one(id)).await?,
        Verb::Suspend { id } => {
            client
                .update(&one(id), &json!({ "status": "suspended" }))
                .await?
        }
        Verb::Resume { id } => {
            client
                .update(&one(id), &json!({ "status": "active" }))
                .await?
        }
        Verb::Delete { id, yes } => {
            let found = client.get(&one(id)).await?;
            if !yes {
                let name = found.json["name"].as_str().unwrap_or_default();
                output::say(format_args!(
                    "this deletes the tenant {id} ({name}) for good: its keys stop working, its integrations and \
                     credentials are erased and cannot be brought back; its ledger and its audit trail stay"
                ));
                confirm(id)?;
            }
            let answer = client.delete(&one(id)).await?;
            output::say("deleted");
            answer
        }
    };
    show(&answer, noun.form, Shown::Card)
}

fn one(id: &str) -> String {
    format!("{PATH}/{}", encoded(id))
}
