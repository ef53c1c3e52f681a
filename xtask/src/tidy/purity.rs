//! What is true needs no machine: `cus-models` and `core` do no I/O, and only the store has the database driver.

use super::edges::Manifest;
use super::{Finding, tree::Tree};

const RULE: &str = "purity";

const PURE: [&str; 2] = ["crates/cus-models/Cargo.toml", "crates/core/Cargo.toml"];
const IMPURE: [&str; 10] = [
    "tokio",
    "tokio-util",
    "sqlx",
    "axum",
    "hyper",
    "hyper-util",
    "reqwest",
    "tracing",
    "tower",
    "futures-util",
];
const DRIVERS: [&str; 5] = [
    "sqlx",
    "rusqlite",
    "tokio-postgres",
    "postgres",
    "libsqlite3-sys",
];
/// The store itself, and the suite that looks at the shipped program's tables from outside.
const MAY_HAVE_DRIVERS: [&str; 2] = ["crates/store/Cargo.toml", "tests/Cargo.toml"];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for manifest in Manifest::all(tree) {
        let path = manifest.path.as_str();
        for (name, line) in &manifest.dependencies {
            if PURE.contains(&path) && IMPURE.contains(&name.as_str()) {
                found.push(Finding::at(
                    path,
                    *line,
                    RULE,
                    format!("`{name}` does I/O: this crate holds rules only"),
                ));
            }
        }
        for (name, line) in manifest
            .dependencies
            .iter()
            .chain(&manifest.test_dependencies)
        {
            if DRIVERS.contains(&name.as_str()) && !MAY_HAVE_DRIVERS.contains(&path) {
                found.push(Finding::at(
                    path,
                    *line,
                    RULE,
                    format!("`{name}` belongs to the store: ask it instead"),
                ));
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn io_in_the_core_and_drivers_outside_the_store_are_found() {
        let tree = Tree::of(&[
            (
                "crates/core/Cargo.toml",
                "[dependencies]\ntokio.workspace = true\nserde = \"1\"\n",
            ),
            (
                "crates/app/Cargo.toml",
                "[dependencies]\ntokio = \"1\"\n[dev-dependencies]\nsqlx = \"0.9\"\n",
            ),
            (
                "crates/store/Cargo.toml",
                "[dependencies]\nsqlx = \"0.9\"\n",
            ),
        ]);
        let found: Vec<(String, usize)> = check(&tree)
            .into_iter()
            .map(|finding| (finding.path, finding.line))
            .collect();
        let expected = [("crates/app/Cargo.toml", 4), ("crates/core/Cargo.toml", 2)];
        assert_eq!(found, expected.map(|(path, line)| (path.to_owned(), line)));
    }
}
