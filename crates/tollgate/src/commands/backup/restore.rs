//! Putting a backup in the place of a store: everything is checked on a copy, and only then moved.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tollgate_core::audit::{Actor, AuditEntry};
use tollgate_core::clock::{Clock as _, SystemClock};
use tollgate_store::OpenStore;
use tollgate_store::backup::{self, BackupContent, Ready};
use tollgate_vault::{KeyRing, Sealed};

use crate::output::{self, Exit, Failure};
use crate::settings::Settings;
use crate::wire::{self, key_ring, make_folder, node_id, of_store};

/// That a store which is there may be moved aside.
#[derive(Debug, Clone, Copy)]
pub(super) struct MoveAside;

/// What is to be restored, and where.
pub(super) struct Restore<'a> {
    pub(super) settings: &'a Settings,
    pub(super) database: &'a Path,
    pub(super) file: &'a Path,
}

impl Restore<'_> {
    /// Does it. Whatever fails before the last step leaves everything as it was.
    pub(super) async fn run(&self, aside: Option<MoveAside>) -> Result<Value, Failure> {
        if !self.file.is_file() {
            let message = format!("there is no backup {}", self.file.display());
            return Err(Failure::new(Exit::NotFound, message));
        }
        if let Some(folder) = self
            .database
            .parent()
            .filter(|one| !one.as_os_str().is_empty())
        {
            make_folder(folder)?;
        }
        make_folder(&self.settings.folder)?;
        let _held = backup::hold(self.database).map_err(|error| of_store(&error))?;
        if self.database.exists() && aside.is_none() {
            let message = format!(
                "there is a store already, {}: with --replace it is moved aside, not deleted",
                self.database.display()
            );
            return Err(Failure::new(Exit::Conflict, message));
        }
        let ring = key_ring(self.settings)?;
        let now = SystemClock::start().now().wall;
        let copy = beside(self.database, ".restoring");
        clear(&copy)?;
        let checked = self.checked_copy(&copy, &ring, now).await;
        let (content, ready) = match checked {
            Ok(checked) => checked,
            Err(failure) => {
                clear(&copy)?;
                return Err(failure);
            }
        };
        let aside = self.put_in_place(&copy, now).await?;
        clear(&copy)?;
        Ok(self.told(&content, &ready, aside.as_deref()))
    }

    /// A copy of the backup that is fit to take the store's place.
    async fn checked_copy(
        &self,
        copy: &Path,
        ring: &KeyRing,
        now: Timestamp,
    ) -> Result<(BackupContent, Ready), Failure> {
        let refused = |reason: &str| {
            let file = self.file.display();
            Failure::new(
                Exit::CheckFailed,
                format!("{file} is not restored: {reason}"),
            )
        };
        let copied = fs::copy(self.file, copy)
            .and_then(|_bytes| fs::set_permissions(copy, fs::Permissions::from_mode(0o600)))
            .and_then(|()| File::open(copy)?.sync_all());
        copied.map_err(|error| Failure::file("copy the backup to", copy, &error))?;
        let content = backup::inspect(copy).await;
        let content = content.map_err(|error| refused(&error.to_string()))?;
        if content.note.pepper_mark != ring.pepper_mark() {
            return Err(refused(
                "the master key file is another installation's: with it no access key would work \
                 and no credential open; restore the key file that belongs to the backup first",
            ));
        }
        let node = node_id(&self.settings.folder)?;
        let entry = AuditEntry {
            tenant: None,
            actor: Actor::Console,
            action: "backup.restore",
            target: format!("node/{node}"),
            before: None,
            after: Some(super::content(&content).to_string()),
            request_id: None,
            at: now,
        };
        let options = OpenStore::for_node(node, wire::audit_seal(ring));
        let ready = backup::make_ready(copy, options, entry).await;
        let ready = ready.map_err(|error| refused(&error.to_string()))?;
        if let Some(first) = &ready.books.first {
            return Err(refused(&format!("its books are not exact: {first}")));
        }
        let needed = ready.sealed_openings.iter();
        let needed: BTreeSet<_> = needed
            .filter_map(|opening| Sealed::master_key_in(opening))
            .collect();
        if let Some(id) = needed
            .into_iter()
            .find(|id| !ring.ids().any(|known| known == *id))
        {
            return Err(refused(&format!(
                "credentials in it are sealed under the master key `{id}`, which the key file \
                 lacks: put its line back, below the first one"
            )));
        }
        Ok((content, ready))
    }

    /// Moves the copy to where the store is to be. At every moment there is one whole store there:
    /// the old one, and then the new one.
    async fn put_in_place(&self, copy: &Path, now: Timestamp) -> Result<Option<PathBuf>, Failure> {
        let database = self.database;
        let mut aside = None;
        if database.exists() {
            // A damaged store cannot be gathered: then its files are kept as they are.
            if let Err(error) = backup::gather(database).await {
                output::say(format_args!(
                    "the store that was there is damaged ({error}); it is kept"
                ));
            }
            let kept = beside(
                database,
                &format!(".replaced-{}", now.strftime("%Y%m%dT%H%M%SZ")),
            );
            let link = fs::hard_link(database, &kept);
            link.map_err(|error| Failure::file("keep the old store as", &kept, &error))?;
            for (file, kept) in backup::files_beside(database)
                .iter()
                .zip(backup::files_beside(&kept))
            {
                if file.exists() {
                    let moved = fs::rename(file, &kept);
                    moved.map_err(|error| Failure::file("move aside", file, &error))?;
                }
            }
            aside = Some(kept);
        }
        let moved = fs::rename(copy, database).and_then(|()| {
            let folder = database
                .parent()
                .filter(|folder| !folder.as_os_str().is_empty());
            File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
        });
        moved.map_err(|error| Failure::file("put in place", database, &error))?;
        Ok(aside)
    }

    fn told(&self, content: &BackupContent, ready: &Ready, aside: Option<&Path>) -> Value {
        let journal = self.settings.app.journal_dir.clone();
        let journal = journal.unwrap_or_else(|| self.settings.folder.join("journal"));
        if journal.exists() {
            output::say(
                "the journal of this node is still here: what it has and the backup has not is booked at the next start",
            );
        } else {
            output::say(
                "calls that were made after the backup are not in its books: compare with the providers' bills",
            );
        }
        let retired: Vec<Value> = ready
            .retired
            .iter()
            .map(|id| id.to_string().into())
            .collect();
        let mut told = super::content(content);
        if let Some(members) = told.as_object_mut() {
            members.insert(
                "store".to_owned(),
                self.database.display().to_string().into(),
            );
            members.insert(
                "moved_aside".to_owned(),
                aside.map(|path| path.display().to_string()).into(),
            );
            members.insert("verified_rows".to_owned(), ready.books.rows.into());
            members.insert("retired_nodes".to_owned(), retired.into());
        }
        told
    }
}

/// A file beside the store, with the store's name and more.
fn beside(database: &Path, more: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Removes a copy with all that stands beside it; it is this command's own.
fn clear(copy: &Path) -> Result<(), Failure> {
    let mut files = vec![copy.to_owned(), beside(copy, ".lock")];
    files.extend(backup::files_beside(copy));
    for file in files {
        match fs::remove_file(&file) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Failure::file("remove", &file, &error));
            }
            _ => {}
        }
    }
    Ok(())
}
