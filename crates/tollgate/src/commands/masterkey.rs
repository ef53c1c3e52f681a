//! `tollgate masterkey`: master keys, rotated while the server runs. Needs an operator's key.
//!
//! `rotate` and `retire` edit the key file, so they run on the server's machine with its settings.
//! They keep no notes: what is still to be done is read from the file and from the server, so that
//! whatever was interrupted goes on when the command is given again.

mod file;

use std::path::PathBuf;
use std::time::Duration;

use serde_json::Value;
use tollgate_vault::{KeyRing, MasterKeyId, VaultError};

use self::file::KeyFile;
use crate::cli::{Form, Noun};
use crate::client::{Answer, Client};
use crate::output::{self, Column, Exit, Failure};
use crate::settings::{Flags, Settings};

const PATH: &str = "/api/v1/masterkeys";
const REWRAP: &str = "/api/v1/masterkeys/rewrap";

/// Between two looks at the nodes.
const GLANCE: Duration = Duration::from_millis(200);

const COLUMNS: [Column; 5] = [
    Column::text("ID", "/id"),
    Column::text("ACTIVE", "/active"),
    Column::text("ON EVERY NODE", "/known"),
    Column::number("CREDENTIALS", "/credentials"),
    Column::text("REMOVABLE", "/removable"),
];

/// What can be done with master keys.
#[derive(Debug, clap::Subcommand)]
pub enum Verb {
    /// Which master keys there are, what is sealed under each, and which can go
    Status,
    /// Bring a new master key into use and re-wrap every credential; on the server's machine.
    /// Given again, it goes on where it was interrupted
    Rotate(Place),
    /// Take a master key that nothing needs any more out of the key file; on the server's machine
    Retire {
        /// The key's id
        id: String,
        /// Where the key file is.
        #[command(flatten)]
        place: Place,
    },
}

/// Where the server's key file is, and how long to wait for its nodes.
#[derive(Debug, clap::Args)]
pub struct Place {
    /// The settings' file [default: tollgate.toml in the data directory if that is given, else here]
    #[arg(long, value_name = "FILE", env = "TOLLGATE_CONFIG")]
    config: Option<PathBuf>,
    /// The folder for everything that is kept [default: tollgate-data]
    #[arg(long, value_name = "FOLDER")]
    data_dir: Option<PathBuf>,
    /// Seconds to wait for every node and every credential
    #[arg(long, value_name = "SECONDS", default_value_t = 60)]
    wait: u64,
}

impl Place {
    fn settings(&self) -> Result<Settings, Failure> {
        Settings::load(&Flags {
            config: self.config.clone(),
            data_dir: self.data_dir.clone(),
            ..Flags::default()
        })
    }
}

/// Does it.
pub async fn run(noun: Noun<Verb>) -> Result<(), Failure> {
    let client = Client::new(&noun.remote)?;
    match &noun.verb {
        Verb::Status => {
            let answer = client.get(PATH).await?;
            if noun.form.json {
                return output::print(&answer.text);
            }
            told(&answer.json, noun.form)
        }
        Verb::Rotate(place) => {
            let waiting = rotate(&client, place);
            let limit = Duration::from_secs(place.wait);
            let keys = tokio::time::timeout(limit, waiting).await;
            told(
                &keys.map_err(|_elapsed| out_of_time(place.wait))??,
                noun.form,
            )
        }
        Verb::Retire { id, place } => {
            let id = id.parse().map_err(Failure::usage)?;
            told(&retire(&client, place, id).await?, noun.form)
        }
    }
}

fn out_of_time(seconds: u64) -> Failure {
    let message = format!(
        "not done within {seconds} s: see what waits with `tollgate masterkey status`, bring nodes \
         with a key file of their own the one of this machine, and give the command again"
    );
    Failure::new(Exit::Conflict, message)
}

/// The whole rotation, from wherever it stands. Returns where the keys stand after it.
async fn rotate(client: &Client, place: &Place) -> Result<Value, Failure> {
    let file = KeyFile::open(&place.settings()?)?;
    // Before anything is changed: whether somebody is there, and lets us.
    let mut keys = client.post(REWRAP, None).await?;
    let text = file.text()?;
    let ring = KeyRing::parse(&text).map_err(Failure::plain)?;
    let under_way = KeyRing::next_in_file(&text);
    if under_way.is_none() && !is_finished(&keys, ring.active_id()) {
        output::say(format_args!("going on with {}", ring.active_id()));
        return finish(client, keys, ring.active_id()).await;
    }
    let (added, next) = KeyRing::file_with_next(&text).map_err(Failure::plain)?;
    file.replace(&added)?;
    let did = if under_way.is_some() {
        "going on with"
    } else {
        "added"
    };
    output::say(format_args!("{did} {next}"));
    keys = client.post(REWRAP, None).await?;
    while !every_node(&keys, |node| has(node, "known", next)) {
        tokio::time::sleep(GLANCE).await;
        keys = client.post(REWRAP, None).await?;
    }
    let active = KeyRing::file_with_active(&file.text()?, next).map_err(Failure::plain)?;
    file.replace(&active)?;
    output::say(format_args!("{next} seals from now on"));
    let keys = client.post(REWRAP, None).await?;
    finish(client, keys, next).await
}

