//! How long files and functions are: printed by tidy, so that a drift is seen before a limit is reached.

use super::file_length::own_lines;
use super::tree::Tree;
use std::fmt;

/// The middle, the ninth tenth and the end of a set of lengths, in lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Distribution {
    /// How many lengths there are.
    pub count: usize,
    /// Half of them are at most this long.
    pub median: usize,
    /// Nine in ten are at most this long.
    pub ninth_tenth: usize,
    /// The longest.
    pub longest: usize,
}

impl Distribution {
    /// Sorts the lengths and picks.
    #[must_use]
    pub fn of(mut lengths: Vec<usize>) -> Self {
        lengths.sort_unstable();
        let last = lengths.len().saturating_sub(1);
        let at = |index: usize| lengths.get(index).copied().unwrap_or_default();
        Self {
            count: lengths.len(),
            median: at(last / 2),
            ninth_tenth: at(last * 9 / 10),
            longest: at(last),
        }
    }
}

impl fmt::Display for Distribution {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            count,
            median,
            ninth_tenth,
            longest,
        } = self;
        write!(
            out,
            "{count}, lines: median {median}, p90 {ninth_tenth}, longest {longest}"
        )
    }
}

/// The lengths of what we wrote in Rust, tests left out.
#[derive(Debug, Clone, Copy)]
pub struct Sizes {
    /// Lines of files without their test modules.
    pub files: Distribution,
    /// Lines of functions outside tests.
    pub functions: Distribution,
}

impl Sizes {
    /// Measures a tree.
    pub(crate) fn of(tree: &Tree) -> Self {
        let files = tree.rust.iter().filter(|file| !file.is_test());
        let functions = files.clone().flat_map(|file| {
            let own = file
                .functions
                .iter()
                .filter(|function| !file.is_test_line(*function.lines.start()));
            own.map(super::rust_file::Function::length)
        });
        Self {
            functions: Distribution::of(functions.collect()),
            files: Distribution::of(files.map(own_lines).collect()),
        }
    }
}

impl fmt::Display for Sizes {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "files: {}\nfunctions: {}", self.files, self.functions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_distribution_of_ten_lengths() {
        let ten = Distribution::of((1..=11).rev().collect());
        assert_eq!(
            ten,
            Distribution {
                count: 11,
                median: 6,
                ninth_tenth: 10,
                longest: 11
            }
        );
        assert_eq!(Distribution::of(Vec::new()), Distribution::default());
    }

    #[test]
    fn tests_are_not_measured() {
        let code = "//! A file.\nfn a() {\n}\n#[cfg(test)]\nmod tests {\n    fn b() {}\n}\n";
        let sizes = Sizes::of(&Tree::of(&[
            ("crates/a/src/a.rs", code),
            ("tests/b.rs", code),
        ]));
        assert_eq!(
            (
                sizes.files.longest,
                sizes.functions.longest,
                sizes.functions.count
            ),
            (3, 2, 1)
        );
    }
}
