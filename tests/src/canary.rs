//! The canary: a provider key that is used in every test, and looked for in everything that the program wrote.

use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The credential of every integration of the suite; worth nothing anywhere.
pub const CANARY: &str = "sk-canary-7Qm2vX9ZkT4wLr8NbY3hJd6F";

/// Its unmistakable part: what stands before it may be cut off, and its last four characters are shown on purpose.
const CORE: &str = "7Qm2vX9ZkT4wLr8NbY3h";

/// The core as it is, in hex, and in base64 wherever it may begin in a longer text.
fn needles() -> Vec<Vec<u8>> {
    let hex = hex_of(CORE);
    let mut needles = vec![CORE.to_owned(), hex.to_uppercase(), hex];
    for shift in 0..3 {
        let shifted = [&b"xx"[..shift], CORE.as_bytes()].concat();
        for engine in [STANDARD, URL_SAFE] {
            let text = engine.encode(&shifted);
            // The characters at both ends also depend on what stands around.
            needles.push(text.chars().skip(4).take(20).collect());
        }
    }
    needles.into_iter().map(String::into_bytes).collect()
}

fn hex_of(text: &str) -> String {
    text.bytes()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .filter_map(|digit| char::from_digit(digit.into(), 16))
        .collect()
}

/// The files below a folder that hold the canary in any of these forms.
pub fn found_in(folder: &Path) -> Vec<PathBuf> {
    let needles = needles();
    let holds = |file: &PathBuf| {
        // A server's own file may go while it is looked for.
        let bytes = std::fs::read(file).unwrap_or_default();
        needles.iter().any(|needle| contains(&bytes, needle))
    };
    files(folder).into_iter().filter(holds).collect()
}

fn contains(bytes: &[u8], needle: &[u8]) -> bool {
    let first = needle[0];
    let mut rest = bytes;
    while let Some(at) = rest.iter().position(|byte| *byte == first) {
        rest = &rest[at..];
        if rest.starts_with(needle) {
            return true;
        }
        rest = &rest[1..];
    }
    false
}

/// Every file below a folder.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let kind = entry.file_type().unwrap();
            if kind.is_dir() {
                folders.push(entry.path());
            } else if kind.is_file() {
                found.push(entry.path());
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_canary_is_found_in_clear_in_hex_and_in_base64_behind_any_text() {
        let folder = tempfile::tempdir().unwrap();
        let nested = folder.path().join("deeper");
        std::fs::create_dir(&nested).unwrap();
        let file = nested.join("file");
        for before in ["", "a", "ab", "Bearer "] {
            let text = format!("{before}{CANARY} and more");
            for form in [
                text.clone(),
                hex_of(&text),
                STANDARD.encode(&text),
                URL_SAFE.encode(&text),
            ] {
                std::fs::write(&file, &form).unwrap();
                assert_eq!(
                    found_in(folder.path()),
                    std::slice::from_ref(&file),
                    "{form}"
                );
            }
        }
        std::fs::write(&file, "…Jd6F is shown, the rest is not").unwrap();
        assert_eq!(found_in(folder.path()), Vec::<PathBuf>::new());
    }
}
