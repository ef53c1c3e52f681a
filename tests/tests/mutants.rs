//! The planted bugs of `tests/mutants` still find the places that they are for, so that `bin/mutants` can be run at any time.

use std::process::Command;

use tollgate_tests::repository;

#[test]
fn every_planted_bug_finds_its_place() {
    let check = Command::new(repository().join("bin/mutants"))
        .arg("--check")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&check.stderr);
    assert!(check.status.success(), "{said}");
}
