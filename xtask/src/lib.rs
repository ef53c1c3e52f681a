//! The project's own tool: `tidy` checks the rules that no linter knows, `gen` writes the files that are generated.

pub mod r#gen;
pub mod tidy;

use std::path::PathBuf;

/// The folder of the workspace, as it was when this tool was compiled.
#[must_use]
pub fn workspace_root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map_or(here.clone(), PathBuf::from)
}