/// Waits until everything is sealed under the active key, on every node.
async fn finish(client: &Client, mut keys: Answer, active: MasterKeyId) -> Result<Value, Failure> {
    while !is_finished(&keys, active) {
        let failed = keys.json.get("failed").and_then(Value::as_u64).unwrap_or(0);
        if failed > 0 {
            return Err(Failure::plain(format_args!(
                "{failed} credentials cannot be re-wrapped, the server's log names them: enter \
                 them again, or put the master key that they need back into the key file"
            )));
        }
        tokio::time::sleep(GLANCE).await;
        keys = client.post(REWRAP, None).await?;
    }
    output::say(format_args!("every credential is sealed under {active}"));
    let keys = keys.json.get("masterkeys").cloned().unwrap_or_default();
    for old in removable(&keys) {
        output::say(format_args!(
            "{old} can go: tollgate masterkey retire {old}; backups made until now need it, so keep a copy of it with them"
        ));
    }
    Ok(keys)
}

/// Takes a key out, if the server says that nothing needs it.
async fn retire(client: &Client, place: &Place, id: MasterKeyId) -> Result<Value, Failure> {
    let file = KeyFile::open(&place.settings()?)?;
    let keys = client.get(PATH).await?.json;
    let listed = keys.get("keys").and_then(Value::as_array);
    let is_it = |key: &&Value| key.get("id").and_then(Value::as_str) == Some(id.as_str());
    let state = listed.and_then(|keys| keys.iter().find(is_it));
    let is_removable = state.is_none_or(|state| state.get("removable") == Some(&Value::Bool(true)));
    if !is_removable {
        let credentials = state.and_then(|state| state.get("credentials")?.as_u64());
        let message = match credentials {
            Some(0) | None => format!(
                "`{id}` is still in use on a node: rotate first, and see `tollgate masterkey status`"
            ),
            Some(some) => format!("{some} credentials are sealed under `{id}`: rotate first"),
        };
        return Err(Failure::new(Exit::Conflict, message));
    }
    let old = file.text()?;
    let without = KeyRing::file_without(&old, id).map_err(|error| {
        let is_missing = matches!(error, VaultError::NoSuchMasterKey { .. });
        let exit = if is_missing {
            Exit::NotFound
        } else {
            Exit::Conflict
        };
        Failure::new(exit, error.to_string())
    })?;
    file.replace(&without)?;
    match client.post(REWRAP, None).await {
        Ok(answer) => {
            output::say(format_args!(
                "{id} is out of the key file; nodes with one of their own need the new one too"
            ));
            Ok(answer.json.get("masterkeys").cloned().unwrap_or_default())
        }
        Err(failure) if failure.exit == Exit::Conflict => {
            file.put_back(&old)?;
            Err(failure)
        }
        Err(failure) => Err(failure),
    }
}

/// Whether nothing is left to do for this key: every node seals with it, and nothing is sealed
/// under another one.
fn is_finished(answer: &Answer, active: MasterKeyId) -> bool {
    let keys = answer
        .json
        .pointer("/masterkeys/keys")
        .and_then(Value::as_array);
    let others = keys
        .into_iter()
        .flatten()
        .filter(|key| key.get("id").and_then(Value::as_str) != Some(active.as_str()));
    let is_used = |key: &Value| {
        key.get("credentials").and_then(Value::as_u64) != Some(0)
            || key.get("active") == Some(&Value::Bool(true))
    };
    !others.into_iter().any(is_used)
        && every_node(answer, |node| {
            let used = node.get("used").and_then(Value::as_array);
            let only =
                used.is_some_and(|used| used.iter().all(|id| id.as_str() == Some(active.as_str())));
            only && node.get("active").and_then(Value::as_str) == Some(active.as_str())
        })
}

fn every_node(answer: &Answer, holds: impl Fn(&Value) -> bool) -> bool {
    let nodes = answer
        .json
        .pointer("/masterkeys/nodes")
        .and_then(Value::as_array);
    nodes.is_some_and(|nodes| !nodes.is_empty() && nodes.iter().all(holds))
}

fn has(node: &Value, list: &str, id: MasterKeyId) -> bool {
    let ids = node.get(list).and_then(Value::as_array);
    ids.is_some_and(|ids| ids.iter().any(|one| one.as_str() == Some(id.as_str())))
}

fn removable(keys: &Value) -> Vec<String> {
    let listed = keys.get("keys").and_then(Value::as_array);
    let removable = listed
        .into_iter()
        .flatten()
        .filter(|key| key.get("removable") == Some(&Value::Bool(true)));
    removable
        .filter_map(|key| Some(key.get("id")?.as_str()?.to_owned()))
        .collect()
}

/// Prints where the keys stand.
fn told(keys: &Value, form: Form) -> Result<(), Failure> {
    if form.json {
        return output::print(&keys.to_string());
    }
    let rows = keys.get("keys").and_then(Value::as_array);
    output::print(&output::table(
        &COLUMNS,
        rows.map_or(&[][..], Vec::as_slice),
    ))?;
    let nodes = keys.get("nodes").and_then(Value::as_array);
    for node in nodes.into_iter().flatten() {
        let text = |name: &str| node.get(name).and_then(Value::as_str).unwrap_or("-");
        output::say(format_args!(
            "node {} seals with {}, last seen {}",
            text("id"),
            text("active"),
            text("seen_at")
        ));
    }
    Ok(())
}
