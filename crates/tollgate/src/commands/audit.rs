//! `tollgate audit`: who changed what, and whether the record of it is as it was written.

use serde_json::Value;

use super::{Paging, Shown, show};
use crate::cli::Noun;
use crate::client::{Answer, Client, query};
use crate::output::{self, Column, Failure};

const COLUMNS: [Column; 7] = [
    Column::number("NO", "/seq"),
    Column::text("TIME", "/created_at"),
    Column::text("TENANT", "/tenant_id"),
    Column::text("BY", "/actor/kind"),
    Column::text("KEY", "/actor/name"),
    Column::text("ACTION", "/action"),
    Column::text("TARGET", "/target"),
];

/// What can be asked about the audit trail.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The entries, newest first; with --json also what was before and after
    List {
        /// Only this action, as integration.enable
        #[arg(long, value_name = "ACTION")]
        action: Option<String>,
        /// Only what was done to this: a kind (integration), or a kind and an id (integration/ID)
        #[arg(long, value_name = "TARGET")]
        target: Option<String>,
        /// Only what this one did: a key's id, or system, or console
        #[arg(long, value_name = "WHO")]
        actor: Option<String>,
        /// The first day, as 2026-11-01, or a time
        #[arg(long, value_name = "DAY")]
        from: Option<String>,
        /// The last day, or the time before which
        #[arg(long, value_name = "DAY")]
        to: Option<String>,
        /// Every trail, with an operator's key and no --tenant
        #[arg(long)]
        all: bool,
        /// Which page.
        #[command(flatten)]
        paging: Paging,
    },
    /// Walk the trail and name the first entry that is not as it was written; exit code 8 if there is one
    Verify {
        /// What an earlier verification told as the head: the trail must have been through it
        #[arg(long, value_name = "SEQ:HASH")]
        head: Option<String>,
        /// Every trail, with an operator's key and no --tenant
        #[arg(long, conflicts_with = "head")]
        all: bool,
    },
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    let every = |all: bool| ("all", all.then(|| "true".to_owned()));
    match noun.verb {
        Verb::List {
            action,
            target,
            actor,
            from,
            to,
            all,
            paging,
        } => {
            let asked = [
                ("action", action),
                ("target", target),
                ("actor", actor),
                ("from", from),
                ("to", to),
                every(all),
            ];
            let asked = [asked.as_slice(), &paging.parameters()].concat();
            let answer = client
                .get(&format!("/api/v1/audit{}", query(&asked)))
                .await?;
            show(&answer, noun.form, Shown::List(&COLUMNS))
        }
        Verb::Verify { head, all } => {
            let asked = query(&[("head", head), every(all)]);
            let answer = client.get(&format!("/api/v1/audit/verify{asked}")).await?;
            if noun.form.json {
                output::print(&answer.text)?;
            } else {
                tell(&answer)?;
            }
            if is_good(&answer.json) {
                Ok(())
            } else {
                Err(Failure::check())
            }
        }
    }
}

/// What was found, for people: the head on standard output, so that it can be kept.
fn tell(report: &Answer) -> Result<(), Failure> {
    let count = |name: &str| {
        report
            .json
            .get(name)
            .and_then(Value::as_u64)
            .unwrap_or_default()
    };
    if let Some(head) = head_of(&report.json) {
        output::print(&head)?;
    }
    if is_good(&report.json) {
        let (entries, trails) = (count("entries"), count("trails"));
        output::say(format_args!(
            "the audit trail is as it was written ({entries} entries of {trails} trails)"
        ));
        if head_of(&report.json).is_some() {
            output::say(
                "keep the line above elsewhere: a later `audit verify --head` proves that nothing was cut off",
            );
        }
        return Ok(());
    }
    let bad = |name: &str| {
        let found = report.json.pointer(&format!("/first_bad/{name}"));
        found.and_then(Value::as_str).map(str::to_owned)
    };
    let whose = bad("tenant_id").map_or_else(
        || "the operator's own trail".to_owned(),
        |tenant| format!("the trail of the tenant {tenant}"),
    );
    let what = bad("detail").unwrap_or_else(|| "the answer does not say where".to_owned());
    output::say(format_args!(
        "the audit trail is not as it was written: in {whose}, {what}; keep the database as it is"
    ));
    Ok(())
}

fn head_of(report: &Value) -> Option<String> {
    let head = report.get("head")?;
    let (seq, hash) = (head.get("seq")?.as_i64()?, head.get("hash")?.as_str()?);
    Some(format!("{seq}:{hash}"))
}

/// Whether a report says that nothing is wrong; one that does not say so is not believed.
fn is_good(report: &Value) -> bool {
    report.get("ok").and_then(Value::as_bool) == Some(true)
        && report.get("first_bad").is_some_and(Value::is_null)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_report_that_does_not_say_that_all_is_well_fails_the_check() {
        assert!(is_good(&json!({"ok": true, "first_bad": null})));
        assert!(!is_good(&json!({"ok": true})));
        assert!(!is_good(&json!({"ok": false, "first_bad": null})));
        assert!(!is_good(&json!({"ok": true, "first_bad": {"seq": 1}})));
    }

    #[test]
    fn a_head_is_told_as_it_is_asked_for() {
        let report = json!({"head": {"seq": 7, "hash": "ab"}});
        assert_eq!(head_of(&report).as_deref(), Some("7:ab"));
        assert_eq!(head_of(&json!({"head": null})), None);
    }
}
