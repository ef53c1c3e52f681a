//! The README's promises name the tests that prove them, and those tests exist.

use super::{Finding, tree::Tree};
use std::collections::BTreeSet;

const RULE: &str = "proofs";
const PAGE: &str = "README.md";
const HEADING: &str = "what proves it";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let tests = tests(tree);
    let text = tree.texts.get(PAGE).map_or("", String::as_str);
    let lines = text.lines().enumerate();
    let after = lines.skip_while(|(_, line)| !(line.starts_with('#') && line.contains(HEADING)));
    let rows = after
        .skip(1)
        .take_while(|(_, line)| !line.starts_with('#'))
        .filter(|(_, line)| line.starts_with("| "));
    let mut found = Vec::new();
    for (at, row) in rows.skip(2) {
        let named: Vec<&str> = row.split('`').skip(1).step_by(2).collect();
        if named.is_empty() {
            found.push(Finding::at(
                PAGE,
                at + 1,
                RULE,
                "a promise without a test: name one, or take it out",
            ));
        }
        for name in named.into_iter().filter(|name| !tests.contains(name)) {
            found.push(Finding::at(
                PAGE,
                at + 1,
                RULE,
                format!("there is no test `{name}`: name the one that proves it"),
            ));
        }
    }
    found
}

/// The names of all functions that are tests or stand among them, in Rust and in Python.
fn tests(tree: &Tree) -> BTreeSet<&str> {
    let rust = tree.rust.iter().flat_map(|file| {
        let own = file
            .functions
            .iter()
            .filter(|function| file.is_test_line(*function.lines.start()));
        own.map(|function| function.name.as_str())
    });
    let python = tree
        .texts
        .iter()
        .filter(|(path, _)| path.starts_with("tests/sdk/"))
        .flat_map(|(_, text)| {
            text.lines()
                .filter_map(|line| line.trim_start().strip_prefix("def ")?.split('(').next())
        });
    rust.chain(python).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_promise_without_a_test_that_exists_is_found() {
        let page = "## What it promises, and what proves it\n| promise | proof |\n| --- | --- |\n\
            | exact | `it_is_exact` |\n| fast | `it_is_fast` |\n| good | we say so |\n| real | `test_it_is_real` |\n";
        let code = "//! A file.\nfn it_is_fast() {}\n#[cfg(test)]\nmod tests {\n    fn it_is_exact() {}\n}\n";
        let python = "class TestIt:\n    def test_it_is_real(self):\n        pass\n";
        let tree = Tree::of(&[
            (PAGE, page),
            ("crates/a/src/a.rs", code),
            ("tests/sdk/test_a.py", python),
        ]);
        let lines: Vec<usize> = check(&tree)
            .into_iter()
            .map(|finding| finding.line)
            .collect();
        assert_eq!(lines, [5, 6]);
    }
}
