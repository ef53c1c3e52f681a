//! Who may need whom: the manifests' edges between our crates equal the table in `ARCHITECTURE.md`.

use super::{Finding, tree::Tree};
use std::collections::{BTreeMap, BTreeSet};

const RULE: &str = "edges";
const MAP: &str = "ARCHITECTURE.md";
const HEADING: &str = "Dependency edges";

/// The dependencies of one of our crates, with the lines on which they stand.
#[derive(Debug)]
pub(super) struct Manifest {
    pub(super) path: String,
    pub(super) dependencies: Vec<(String, usize)>,
    pub(super) test_dependencies: Vec<(String, usize)>,
}

impl Manifest {
    /// The manifests of all crates below `crates/`, of the black-box suite and of this tool.
    pub(super) fn all(tree: &Tree) -> Vec<Self> {
        let ours = |path: &str| {
            path.ends_with("/Cargo.toml")
                && ["crates/", "tests/", "xtask/"]
                    .iter()
                    .any(|top| path.starts_with(top))
        };
        let manifests = tree.texts.iter().filter(|(path, _)| ours(path));
        manifests
            .map(|(path, text)| Self::read(path, text))
            .collect()
    }

    fn read(path: &str, text: &str) -> Self {
        let table: toml::Table = text.parse().unwrap_or_default();
        let names = |sections: &[&str]| {
            let tables = sections
                .iter()
                .filter_map(|section| table.get(*section)?.as_table());
            tables
                .flat_map(|table| table.keys().map(|name| (name.clone(), line_of(text, name))))
                .collect()
        };
        Self {
            path: path.to_owned(),
            dependencies: names(&["dependencies", "build-dependencies"]),
            test_dependencies: names(&["dev-dependencies"]),
        }
    }

    /// The folder's name, which is what the map calls the crate.
    fn folder(&self) -> &str {
        self.path.rsplit('/').nth(1).unwrap_or_default()
    }
}

/// What the map or the manifests say of one crate: what it needs, and what its tests need beside it.
#[derive(Debug, Default, PartialEq, Eq)]
struct Needs {
    always: BTreeSet<String>,
    in_tests: BTreeSet<String>,
}

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let drawn = drawn(tree.texts.get(MAP).map_or("", String::as_str));
    let built = built(tree);
    let mut found = Vec::new();
    for (folder, (path, needs)) in &built {
        match drawn.get(folder) {
            None => found.push(Finding::at(
                path,
                1,
                RULE,
                format!("`{folder}` is missing in the table of {MAP}"),
            )),
            Some((line, expected)) if needs != expected => {
                let message = format!(
                    "`{folder}` needs {} but its manifest has {}",
                    expected.says(),
                    needs.says()
                );
                found.push(Finding::at(
                    MAP,
                    *line,
                    RULE,
                    format!("{message}: the wall or the map is wrong"),
                ));
            }
            Some(_) => {}
        }
    }
    for (folder, (line, _)) in drawn
        .iter()
        .filter(|(folder, _)| !built.contains_key(*folder))
    {
        found.push(Finding::at(
            MAP,
            *line,
            RULE,
            format!("there is no crate `{folder}`: take the row out"),
        ));
    }
    found
}

impl Needs {
    fn says(&self) -> String {
        let list = |names: &BTreeSet<String>| names.iter().cloned().collect::<Vec<_>>().join(", ");
        format!(
            "[{}], in tests also [{}]",
            list(&self.always),
            list(&self.in_tests)
        )
    }
}

fn built(tree: &Tree) -> BTreeMap<String, (String, Needs)> {
    let manifests = Manifest::all(tree);
    let ours: BTreeMap<String, String> = manifests
        .iter()
        .filter_map(|manifest| {
            Some((
                package_name(tree.texts.get(&manifest.path)?)?,
                manifest.folder().to_owned(),
            ))
        })
        .collect();
    let edges = |names: &[(String, usize)]| -> BTreeSet<String> {
        names
            .iter()
            .filter_map(|(name, _)| ours.get(name).cloned())
            .collect()
    };
    let needs = |manifest: &Manifest| {
        let always = edges(&manifest.dependencies);
        let in_tests = edges(&manifest.test_dependencies)
            .difference(&always)
            .cloned()
            .collect();
        (manifest.path.clone(), Needs { always, in_tests })
    };
    manifests
        .iter()
        .map(|manifest| (manifest.folder().to_owned(), needs(manifest)))
        .collect()
}

/// Reads the table under its heading: crate, what it needs, what its tests need beside it.
fn drawn(map: &str) -> BTreeMap<String, (usize, Needs)> {
    let after = map
        .lines()
        .enumerate()
        .skip_while(|(_, line)| !(line.starts_with('#') && line.contains(HEADING)));
    let section = after.skip(1).take_while(|(_, line)| !line.starts_with('#'));
    let mut rows = BTreeMap::new();
    for (at, line) in section.filter(|(_, line)| line.starts_with("| `")) {
        let mut cells = line.trim_matches('|').split('|').map(names_in);
        let folder = cells
            .next()
            .and_then(|names| names.into_iter().next())
            .unwrap_or_default();
        let always = cells.next().unwrap_or_default();
        let in_tests = cells.next().unwrap_or_default();
        rows.insert(folder, (at + 1, Needs { always, in_tests }));
    }
    rows
}

/// The names in backticks.
fn names_in(cell: &str) -> BTreeSet<String> {
    cell.split('`')
        .skip(1)
        .step_by(2)
        .map(str::to_owned)
        .collect()
}

fn package_name(manifest: &str) -> Option<String> {
    let table: toml::Table = manifest.parse().ok()?;
    Some(table.get("package")?.get("name")?.as_str()?.to_owned())
}

/// The line on which a dependency stands, 1 when it cannot be told.
fn line_of(text: &str, name: &str) -> usize {
    let starts = |line: &str| {
        line.strip_prefix(name)
            .is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
    };
    text.lines().position(starts).map_or(1, |at| at + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CORE: &str = "[package]\nname = \"tollgate-core\"\n";
    const APP: &str =
        "[package]\nname = \"tollgate-app\"\n[dependencies]\ntollgate-core.workspace = true\n";

    fn map(rows: &str) -> String {
        format!(
            "# Map\n| `other` | `table` |\n## Dependency edges\n| crate | needs | in tests also |\n| --- | --- | --- |\n{rows}"
        )
    }

    fn messages(rows: &str) -> Vec<String> {
        let map = map(rows);
        let files = [
            ("crates/core/Cargo.toml", CORE),
            ("crates/app/Cargo.toml", APP),
            (MAP, map.as_str()),
        ];
        check(&Tree::of(&files))
            .into_iter()
            .map(|finding| finding.message)
            .collect()
    }

    #[test]
    fn a_map_that_is_true_passes() {
        assert_eq!(messages("| `core` | | |\n| `app` | `core` | |\n"), [""; 0]);
    }

    #[test]
    fn an_edge_too_many_or_too_few_is_found() {
        assert_eq!(
            messages("| `core` | `app` | |\n| `app` | `core` | |\n").len(),
            1
        );
        assert_eq!(messages("| `core` | | |\n| `app` | | `core` |\n").len(), 1);
    }

    #[test]
    fn a_crate_that_is_not_drawn_and_a_row_without_crate_are_found() {
        assert_eq!(messages("| `core` | | |\n| `old` | | |\n").len(), 2);
    }
}
