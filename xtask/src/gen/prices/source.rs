//! Where the price list is: in the sources of the crate that cargo has unpacked.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;

/// The crate that the prices come from.
pub(super) const CRATE: &str = "genai-prices";

/// The price list that a catalogue is made from.
#[derive(Debug)]
pub struct Source {
    /// The file.
    pub path: PathBuf,
    /// The version of the crate that it belongs to.
    pub version: String,
}

/// Finds the price list in the sources that cargo has unpacked.
///
/// # Errors
/// Says what to do when it is not there.
pub fn source(root: &Path) -> Result<Source, String> {
    #[derive(Deserialize)]
    struct Metadata {
        packages: Vec<Package>,
    }
    #[derive(Deserialize)]
    struct Package {
        name: String,
        version: String,
        manifest_path: PathBuf,
    }
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--offline", "--locked"])
        .current_dir(root)
        .output()
        .map_err(|error| format!("`cargo metadata` does not start: {error}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "`cargo metadata` failed, run `cargo fetch` once: {said}"
        ));
    }
    let metadata: Metadata = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("`cargo metadata` says something unknown: {error}"))?;
    let package = metadata
        .packages
        .into_iter()
        .find(|package| package.name == CRATE);
    let package = package.ok_or_else(|| format!("no crate of the workspace depends on {CRATE}"))?;
    let path = package
        .manifest_path
        .with_file_name("data")
        .join("prices.json");
    Ok(Source {
        path,
        version: package.version,
    })
}

/// The price list at `path`, which lies in the unpacked crate: its manifest says the version.
///
/// # Errors
/// Says which file could not be read.
pub fn source_at(path: &Path) -> Result<Source, String> {
    #[derive(Deserialize)]
    struct Manifest {
        package: Package,
    }
    #[derive(Deserialize)]
    struct Package {
        version: String,
    }
    let folder = path.parent().and_then(Path::parent);
    let manifest = folder.map(|folder| folder.join("Cargo.toml"));
    let manifest = manifest.ok_or_else(|| format!("{}: not in a crate", path.display()))?;
    let text = std::fs::read_to_string(&manifest)
        .map_err(|error| format!("{}: {error}", manifest.display()))?;
    let Manifest { package } =
        toml::from_str(&text).map_err(|error| format!("{}: {error}", manifest.display()))?;
    Ok(Source {
        path: path.to_owned(),
        version: package.version,
    })
}
