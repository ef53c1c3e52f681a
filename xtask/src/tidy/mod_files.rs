//! `foo.rs` beside `foo/`, never `foo/mod.rs`: a file's name says what it holds.

use super::{Finding, tree::Tree};

const RULE: &str = "mod_files";

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let nameless = tree
        .rust
        .iter()
        .filter(|file| file.path == "mod.rs" || file.path.ends_with("/mod.rs"));
    nameless
        .map(|file| {
            Finding::at(
                &file.path,
                1,
                RULE,
                "name the file after its module and put it beside the folder",
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mod_file_is_found() {
        let tree = Tree::of(&[
            ("a/mod.rs", "//! Nothing."),
            ("a/amod.rs", "//! Something."),
        ]);
        assert_eq!(check(&tree).len(), 1);
    }
}
