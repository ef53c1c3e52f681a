//! The program: settings, wiring, commands.
//!
//! [`cli`] is what can be typed, [`commands`] has a file for each command, [`settings`] reads what
//! is set, and [`wire`] is the one place that puts the pieces together.

pub mod admin;
pub mod bench;
pub mod cli;
pub mod client;
pub mod commands;
pub mod output;
pub mod replay;
pub mod settings;
pub mod shutdown;
pub mod simulate;
pub mod telemetry;
pub mod wire;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::output::{Exit, Failure};

/// Runs the program as it was called, and says how it ended.
#[must_use]
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return ExitCode::from(usage(&error)),
    };
    match run(cli) {
        Ok(()) => Exit::Done.into(),
        Err(failure) => {
            if !failure.message.is_empty() {
                output::say(format_args!("error: {failure}"));
            }
            failure.exit.into()
        }
    }
}

/// Prints what the reader of arguments has to say: help is no failure.
fn usage(error: &clap::Error) -> Exit {
    if let Err(failure) = error.print() {
        output::say(failure);
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Done
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    install_tls()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    let ended = runtime.block_on(commands::run(cli.command));
    // A prompt or a log that nobody reads must not hold the program back.
    runtime.shutdown_background();
    ended
}

/// Says once which cryptography TLS uses; the libraries would not agree otherwise.
fn install_tls() -> Result<(), Failure> {
    let provider = rustls::crypto::aws_lc_rs::default_provider();
    let installed = provider.install_default();
    installed.map_err(|_installed| Failure::plain("the cryptography of TLS was installed twice"))
}
