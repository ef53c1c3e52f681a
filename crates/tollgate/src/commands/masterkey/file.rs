//! The key file on this machine, while a rotation edits it.

use std::fs::{self, File, TryLockError};
use std::path::PathBuf;

use tollgate_vault::KeyFileText;

use crate::output::{Exit, Failure};
use crate::settings::{SecretReference, Settings};
use crate::wire;

/// The key file, and the lock that keeps another edit off it.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    _lock: File,
}

impl KeyFile {
    /// The key file of these settings, for editing.
    pub(super) fn open(settings: &Settings) -> Result<Self, Failure> {
        let reference = settings.key_reference();
        let SecretReference::File(path) = &reference else {
            return Err(Failure::usage(format_args!(
                "the master keys come from {reference}, which this command cannot edit: put a new \
                 line below the first one there and restart every node, move it to the top and \
                 restart, and take the old line out when `tollgate masterkey status` calls it \
                 removable"
            )));
        };
        // Where the file is a link, what it leads to is replaced and not the link.
        let path = fs::canonicalize(path)
            .map_err(|error| Failure::file("read", path, &error).with(Exit::Usage))?;
        let lock = lock_beside(&path)?;
        Ok(Self { path, _lock: lock })
    }

    /// The text of the file.
    pub(super) fn text(&self) -> Result<String, Failure> {
        fs::read_to_string(&self.path).map_err(|error| Failure::file("read", &self.path, &error))
    }

    /// Puts another text in its place, whole or not at all. It is read back before it counts.
    pub(super) fn replace(&self, text: &KeyFileText) -> Result<(), Failure> {
        text.ring().map_err(Failure::plain)?;
        wire::replace_private(&self.path, |out| text.write_to(out))
    }

    /// Puts back what was there.
    pub(super) fn put_back(&self, old: &str) -> Result<(), Failure> {
        wire::replace_private(&self.path, |out| out.write_all(old.as_bytes()))
    }
}

/// The operating system frees the lock when the process ends, however it ends.
fn lock_beside(path: &std::path::Path) -> Result<File, Failure> {
    let mut name = path.as_os_str().to_owned();
    name.push(".lock");
    let lock_path = PathBuf::from(name);
    let mut options = File::options();
    options.create(true).truncate(false).write(true);
    let file = options
        .open(&lock_path)
        .map_err(|error| Failure::file("open", &lock_path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Failure::new(
            Exit::Conflict,
            "another `tollgate masterkey` is at work on this key file: wait until it has ended",
        )),
        Err(TryLockError::Error(error)) => Err(Failure::file("lock", &lock_path, &error)),
    }
}
