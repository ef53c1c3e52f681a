//! A document that names a path tells the truth: the file or folder exists.

use super::{Finding, tree::Tree};

const RULE: &str = "paths";
const MAP: &str = "ARCHITECTURE.md";
/// The heading of the index of concepts, and the fewest rows that make it worth having.
const INDEX: (&str, usize) = ("Index of concepts", 30);
/// The history names what was true in its day.
const HISTORY: &str = "CHANGELOG.md";
/// Folders at the root: what begins with one of them is a path of ours.
const TOPS: [&str; 9] = [
    "crates/", "tests/", "bench/", "fuzz/", "xtask/", "docs/", "bin/", ".ci/", ".config/",
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in tree.markdown().filter(|(path, _)| *path != HISTORY) {
        for (at, line) in text.lines().enumerate() {
            let named = quoted(line).chain(linked(line, path));
            let missing = named.filter(|name| !tree.paths.contains(name.trim_end_matches('/')));
            found.extend(
                missing.map(|name| {
                    Finding::at(path, at + 1, RULE, format!("`{name}` does not exist"))
                }),
            );
        }
    }
    found.extend(index_finding(tree));
    found
}

fn index_finding(tree: &Tree) -> Option<Finding> {
    let (heading, fewest) = INDEX;
    let map = tree.texts.get(MAP).map_or("", String::as_str);
    let after = map
        .lines()
        .skip_while(|line| !(line.starts_with('#') && line.contains(heading)));
    let rows = after.skip(1).take_while(|line| !line.starts_with('#'));
    let count = rows
        .filter(|line| line.starts_with('|') && quoted(line).next().is_some())
        .count();
    let message = format!(
        "the section \"{heading}\" has {count} rows with a path, at least {fewest} are wanted"
    );
    (count < fewest).then(|| Finding::at(MAP, 1, RULE, message))
}

/// Words in backticks that begin with one of our folders and hold nothing but a path.
fn quoted(line: &str) -> impl Iterator<Item = String> {
    let words = line.split('`').skip(1).step_by(2);
    let plain = |letter: char| letter.is_alphanumeric() || "/._-".contains(letter);
    words
        .filter(move |word| TOPS.iter().any(|top| word.starts_with(top)) && word.chars().all(plain))
        .map(str::to_owned)
}

/// Targets of links that are neither addresses nor places in the same file, seen from the root.
fn linked(line: &str, from: &str) -> impl Iterator<Item = String> {
    let targets = line
        .split("](")
        .skip(1)
        .filter_map(|rest| rest.split([')', '#']).next());
    let relative = targets
        .filter(|target| !target.is_empty() && !target.contains(':') && !target.starts_with('<'));
    relative.map(move |target| from_root(from, target))
}

/// Resolves a link against the folder of the file that it stands in.
fn from_root(from: &str, target: &str) -> String {
    let mut parts: Vec<&str> = from.split('/').collect();
    parts.pop();
    for part in target.split('/') {
        match part {
            "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn findings(text: &str) -> Vec<(usize, String)> {
        let index = "| money | `docs/a.md` |\n".repeat(INDEX.1);
        let map = format!("## Index of concepts\n{index}");
        let tree = Tree::of(&[
            ("docs/a.md", text),
            (MAP, &map),
            ("crates/core/src/money.rs", "//! Money."),
        ]);
        check(&tree)
            .into_iter()
            .map(|finding| (finding.line, finding.message))
            .collect()
    }

    #[test]
    fn a_path_that_exists_passes() {
        let text = "`crates/core/src/money.rs`, `crates/core/`, `crates/<name>`, `/v1/x`, [map](../ARCHITECTURE.md#a), [x](https://x.y)";
        assert_eq!(findings(text), []);
    }

    #[test]
    fn a_path_that_is_gone_is_found() {
        assert_eq!(
            findings("\n`crates/core/src/gone.rs`"),
            [(2, "`crates/core/src/gone.rs` does not exist".to_owned())]
        );
        assert_eq!(
            findings("[gone](gone.md)"),
            [(1, "`docs/gone.md` does not exist".to_owned())]
        );
    }

    #[test]
    fn an_index_that_is_too_short_is_found() {
        assert_eq!(
            check(&Tree::of(&[(
                MAP,
                "## Index of concepts\n| money | `docs/` |\n"
            )]))
            .len(),
            2
        );
    }
}
