//! `tollgate rollup`: the daily sums, checked against the ledger or made anew from it. Needs an
//! operator's key.

use super::{Shown, ledger, show};
use crate::cli::Noun;
use crate::client::Client;
use crate::output::Failure;

/// What can be done with the roll-ups.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Compare every roll-up with the ledger; exit code 8 if anything differs
    Verify,
    /// Make every roll-up anew from the ledger; in healthy books it changes nothing
    Rebuild,
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match noun.verb {
        Verb::Verify => {
            let mut report = client.get("/api/v1/ledger/rollups/verify").await?;
            // Balances are not looked at here, and a 0 would read as if there were none.
            if let Some(members) = report.json.as_object_mut() {
                members.remove("balances");
            }
            ledger::conclude(&report, noun.form)
        }
        Verb::Rebuild => {
            let answer = client.post("/api/v1/ledger/rollups/rebuild", None).await?;
            show(&answer, noun.form, Shown::Card)
        }
    }
}
