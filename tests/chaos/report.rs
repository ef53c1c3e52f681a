//! What a run found: a table for people, one JSON object for programs, and all that is needed to see a failure again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::Options;

/// So many broken promises are told; the first one matters.
const TOLD: usize = 20;

/// The end of a run.
#[derive(Debug)]
pub(crate) struct Report {
    /// What was asked for, with the seed.
    pub(crate) options: Options,
    /// What was left out, and why.
    pub(crate) skipped: Vec<String>,
    /// Counts by name: of faults, of the books, of limits.
    pub(crate) counts: BTreeMap<String, u64>,
    /// What clients were answered.
    pub(crate) answers: BTreeMap<String, u64>,
    /// What was done, and when.
    pub(crate) steps: Vec<String>,
    /// Promises that were not kept.
    pub(crate) broken: Vec<String>,
    /// How long it took.
    pub(crate) took: Duration,
    /// Where the logs are, if they were kept.
    pub(crate) logs: Option<PathBuf>,
}

impl Report {
    /// Whether every promise was kept.
    pub(crate) const fn is_good(&self) -> bool {
        self.broken.is_empty()
    }

    /// Prints it.
    pub(crate) fn print(&self) {
        if !self.is_good() {
            self.print_failure();
        }
        if self.options.json {
            print(&self.json());
        } else {
            print(&self.table());
        }
    }

    fn json(&self) -> String {
        let options = &self.options;
        let engine = format!("{:?}", options.engine).to_lowercase();
        json!({
            "passed": self.is_good(), "seed": options.seed(), "engine": engine, "nodes": options.nodes,
            "clients": options.clients, "seconds": self.took.as_secs(), "counts": self.counts,
            "answers": self.answers, "skipped": self.skipped, "broken": self.broken, "steps": self.steps.len(),
        })
        .to_string()
    }

    fn table(&self) -> String {
        let options = &self.options;
        let mut lines = vec![format!(
            "chaos on {:?}: {} nodes, {} clients, seed {}, {} steps in {} s",
            options.engine,
            options.nodes,
            options.clients,
            options.seed(),
            self.steps.len(),
            self.took.as_secs()
        )];
        for name in ["books: missing", "books: double"] {
            let times = self.counts.get(name).copied().unwrap_or_default();
            lines.push(format!("  {name:<40} {times:>10}"));
        }
        let counts = self.counts.iter();
        let others =
            counts.filter(|(name, _)| !["books: missing", "books: double"].contains(&&***name));
        lines.extend(others.map(|(name, times)| format!("  {name:<40} {times:>10}")));
        let answers = self.answers.iter();
        lines.extend(
            answers
                .map(|(name, times)| format!("  {:<40} {times:>10}", format!("answers: {name}"))),
        );
        lines.extend(self.skipped.iter().map(|what| format!("  SKIPPED {what}")));
        let verdict = if self.is_good() { "PASSED" } else { "FAILED" };
        lines.push(format!("{verdict}, seed {}", options.seed()));
        lines.join("\n")
    }

    fn print_failure(&self) {
        say(&format!(
            "\nFAILED with the seed {}. What was done:",
            self.options.seed()
        ));
        for step in &self.steps {
            say(&format!("  {step}"));
        }
        say(&format!(
            "{} promises are broken; the first ones:",
            self.broken.len()
        ));
        for promise in self.broken.iter().take(TOLD) {
            say(&format!("  {promise}"));
        }
        if let Some(logs) = &self.logs {
            say(&format!(
                "The logs of every start are in {}",
                logs.display()
            ));
        }
    }
}

/// Says something to whoever watches.
#[expect(
    clippy::print_stderr,
    reason = "a program of its own, watched by people"
)]
pub(crate) fn say(text: &str) {
    eprintln!("{text}");
}

/// Prints a line of the summary.
#[expect(
    clippy::print_stdout,
    reason = "the summary is what this program is run for"
)]
pub(crate) fn print(text: &str) {
    println!("{text}");
}
