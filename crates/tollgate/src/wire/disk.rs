//! A start that fails because there is no room: said as that, whatever found it first.

use std::path::Path;

use crate::output::Failure;

/// With so few bytes free neither the database nor the journal can be written to.
const FULL_BELOW_BYTES: u64 = 1 << 20;

/// What a start says that failed on a data directory.
pub(super) fn explained(failure: Failure, folder: &Path) -> Failure {
    match free_bytes(folder) {
        Some(free) if free < FULL_BELOW_BYTES => full(&failure, folder, free),
        _ => failure,
    }
}

fn free_bytes(folder: &Path) -> Option<u64> {
    let disk = rustix::fs::statvfs(folder).ok()?;
    Some(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn full(failure: &Failure, folder: &Path, free: u64) -> Failure {
    let (before, folder) = (&failure.message, folder.display());
    let message = format!(
        "the disk of {folder} is full ({free} bytes are free), and an embedded database and the journal are on it: free some \
         room there and start again; nothing is lost. Backups in {folder}/backups that are kept elsewhere too and folders \
         {folder}/journal/damaged-… that were looked at can go; the database, its -wal file and the other files of the \
         journal must stay (it was: {before})"
    );
    Failure::new(failure.exit, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_on_a_full_disk_names_the_disk_and_what_can_go_and_keeps_its_exit_code() {
        let before = Failure::usage("the database is unavailable");
        let exit = before.exit;
        let folder = Path::new("/data");
        let said = full(&before, folder, 4_095);
        assert_eq!(said.exit, exit);
        for part in [
            "the disk of /data is full (4095 bytes are free)",
            "/data/backups",
            "the database is unavailable",
        ] {
            assert!(said.message.contains(part), "{}", said.message);
        }
    }

    #[test]
    fn a_start_that_fails_with_room_on_the_disk_says_what_it_said() {
        let here = std::env::temp_dir();
        let said = explained(Failure::plain("something else"), &here);
        assert_eq!(said.message, "something else");
    }
}
