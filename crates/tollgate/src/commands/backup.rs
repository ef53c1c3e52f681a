//! `tollgate backup`: a copy of an embedded store, made while the server runs, and put back.
//!
//! A backup holds no master key and no journal. On PostgreSQL the database's own tools do this.

mod create;
mod restore;

use std::path::PathBuf;

use serde_json::{Value, json};
use tollgate_store::backup::BackupContent;

use crate::cli::Form;
use crate::output::{self, Failure};
use crate::settings::{Kept, Settings};

/// Where backups go when nobody says where, in the data directory.
pub const FOLDER: &str = "backups";

/// Which store, and what to do.
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

/// What can be done with backups.
#[derive(Debug, clap::Subcommand)]
enum Verb {
    /// Copy an embedded store as it is at one moment; the server may be running. The master key
    /// file is not in it: keep a copy of that somewhere else
    Create {
        /// The file to write; it must not be there [default: backups/ in the data directory]
        #[arg(long, value_name = "FILE")]
        output: Option<PathBuf>,
        /// The control plane's URL, to wait for rows that are on their way [default: where the
        /// settings say that it listens]
        #[arg(long, value_name = "URL", env = "TOLLGATE_ADMIN_URL")]
        url: Option<String>,
    },
    /// Put a backup in the place of the store, after its pages and its books were checked; no
    /// server may be running
    Restore {
        /// The backup
        file: PathBuf,
        /// Move the store that is there aside; without this it is never touched
        #[arg(long)]
        replace: bool,
    },
}

/// Does it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let settings = args.kept.settings()?;
    let database = database_of(&settings)?;
    match args.verb {
        Verb::Create { output, url } => {
            let made = create::create(&settings, &database, output, url).await?;
            told(&made.told(), args.form)
        }
        Verb::Restore { file, replace } => {
            let what = restore::Restore {
                settings: &settings,
                database: &database,
                file: &file,
            };
            told(
                &what.run(replace.then_some(restore::MoveAside)).await?,
                args.form,
            )
        }
    }
}

/// The file of an embedded store.
fn database_of(settings: &Settings) -> Result<PathBuf, Failure> {
    let url = settings.store_url()?;
    let Some(path) = url.strip_prefix("sqlite:") else {
        return Err(Failure::usage(
            "the store is PostgreSQL, whose own tools back it up: pg_dump, or a base backup with \
             archived WAL to go back to any moment; docs/operations.md says how, and what to check \
             after a restore",
        ));
    };
    Ok(PathBuf::from(path.strip_prefix("//").unwrap_or(path)))
}

/// What a backup holds, as it is printed.
fn content(content: &BackupContent) -> Value {
    json!({
        "made_at": content.note.made_at,
        "made_by": content.note.program,
        "rows": content.rows,
        "cost_nanos": content.cost_nanos,
        "last_settled_at": content.last_settled_at,
    })
}

fn told(what: &Value, form: Form) -> Result<(), Failure> {
    if form.json {
        output::print(&what.to_string())
    } else {
        output::print(&output::card(what))
    }
}
