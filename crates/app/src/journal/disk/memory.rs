//! A disk in memory, for simulations: it can be torn in the middle of a write, can lose what was not
//! synced, and can refuse to write or to sync.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

/// The disk. Cheap to clone: copies are the same disk.
#[derive(Debug, Clone, Default)]
pub(crate) struct Platter(Arc<Mutex<State>>);

/// One file of the disk.
#[derive(Debug, Clone)]
pub(crate) struct Piece {
    platter: Platter,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    files: BTreeMap<PathBuf, Content>,
    /// Files whose removal a loss of power may undo.
    removed: Vec<(PathBuf, Content)>,
    /// Bytes that there is still room for, where that is bounded.
    room: Option<usize>,
    /// Bytes that are still written before the process dies.
    tear_after: Option<usize>,
    /// Whether every sync fails.
    refuses_syncs: bool,
    /// The process that had it is gone: nothing it still does has an effect.
    is_cut_off: bool,
}

#[derive(Debug, Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    /// So many bytes survive a loss of power.
    synced: usize,
    /// A sync failed: the system has forgotten what it should have written, and no later sync says so.
    is_doubtful: bool,
    /// Whether the list of files that has it survives a loss of power.
    is_listed: bool,
}

fn dead() -> io::Error {
    io::Error::other("the process is gone")
}

impl Platter {
    /// Whether the disk was cut off in the middle of a write.
    pub(crate) fn is_cut_off(&self) -> bool {
        self.0.lock().is_cut_off
    }

    /// The next write ends after so many bytes, and with it the process.
    pub(crate) fn tear_after(&self, bytes: usize) {
        self.0.lock().tear_after = Some(bytes);
    }

    /// From now on there is room for so many bytes.
    pub(crate) fn leave_room(&self, bytes: usize) {
        self.0.lock().room = Some(bytes);
    }

    /// From now on syncs fail.
    pub(crate) fn refuse_syncs(&self) {
        self.0.lock().refuses_syncs = true;
    }

    /// It has room again, and syncs.
    pub(crate) fn mend(&self) {
        let mut state = self.0.lock();
        state.room = None;
        state.refuses_syncs = false;
    }

    /// The process dies: what it wrote is there for the next, and nothing it still does has an effect.
    pub(crate) fn kill(&self) -> Self {
        let mut state = self.0.lock();
        state.is_cut_off = true;
        let mut files = state.files.clone();
        for content in files.values_mut() {
            // A system that has forgotten a failed write through a restart and then loses power is not simulated: the
            // journal then names the damage and stops.
            content.is_doubtful = false;
        }
        Self(Arc::new(Mutex::new(State {
            files,
            removed: state.removed.clone(),
            ..State::default()
        })))
    }

    /// The machine loses power: of what was not synced a part is there, as `choose` decides, which is asked for a
    /// number up to its argument.
    pub(crate) fn lose_power(&self, mut choose: impl FnMut(usize) -> usize) -> Self {
        let left = self.kill();
        let mut state = left.0.lock();
        let back = state.removed.len() - choose(state.removed.len());
        let removed = std::mem::take(&mut state.removed);
        // A file system forgets the latest changes of its list first.
        state.files.extend(removed.into_iter().skip(back));
        let unlisted: Vec<PathBuf> = state
            .files
            .iter()
            .filter(|(_, content)| !content.is_listed)
            .map(|(path, _)| path.clone())
            .collect();
        let kept = choose(unlisted.len());
        for path in unlisted.iter().skip(kept) {
            state.files.remove(path);
        }
        for content in state.files.values_mut() {
            let unsynced = content.bytes.len().saturating_sub(content.synced);
            let length = content.synced + choose(unsynced);
            content.bytes.truncate(length);
            *content = Content {
                bytes: std::mem::take(&mut content.bytes),
                synced: length,
                is_doubtful: false,
                is_listed: true,
            };
        }
        drop(state);
        left
    }

    fn change<T>(&self, change: impl FnOnce(&mut State) -> io::Result<T>) -> io::Result<T> {
        let mut state = self.0.lock();
        if state.is_cut_off {
            return Err(dead());
        }
        change(&mut state)
    }

    pub(super) fn create(&self, path: &Path) -> io::Result<Piece> {
        self.change(|state| {
            state.files.insert(path.to_owned(), Content::default());
            Ok(Piece {
                platter: self.clone(),
                path: path.to_owned(),
            })
        })
    }

    pub(super) fn open(&self, path: &Path) -> io::Result<Piece> {
        self.change(|state| {
            state.content(path)?;
            Ok(Piece {
                platter: self.clone(),
                path: path.to_owned(),
            })
        })
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.change(|state| state.content(path).map(|content| content.bytes.clone()))
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        self.change(|state| {
            let gone = state
                .files
                .remove(path)
                .ok_or(io::Error::from(io::ErrorKind::NotFound))?;
            if gone.is_listed {
                state.removed.push((path.to_owned(), gone));
            }
            Ok(())
        })
    }

    pub(super) fn list(&self) -> io::Result<Vec<OsString>> {
        self.change(|state| {
            let names = state.files.keys().filter_map(|path| path.file_name());
            Ok(names.map(ToOwned::to_owned).collect())
        })
    }

    pub(super) fn sync_list(&self) -> io::Result<()> {
        self.change(|state| {
            state.may_sync()?;
            state.removed.clear();
            for content in state.files.values_mut() {
                content.is_listed = true;
            }
            Ok(())
        })
    }
}

impl State {
    fn content(&mut self, path: &Path) -> io::Result<&mut Content> {
        self.files
            .get_mut(path)
            .ok_or(io::Error::from(io::ErrorKind::NotFound))
    }

    fn may_sync(&self) -> io::Result<()> {
        if self.refuses_syncs {
            return Err(io::Error::other("input/output error"));
        }
        Ok(())
    }

    /// How many of so many bytes are written, and what is said of it.
    fn fitting(&mut self, length: usize) -> (usize, io::Result<()>) {
        if let Some(left) = self.tear_after.take() {
            self.is_cut_off = true;
            return (length.min(left), Err(dead()));
        }
        let room = self.room.unwrap_or(usize::MAX);
        let fitting = length.min(room);
        self.room = self.room.map(|room| room - fitting);
        let outcome = if fitting < length {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(())
        };
        (fitting, outcome)
    }
}

impl Piece {
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.platter.change(|state| {
            let (fitting, outcome) = state.fitting(bytes.len());
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let content = state.content(&self.path)?;
            let end = offset + fitting;
            if content.bytes.len() < end {
                content.bytes.resize(end, 0);
            }
            content.bytes[offset..end].copy_from_slice(&bytes[..fitting]);
            outcome
        })
    }

    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        self.platter.change(|state| {
            let offset = usize::try_from(offset).map_err(io::Error::other)?;
            let content = state.content(&self.path)?;
            let found = content.bytes.get(offset..offset + buffer.len());
            buffer.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
            Ok(())
        })
    }

    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        self.platter.change(|state| {
            let length = usize::try_from(length).map_err(io::Error::other)?;
            let content = state.content(&self.path)?;
            content.bytes.resize(length, 0);
            content.synced = content.synced.min(length);
            Ok(())
        })
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        self.platter.change(|state| {
            let outcome = state.may_sync();
            let content = state.content(&self.path)?;
            match outcome {
                Ok(()) if !content.is_doubtful => content.synced = content.bytes.len(),
                Ok(()) => {}
                Err(_) => content.is_doubtful = true,
            }
            outcome
        })
    }
}
