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

/// Writes the file of one tenant.
pub(super) async fn run(client: &Client, args: &Args) -> Result<(), Failure> {
    let mut file = File::begin(args);
    let added = file.add(client).await;
    file.end(added)
}

/// A file on standard output that is being written, and how far it is, on standard error.
pub(in crate::commands) struct File<'a> {
    args: &'a Args,
    out: io::BufWriter<io::Stdout>,
    bar: ProgressBar,
    bytes: u64,
    has_header: bool,
}

impl<'a> File<'a> {
    /// An empty one.
    pub(in crate::commands) fn begin(args: &'a Args) -> Self {
        Self {
            args,
            out: io::BufWriter::new(io::stdout()),
            bar: if io::stderr().is_terminal() {
                ProgressBar::new_spinner()
            } else {
                ProgressBar::hidden()
            },
            bytes: 0,
            has_header: false,
        }
    }

    /// Adds the calls of the client's tenant. A header stands in the file once.
    pub(in crate::commands) async fn add(&mut self, client: &Client) -> Result<(), Failure> {
        let format = match self.args.format {
            Format::Csv => "csv",
            Format::Jsonl => "jsonl",
        };
        let mut parameters = self.args.days.parameters().to_vec();
        parameters.push(("format", Some(format.to_owned())));
        let path = format!("/api/v1/telemetry/usage-export{}", query(&parameters));
        let mut is_in_header = self.has_header && self.args.format == Format::Csv;
        self.has_header = true;
        let written = client.download(&path, |piece| {
            let piece = if is_in_header {
                // No name of a column has a line's end in it.
                let end = piece.iter().position(|&byte| byte == b'\n');
                is_in_header = end.is_none();
                end.and_then(|end| piece.get(end + 1..)).unwrap_or_default()
            } else {
                piece
            };
            self.bytes += u64::try_from(piece.len()).unwrap_or(u64::MAX);
            self.bar.set_message(format!("{} bytes", self.bytes));
            self.bar.tick();
            self.out.write_all(piece)
        });
        written.await
    }

    /// Says whether it is whole.
    pub(in crate::commands) fn end(mut self, added: Result<(), Failure>) -> Result<(), Failure> {
        let flushed = self.out.flush();
        self.bar.finish_and_clear();
        added?;
        match flushed {
            Err(error) if error.kind() != io::ErrorKind::BrokenPipe => return Err(error.into()),
            _ => output::say(format_args!("the file is whole: {} bytes", self.bytes)),
        }
        Ok(())
    }
}
