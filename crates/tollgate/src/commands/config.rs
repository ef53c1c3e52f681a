//! `tollgate config`: what is set, where each setting comes from, and whether all of it is good.

use serde::Serialize;
use serde_json::{Value, json};

use super::serve;
use crate::cli::Form;
use crate::output::{self, Column, Failure};
use crate::settings::{Flags, Settings, StoreUrl};

const COLUMNS: [Column; 3] = [
    Column::text("SETTING", "/name"),
    Column::text("VALUE", "/value"),
    Column::text("FROM", "/source"),
];

/// Which settings, and what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done with settings.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Every setting in force and where it comes from: default, file, environment or flag. What
    /// may hold a secret is not shown
    Show {
        /// Where settings come from.
        #[command(flatten)]
        flags: Flags,
        /// How to print it.
        #[command(flatten)]
        form: Form,
    },
    /// Read the settings and the key file, and say everything that is wrong with them
    Check {
        /// Where settings come from.
        #[command(flatten)]
        flags: Flags,
    },
}

/// Does it.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.verb {
        Verb::Check { flags } => serve::check(&flags),
        Verb::Show { flags, form } => show(&Settings::load(&flags)?, form),
    }
}

fn show(settings: &Settings, form: Form) -> Result<(), Failure> {
    let rows = rows(settings)?;
    if form.json {
        return output::print(&json!({ "data": rows }).to_string());
    }
    output::print(&output::table(&COLUMNS, &rows))
}

fn rows(settings: &Settings) -> Result<Vec<Value>, Failure> {
    let mut rows = Vec::new();
    let mut add = |name: String, value: Value| {
        let said = settings.said.iter().rev().find(|(said, _)| *said == name);
        let source = said.map_or_else(|| "default".to_owned(), |(_, place)| place.to_string());
        rows.push(json!({ "name": name, "value": value, "source": source }));
    };
    add(
        "data_dir".to_owned(),
        settings.folder.display().to_string().into(),
    );
    add(
        "gateway.listen".to_owned(),
        settings.gateway_address().to_string().into(),
    );
    for (name, value) in section("gateway", &settings.gateway)? {
        add(name, value);
    }
    add(
        "admin.listen".to_owned(),
        settings.admin_address().to_string().into(),
    );
    add("store.url".to_owned(), store_url(settings)?.into());
    add(
        "store.max_connections".to_owned(),
        settings.store.max_connections.into(),
    );
    for (name, value) in section("app", &settings.app)? {
        add(name, value);
    }
    add(
        "vault.key_file".to_owned(),
        settings.key_reference().to_string().into(),
    );
    for (name, value) in section("providers", &settings.providers)? {
        add(name, value);
    }
    for (name, value) in section("log", &settings.log)? {
        add(name, value);
    }
    Ok(rows)
}

fn section(name: &str, settings: &impl Serialize) -> Result<Vec<(String, Value)>, Failure> {
    let value = serde_json::to_value(settings).map_err(Failure::plain)?;
    let members = value.as_object().cloned().unwrap_or_default();
    let named = members
        .into_iter()
        .map(|(member, value)| (format!("{name}.{member}"), value));
    Ok(named.collect())
}

/// The address of the store; one of PostgreSQL may hold a password, so that only its kind is shown.
fn store_url(settings: &Settings) -> Result<String, Failure> {
    match &settings.store.url {
        Some(StoreUrl::Secret(reference)) => Ok(reference.to_string()),
        Some(StoreUrl::Plain(url)) if !url.starts_with("sqlite:") => {
            Ok("postgres://… (not shown)".to_owned())
        }
        Some(StoreUrl::Plain(_)) | None => settings.store_url(),
    }
}
