//! `tollgate ledger`: whether the books are exact, and how far they are. Needs an operator's key.

mod export;

use serde_json::Value;

use super::{Shown, show, usage};
use crate::cli::{Form, Noun};
use crate::client::{Answer, Client};
use crate::output::{self, Failure};

/// What can be asked about the ledger.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Work out every balance and roll-up anew and compare; exit code 8 if anything differs
    Verify,
    /// What is in the ledger, and what still waits for it
    Status,
    /// Every tenant's calls of this month, or of given days, as a file on standard output; with --tenant those of one
    Export(usage::export::Args),
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match &noun.verb {
        Verb::Status => {
            let answer = client.get("/api/v1/ledger/status").await?;
            show(&answer, noun.form, Shown::Card)
        }
        Verb::Verify => conclude(&client.get("/api/v1/ledger/verify").await?, noun.form),
        Verb::Export(args) => export::run(&client, noun.remote.tenant.as_deref(), args).await,
    }
}

/// Prints what a check of the books found; a difference is a failure of the check.
pub(super) fn conclude(report: &Answer, form: Form) -> Result<(), Failure> {
    show(report, form, Shown::Card)?;
    if is_exact(&report.json) {
        if !form.json {
            output::say("the books are exact");
        }
        return Ok(());
    }
    output::say("the books are not exact: keep the database as it is, and report the difference");
    Err(Failure::check())
}

/// Whether a report says that nothing differs; one that does not say so is not believed.
fn is_exact(report: &Value) -> bool {
    report.get("differences").and_then(Value::as_u64) == Some(0)
        && report.get("exact").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_that_does_not_say_that_nothing_differs_fails_the_check() {
        assert!(is_exact(
            &json!({"rows": 2, "differences": 0, "exact": true})
        ));
        assert!(!is_exact(
            &json!({"rows": 2, "differences": 1, "exact": true})
        ));
        assert!(!is_exact(
            &json!({"rows": 2, "differences": 0, "exact": false})
        ));
        assert!(!is_exact(&json!({"rows": 2})));
    }
}
