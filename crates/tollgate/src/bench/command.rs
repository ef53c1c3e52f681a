//! `tollgate bench`: what can be chosen, and what is printed.

use std::io::{self, IsTerminal as _};
use std::num::NonZeroU32;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use super::load::{self, Load, Pace, Shape, Target};
use super::measure::{Bench, Sizes};
use super::report;
use crate::client::read_secret;
use crate::output::{self, Exit, Failure};
use crate::settings::environment;

/// Calls a second of the measurement at a fixed rate, unless told otherwise.
const RATE: u32 = 500;

/// Measure what the gateway adds on this machine.
///
/// Sets up a gateway on an embedded store with everything on (key check, all three limits, holds, journal, ledger)
/// and a simulated provider, calls the provider in turn directly and through the gateway, and removes it all. Nothing
/// leaves this machine.
///
/// With `--url` it sets up nothing and loads what is there: as fast as it answers, or at `--rate`. The access key comes
/// from the environment variable `TOLLGATE_KEY`, or from standard input with `--key -`; of several with spaces between them
/// each calls in turn. These are real calls: they cost what such calls cost.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Seconds of each round of each measurement
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    seconds: u64,
    /// Rounds, direct and through the gateway in turn
    #[arg(long, value_name = "N", default_value_t = 3, conflicts_with = "url", value_parser = clap::value_parser!(u32).range(1..=100))]
    rounds: u32,
    /// Connections that call at the same time
    #[arg(long, value_name = "N", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=20_000))]
    connections: u32,
    /// Calls a second of the measurement at a fixed rate, counted from when each was due [default: 500, with --url as
    /// fast as they are answered]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: Option<u32>,
    /// Milliseconds that the simulated provider takes before it answers, at the fixed rate
    #[arg(long, value_name = "N", default_value_t = 20, conflicts_with = "url", value_parser = clap::value_parser!(u64).range(0..=60_000))]
    latency_ms: u64,
    /// Bytes of each prompt
    #[arg(long, value_name = "N", default_value_t = 900, value_parser = clap::value_parser!(u32).range(1..=33_554_432))]
    body_bytes: u32,
    /// Tokens of each answer: the events of a stream, about
    #[arg(long, value_name = "N", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=65_536))]
    output_tokens: u32,
    /// Load this address and nothing else; without /v1
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Ask for streams
    #[arg(long, requires = "url")]
    stream: bool,
    /// The model to ask for
    #[arg(long, value_name = "MODEL", default_value = "gpt-4o-mini")]
    model: String,
    /// Where the access key comes from: - is standard input
    #[arg(long, value_name = "-", allow_hyphen_values = true, requires = "url")]
    key: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Measures and prints. Calls that failed make it an error after the figures are printed.
pub async fn run_command(args: Args) -> Result<(), Failure> {
    let failed = match &args.url {
        Some(url) => load_what_is_there(&args, url).await?,
        None => measure(&args).await?,
    };
    match failed {
        0 => Ok(()),
        failed => Err(Failure::plain(format_args!(
            "{failed} calls failed; the figures say how"
        ))),
    }
}

async fn load_what_is_there(args: &Args, url: &str) -> Result<u64, Failure> {
    let key = read_key(args.key.as_deref())?;
    let load = Load {
        target: Target::new(url, key.trim())?,
        body: args.sizes().body(if args.stream {
            Shape::Stream
        } else {
            Shape::Whole
        }),
        connections: args.connections,
        pace: args
            .rate
            .and_then(NonZeroU32::new)
            .map_or(Pace::AsAnswered, Pace::Fixed),
        time: Duration::from_secs(args.seconds),
    };
    let figures = load::run(load).await?.figures();
    if figures.calls == 0 && figures.is_unreachable() {
        let message = format!("{url} cannot be reached: is a gateway running there?");
        return Err(Failure::new(Exit::Unreachable, message));
    }
    if args.json {
        let text = serde_json::to_string(&figures).map_err(Failure::plain)?;
        output::print(&text)?;
    } else {
        output::print(&report::of_load(&figures))?;
    }
    Ok(figures.failed)
}

fn read_key(flag: Option<&str>) -> Result<String, Failure> {
    match flag {
        Some("-") => read_secret("Access key: "),
        // What was given is not repeated: it may be the key.
        Some(_) => Err(Failure::usage(
            "--key takes nothing but -, for standard input: others can read arguments",
        )),
        None => environment::read("TOLLGATE_KEY").ok_or_else(|| {
            let advice = "there is no access key: set TOLLGATE_KEY, or give it with `--key -`";
            Failure::new(Exit::Denied, advice)
        }),
    }
}

async fn measure(args: &Args) -> Result<u64, Failure> {
    let bench = Bench {
        rounds: args.rounds,
        time: Duration::from_secs(args.seconds),
        connections: args.connections,
        rate: NonZeroU32::new(args.rate.unwrap_or(RATE)).unwrap_or(NonZeroU32::MIN),
        latency_ms: args.latency_ms,
        sizes: args.sizes(),
    };
    let progress = progress_bar();
    let result = bench.run(&progress).await;
    progress.finish_and_clear();
    let result = result?;
    if args.json {
        let text = serde_json::to_string(&result).map_err(Failure::plain)?;
        output::print(&text)?;
    } else {
        output::print(&report::of_bench(&bench, &result))?;
    }
    Ok(result.failed())
}

impl Args {
    fn sizes(&self) -> Sizes {
        Sizes {
            model: self.model.clone(),
            prompt_bytes: self.body_bytes,
            output_tokens: self.output_tokens,
        }
    }
}

/// A bar on standard error if that is a terminal, else one that is not seen.
fn progress_bar() -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let bar = ProgressBar::new(0);
    match ProgressStyle::with_template("{bar:40} {pos}/{len}  {msg}") {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
