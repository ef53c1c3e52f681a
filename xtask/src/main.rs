//! `cargo run -p xtask -- tidy [--bless]` and `cargo run -p xtask -- gen [prices FILE]`.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: cargo run -p xtask -- tidy [--bless] | gen [prices FILE]";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let root = xtask::workspace_root();
    let outcome = match words.as_slice() {
        ["tidy"] => xtask::tidy::run(&root).and_then(|report| {
            say(&report.to_string());
            if report.findings.is_empty() {
                Ok(())
            } else {
                Err(format!("{} rules broken", report.findings.len()))
            }
        }),
        ["tidy", "--bless"] => xtask::tidy::bless(&root).map(|written| say(&written.join("\n"))),
        ["gen"] => xtask::r#gen::run(&root).map(|written| say(&written.join("\n"))),
        ["gen", "prices", list] => xtask::r#gen::prices::source_at(Path::new(list))
            .and_then(|source| xtask::r#gen::prices::write(&root, &source))
            .map(|written| say(&written.join("\n"))),
        _ => Err(USAGE.to_owned()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            let _written = writeln!(std::io::stderr(), "xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

fn say(text: &str) {
    let _written = writeln!(std::io::stdout(), "{text}");
}
