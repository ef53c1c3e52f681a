//! `tollgate usage report`: usage of calls that were made elsewhere, one from flags or many from lines of JSON.

use std::io::{self, BufRead as _, BufReader, Read};
use std::path::PathBuf;

use serde_json::{Map, Value, json};

use crate::cli::Form;
use crate::client::Client;
use crate::output::{self, Failure};

/// The most records of one request.
const RECORDS_MAX: usize = 100;

/// The most bytes of records of one request, below the mebibyte that the control plane takes.
const BYTES_MAX: usize = 900_000;

/// What is reported.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// A file with a record a line, as JSON: - is standard input
    #[arg(long, value_name = "FILE", conflicts_with_all = ["integration", "call_id", "model", "tokens_in", "tokens_out"])]
    records: Option<PathBuf>,
    /// The integration whose credential the call used
    #[arg(long, value_name = "ID")]
    integration: Option<String>,
    /// The call's own id
    #[arg(long, value_name = "ID", required_unless_present = "records")]
    call_id: Option<String>,
    /// The model
    #[arg(long, required_unless_present = "records")]
    model: Option<String>,
    /// Input tokens
    #[arg(long, value_name = "N", required_unless_present = "records")]
    tokens_in: Option<u64>,
    /// Output tokens
    #[arg(long, value_name = "N", required_unless_present = "records")]
    tokens_out: Option<u64>,
    /// The session
    #[arg(long, value_name = "ID")]
    session: Option<String>,
    /// The agent
    #[arg(long, value_name = "ID")]
    agent: Option<String>,
    /// What you think it cost, in dollars
    #[arg(long, value_name = "USD")]
    cost_usd: Option<String>,
    /// How long it took, in milliseconds
    #[arg(long, value_name = "MS")]
    latency_ms: Option<u64>,
    /// What went wrong, as a code
    #[arg(long, value_name = "CODE")]
    error_code: Option<String>,
    /// When it was made, as 2026-11-22T10:00:00Z
    #[arg(long, value_name = "TIME")]
    created_at: Option<String>,
}

/// A line of a file of records.
struct Line {
    number: usize,
    text: String,
}

/// What became of all lines.
#[derive(Default)]
struct Tally {
    accepted: usize,
    duplicates: usize,
    refused: usize,
}

/// Reports.
pub(super) async fn run(client: &Client, args: &Args, form: Form) -> Result<(), Failure> {
    let Some(path) = &args.records else {
        let record = args.record();
        let answer = client.post("/api/v1/telemetry/llm-usage", Some(&record));
        let answer = answer.await?;
        return super::super::show(&answer, form, super::super::Shown::Card);
    };
    if path.as_os_str() == "-" {
        return report_lines(client, io::stdin(), form).await;
    }
    let file = std::fs::File::open(path)
        .map_err(|error| Failure::file("read", path, &error).with(output::Exit::Usage))?;
    report_lines(client, file, form).await
}

impl Args {
    fn record(&self) -> Value {
        let members = [
            ("integration_id", self.integration.clone().map(Value::from)),
            ("call_id", self.call_id.clone().map(Value::from)),
            ("model", self.model.clone().map(Value::from)),
            ("tokens_in", self.tokens_in.map(Value::from)),
            ("tokens_out", self.tokens_out.map(Value::from)),
            ("session_id", self.session.clone().map(Value::from)),
            ("agent_id", self.agent.clone().map(Value::from)),
            ("cost_usd", self.cost_usd.clone().map(Value::from)),
            ("latency_ms", self.latency_ms.map(Value::from)),
            ("error_code", self.error_code.clone().map(Value::from)),
            ("created_at", self.created_at.clone().map(Value::from)),
        ];
        let given = members
            .into_iter()
            .filter_map(|(name, value)| Some((name.to_owned(), value?)));
        Value::Object(given.collect::<Map<_, _>>())
    }
}

/// Reports line by line, in batches; what is not booked is said with its line, so that nothing is lost.
async fn report_lines(client: &Client, source: impl Read, form: Form) -> Result<(), Failure> {
    let mut tally = Tally::default();
    let (mut batch, mut bytes) = (Vec::new(), 0_usize);
    for (index, text) in BufReader::new(source).lines().enumerate() {
        let text = text?;
        let line = Line {
            number: index + 1,
            text,
        };
        if line.text.trim().is_empty() {
            continue;
        }
        if let Err(error) = serde_json::from_str::<&serde_json::value::RawValue>(&line.text) {
            tally.refuse(&line, &format!("it is not JSON: {error}"));
            continue;
        }
        if batch.len() == RECORDS_MAX || bytes + line.text.len() > BYTES_MAX {
            tally
                .send(client, &std::mem::take(&mut batch), form)
                .await?;
            bytes = 0;
        }
        bytes += line.text.len();
        batch.push(line);
    }
    if !batch.is_empty() {
        tally.send(client, &batch, form).await?;
    }
    tally.conclude()
}

impl Tally {
    async fn send(&mut self, client: &Client, batch: &[Line], form: Form) -> Result<(), Failure> {
        let records: Vec<&str> = batch.iter().map(|line| line.text.as_str()).collect();
        let body = format!("{{\"records\":[{}]}}", records.join(","));
        let path = "/api/v1/telemetry/llm-usage/batch";
        let answer = client.post_text(path, body).await.map_err(|failure| {
            let from = batch.first().map_or(0, |line| line.number);
            let message = format!(
                "{failure}; the lines from {from} on are not reported: report the file again, what is \
                 booked is not booked twice"
            );
            Failure::new(failure.exit, message)
        })?;
        let results = answer.json.get("results").and_then(Value::as_array);
        let results = results.map_or(&[][..], Vec::as_slice);
        for (line, result) in batch.iter().zip(results) {
            self.count(line, result);
            if form.json {
                let mut told = result.clone();
                if let Value::Object(told) = &mut told {
                    told.remove("index");
                    told.insert("line".to_owned(), json!(line.number));
                }
                output::print(&told.to_string())?;
            }
        }
        Ok(())
    }

    fn count(&mut self, line: &Line, result: &Value) {
        let text = |name| result.get(name).and_then(Value::as_str).unwrap_or_default();
        match text("result") {
            "accepted" => self.accepted += 1,
            "duplicate" => self.duplicates += 1,
            other => {
                let reason = format!("{other}, {}: {}", text("code"), text("detail"));
                self.refuse(line, &reason);
            }
        }
    }

    fn refuse(&mut self, line: &Line, reason: &str) {
        self.refused += 1;
        output::say(format_args!(
            "line {}: {reason}\n{}",
            line.number, line.text
        ));
    }

    fn conclude(&self) -> Result<(), Failure> {
        let (accepted, duplicates) = (self.accepted, self.duplicates);
        output::say(format_args!(
            "{accepted} accepted, {duplicates} there already, {} not booked",
            self.refused
        ));
        if self.refused == 0 {
            return Ok(());
        }
        Err(Failure::plain(format_args!(
            "{} lines were not booked: they stand above with what is wrong with them",
            self.refused
        )))
    }
}
