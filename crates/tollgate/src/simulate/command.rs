//! `tollgate simulate`: the simulated provider as a program of its own.

use std::{
    io::{self, Write as _},
    net::SocketAddr,
    path::PathBuf,
};

use tokio::signal::unix::{SignalKind, signal};

use super::{Config, DEFAULT_OUTPUT_TOKENS, Faults, start};

/// Run the simulated provider alone.
///
/// It speaks the wire formats of OpenAI, Azure, Anthropic and Bedrock, bills one token a word and can be told faults, here or
/// at run time: `POST /__faults` with a JSON object, `GET /__faults`, `GET /__journal`, `POST /__reset`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Append one JSON line to this file for each billed request
    #[arg(long, value_name = "FILE")]
    journal: Option<PathBuf>,
    /// Milliseconds before each answer
    #[arg(long, value_name = "N", default_value_t = 0)]
    latency_ms: u64,
    /// Milliseconds between the events of a stream
    #[arg(long, value_name = "N", default_value_t = 0)]
    chunk_interval_ms: u64,
    /// Share of requests that fail, from 0 to 1, spread evenly
    #[arg(long, value_name = "SHARE", default_value_t = 0.0, value_parser = share)]
    error_rate: f64,
    /// Status of requests that fail, from 400 to 599
    #[arg(
        long,
        value_name = "STATUS",
        default_value_t = 500,
        value_parser = clap::value_parser!(u16).range(400..=599)
    )]
    error_status: u16,
    /// Seconds in the retry-after header of requests that fail
    #[arg(long, value_name = "SECONDS")]
    retry_after: Option<u64>,
    /// Break the connection after so many events of a stream, or bytes of a plain answer
    #[arg(long, value_name = "N")]
    cut_after: Option<u64>,
    /// Fall silent after so many events of a stream, with the connection open
    #[arg(long, value_name = "N")]
    stall_after: Option<u64>,
    /// Leave usage out of all answers
    #[arg(long)]
    no_usage: bool,
    /// Accept and bill requests, but never answer
    #[arg(long)]
    hang: bool,
    /// Report so many input tokens as read from a cache
    #[arg(long, value_name = "N", default_value_t = 0)]
    cached_tokens: u64,
    /// Report so many output tokens as reasoning
    #[arg(long, value_name = "N", default_value_t = 0)]
    reasoning_tokens: u64,
    /// Output tokens of a request that does not limit them
    #[arg(long, value_name = "N", default_value_t = DEFAULT_OUTPUT_TOKENS)]
    default_output_tokens: u64,
    /// Take no key but this one, which is no secret: it opens nothing but this simulation
    #[arg(long, value_name = "KEY")]
    require_key: Option<String>,
    /// Print one JSON line when ready
    #[arg(long)]
    json: bool,
}

/// Run the simulated provider until the program is asked to end (SIGINT, SIGTERM).
pub async fn run(args: Args) -> io::Result<()> {
    let faults = Faults {
        latency_ms: args.latency_ms,
        chunk_interval_ms: args.chunk_interval_ms,
        error_rate: args.error_rate,
        error_status: args.error_status,
        retry_after_s: args.retry_after,
        cut_after: args.cut_after,
        stall_after: args.stall_after,
        no_usage: args.no_usage,
        hang: args.hang,
        cached_tokens: args.cached_tokens,
        reasoning_tokens: args.reasoning_tokens,
        ..Faults::default()
    };
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let simulator = start(Config {
        listen: args.listen,
        journal: args.journal,
        faults,
        default_output_tokens: args.default_output_tokens,
        require_key: args.require_key,
    })
    .await?;
    let url = simulator.url();
    let ready = if args.json {
        serde_json::json!({ "url": url }).to_string()
    } else {
        format!("The simulated provider is ready at {url}")
    };
    writeln!(io::stdout(), "{ready}")?;
    io::stdout().flush()?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    simulator.stop().await;
    Ok(())
}

fn share(text: &str) -> Result<f64, &'static str> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        _ => Err("give a number from 0 to 1"),
    }
}
