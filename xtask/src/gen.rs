//! Generated files: each generator writes what is committed, and a test compares.

mod decimal;
pub mod prices;
mod upstream;

use std::path::Path;

/// Writes every generated file below `root` and returns what it wrote and what it left out.
///
/// # Errors
/// Says which file could not be read or written.
pub fn run(root: &Path) -> Result<Vec<String>, String> {
    prices::write(root, &prices::source(root)?)
}
