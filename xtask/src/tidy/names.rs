//! Words that a name may not contain, because they say nothing: a file or a type is called after a noun of the domain.

use super::rust_file::{Kind, RustFile, Token};
use super::{Finding, tree::Tree};

const RULE: &str = "names";

const EMPTY_WORDS: [&str; 15] = [
    "util", "utils", "helper", "helpers", "common", "misc", "manager", "managers", "service",
    "services", "base", "bases", "info", "infos", "data",
];

/// Names that keep such a word because it is the established term.
const TERMS: [(&str, &str); 1] = [(
    "DataKey",
    "the key that seals one credential, as envelope encryption calls it",
)];

const DECLARING: [&str; 6] = ["struct", "enum", "trait", "type", "union", "mod"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust
        .iter()
        .flat_map(|file| path_findings(file).into_iter().chain(type_findings(file)))
        .collect()
}

fn path_findings(file: &RustFile) -> Vec<Finding> {
    let parts = file.path.trim_end_matches(".rs").split('/');
    let words = parts
        .flat_map(words_of)
        .filter(|word| EMPTY_WORDS.contains(&word.as_str()));
    words
        .map(|word| {
            Finding::at(
                &file.path,
                1,
                RULE,
                format!("`{word}` says nothing: name the file after what it holds"),
            )
        })
        .collect()
}

fn type_findings(file: &RustFile) -> Vec<Finding> {
    let mut found = Vec::new();
    let mut depth: usize = 0;
    for pair in file.tokens.windows(2) {
        let [keyword, name] = pair else { continue };
        match keyword.text.as_str() {
            "{" => depth += 1,
            "}" => depth = depth.saturating_sub(1),
            // Within braces it is an associated type, and the trait has chosen its name.
            "type" if depth > 0 => continue,
            _ => {}
        }
        let declares = name.kind == Kind::Word && DECLARING.contains(&keyword.text.as_str());
        if declares && !TERMS.iter().any(|(term, _)| *term == name.text) {
            found.extend(empty_word(file, name));
        }
    }
    found
}

fn empty_word(file: &RustFile, name: &Token) -> Option<Finding> {
    let mut words = words_of(&name.text).into_iter();
    let word = words.find(|word| EMPTY_WORDS.contains(&word.as_str()))?;
    let message = format!(
        "`{}`: `{word}` says nothing, use a word of the glossary",
        name.text
    );
    Some(Finding::at(&file.path, name.line, RULE, message))
}

/// The words of a name in lower case: split at `_`, `-`, `.` and at capitals.
fn words_of(name: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let mut start_new = true;
    let mut before_lower = false;
    for letter in name.chars() {
        if !letter.is_alphanumeric() {
            start_new = true;
            continue;
        }
        if start_new || (letter.is_uppercase() && before_lower) {
            words.push(String::new());
        }
        if let Some(word) = words.last_mut() {
            word.extend(letter.to_lowercase());
        }
        start_new = false;
        before_lower = letter.is_lowercase();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_split_into_words() {
        assert_eq!(words_of("UsageDataRow"), ["usage", "data", "row"]);
        assert_eq!(words_of("price_utils"), ["price", "utils"]);
        assert_eq!(words_of("Database"), ["database"]);
    }

    #[test]
    fn empty_words_are_found_and_terms_are_kept() {
        let tree = Tree::of(&[
            (
                "crates/a/src/price_utils.rs",
                "//! Prices.\nstruct KeyManager;\nstruct DataKey;\nstruct Metadata;\n",
            ),
            (
                "crates/a/src/money.rs",
                "//! Money.\nimpl Body for A { type Data = B; }\nmod helpers {}\n",
            ),
        ]);
        let found: Vec<(String, usize)> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        assert_eq!(
            found,
            [
                ("crates/a/src/price_utils.rs".to_owned(), 1),
                ("crates/a/src/price_utils.rs".to_owned(), 2),
                ("crates/a/src/money.rs".to_owned(), 3),
            ]
        );
    }
}
