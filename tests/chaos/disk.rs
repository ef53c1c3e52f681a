//! A disk of a node's own that can be filled: a file system in memory, seen by this process and its children alone.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tollgate_tests::setting;

/// Room for a journal of two full segments, and for an embedded store.
const SIZE: &str = "size=256m";

/// What a killed node leaves there, by way of the library that sets its clock back, ends with the run.
const SHARED_MEMORY: &str = "/dev/shm";

/// Set in the environment of a process that has its own mounts.
const MARK: &str = "TOLLGATE_CHAOS_MOUNTS";

/// A mounted disk; dropping it takes it away.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
}

/// Whose disk a node's data directory is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Its own, which can be filled.
    Own,
    /// Everybody's.
    Shared,
}

/// The best kind that this user may have.
pub(crate) fn kind() -> Kind {
    if may_mount() { Kind::Own } else { Kind::Shared }
}

/// Whether this process may mount and nobody else will see it.
pub(crate) fn may_mount() -> bool {
    setting(MARK).is_some()
}

/// Begins this program anew where its mounts end with it, if this user may; else returns.
pub(crate) fn enter_own_mounts() {
    if may_mount() {
        mount(Path::new(SHARED_MEMORY));
        return;
    }
    let mut test = Command::new("unshare");
    test.args(["--mount", "mount", "-t", "tmpfs", "tollgate-chaos", "/mnt"]);
    let tested = test.stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !tested.is_ok_and(|status| status.success()) {
        return;
    }
    let mut anew = Command::new("unshare");
    anew.args(["--mount", "--propagation", "private", "--"]);
    anew.arg(std::env::current_exe().unwrap());
    anew.args(std::env::args_os().skip(1)).env(MARK, "1");
    let error = anew.exec();
    panic!("unshare cannot be run twice: {error}");
}

fn mount(folder: &Path) {
    let mut mount = Command::new("mount");
    mount.args(["-t", "tmpfs", "-o", SIZE, "tollgate-chaos"]);
    let status = mount.arg(folder).status().unwrap();
    assert!(status.success(), "no disk at {}", folder.display());
}

impl Disk {
    /// Mounts one in a folder.
    pub(crate) fn mount(folder: &Path) -> Self {
        mount(folder);
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Leaves no byte free.
    pub(crate) fn fill(&self) {
        let mut ballast = File::options()
            .create(true)
            .append(true)
            .open(self.ballast())
            .unwrap();
        for length in [1 << 20, 1 << 12, 1] {
            let piece = vec![0; length];
            while ballast.write(&piece).is_ok_and(|written| written > 0) {}
        }
    }

    /// Makes room again.
    pub(crate) fn free(&self) {
        std::fs::remove_file(self.ballast()).unwrap();
    }

    fn ballast(&self) -> PathBuf {
        self.folder.join("ballast")
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: what still uses it ends with this process.
        let mut unmount = Command::new("umount");
        drop(unmount.arg("--lazy").arg(&self.folder).status());
    }
}
