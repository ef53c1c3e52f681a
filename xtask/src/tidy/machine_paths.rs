//! No text names a path of somebody's machine: it would be wrong on every other one.

use super::{Finding, tree::Tree};

const RULE: &str = "machine_paths";

/// Starts of paths that exist on one machine; split, so that this file does not find itself.
const STARTS: [&str; 5] = [
    concat!("/wo", "rk/"),
    concat!("/ho", "me/"),
    concat!("/Us", "ers/"),
    concat!("/ro", "ot/"),
    concat!("C:", "\\"),
];

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let mut found = Vec::new();
    for (path, text) in &tree.texts {
        for (at, line) in text.lines().enumerate() {
            if let Some(start) = STARTS.into_iter().find(|start| begins_a_path(line, start)) {
                let message = format!(
                    "`{start}…` is a path of one machine: write it relative, or take it from a setting"
                );
                found.push(Finding::at(path, at + 1, RULE, message));
            }
        }
    }
    found
}

/// Whether `start` stands in the line where a path can begin, and not in the middle of another.
fn begins_a_path(line: &str, start: &str) -> bool {
    line.match_indices(start).any(|(at, _)| {
        let before = line.get(..at).and_then(|head| head.chars().next_back());
        !before.is_some_and(|letter| letter.is_alphanumeric() || "._-}".contains(letter))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_one_machine_is_found() {
        let text = format!(
            "# A page\nSee {}me/notes.\nSee tests{}main.rs.\n",
            STARTS[1], STARTS[0]
        );
        let found = check(&Tree::of(&[("docs/a.md", &text)]));
        assert_eq!(
            found.iter().map(|finding| finding.line).collect::<Vec<_>>(),
            [2]
        );
    }
}
