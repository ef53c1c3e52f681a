//! Places that a reviewer must see when they change: where a secret is opened, where the tenant's wall is stepped over,
//! where a task starts. Each kind is a list in `xtask/recorded/`, and a difference fails until it is blessed and read.

use super::rust_file::{Kind, RustFile, Token};
use super::{Finding, tree::Tree};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

const RULE: &str = "recorded";
const FOLDER: &str = "xtask/recorded";

/// A kind of place: its list's name, what the list says of itself, and how to know one.
struct Watch {
    list: &'static str,
    says: &'static str,
    is_site: fn(&[Token; 3]) -> bool,
}

const WATCHES: [Watch; 3] = [
    Watch {
        list: "expose.txt",
        says: "where a secret's plaintext is read",
        is_site: |it| is_method(it, "expose"),
    },
    Watch {
        list: "operator.txt",
        says: "where rows of all tenants are reached",
        is_site: |it| is_method(it, "operator"),
    },
    Watch {
        list: "spawn.txt",
        says: "where a task or a thread starts",
        is_site: is_spawn,
    },
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    WATCHES
        .iter()
        .flat_map(|watch| differences(tree, watch))
        .collect()
}

/// Writes every list anew and returns their paths.
pub(super) fn bless(tree: &Tree, root: &Path) -> Result<Vec<String>, String> {
    let mut written = Vec::new();
    for watch in &WATCHES {
        let path = format!("{FOLDER}/{}", watch.list);
        let lines: Vec<String> = sites(tree, watch).into_keys().collect();
        let text = format!(
            "# {}: file, function, number of places\n{}\n",
            watch.says,
            lines.join("\n")
        );
        let file = root.join(&path);
        let kept = file
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&file, text.trim_end().to_owned() + "\n"));
        kept.map_err(|error| format!("cannot write {path}: {error}"))?;
        written.push(path);
    }
    Ok(written)
}

fn differences(tree: &Tree, watch: &Watch) -> Vec<Finding> {
    let path = format!("{FOLDER}/{}", watch.list);
    let recorded: BTreeSet<&str> = tree
        .texts
        .get(&path)
        .map_or("", String::as_str)
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
        .collect();
    let found = sites(tree, watch);
    let new = found
        .iter()
        .filter(|(line, _)| !recorded.contains(line.as_str()))
        .map(|(line, (file, at))| {
            let message = format!(
                "`{line}` is not in {path} ({}): is it right? then bless it",
                watch.says
            );
            Finding::at(file, *at, RULE, message)
        });
    let gone = recorded
        .iter()
        .filter(|line| !found.contains_key(**line))
        .map(|line| {
            Finding::at(
                &path,
                1,
                RULE,
                format!("`{line}` is no longer there: run `cargo run -p xtask -- tidy --bless`"),
            )
        });
    new.chain(gone).collect()
}

/// One line a function that has such places, with the file and the line of the first.
fn sites(tree: &Tree, watch: &Watch) -> BTreeMap<String, (String, usize)> {
    let mut lines = BTreeMap::new();
    for file in tree
        .rust
        .iter()
        .filter(|file| file.path.starts_with("crates/"))
    {
        let mut functions: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
        for at in site_lines(file, watch) {
            let name = file.function_at(at).unwrap_or("(no function)");
            functions.entry(name).or_insert((at, 0)).1 += 1;
        }
        for (name, (at, count)) in functions {
            lines.insert(
                format!("{} {name} {count}", file.path),
                (file.path.clone(), at),
            );
        }
    }
    lines
}

/// Tests may do as they like.
fn site_lines<'a>(file: &'a RustFile, watch: &'a Watch) -> impl Iterator<Item = usize> + 'a {
    let windows = file
        .tokens
        .windows(3)
        .filter_map(|window| <&[Token; 3]>::try_from(window).ok());
    windows
        .filter(|window| (watch.is_site)(window))
        .map(|[_, name, _]| name.line)
        .filter(|line| !file.is_test_line(*line))
}

/// `.name(`
fn is_method([before, name, after]: &[Token; 3], wanted: &str) -> bool {
    before.text == "." && name.text == wanted && after.text == "("
}

/// `spawn(` or `spawn_blocking(` and the like, called as a method or by path; `spawn::<T>(` too.
fn is_spawn([before, name, after]: &[Token; 3]) -> bool {
    let called = after.text == "(" || after.text == ":";
    let reached = before.text == "." || before.text == ":";
    name.kind == Kind::Word && name.text.starts_with("spawn") && called && reached
}

#[cfg(test)]
mod tests {
    use super::*;

    const CODE: &str = "//! A file.
fn open(key: Secret) {
    // key.expose()
    key.expose();
    key.expose();
    store.operator().keys();
    tokio::spawn(run());
    tasks.spawn(run());
}
fn spawn_nothing() {}
#[cfg(test)]
mod tests {
    fn a() { key.expose(); }
}
";

    fn tree(expose: &str) -> Tree {
        Tree::of(&[
            ("crates/a/src/b.rs", CODE),
            ("xtask/recorded/expose.txt", expose),
            (
                "xtask/recorded/operator.txt",
                "# says\ncrates/a/src/b.rs open 1\n",
            ),
            (
                "xtask/recorded/spawn.txt",
                "# says\ncrates/a/src/b.rs open 2\n",
            ),
        ])
    }

    #[test]
    fn a_list_that_is_true_passes() {
        assert_eq!(check(&tree("# says\ncrates/a/src/b.rs open 2\n")), []);
    }

    #[test]
    fn a_new_place_is_found_at_its_line_and_an_old_one_in_the_list() {
        let found = check(&tree("# says\ncrates/a/src/b.rs open 1\n"));
        let places: Vec<(&str, usize)> = found
            .iter()
            .map(|finding| (finding.path.as_str(), finding.line))
            .collect();
        assert_eq!(
            places,
            [("crates/a/src/b.rs", 4), ("xtask/recorded/expose.txt", 1)]
        );
    }
}
