//! A function fits on a screen: 60 lines from its `fn` to its closing brace, comments and blank lines included.

use super::{Finding, tree::Tree};

const RULE: &str = "function_length";
/// Most lines of a function, in tests too.
const LONGEST: usize = 60;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    let functions = tree
        .rust
        .iter()
        .flat_map(|file| file.functions.iter().map(move |function| (file, function)));
    functions
        .filter(|(_, function)| function.length() > LONGEST)
        .map(|(file, function)| {
            let message = format!(
                "`{}` has {} lines, at most {LONGEST}: name its parts",
                function.name,
                function.length()
            );
            Finding::at(&file.path, *function.lines.start(), RULE, message)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_of_61_lines_is_found() {
        let function = |inside: usize| {
            format!(
                "//! A file.\nfn long() {{\n{}}}\n",
                "    // a line\n".repeat(inside)
            )
        };
        assert!(check(&Tree::of(&[("a.rs", &function(58))])).is_empty());
        assert_eq!(check(&Tree::of(&[("a.rs", &function(59))])).len(), 1);
    }
}
