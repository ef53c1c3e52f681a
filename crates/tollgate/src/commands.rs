//! The commands: one file each, named as it is typed.

pub mod audit;
pub mod backup;
pub mod chat;
pub mod completions;
pub mod config;
pub mod dev;
pub mod doctor;
pub mod init;
pub mod integration;
pub mod journal;
pub mod key;
pub mod ledger;
pub mod limit;
pub mod masterkey;
pub mod migrate;
pub mod node;
pub mod openapi;
pub mod price;
pub mod provider;
pub mod rollup;
pub mod serve;
pub mod tenant;
pub mod usage;

use std::io::{self, IsTerminal as _};

use serde_json::Value;

use crate::cli::{Command, Form};
use crate::client::Answer;
use crate::output::{self, Column, Exit, Failure};
use crate::replay::ReplayError;
use crate::settings::environment;
use crate::{bench, replay, simulate};

/// Runs a command to its end.
pub async fn run(command: Command) -> Result<(), Failure> {
    match command {
        Command::Dev(args) => dev::run(args).await,
        Command::Serve(args) => Box::pin(serve::run(args)).await,
        Command::Init(args) => Box::pin(init::run(args)).await,
        Command::Tenant(noun) => tenant::run(noun).await,
        Command::Key(noun) => key::run(noun).await,
        Command::Integration(noun) => integration::run(noun).await,
        Command::Limit(noun) => limit::run(noun).await,
        Command::Price(noun) => price::run(noun).await,
        Command::Provider(noun) => provider::run(noun).await,
        Command::Usage(noun) => usage::run(noun).await,
        Command::Audit(noun) => audit::run(noun).await,
        Command::Ledger(noun) => ledger::run(noun).await,
        Command::Rollup(noun) => rollup::run(noun).await,
        Command::Masterkey(noun) => masterkey::run(noun).await,
        Command::Node(noun) => node::run(noun).await,
        Command::Backup(args) => backup::run(args).await,
        Command::Journal(args) => journal::run(&args),
        Command::Migrate(args) => migrate::run(args).await,
        Command::Config(args) => config::run(args),
        Command::Doctor(args) => doctor::run(args).await,
        Command::Simulate(args) => simulate::run(args).await.map_err(Failure::plain),
        Command::Replay(args) => {
            let key = environment::read("TOLLGATE_KEY");
            replay::run_command(args, key)
                .await
                .map_err(|error| of_replay(&error))
        }
        Command::Bench(args) => bench::run_command(args).await,
        Command::Chat(args) => Box::pin(chat::run(args)).await,
        Command::Openapi => openapi::run(),
        Command::Completions(args) => completions::run(&args),
    }
}

fn of_replay(error: &ReplayError) -> Failure {
    let exit = match error {
        ReplayError::NoKey | ReplayError::Denied(_) => Exit::Denied,
        ReplayError::Option(_) | ReplayError::Plan(_) => Exit::Usage,
        ReplayError::Unreachable { .. } => Exit::Unreachable,
        ReplayError::Io(_) | ReplayError::Broken(_) | ReplayError::CallsFailed { .. } => {
            Exit::Failure
        }
    };
    Failure::new(exit, error.to_string())
}

/// How an answer is shown.
#[derive(Debug, Clone, Copy)]
enum Shown<'a> {
    /// The `data` of a list as a table.
    List(&'a [Column]),
    /// One object, name by name.
    Card,
}

/// Prints an answer: as it came, or for people.
fn show(answer: &Answer, form: Form, shown: Shown<'_>) -> Result<(), Failure> {
    if form.json {
        return output::print(&answer.text);
    }
    let answer = &answer.json;
    match shown {
        Shown::Card => output::print(&output::card(answer)),
        Shown::List(columns) => {
            let rows = answer
                .get("data")
                .and_then(Value::as_array)
                .map_or(&[][..], Vec::as_slice);
            if rows.is_empty() {
                output::say("there is none");
                return Ok(());
            }
            output::print(&output::table(columns, rows))?;
            if let Some(cursor) = answer.get("next_cursor").and_then(Value::as_str) {
                output::say(format_args!("there are more: --cursor {cursor}"));
            }
            Ok(())
        }
    }
}

/// Goes on only if the same text is typed; where nobody can type, `--yes` has to say it.
fn confirm(text: &str) -> Result<(), Failure> {
    let unasked = "this cannot be undone: give --yes to do it without being asked";
    if !io::stdin().is_terminal() {
        return Err(Failure::usage(unasked));
    }
    output::say(format_args!("type {text} to go on:"));
    let mut typed = String::new();
    io::stdin().read_line(&mut typed)?;
    if typed.trim() == text {
        return Ok(());
    }
    Err(Failure::plain(
        "that is something else: nothing was changed",
    ))
}

/// Which page of a list.
#[derive(Debug, Clone, clap::Args)]
pub struct Paging {
    /// Rows to show, up to 200
    #[arg(long, value_name = "N")]
    limit: Option<u16>,
    /// Where the page before ended
    #[arg(long, value_name = "CURSOR")]
    cursor: Option<String>,
}

impl Paging {
    fn parameters(&self) -> [(&'static str, Option<String>); 2] {
        [
            ("limit", self.limit.map(|limit| limit.to_string())),
            ("cursor", self.cursor.clone()),
        ]
    }
}
