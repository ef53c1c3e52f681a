//! The journal's folder: the only place where it touches files.

mod medium;
#[cfg(test)]
pub(super) mod memory;

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;

use self::medium::Medium;
pub(super) use self::medium::SegmentFile;
use super::error::JournalError;

const LOCK_NAME: &str = "journal.lock";

/// The folder, locked for this process while the value lives.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    medium: Medium,
    /// Holds the lock: the system frees it when the process ends, however it ends.
    _lock: Option<File>,
    #[cfg(test)]
    pub(super) faults: faults::Faults,
}

impl Disk {
    /// Makes the folder where it is missing, for its owner alone, and locks it.
    pub(super) fn open(folder: PathBuf) -> Result<Self, JournalError> {
        let fail = |doing| {
            let folder = folder.clone();
            move |source| JournalError::io(doing, folder, source)
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&folder)
            .map_err(fail("make the folder"))?;
        let lock = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .mode(0o600)
            .open(folder.join(LOCK_NAME))
            .map_err(fail("write to the folder"))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(JournalError::InUse { folder }),
            Err(TryLockError::Error(source)) => return Err(fail("lock the folder")(source)),
        }
        let handle = File::open(&folder).map_err(fail("open the folder"))?;
        Ok(Self {
            folder,
            medium: Medium::Folder(handle),
            _lock: Some(lock),
            #[cfg(test)]
            faults: faults::Faults::default(),
        })
    }

    /// The disk of a simulation.
    #[cfg(test)]
    pub(super) fn in_memory(platter: &memory::Platter) -> Self {
        Self {
            folder: PathBuf::from("simulated"),
            medium: Medium::Memory(platter.clone()),
            _lock: None,
            faults: faults::Faults::default(),
        }
    }

    /// Where the segment of that number is.
    pub(super) fn path(&self, segment: u64) -> PathBuf {
        self.folder.join(format!("journal-{segment:016x}.seg"))
    }

    /// The numbers of the segments that are there, rising.
    pub(super) fn segments(&self) -> Result<Vec<u64>, JournalError> {
        let (numbers, strangers) = self.all_segments()?;
        match strangers.into_iter().next() {
            None => Ok(numbers),
            Some(file) => Err(JournalError::Corrupt {
                file,
                offset: 0,
                what: "its name is not that of a segment",
            }),
        }
    }

    /// The numbers of the segments that are there, rising; and files that are named nearly like one.
    pub(super) fn all_segments(&self) -> Result<(Vec<u64>, Vec<PathBuf>), JournalError> {
        let fail = |source| JournalError::io("list the folder", self.folder.clone(), source);
        let (mut numbers, mut strangers) = (Vec::new(), Vec::new());
        for name in self.medium.list(&self.folder).map_err(fail)? {
            let digits = name
                .to_str()
                .and_then(|name| name.strip_prefix("journal-")?.strip_suffix(".seg"));
            let Some(digits) = digits else { continue };
            let number = u64::from_str_radix(digits, 16).ok();
            let path = self.folder.join(&name);
            let number = number.filter(|number| self.path(*number) == path);
            match number {
                Some(number) => numbers.push(number),
                None => strangers.push(path),
            }
        }
        numbers.sort_unstable();
        strangers.sort_unstable();
        Ok((numbers, strangers))
    }

    /// Makes a segment that begins with `header`; one of that number that never was finished is replaced.
    pub(super) fn create(&self, segment: u64, header: &[u8]) -> Result<SegmentFile, JournalError> {
        let path = self.path(segment);
        let file = self
            .medium
            .create(&path)
            .map_err(|source| JournalError::io("make", path.clone(), source))?;
        if let Err(error) = self.write(&file, segment, header, 0) {
            // Best effort: what stays is replaced by the next try, or cut off by the next start.
            drop(self.medium.remove(&path));
            return Err(error);
        }
        Ok(file)
    }

    /// Writes all of `bytes` at `offset`, or fails and may leave a part of them.
    pub(super) fn write(
        &self,
        file: &SegmentFile,
        segment: u64,
        bytes: &[u8],
        offset: u64,
    ) -> Result<(), JournalError> {
        #[cfg(test)]
        let written = self.faults.write(file, bytes, offset);
        #[cfg(not(test))]
        let written = file.write_all_at(bytes, offset);
        written.map_err(|source| JournalError::io("write to", self.path(segment), source))
    }

    /// Cuts a segment off at `length`.
    pub(super) fn cut(
        &self,
        file: &SegmentFile,
        segment: u64,
        length: u64,
    ) -> Result<(), JournalError> {
        file.set_len(length)
            .map_err(|source| JournalError::io("cut", self.path(segment), source))
    }

    /// Opens a segment that is there, for reading and cutting.
    pub(super) fn open_segment(&self, segment: u64) -> Result<SegmentFile, JournalError> {
        self.medium
            .open(&self.path(segment))
            .map_err(|source| JournalError::io("open", self.path(segment), source))
    }

    /// The whole content of a segment.
    pub(super) fn read(&self, segment: u64) -> Result<Vec<u8>, JournalError> {
        self.medium
            .read(&self.path(segment))
            .map_err(|source| JournalError::io("read", self.path(segment), source))
    }

    /// Fills `buffer` from a segment, beginning at `offset`.
    pub(super) fn read_at(
        &self,
        file: &SegmentFile,
        segment: u64,
        buffer: &mut [u8],
        offset: u64,
    ) -> Result<(), JournalError> {
        file.read_exact_at(buffer, offset)
            .map_err(|source| JournalError::io("read", self.path(segment), source))
    }

    /// Returns when the segment's content and length are on the disk.
    pub(super) fn sync(&self, file: &SegmentFile, segment: u64) -> Result<(), JournalError> {
        #[cfg(test)]
        let synced = self.faults.sync(file);
        #[cfg(not(test))]
        let synced = file.sync_data();
        synced.map_err(|source| JournalError::io("sync", self.path(segment), source))
    }

    /// Returns when the list of the folder's files is on the disk.
    pub(super) fn sync_folder(&self) -> Result<(), JournalError> {
        self.medium
            .sync_list()
            .map_err(|source| JournalError::io("sync the folder", self.folder.clone(), source))
    }

    /// Moves files, in this order, into a folder of their own within this one; the folder.
    pub(super) fn set_aside(&self, name: u64, files: &[PathBuf]) -> Result<PathBuf, JournalError> {
        let aside = self.folder.join(format!("damaged-{name:016x}"));
        let fail = |doing| {
            let aside = aside.clone();
            move |source| JournalError::io(doing, aside, source)
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&aside)
            .map_err(fail("make the folder"))?;
        for file in files {
            let to = aside.join(file.file_name().unwrap_or_default());
            std::fs::rename(file, to).map_err(fail("move files into"))?;
        }
        File::open(&aside)
            .and_then(|folder| folder.sync_all())
            .map_err(fail("sync the folder"))?;
        self.sync_folder()?;
        Ok(aside)
    }

    /// Bytes that this process may still write to the folder's disk; none where the system does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        #[cfg(test)]
        if let Some(free) = self.faults.free() {
            return Some(free);
        }
        self.medium.free_bytes()
    }

    /// Removes a segment; one that is gone is no error.
    pub(super) fn remove(&self, segment: u64) -> Result<(), JournalError> {
        match self.medium.remove(&self.path(segment)) {
            Err(source) if source.kind() != io::ErrorKind::NotFound => {
                Err(JournalError::io("remove", self.path(segment), source))
            }
            _ => Ok(()),
        }
    }
}

