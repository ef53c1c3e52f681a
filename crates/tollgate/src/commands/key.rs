//! `tollgate key`: access keys. A key is shown once, when it is made.

use jiff::SignedDuration;
use serde_json::{Value, json};
use tollgate_core::clock::{Clock as _, SystemClock};

use super::{Paging, Shown, show};
use crate::cli::{Form, Noun};
use crate::client::{Answer, Client, encoded, query};
use crate::output::{self, Column, Failure};

const PATH: &str = "/api/v1/keys";

const COLUMNS: [Column; 7] = [
    Column::text("ID", "/id"),
    Column::text("NAME", "/name"),
    Column::text("ROLE", "/role"),
    Column::text("STATUS", "/status"),
    Column::text("BEGINS", "/prefix"),
    Column::text("LAST USED", "/last_used_at"),
    Column::text("EXPIRES", "/expires_at"),
];

/// What can be done with access keys.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// The keys of a tenant, newest first; without --tenant, an operator's own
    List {
        /// Only those of this role
        #[arg(long, value_parser = ["operator", "admin", "viewer", "caller"])]
        role: Option<String>,
        /// Only those with this status
        #[arg(long, value_parser = ["active", "rotating", "expired", "revoked"])]
        status: Option<String>,
        /// Which page
        #[command(flatten)]
        paging: Paging,
    },
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
        /// For how long it works, as 12h or 30d
        #[arg(long, value_name = "SPAN", conflicts_with = "expires_at", value_parser = span)]
        expires_in: Option<SignedDuration>,
    },
    /// Put a new key in the place of one that works; the new one is shown this once
    Rotate {
        /// The id of the key that is to be replaced
        id: String,
        /// For how long the old key works on, as 0s, 30m or 7d [default: 1d]
        #[arg(long, value_name = "SPAN", value_parser = span)]
        overlap: Option<SignedDuration>,
        /// For how long the new key works, as 90d [default: as long as the old one was to]
        #[arg(long, value_name = "SPAN", value_parser = span)]
        expires_in: Option<SignedDuration>,
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
        Verb::List {
            role,
            status,
            paging,
        } => {
            let [limit, cursor] = paging.parameters();
            let (role, status) = (("role", role.clone()), ("status", status.clone()));
            let parameters = query(&[role, status, limit, cursor]);
            let answer = client.get(&format!("{PATH}{parameters}")).await?;
            show(&answer, noun.form, Shown::List(&COLUMNS))
        }
        Verb::Create {
            name,
            role,
            integration,
            expires_at,
            expires_in,
        } => {
            let mut body = json!({ "name": name, "role": role });
            if let Some(integration) = integration {
                body["integration_id"] = Value::from(integration.as_str());
            }
            if let Some(expires_at) = expires_at {
                body["expires_at"] = Value::from(expires_at.as_str());
            }
            if let Some(span) = expires_in {
                body["expires_at"] = Value::from(from_now(*span)?);
            }
            show_key(&client.post(PATH, Some(&body)).await?, noun.form)
        }
        Verb::Rotate {
            id,
            overlap,
            expires_in,
        } => {
            let mut body = json!({});
            if let Some(overlap) = overlap {
                body["overlap_seconds"] = Value::from(overlap.as_secs());
            }
            if let Some(span) = expires_in {
                body["expires_at"] = Value::from(from_now(*span)?);
            }
            let path = format!("{}/rotate", one(id));
            show_key(&client.post(&path, Some(&body)).await?, noun.form)
        }
        Verb::Get { id } => show(&client.get(&one(id)).await?, noun.form, Shown::Card),
        Verb::Revoke { id } => {
            let answer = client.delete(&one(id)).await?;
            output::say("revoked");
            show(&answer, noun.form, Shown::Card)
        }
    }
}

fn show_key(answer: &Answer, form: Form) -> Result<(), Failure> {
    if !form.json {
        output::say("keep the key: it is not shown again");
    }
    show(answer, form, Shown::Card)
}

/// Reads a span of time: `90s`, `30m`, `12h`, `30d` or `2w`.
fn span(text: &str) -> Result<SignedDuration, String> {
    let needed = "give a number with its unit, as 90s, 30m, 12h, 30d or 2w";
    let (number, unit) = text.split_at(text.trim_end_matches(char::is_alphabetic).len());
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 60 * 60,
        "d" => 24 * 60 * 60,
        "w" => 7 * 24 * 60 * 60,
        _ => return Err(needed.to_owned()),
    };
    let number = number.parse::<u32>().map_err(|_unfit| needed.to_owned())?;
    Ok(SignedDuration::from_secs(i64::from(number) * seconds))
}

fn from_now(span: SignedDuration) -> Result<String, Failure> {
    let now = SystemClock::start().now().wall;
    let then = now.checked_add(span);
    then.map(|then| then.to_string())
        .map_err(|_too_far| Failure::usage("that is too long: give a shorter time"))
}

fn one(id: &str) -> String {
    format!("{PATH}/{}", encoded(id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_a_number_with_its_unit() {
        for (text, seconds) in [("0s", 0), ("90s", 90), ("30m", 1_800), ("30d", 2_592_000)] {
            assert_eq!(span(text), Ok(SignedDuration::from_secs(seconds)), "{text}");
        }
        for text in ["", "30", "d", "-1d", "1.5h", "30 d", "1y", "99999999999d"] {
            assert!(span(text).is_err(), "{text}");
        }
    }
}
