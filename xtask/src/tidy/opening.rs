//! Every Rust file opens with `//!`: what it is and why it exists.

use super::{Finding, tree::Tree};

const RULE: &str = "opening";
/// Shorter than this says nothing.
const SHORTEST: usize = 12;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let silent = tree.rust.iter().filter(|file| !opens_well(&file.text));
    silent
        .map(|file| {
            Finding::at(
                &file.path,
                1,
                RULE,
                "open the file with `//!`: say what it is and why it exists",
            )
        })
        .collect()
}

fn opens_well(text: &str) -> bool {
    let first = text.lines().next().unwrap_or_default();
    first
        .strip_prefix("//!")
        .is_some_and(|said| said.trim().len() >= SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_says_nothing_is_found() {
        let tree = Tree::of(&[
            ("good.rs", "//! Money in nano-dollars.\n"),
            ("short.rs", "//! Money.\n"),
            ("late.rs", "use std::fs;\n//! Too late to say anything.\n"),
        ]);
        let findings = check(&tree);
        let paths: Vec<&str> = findings
            .iter()
            .map(|finding| finding.path.as_str())
            .collect();
        assert_eq!(paths, ["short.rs", "late.rs"]);
    }
}
