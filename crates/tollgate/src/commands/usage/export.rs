//! `tollgate usage export`: the calls of some days as a file, as they come.

use std::io::{self, IsTerminal as _, Write as _};

use indicatif::ProgressBar;

use super::Days;
use crate::client::{Client, query};
use crate::output::{self, Failure};

/// Which file.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// How it is written
    #[arg(long, value_enum, default_value_t = Format::Csv)]
    format: Format,
    /// Which calls.
    #[command(flatten)]
    days: Days,
}

/// How the rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    /// Comma-separated values with a header
    Csv,
    /// A JSON object a line
    Jsonl,
}

/// Writes the file to standard output, and how far it is to standard error.
pub(super) async fn run(client: &Client, args: &Args) -> Result<(), Failure> {
    let format = match args.format {
        Format::Csv => "csv",
        Format::Jsonl => "jsonl",
    };
    let mut parameters = args.days.parameters().to_vec();
    parameters.push(("format", Some(format.to_owned())));
    let path = format!("/api/v1/telemetry/usage-export{}", query(&parameters));
    let bar = if io::stderr().is_terminal() {
        ProgressBar::new_spinner()
    } else {
        ProgressBar::hidden()
    };
    let mut bytes = 0_u64;
    let mut out = io::BufWriter::new(io::stdout());
    let written = client.download(&path, |piece| {
        bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
        bar.set_message(format!("{bytes} bytes"));
        bar.tick();
        out.write_all(piece)
    });
    let ended = written.await;
    let flushed = out.flush();
    bar.finish_and_clear();
    ended?;
    match flushed {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
        _ => output::say(format_args!("the file is whole: {bytes} bytes")),
    }
    Ok(())
}
