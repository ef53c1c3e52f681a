//! `tollgate journal`: what this node's journal holds, and what to do when it is damaged.
//!
//! On the server's machine, while no server runs on it.

use serde_json::{Value, json};
use tollgate_app::journal::{self, Damage, Inspection, JournalError};

use crate::cli::Form;
use crate::output::{self, Column, Exit, Failure};
use crate::settings::Kept;

/// Which journal, and what to do.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    verb: Verb,
    /// Whose.
    #[command(flatten)]
    kept: Kept,
    /// How to print it.
    #[command(flatten)]
    form: Form,
}

/// What can be done with a journal.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Verb {
    /// Read all of it and say what it holds and what is damaged; changes nothing. Exit code 8
    /// where something is damaged
    Inspect,
    /// Keep every record that can be read and set the damaged files aside; nothing is deleted, and
    /// nothing happens where nothing is damaged
    Salvage,
}

const DAMAGES: &[Column] = &[
    Column::text("FILE", "/file"),
    Column::number("OFFSET", "/offset"),
    Column::number("BYTES", "/bytes"),
    Column::text("WHAT", "/what"),
    Column::text("CALLS AFTER", "/after"),
    Column::text("AND BEFORE", "/before"),
];

/// Does it.
pub fn run(args: &Args) -> Result<(), Failure> {
    let settings = args.kept.settings()?;
    let folder = settings.app.journal(settings.folder.join("journal")).dir;
    if !folder.is_dir() {
        let folder = folder.display();
        let message = format!("there is no journal in {folder}: name the data directory");
        return Err(Failure::new(Exit::NotFound, message));
    }
    match args.verb {
        Verb::Inspect => {
            let found = journal::inspect(&folder).map_err(|error| of_journal(&error))?;
            tell(&found, args.form, &json!({ "folder": folder }))?;
            if found.damages.is_empty() {
                return Ok(());
            }
            output::say(
                "restore the damaged files if you have them; else `tollgate journal salvage` keeps \
                 what can be read and sets the old files aside",
            );
            Err(Failure::check())
        }
        Verb::Salvage => {
            let done = journal::salvage(&folder).map_err(|error| of_journal(&error))?;
            let aside = done.set_aside;
            tell(
                &done.found,
                args.form,
                &json!({ "folder": folder, "set_aside": aside }),
            )?;
            output::say(match aside {
                None => "nothing is damaged, and nothing was changed".to_owned(),
                Some(aside) => format!(
                    "what can be read is kept and the node can start; the old files are in {}. \
                     Compare the ledger with the providers' bills for the time around each damage",
                    aside.display()
                ),
            });
            Ok(())
        }
    }
}

/// The failure of a journal, with the exit code that tells a clash from damage.
pub fn of_journal(error: &JournalError) -> Failure {
    let exit = match error {
        JournalError::InUse { .. } => Exit::Conflict,
        JournalError::Corrupt { .. } => Exit::CheckFailed,
        JournalError::Io { .. }
        | JournalError::DiskFull { .. }
        | JournalError::Format { .. }
        | JournalError::Full { .. }
        | JournalError::NoRoom { .. }
        | JournalError::TooLong { .. }
        | JournalError::NotSynced
        | JournalError::NotOpen
        | JournalError::Unclosed { .. } => Exit::Failure,
    };
    Failure::new(exit, error.to_string())
}

fn tell(found: &Inspection, form: Form, more: &Value) -> Result<(), Failure> {
    let damages: Vec<Value> = found.damages.iter().map(damage).collect();
    let mut told = json!({
        "segments": found.segments.len(),
        "bytes": found.segments.iter().map(|segment| segment.bytes).sum::<u64>(),
        "records": found.records,
        "rows": found.rows,
        "open_calls": found.open_calls,
        "torn_bytes": found.torn_bytes,
        "damages": damages.len(),
    });
    if let (Value::Object(told), Value::Object(more)) = (&mut told, more) {
        told.extend(more.clone());
    }
    if form.json {
        told["damages"] = Value::Array(damages);
        return output::print(&told.to_string());
    }
    output::print(&output::card(&told))?;
    if damages.is_empty() {
        return Ok(());
    }
    output::print(&output::table(DAMAGES, &damages))
}

fn damage(damage: &Damage) -> Value {
    json!({
        "file": damage.file,
        "offset": damage.offset,
        "bytes": damage.bytes,
        "what": damage.what,
        "after": damage.after,
        "before": damage.before,
    })
}
