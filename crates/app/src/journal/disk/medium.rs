//! What segments lie on: files in a folder. In tests also a disk in memory that can be torn and cut off.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::{fs, io};

#[cfg(test)]
use super::memory::{self, Platter};

/// Where segments are.
#[derive(Debug)]
pub(super) enum Medium {
    /// A folder, for syncing which after a segment was made or removed its handle is kept.
    Folder(File),
    /// Memory, as a machine that may lose power has it.
    #[cfg(test)]
    Memory(Platter),
}

/// An open segment.
#[derive(Debug)]
pub(in crate::journal) enum SegmentFile {
    /// A file.
    File(File),
    /// A piece of memory.
    #[cfg(test)]
    Memory(memory::Piece),
}

impl SegmentFile {
    pub(super) fn write_all_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.write_all_at(bytes, offset),
            #[cfg(test)]
            Self::Memory(piece) => piece.write_all_at(bytes, offset),
        }
    }

    pub(super) fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.read_exact_at(buffer, offset),
            #[cfg(test)]
            Self::Memory(piece) => piece.read_exact_at(buffer, offset),
        }
    }

    pub(super) fn set_len(&self, length: u64) -> io::Result<()> {
        match self {
            Self::File(file) => file.set_len(length),
            #[cfg(test)]
            Self::Memory(piece) => piece.set_len(length),
        }
    }

    pub(super) fn sync_data(&self) -> io::Result<()> {
        match self {
            Self::File(file) => file.sync_data(),
            #[cfg(test)]
            Self::Memory(piece) => piece.sync_data(),
        }
    }
}

impl Medium {
    /// Bytes that this process may still write; none where the system does not say.
    pub(super) fn free_bytes(&self) -> Option<u64> {
        match self {
            Self::Folder(handle) => {
                let disk = rustix::fs::fstatvfs(handle).ok()?;
                Some(disk.f_bavail.saturating_mul(disk.f_frsize))
            }
            #[cfg(test)]
            Self::Memory(_) => None,
        }
    }

    /// Makes an empty segment; one that is there is emptied.
    pub(super) fn create(&self, path: &Path) -> io::Result<SegmentFile> {
        match self {
            Self::Folder(_) => OpenOptions::new()
                .create(true)
                .truncate(true)
                .write(true)
                .mode(0o600)
                .open(path)
                .map(SegmentFile::File),
            #[cfg(test)]
            Self::Memory(platter) => platter.create(path).map(SegmentFile::Memory),
        }
    }

    /// Opens a segment that is there, for reading and cutting.
    pub(super) fn open(&self, path: &Path) -> io::Result<SegmentFile> {
        match self {
            Self::Folder(_) => OpenOptions::new()
                .read(true)
                .write(true)
                .open(path)
                .map(SegmentFile::File),
            #[cfg(test)]
            Self::Memory(platter) => platter.open(path).map(SegmentFile::Memory),
        }
    }

    pub(super) fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        match self {
            Self::Folder(_) => fs::read(path),
            #[cfg(test)]
            Self::Memory(platter) => platter.read(path),
        }
    }

    pub(super) fn remove(&self, path: &Path) -> io::Result<()> {
        match self {
            Self::Folder(_) => fs::remove_file(path),
            #[cfg(test)]
            Self::Memory(platter) => platter.remove(path),
        }
    }

    /// The names of what is there.
    pub(super) fn list(&self, folder: &Path) -> io::Result<Vec<std::ffi::OsString>> {
        match self {
            Self::Folder(_) => fs::read_dir(folder)?
                .map(|entry| entry.map(|entry| entry.file_name()))
                .collect(),
            #[cfg(test)]
            Self::Memory(platter) => platter.list(),
        }
    }

    /// Returns when the list of what is there is on the disk.
    pub(super) fn sync_list(&self) -> io::Result<()> {
        match self {
            Self::Folder(handle) => handle.sync_all(),
            #[cfg(test)]
            Self::Memory(platter) => platter.sync_list(),
        }
    }
}
