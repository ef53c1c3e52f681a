//! A file fits in the head: 400 lines without its tests, 600 with them.

use super::rust_file::RustFile;
use super::{Finding, tree::Tree};

const RULE: &str = "file_length";
/// Most lines of a file when its test modules are left out.
const WITHOUT_TESTS: usize = 400;
/// Most lines of a file with its tests, and of a file of tests.
const WITH_TESTS: usize = 600;

pub(super) fn check(tree: &Tree) -> Vec<Finding> {
    tree.rust.iter().filter_map(finding).collect()
}

/// Lines outside test modules; none of a file of tests.
pub(super) fn own_lines(file: &RustFile) -> usize {
    (1..=file.text.lines().count())
        .filter(|line| !file.is_test_line(*line))
        .count()
}

fn finding(file: &RustFile) -> Option<Finding> {
    let (all, own) = (file.text.lines().count(), own_lines(file));
    let message = if own > WITHOUT_TESTS {
        format!("{own} lines without tests, at most {WITHOUT_TESTS}: split it along its nouns")
    } else if all > WITH_TESTS {
        format!("{all} lines, at most {WITH_TESTS}: move the tests, or split the file")
    } else {
        return None;
    };
    Some(Finding::at(&file.path, all, RULE, message))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(count: usize, line: &str) -> String {
        format!("{line}\n").repeat(count)
    }

    #[test]
    fn length_is_counted_without_and_with_tests() {
        let body = lines(400, "// a line");
        let tests = |count| {
            format!(
                "#[cfg(test)]\nmod tests {{\n{}}}\n",
                lines(count, "// a test")
            )
        };
        let fits = format!("{body}{}", tests(100));
        let long_tests = format!("{body}{}", tests(300));
        let long_body = lines(401, "// a line");
        let tree = Tree::of(&[
            ("fits.rs", &fits),
            ("tests_too_long.rs", &long_tests),
            ("too_long.rs", &long_body),
        ]);
        let paths: Vec<String> = check(&tree)
            .into_iter()
            .map(|finding| finding.path)
            .collect();
        assert_eq!(paths, ["tests_too_long.rs", "too_long.rs"]);
    }
}
