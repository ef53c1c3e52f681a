//! The wall clock of a node, which can be set back: by a library that stands between the program and the system.
//!
//! The program itself has no switch to lie to it. Clocks that never go back are left alone.

use std::path::{Path, PathBuf};

/// Folders of libraries, and where `libfaketime` puts its own below them.
const FOLDERS: [&str; 4] = [
    "/usr/lib",
    "/usr/lib64",
    "/usr/local/lib",
    "/opt/homebrew/lib",
];
const LIBRARY: &str = "faketime/libfaketimeMT.so.1";

/// The wall clock of one node.
#[derive(Debug)]
pub(crate) struct WallClock {
    library: PathBuf,
    offset: PathBuf,
}

/// The library that does it, where it is installed.
pub(crate) fn library() -> Option<PathBuf> {
    let below = |folder: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let machines = entries.map(|entry| entry.path().join(LIBRARY));
        machines
            .chain([Path::new(folder).join(LIBRARY)])
            .find(|file| file.is_file())
    };
    FOLDERS.into_iter().find_map(below)
}

/// What a program's environment needs for a wall clock that is so many seconds ahead, or behind, for good.
pub(crate) fn ahead(library: &Path, seconds: i64) -> Vec<(String, String)> {
    let pairs = [
        ("LD_PRELOAD", library.to_str().unwrap().to_owned()),
        ("FAKETIME", format!("{seconds:+}")),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ("FAKETIME_DISABLE_SHM", "1".to_owned()),
    ];
    let named = |(name, value): (&str, String)| (name.to_owned(), value);
    pairs.map(named).to_vec()
}

impl WallClock {
    /// A clock that is right, as a file says.
    pub(crate) fn right(library: PathBuf, offset: PathBuf) -> Self {
        let clock = Self { library, offset };
        clock.set_back(0);
        clock
    }

    /// Shows so many seconds less than there are, from the next second on.
    pub(crate) fn set_back(&self, seconds: u64) {
        let beside = self.offset.with_extension("new");
        std::fs::write(&beside, format!("-{seconds}\n")).unwrap();
        std::fs::rename(&beside, &self.offset).unwrap();
    }

    /// What a program's environment needs for it.
    pub(crate) fn environment(&self) -> Vec<(String, String)> {
        let library = self.library.to_str().unwrap();
        let offset = self.offset.to_str().unwrap();
        let pairs = [
            ("LD_PRELOAD", library),
            ("FAKETIME_TIMESTAMP_FILE", offset),
            ("FAKETIME_CACHE_DURATION", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
            ("FAKETIME_DISABLE_SHM", "1"),
        ];
        pairs
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .to_vec()
    }
}
