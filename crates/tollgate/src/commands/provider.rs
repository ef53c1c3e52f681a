//! `tollgate provider`: which providers there are, and what each needs.

use super::{Shown, show};
use crate::cli::Noun;
use crate::client::Client;
use crate::output::{Column, Failure};

const COLUMNS: [Column; 5] = [
    Column::text("TYPE", "/provider_type"),
    Column::text("NAME", "/title"),
    Column::text("DIALECT", "/dialect"),
    Column::text("ADDRESS", "/default_url"),
    Column::text("CREDENTIAL", "/credential"),
];

/// What can be asked about providers.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The providers that are served; --json shows the fields of each
    List,
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let Verb::List = noun.verb;
    let client = Client::new(&noun.remote)?;
    let answer = client.get("/api/v1/providers").await?;
    show(&answer, noun.form, Shown::List(&COLUMNS))
}
