//! `tollgate init`: what an installation needs before it can serve, made where it is missing.

use std::path::{Path, PathBuf};

use serde_json::json;
use tollgate_app::keys::{KeyFilter, NewKey};
use tollgate_app::revision::Precondition;
use tollgate_app::{App, Context};
use tollgate_core::access::KeyStatus;
use tollgate_core::audit::Actor;
use tollgate_core::page::PageAsk;
use tollgate_core::role::Role;
use tollgate_vault::KeyRing;

use crate::output::{self, Exit, Failure};
use crate::settings::{Flags, SecretReference, Settings};
use crate::wire::{self, Written};

/// Where to make it.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The settings' file [default: tollgate.toml in the data directory if that is given, else here]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    pub config: Option<PathBuf>,
    /// The folder for everything that is kept [default: tollgate-data]
    #[arg(long, value_name = "FOLDER")]
    pub data_dir: Option<PathBuf>,
    /// Print one JSON line
    #[arg(long)]
    pub json: bool,
}

/// Makes what is missing; what is there stays as it is.
pub async fn run(args: Args) -> Result<(), Failure> {
    let flags = Flags {
        config: args.config.clone(),
        data_dir: args.data_dir.clone(),
        ..Flags::default()
    };
    let (file, _) = flags.file();
    let wrote_file = write_settings(&file, &flags)?;
    let mut settings = Settings::load(&Flags {
        config: Some(file.clone()),
        ..flags
    })?;
    let wrote_key = write_key_file(&settings).await?;
    let ring = wire::key_ring(&settings)?;
    let was_there = wrote_file == Written::WasThere && wrote_key == Written::WasThere;
    let operator_key = if was_there && wire::is_store_taken(&settings).await? {
        output::say("a Tollgate is running here: its store is left as it is");
        None
    } else {
        set_up_store(&mut settings, ring).await?
    };
    let told = |written: Written| {
        if written == Written::Anew {
            "made"
        } else {
            "was there"
        }
    };
    output::say(format_args!(
        "settings    {} ({})",
        file.display(),
        told(wrote_file)
    ));
    output::say(format_args!(
        "master key  {} ({})",
        settings.key_reference(),
        told(wrote_key)
    ));
    if args.json {
        let line = json!({
            "config": file.display().to_string(),
            "data_dir": settings.folder.display().to_string(),
            "operator_key": operator_key,
        });
        return output::print(&line.to_string());
    }
    match operator_key {
        None => output::say("operator keys are shown only when they are made; none was made now"),
        Some(key) => {
            output::say("operator key, shown only now: keep it safe");
            output::print(&key)?;
        }
    }
    output::say("keep a copy of the master key file somewhere safe: without it nothing opens");
    let config = args.config.or(args.data_dir.map(|_| file));
    let config = config.map_or_else(String::new, |file| format!(" --config {}", file.display()));
    output::say(format_args!("next: tollgate serve{config}"));
    Ok(())
}

fn write_settings(file: &Path, flags: &Flags) -> Result<Written, Failure> {
    if let Some(folder) = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        wire::make_folder(folder)?;
    }
    let settings = Settings::read(None, Vec::new(), flags)
        .map_err(|mistakes| Failure::new(Exit::Usage, mistakes.to_string()))?;
    // An absolute path: the program may be started from anywhere.
    let folder = std::path::absolute(&settings.folder)
        .map_err(|error| Failure::file("find", &settings.folder, &error))?;
    let folder = toml::Value::String(folder.display().to_string());
    wire::write_private(file, |out| {
        writeln!(
            out,
            "# The settings of this Tollgate. What is not said here has its default; an environment\n\
             # variable TOLLGATE__SECTION__NAME wins over this file, and a flag over both.\n\
             data_dir = {folder}\n\n\
             [gateway]\nlisten = \"127.0.0.1:8080\"\n\n\
             [admin]\nlisten = \"127.0.0.1:8081\""
        )
    })
}

/// Makes the key file that the settings name, unless it is there. Beside a store that is in use it
/// is not made: nothing that the store holds would open with it.
pub(super) async fn write_key_file(settings: &Settings) -> Result<Written, Failure> {
    let SecretReference::File(path) = settings.key_reference() else {
        return Ok(Written::WasThere);
    };
    if path.exists() {
        return Ok(Written::WasThere);
    }
    if wire::is_store_in_use(settings).await? {
        let path = path.display();
        return Err(Failure::plain(format_args!(
            "the master key file is missing; restore it from your backup: the store has keys \
             that open only with what was in {path}"
        )));
    }
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        wire::make_folder(folder)?;
    }
    let text = KeyRing::generate_file_text().map_err(Failure::plain)?;
    wire::write_private(&path, |out| text.write_to(out))
}

/// An operator's circumstances, for whoever has a shell on this machine.
pub(super) fn console(app: &App) -> Context {
    Context {
        actor: Actor::Console,
        role: Role::Operator,
        tenant: None,
        precondition: Precondition::None,
        bound_to: None,
        request_id: None,
        now: app.now(),
    }
}

/// Makes the tables and the first operator key, if there is none.
async fn set_up_store(settings: &mut Settings, ring: KeyRing) -> Result<Option<String>, Failure> {
    // No call is made here, and the journal may be another process's.
    let journal = tempfile::tempdir()?;
    settings.app.journal_dir = Some(journal.path().to_owned());
    let app = wire::start_app(settings, ring).await?;
    let operator_key = first_operator_key(&app).await;
    app.stop().await;
    operator_key
}

/// Makes the first operator key; none when a live one is there.
async fn first_operator_key(app: &App) -> Result<Option<String>, Failure> {
    let context = console(app);
    for status in [KeyStatus::Active, KeyStatus::Rotating] {
        let filter = KeyFilter {
            status: Some((status, context.now.wall)),
            ..KeyFilter::default()
        };
        let keys = app.list_keys(&context, PageAsk::default(), filter).await;
        if !keys.map_err(|error| wire::of_app(&error))?.rows.is_empty() {
            return Ok(None);
        }
    }
    let new = NewKey {
        name: "first operator".to_owned(),
        role: Role::Operator,
        integration_id: None,
        expires_at: None,
    };
    let created = app
        .create_key(&context, new)
        .await
        .map_err(|error| wire::of_app(&error))?;
    Ok(Some(created.secret.reveal()))
}
