//! Nothing is left open: no marks of unfinished work, no ignored tests, no silenced lints without a reason.

use super::{Finding, tree::Tree};

const RULE: &str = "leftovers";

/// Split, so that this file does not find itself.
const MARKS: [&str; 3] = [
    concat!("TO", "DO"),
    concat!("FIX", "ME"),
    concat!("XX", "X"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in &tree.texts {
        for (at, line) in text.lines().enumerate() {
            if let Some(mark) = mark_in(line) {
                found.push(Finding::at(
                    path,
                    at + 1,
                    RULE,
                    format!("`{mark}`: do it now, or open an issue and drop the mark"),
                ));
            }
        }
    }
    for file in &tree.rust {
        for line in file.lines_of(&["#", "[", "ignore"]) {
            found.push(Finding::at(
                &file.path,
                line,
                RULE,
                "an ignored test guards nothing: mend it or remove it",
            ));
        }
        for attribute in [["#", "[", "allow"].as_slice(), &["#", "!", "[", "allow"]] {
            for line in file.lines_of(attribute) {
                found.push(Finding::at(
                    &file.path,
                    line,
                    RULE,
                    "use `expect` with a reason: it ends when its cause does",
                ));
            }
        }
    }
    found
}

/// A mark that stands as a whole word.
fn mark_in(line: &str) -> Option<&'static str> {
    let mut words = line.split(|letter: char| !letter.is_alphanumeric());
    words.find_map(|word| MARKS.into_iter().find(|mark| *mark == word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_ignored_tests_and_silenced_lints_are_found() {
        let marked = format!("//! A file.\n// {}: later\n", MARKS[0]);
        let tree = Tree::of(&[
            ("marked.rs", &marked),
            (
                "ignored.rs",
                "//! A file.\n#[ignore = \"slow\"]\nfn a() {}\n",
            ),
            (
                "silenced.rs",
                "//! A file.\n#![allow(dead_code)]\n#[allow(unused)]\nfn a() {}\n",
            ),
            (
                "clean.rs",
                "//! mktemp -d XXXXXX\n#[expect(dead_code, reason = \"used by the next test\")]\nfn ignore() {}\n",
            ),
        ]);
        let found: Vec<(String, usize)> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        let expected = [
            ("marked.rs", 2),
            ("ignored.rs", 2),
            ("silenced.rs", 3),
            ("silenced.rs", 2),
        ];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