/// A disk that fails on command: the faults that a test cannot cause otherwise.
#[cfg(test)]
pub(super) mod faults {
    use std::io;
    use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

    use super::SegmentFile;

    #[derive(Debug)]
    pub(in super::super) struct Faults {
        /// Bytes that there is still room for.
        pub(in super::super) room: AtomicUsize,
        /// Whether every sync fails.
        pub(in super::super) no_sync: AtomicBool,
        /// How often a segment was synced.
        pub(in super::super) syncs: AtomicU64,
        /// What the system says is free; `u64::MAX` is what it really says.
        pub(in super::super) free: AtomicU64,
    }

    impl Default for Faults {
        fn default() -> Self {
            Self {
                room: AtomicUsize::new(usize::MAX),
                no_sync: AtomicBool::new(false),
                syncs: AtomicU64::new(0),
                free: AtomicU64::new(u64::MAX),
            }
        }
    }

    impl Faults {
        pub(super) fn write(
            &self,
            file: &SegmentFile,
            bytes: &[u8],
            offset: u64,
        ) -> io::Result<()> {
            let room = self.room.load(Ordering::SeqCst);
            let fitting = bytes.len().min(room);
            file.write_all_at(&bytes[..fitting], offset)?;
            if room != usize::MAX {
                self.room.store(room - fitting, Ordering::SeqCst);
            }
            if fitting < bytes.len() {
                return Err(io::ErrorKind::StorageFull.into());
            }
            Ok(())
        }

        pub(super) fn free(&self) -> Option<u64> {
            let free = self.free.load(Ordering::SeqCst);
            (free != u64::MAX).then_some(free)
        }

        pub(super) fn sync(&self, file: &SegmentFile) -> io::Result<()> {
            self.syncs.fetch_add(1, Ordering::SeqCst);
            if self.no_sync.load(Ordering::SeqCst) {
                return Err(io::Error::other("input/output error"));
            }
            file.sync_data()
        }
    }
}
