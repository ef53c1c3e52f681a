//! Only the store speaks SQL: no statement stands in a string anywhere else.

use super::rust_file::{Kind, RustFile};
use super::{Finding, tree::Tree};

const RULE: &str = "sql";

/// Where statements may stand: the store, and what looks at its tables from outside.
const SPEAKERS: [&str; 3] = ["crates/store/", "tests/", "bench/"];

/// Words that make a statement when they follow each other; the second may be
/// any. Written apart, so that this file does not find itself.
const STATEMENTS: [(&str, &str); 7] = [
    ("SELECT", ""),
    ("INSERT", "INTO"),
    ("UPDATE", "SET"),
    ("DELETE", "FROM"),
    ("CREATE", "TABLE"),
    ("ALTER", "TABLE"),
    ("DROP", "TABLE"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let listeners = tree.rust.iter().filter(|file| {
        !SPEAKERS
            .iter()
            .any(|speaker| file.path.starts_with(speaker))
    });
    listeners.flat_map(findings).collect()
}

fn findings(file: &RustFile) -> Vec<Finding> {
    let literals = file
        .tokens
        .iter()
        .filter(|token| token.kind == Kind::Literal);
    literals
        .filter(|token| is_statement(&token.text))
        .map(|token| {
            Finding::at(
                &file.path,
                token.line,
                RULE,
                "a statement outside the store: make it a store method",
            )
        })
        .collect()
}

/// Statements are written in capitals, and a word alone is none.
fn is_statement(literal: &str) -> bool {
    let words = literal.split(|letter: char| !letter.is_alphanumeric() && letter != '_');
    let words: Vec<&str> = words.filter(|word| !word.is_empty()).collect();
    STATEMENTS.iter().any(|(first, second)| {
        let start = words.iter().position(|word| word == first);
        let after = start.and_then(|at| words.get(at + 1..)).unwrap_or_default();
        after.iter().any(|word| second.is_empty() || word == second)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_outside_the_store_is_found() {
        let [select, insert, ..] = STATEMENTS;
        let code = format!(
            "//! A file.\n/// {0} in a comment.\nfn a() {{\n    let b = \"{0} 1\";\n    run!(\"{1} {2} t\");\n    say(\"select one\");\n}}\n",
            select.0, insert.0, insert.1
        );
        let tree = Tree::of(&[
            ("crates/app/src/a.rs", &code),
            ("crates/store/src/a.rs", &code),
            ("tests/a.rs", &code),
        ]);
        let found: Vec<(String, usize)> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(
            found,
            [4, 5].map(|line| ("crates/app/src/a.rs".to_owned(), line))
        );
    }
}
