//! `tollgate node`: running copies of the program. Needs an operator's key.

use super::{Shown, show};
use crate::cli::Noun;
use crate::client::{Client, encoded};
use crate::output::{Column, Failure};

const PATH: &str = "/api/v1/nodes";

const COLUMNS: [Column; 5] = [
    Column::text("ID", "/id"),
    Column::text("STATUS", "/status"),
    Column::text("ANSWERS", "/answering"),
    Column::text("SEEN", "/seen_at"),
    Column::text("RETIRED", "/retired_at"),
];

/// What can be done with nodes.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Every node that was ever seen, the one that was seen last first
    List,
    /// Retire a node that will not return: what it had drawn of limits is free for others. If its
    /// data directory is still there, start it once more instead, so that its journal is booked
    Retire {
        /// The node's id
        id: String,
        /// Retire it although it gave a sign of life within the last minute
        #[arg(long)]
        force: bool,
    },
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match &noun.verb {
        Verb::List => {
            let answer = client.get(PATH).await?;
            show(&answer, noun.form, Shown::List(&COLUMNS))
        }
        Verb::Retire { id, force } => {
            let query = if *force { "?force=true" } else { "" };
            let path = format!("{PATH}/{}/retire{query}", encoded(id));
            show(&client.post(&path, None).await?, noun.form, Shown::Card)
        }
    }
}
