//! Promises that need no chance to be tried: each has a command of its own, tells what it saw in a table, and fails
//! where it saw the promise broken.

mod calendar;
mod cap;
mod news;
mod rate;
mod scene;

use clap::Subcommand;

use crate::report::{print, say};

/// A promise that is tried by itself.
#[derive(Debug, Clone, Subcommand)]
pub(crate) enum Proof {
    /// A budget and a token limit under many clients: never passed, and used up to less than what one call holds
    Cap(cap::Options),
    /// Requests per minute: never more in any 60 seconds, and at least 95 % of them used
    Rate(rate::Options),
    /// The edges of days and months, in time zones far from each other and by a clock that is wrong
    Calendar(calendar::Options),
    /// How soon a changed limit, a disabled integration or a revoked key is in force on every node
    News(news::Options),
}

/// What a proof saw.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    /// The table, line by line.
    pub(crate) lines: Vec<String>,
    /// Promises that were not kept.
    pub(crate) broken: Vec<String>,
}

impl Seen {
    /// Adds a line of the table, and shows it at once.
    pub(crate) fn tell(&mut self, line: String) {
        say(&line);
        self.lines.push(line);
    }

    /// Notes a broken promise, if it is one.
    pub(crate) fn note(&mut self, broken: Option<String>) {
        self.broken.extend(broken);
    }

    /// Takes in what another part saw.
    pub(crate) fn add(&mut self, other: Self) {
        self.lines.extend(other.lines);
        self.broken.extend(other.broken);
    }

    fn print(&self) {
        print(&self.lines.join("\n"));
        for promise in &self.broken {
            print(&format!("  BROKEN {promise}"));
        }
        print(if self.broken.is_empty() {
            "PASSED"
        } else {
            "FAILED"
        });
    }
}

impl Proof {
    /// Tries it, prints what was seen, and tells whether the promise was kept.
    pub(crate) async fn run(self) -> bool {
        let seen = match self {
            Self::Cap(options) => cap::run(&options).await,
            Self::Rate(options) => rate::run(&options).await,
            Self::Calendar(options) => calendar::run(&options).await,
            Self::News(options) => news::run(&options).await,
        };
        seen.print();
        seen.broken.is_empty()
    }
}
