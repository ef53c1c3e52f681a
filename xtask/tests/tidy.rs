//! Tidy as an ordinary test, so that `cargo test` is the whole gate.

#[test]
fn the_tree_is_tidy() {
    let report = xtask::tidy::run(&xtask::workspace_root()).expect("the tree can be read");
    let findings: Vec<String> = report.findings.iter().map(ToString::to_string).collect();
    assert!(
        findings.is_empty(),
        "\n{}\n\n{} rules broken",
        findings.join("\n"),
        findings.len()
    );
    println!("{}", report.sizes);
}
