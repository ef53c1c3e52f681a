//! `tollgate replay`: a trace from a file, a progress bar, the bill.

use std::{
    io::{self, IsTerminal as _, Read as _, Write as _},
    path::PathBuf,
};

use indicatif::{ProgressBar, ProgressStyle};

use super::{CONCURRENCY, Key, MODEL, Options, Plan, ReplayError, run};

/// Send a recorded trace through a gateway, each row as a real call, then print the bill.
///
/// The access key comes from the environment variable `TOLLGATE_KEY`, or from standard input with `--key -`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// CSV file with the columns `TIMESTAMP`, `ContextTokens` and `GeneratedTokens`
    #[arg(value_name = "FILE.csv")]
    file: PathBuf,
    /// The gateway's URL, without /v1
    #[arg(
        long,
        value_name = "URL",
        env = "TOLLGATE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// Where the access key comes from: - is standard input
    #[arg(long, value_name = "-", allow_hyphen_values = true)]
    key: Option<String>,
    /// How many times the recorded pace; 0 is as fast as possible
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0)]
    speed: f64,
    /// The most calls at a time
    #[arg(long, value_name = "N", default_value_t = CONCURRENCY)]
    concurrency: usize,
    /// Name or id of the integration to call
    #[arg(long, value_name = "INTEGRATION")]
    integration: Option<String>,
    /// The model to ask for
    #[arg(long, value_name = "MODEL", default_value = MODEL)]
    model: String,
    /// Print the bill as one JSON object
    #[arg(long)]
    json: bool,
}

/// Replay a trace and print its bill; `env_key` is the key from the environment, for when none comes from standard input.
///
/// Calls that failed make this an error after the bill is printed.
pub async fn run_command(args: Args, env_key: Option<String>) -> Result<(), ReplayError> {
    let plan = Plan::read(&args.file)?;
    let key = match args.key.as_deref() {
        // Refused here and not by the parser of arguments, which would repeat what may be a key.
        Some(from) if from != "-" => {
            let problem =
                "--key takes nothing but -, for standard input: others can read arguments";
            return Err(ReplayError::Option(problem.to_owned()));
        }
        Some(_) => {
            let mut text = String::new();
            io::stdin().read_to_string(&mut text)?;
            Key::new(&text)?
        }
        None => Key::new(&env_key.ok_or(ReplayError::NoKey)?)?,
    };
    let options = Options {
        speed: args.speed,
        concurrency: args.concurrency,
        integration: args.integration,
        model: args.model,
        ..Options::new(args.url.clone(), key)
    };
    let progress = progress_bar();
    let bill = run(plan, options, &progress).await?;
    progress.finish_and_clear();
    let mut stdout = io::stdout().lock();
    if args.json {
        serde_json::to_writer(&mut stdout, &bill).map_err(io::Error::from)?;
        writeln!(stdout)?;
    } else {
        writeln!(stdout, "{bill}")?;
    }
    let denied = bill
        .refused
        .keys()
        .all(|status| matches!(status, 401 | 403));
    match bill.failed {
        0 => Ok(()),
        failed if failed == bill.unreachable && failed == bill.calls => {
            Err(ReplayError::Unreachable { url: args.url })
        }
        failed if failed == bill.calls && bill.unreachable == 0 && denied => {
            let said = bill.first_refusal;
            Err(ReplayError::Denied(said.unwrap_or_else(|| {
                "the gateway refused the access key".to_owned()
            })))
        }
        failed => Err(ReplayError::CallsFailed {
            failed,
            calls: bill.calls,
        }),
    }
}

/// A bar on standard error if that is a terminal, else one that is not seen.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(
        "{bar:40} {human_pos}/{human_len} calls  {per_sec}  {eta} left",
    );
    let bar = ProgressBar::new(0);
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
