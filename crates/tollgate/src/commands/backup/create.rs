//! Making a backup.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tollgate_core::clock::{Clock as _, SystemClock};
use tollgate_store::backup::{self, BackupContent, BackupNote};

use super::FOLDER;
use crate::client::Client;
use crate::output::{self, Exit, Failure};
use crate::settings::Settings;
use crate::wire::{key_ring, make_folder, of_store};

/// How long to wait for rows that are on their way to the ledger.
const ROWS_PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks at them.
const GLANCE: Duration = Duration::from_millis(50);

/// A backup that was made.
pub(super) struct Made {
    file: PathBuf,
    content: BackupContent,
    /// Rows that waited in the server's journal when the copy began; none if no server answered.
    waiting: Option<u64>,
}

impl Made {
    /// What is printed.
    pub(super) fn told(&self) -> Value {
        let mut told = super::content(&self.content);
        if let Some(members) = told.as_object_mut() {
            members.insert("file".to_owned(), self.file.display().to_string().into());
            members.insert("rows_in_journal".to_owned(), self.waiting.into());
        }
        told
    }
}

/// Makes one. What is in it is in it whole, or the file is not there.
pub(super) async fn create(
    settings: &Settings,
    database: &Path,
    to: Option<PathBuf>,
    url: Option<String>,
) -> Result<Made, Failure> {
    if !database.exists() {
        let message = format!(
            "there is no store to back up: {} is missing",
            database.display()
        );
        return Err(Failure::new(Exit::NotFound, message));
    }
    let ring = key_ring(settings)?;
    let now = SystemClock::start().now().wall;
    let file = file_for(settings, to, now)?;
    let url = url.unwrap_or_else(|| format!("http://{}", settings.admin_address()));
    let waiting = settled(&Client::without_key(&url)?).await;
    let mut name = file.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    let part = file.with_file_name(name);
    let content = copy(
        database,
        &part,
        BackupNote {
            made_at: now,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            pepper_mark: ring.pepper_mark().to_owned(),
        },
    )
    .await;
    let content = content.and_then(|content| {
        finish(&part, &file).map_err(|error| Failure::file("write", &file, &error))?;
        Ok(content)
    });
    if content.is_err() {
        drop(std::fs::remove_file(&part));
    }
    let content = content?;
    output::say(
        "the master key file is not in it: keep a copy of that somewhere else, without it no credential in here opens",
    );
    if waiting.is_some_and(|rows| rows > 0) {
        output::say("rows that waited in the journal are not in it: the next backup has them");
    }
    Ok(Made {
        file,
        content,
        waiting,
    })
}

/// The file that is to be written; it is not there yet.
fn file_for(settings: &Settings, to: Option<PathBuf>, now: Timestamp) -> Result<PathBuf, Failure> {
    let file = if let Some(file) = to {
        file
    } else {
        let folder = settings.folder.join(FOLDER);
        make_folder(&folder)?;
        folder.join(format!("tollgate-{}.db", now.strftime("%Y%m%dT%H%M%SZ")))
    };
    if file.exists() {
        let message = format!("{} is there already: name another file", file.display());
        return Err(Failure::new(Exit::Conflict, message));
    }
    Ok(file)
}

async fn copy(database: &Path, part: &Path, note: BackupNote) -> Result<BackupContent, Failure> {
    // Made here first, so that nobody else may read it; what an interrupted backup left goes.
    let emptied = OpenOptions::new()
        .create(true)
        .write(true)
        .truncate(true)
        .mode(0o600)
        .open(part);
    emptied.map_err(|error| Failure::file("write", part, &error))?;
    let made = backup::create(database, part, note).await;
    made.map_err(|error| of_store(&error))
}

fn finish(part: &Path, file: &Path) -> std::io::Result<()> {
    File::open(part)?.sync_all()?;
    std::fs::rename(part, file)?;
    let folder = file
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

/// Waits a while for the rows that are on their way to the ledger; how many still were at the end.
async fn settled(client: &Client) -> Option<u64> {
    let mut waiting = lag(client).await?;
    let watching = async {
        while waiting > 0 {
            tokio::time::sleep(GLANCE).await;
            waiting = lag(client).await.unwrap_or(0);
        }
    };
    let in_time = tokio::time::timeout(ROWS_PATIENCE, watching).await;
    drop(in_time);
    Some(waiting)
}

async fn lag(client: &Client) -> Option<u64> {
    let (_, body) = client.probe("/readyz?verbose=1").await.ok()?;
    let ready: Value = serde_json::from_str(&body).ok()?;
    ready.pointer("/checks/ledger_lag_rows")?.as_u64()
}
