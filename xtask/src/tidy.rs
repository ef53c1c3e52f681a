//! The rules that a linter does not know, each in a file of its own, run as one ordinary test.
//!
//! A limit stands in one place, the file of its rule. Move one only on evidence, and never loosen it for one file.

mod edges;
mod file_length;
mod finding;
mod function_length;
mod leftovers;
mod machine_paths;
mod mod_files;
mod names;
mod opening;
mod paths;
mod proofs;
mod purity;
mod recorded;
mod rust_file;
mod sizes;
mod sql;
mod tree;

pub use finding::Finding;
pub use sizes::{Distribution, Sizes};

use std::fmt;
use std::path::Path;
use tree::Tree;

type Rule = fn(&Tree) -> Vec<Finding>;

/// Every rule, in the order in which its findings are printed.
const RULES: [Rule; 13] = [
    rust_file::check,
    opening::check,
    mod_files::check,
    names::check,
    file_length::check,
    function_length::check,
    leftovers::check,
    machine_paths::check,
    sql::check,
    purity::check,
    edges::check,
    paths::check,
    proofs::check,
];

/// What tidy found, and how long the files and functions are.
#[derive(Debug)]
pub struct Report {
    /// Every broken rule; empty when the tree is tidy.
    pub findings: Vec<Finding>,
    /// The lengths of files and functions.
    pub sizes: Sizes,
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            writeln!(out, "{finding}")?;
        }
        write!(out, "{}", self.sizes)
    }
}

/// Checks the tree below `root` against every rule.
///
/// # Errors
/// Says which file could not be read.
pub fn run(root: &Path) -> Result<Report, String> {
    let tree = Tree::read(root)?;
    let findings = RULES
        .iter()
        .flat_map(|rule| rule(&tree))
        .chain(recorded::check(&tree))
        .collect();
    Ok(Report {
        findings,
        sizes: Sizes::of(&tree),
    })
}

/// Writes the recorded lists anew, for a reviewer to read in the diff, and returns their paths.
///
/// # Errors
/// Says which file could not be read or written.
pub fn bless(root: &Path) -> Result<Vec<String>, String> {
    recorded::bless(&Tree::read(root)?, root)
}
