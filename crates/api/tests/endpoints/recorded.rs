//! Files that record what the code does: a difference fails, and the new text is put at hand.

use std::fs;
use std::path::Path;

/// Compares a text with the recorded one at `path`, from this crate's folder.
#[track_caller]
pub(crate) fn check(path: &str, text: &str) {
    let recorded = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    if fs::read_to_string(&recorded).unwrap_or_default() == text {
        return;
    }
    let new = Path::new(env!("CARGO_TARGET_TMPDIR")).join(recorded.file_name().unwrap());
    fs::write(&new, text).unwrap();
    panic!(
        "crates/api/{path} is not what the code does: read the difference, then\n\
         cp {} {}",
        new.display(),
        recorded.display()
    );
}
