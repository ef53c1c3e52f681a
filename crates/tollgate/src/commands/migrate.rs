//! `tollgate migrate`: the tables of the store, looked at or brought up to date without a server.
//! Every start of the server does the same.

use std::path::PathBuf;

use serde_json::json;
use tollgate_core::NodeId;
use tollgate_core::clock::{Clock as _, SystemClock};
use tollgate_store::{AuditSeal, MigrationStatus, OpenStore, Store};

use crate::cli::Form;
use crate::output::{self, Column, Failure};
use crate::settings::Kept;
use crate::wire::{audit_seal, key_ring, make_folder, of_store};

const COLUMNS: [Column; 3] = [
    Column::number("VERSION", "/version"),
    Column::text("NAME", "/name"),
    Column::text("APPLIED", "/applied_at"),
];

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

/// What can be done with the tables.
#[derive(Debug, Clone, Copy, clap::Subcommand)]
enum Verb {
    /// Which migrations were applied, and which wait
    Status,
    /// Apply what waits, all of it or nothing
    Up,
}

/// Does it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let settings = args.kept.settings()?;
    let url = settings.store_url()?;
    if matches!(args.verb, Verb::Up) {
        make_folder(&settings.folder)?;
    } else if let Some(path) = url.strip_prefix("sqlite:")
        && !PathBuf::from(path.trim_start_matches("//")).exists()
    {
        let missing =
            "there is no database yet: `tollgate migrate up`, or the first start, makes it";
        return Err(Failure::new(output::Exit::NotFound, missing));
    }
    let audit = match args.verb {
        Verb::Status => AuditSeal::absent(),
        Verb::Up => audit_seal(&key_ring(&settings)?),
    };
    let options = OpenStore {
        max_connections: 1,
        node: NodeId::generate(),
        audit,
    };
    let store = Store::open(&url, options)
        .await
        .map_err(|error| of_store(&error))?;
    let status = match args.verb {
        Verb::Status => store.migration_status().await,
        Verb::Up => store.migrate(SystemClock::start().now().wall).await,
    };
    store.close().await;
    told(&status.map_err(|error| of_store(&error))?, args.form)
}

fn told(status: &MigrationStatus, form: Form) -> Result<(), Failure> {
    let applied = status
        .applied
        .iter()
        .map(|one| json!({"version": one.version, "name": one.name, "applied_at": one.applied_at}));
    let pending = status.pending.iter();
    let pending = pending.map(|one| json!({"version": one.version, "name": one.name}));
    let (applied, pending): (Vec<_>, Vec<_>) = (applied.collect(), pending.collect());
    if form.json {
        return output::print(&json!({"applied": applied, "pending": pending}).to_string());
    }
    output::print(&output::table(&COLUMNS, &[applied, pending].concat()))?;
    output::say(match status.pending.len() {
        0 => "the tables are up to date".to_owned(),
        some => format!(
            "{some} migrations wait: `tollgate migrate up`, or the next start, applies them"
        ),
    });
    Ok(())
}
