//! The files of the workspace, read once and shared by every rule.

use super::rust_file::RustFile;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

/// Folders that hold nothing that we wrote.
const SKIPPED: [&str; 8] = [
    ".git",
    "target",
    ".venv",
    "node_modules",
    "__pycache__",
    ".pytest_cache",
    "corpus",
    "artifacts",
];

/// Ends of names whose text is read; other files only count as existing.
const TEXT: [&str; 9] = ["rs", "md", "toml", "sql", "py", "sh", "txt", "yml", "yaml"];

/// Every file and folder by path, with the text of those that rules read.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    /// All files, and the folders that hold one, relative to the root, with `/`.
    pub(crate) paths: BTreeSet<String>,
    /// The text files among them.
    pub(crate) texts: BTreeMap<String, String>,
    /// The Rust files among those, with their tokens.
    pub(crate) rust: Vec<RustFile>,
}

impl Tree {
    /// Reads everything below `root` that is ours.
    pub(crate) fn read(root: &Path) -> Result<Self, String> {
        let mut tree = Self::default();
        tree.read_folder(root, "")?;
        Ok(tree)
    }

    /// A tree in memory: what the rules' own tests feed them.
    #[cfg(test)]
    pub(crate) fn of(files: &[(&str, &str)]) -> Self {
        let mut tree = Self::default();
        for (path, text) in files {
            tree.add_path(path);
            tree.add_text(path, (*text).to_owned());
        }
        tree
    }

    /// The Markdown files with their text.
    pub(crate) fn markdown(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts
            .iter()
            .filter(|(path, _)| has_end(path, "md"))
            .map(|(path, text)| (path.as_str(), text.as_str()))
    }

    fn read_folder(&mut self, folder: &Path, prefix: &str) -> Result<(), String> {
        let unreadable = |error| format!("cannot read {}: {error}", folder.display());
        for entry in fs::read_dir(folder).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if SKIPPED.contains(&name.as_str()) {
                continue;
            }
            let path = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(unreadable)?;
            if kind.is_dir() {
                self.read_folder(&entry.path(), &format!("{path}/"))?;
                continue;
            }
            self.add_path(&path);
            if kind.is_file() && is_text(&path) {
                let text = fs::read_to_string(entry.path())
                    .map_err(|error| format!("cannot read {path} as text: {error}"))?;
                self.add_text(&path, text);
            }
        }
        Ok(())
    }

    /// Notes a file and the folders above it: a folder without a file is in no clone.
    fn add_path(&mut self, path: &str) {
        let folders = path.match_indices('/').filter_map(|(at, _)| path.get(..at));
        self.paths.extend(folders.map(str::to_owned));
        self.paths.insert(path.to_owned());
    }

    fn add_text(&mut self, path: &str, text: String) {
        if has_end(path, "rs") {
            self.rust.push(RustFile::new(path, &text));
        }
        self.texts.insert(path.to_owned(), text);
    }
}

/// Known ends of names, and scripts, which have none.
fn is_text(path: &str) -> bool {
    let script = path.starts_with("bin/") || path.starts_with(".ci/");
    script || TEXT.iter().any(|end| has_end(path, end))
}

fn has_end(path: &str, end: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == end)
}
