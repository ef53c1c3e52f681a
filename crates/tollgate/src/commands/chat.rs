//! `tollgate chat`: one question through the gateway, or a conversation; the answer goes to standard
//! output, and what it cost to standard error.

mod bill;
mod reading;
mod words;

use std::io::{self, IsTerminal as _, Read as _, Write as _};
use std::path::PathBuf;

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::Value;

use self::bill::Bill;
use self::reading::{Events, Heard};
use self::words::{Said, Words};
use crate::client::{Called, Client, Remote, exit_of};
use crate::output::{self, Exit, Failure};
use crate::replay::Stopwatch;

/// Send one prompt through a gateway, or lines of a conversation, and show what the answer cost.
///
/// The answer goes to standard output as it comes; tokens, cost, verdict, what remains and the
/// latency go to standard error. The access key comes from the environment variable `TOLLGATE_KEY`,
/// from `--key-file`, or from standard input with `--key -`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to ask; - is standard input. Without it, lines from the terminal are a conversation
    #[arg(value_name = "PROMPT")]
    prompt: Option<String>,
    /// The gateway's URL, without /v1
    #[arg(
        long,
        value_name = "URL",
        env = "TOLLGATE_URL",
        default_value = "http://127.0.0.1:8080"
    )]
    url: String,
    /// The control plane's URL, which tells the cost of an answer that is streamed, and what remains
    #[arg(
        long,
        value_name = "URL",
        env = "TOLLGATE_ADMIN_URL",
        default_value = "http://127.0.0.1:8081"
    )]
    admin_url: String,
    /// Where the access key comes from, if not from `TOLLGATE_KEY`: - is standard input
    #[arg(long, value_name = "-", allow_hyphen_values = true)]
    key: Option<String>,
    /// A file that holds the access key
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    key_file: Option<PathBuf>,
    /// Name or id of the integration to call
    #[arg(long, value_name = "INTEGRATION")]
    integration: Option<String>,
    /// The model to ask for; the integration's default model if absent
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// What the model is told before the conversation
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// The most tokens of an answer
    #[arg(long, value_name = "N")]
    max_tokens: Option<u64>,
    /// Show the answer as it comes; it is, unless it is printed as JSON
    #[arg(long, overrides_with = "no_stream")]
    stream: bool,
    /// Ask for the answer as a whole
    #[arg(long, overrides_with = "stream")]
    no_stream: bool,
    /// Print the answer and what it cost as one JSON object
    #[arg(long)]
    json: bool,
}

/// A conversation.
struct Chat {
    gateway: Client,
    control: Client,
    args: Args,
    words: Words,
    said: Vec<Said>,
}

/// Has it.
pub async fn run(args: Args) -> Result<(), Failure> {
    let whole = match args.prompt.as_deref() {
        Some("-") => Some(None),
        Some(prompt) => Some(Some(prompt.to_owned())),
        None if io::stdin().is_terminal() => None,
        None => Some(None),
    };
    if whole == Some(None) && args.key.is_some() {
        return Err(Failure::usage(
            "standard input cannot be both the access key and the prompt: set TOLLGATE_KEY, or \
             give --key-file",
        ));
    }
    let mut chat = Chat::new(args)?;
    match whole {
        Some(prompt) => {
            let prompt = prompt.map_or_else(from_input, Ok)?;
            chat.turn(prompt).await
        }
        None => chat.converse().await,
    }
}

/// The next line of a terminal; none at its end.
fn next_line() -> Result<Option<String>, Failure> {
    let mut stderr = io::stderr().lock();
    write!(stderr, "> ").and_then(|()| stderr.flush())?;
    let mut line = String::new();
    let read = io::stdin().read_line(&mut line)?;
    Ok((read > 0).then_some(line))
}

/// All of standard input.
fn from_input() -> Result<String, Failure> {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text)?;
    if text.trim().is_empty() {
        return Err(Failure::usage(
            "there is no prompt: standard input is empty",
        ));
    }
    Ok(text)
}

impl Chat {
    fn new(args: Args) -> Result<Self, Failure> {
        let gateway = Client::new(&Remote {
            url: args.url.clone(),
            key: args.key.clone(),
            key_file: args.key_file.clone(),
            tenant: None,
        })?;
        let control = gateway.at(&args.admin_url)?;
        Ok(Self {
            gateway,
            control,
            args,
            words: Words::OpenAi,
            said: Vec::new(),
        })
    }

    /// Lines of a terminal until its end. What goes wrong with one does not end the others, unless
    /// it would go wrong with each.
    async fn converse(&mut self) -> Result<(), Failure> {
        output::say("one line, one question; Ctrl-D ends it");
        loop {
            let Some(line) = next_line()? else {
                return Ok(());
            };
            if line.trim().is_empty() {
                continue;
            }
            match self.turn(line).await {
                Err(failure) if is_lasting(&failure) => return Err(failure),
                Err(failure) => output::say(failure),
                Ok(()) => {}
            }
        }
    }

    /// One question and its answer.
    async fn turn(&mut self, prompt: String) -> Result<(), Failure> {
        self.said.push(Said::by_user(prompt.trim()));
        let turned = self.answered().await;
        match turned {
            Ok(answer) => {
                self.said.push(Said::by_model(answer));
                Ok(())
            }
            Err(failure) => {
                self.said.pop();
                Err(failure)
            }
        }
    }

    async fn answered(&mut self) -> Result<String, Failure> {
        let stopwatch = Stopwatch::start();
        let mut called = self.ask().await?;
        let is_stream = called
            .header("content-type")
            .starts_with("text/event-stream");
        let shows = !self.args.json;
        let mut heard = Heard::default();
        let mut first_ms = None;
        let mut show = |text: &str| {
            first_ms.get_or_insert_with(|| stopwatch.elapsed().as_millis());
            if shows { print_part(text) } else { Ok(()) }
        };
        if is_stream {
            let mut events = Events::default();
            while let Some(piece) = called.piece().await? {
                for event in events.push(&piece) {
                    heard.take(&event, &mut show)?;
                }
            }
        } else {
            let body = called.whole().await?;
            heard.take_whole(&body, &mut show)?;
        }
        let latency_ms = stopwatch.elapsed().as_millis();
        if shows {
            output::print("")?;
        }
        let mut bill = Bill::of(&called, &heard, (latency_ms, first_ms));
        bill.look_up(&self.control).await;
        if self.args.json {
            output::print(&bill.with_answer(&heard.text).to_string())?;
        } else {
            output::say(bill.card().trim_end());
        }
        Ok(heard.text)
    }

    /// Sends the conversation so far. Where nothing serves these words, the integration may serve
    /// the others: a call that went nowhere leaves no row.
    async fn ask(&mut self) -> Result<Called, Failure> {
        let first = match self.ask_in(self.words).await? {
            Ok(called) => return Ok(called),
            Err(refusal) => refusal,
        };
        if self.words == Words::OpenAi
            && first.is_about_words()
            && let Ok(called) = self.ask_in(Words::Anthropic).await?
        {
            self.words = Words::Anthropic;
            return Ok(called);
        }
        Err(first.failure())
    }

    async fn ask_in(&self, words: Words) -> Result<Result<Called, Refusal>, Failure> {
        let args = &self.args;
        let streams = args.stream || !(args.no_stream || args.json);
        let body = words.body(
            &self.said,
            &words::Wishes {
                model: args.model.as_deref(),
                system: args.system.as_deref(),
                max_tokens: args.max_tokens,
                streams,
            },
        );
        let mut headers = words.headers();
        if let Some(integration) = &args.integration {
            let value = HeaderValue::try_from(integration.as_str());
            let value = value.map_err(|_unfit| {
                Failure::usage(
                    "--integration has characters that a header cannot carry: give its id",
                )
            })?;
            headers.push((HeaderName::from_static("x-tollgate-integration"), value));
        }
        let mut called = self.gateway.call(words.path(), &headers, body).await?;
        if called.status.is_success() {
            return Ok(Ok(called));
        }
        let told = called.whole().await.unwrap_or_default();
        let told = serde_json::from_slice(&told).unwrap_or_default();
        let by = match called.header("x-tollgate-origin") {
            "provider" => Speaker::Provider,
            _ => Speaker::Gateway,
        };
        let status = called.status;
        Ok(Err(Refusal { status, by, told }))
    }
}

/// A call that was answered with an error.
struct Refusal {
    status: StatusCode,
    by: Speaker,
    told: Value,
}

/// Who answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Speaker {
    Gateway,
    Provider,
}

impl Refusal {
    fn code(&self) -> &str {
        let own = self.told.pointer("/tollgate/code");
        let code = own.or_else(|| self.told.pointer("/error/code"));
        code.and_then(Value::as_str).unwrap_or_default()
    }

    /// Whether nothing serves the path that was called, so that another may be served.
    fn is_about_words(&self) -> bool {
        let codes = ["integration_not_found", "operation_not_served"];
        self.by == Speaker::Gateway && codes.contains(&self.code())
    }

    /// What was told, and the exit code.
    fn failure(&self) -> Failure {
        let status = self.status;
        let message = self.told.pointer("/error/message").and_then(Value::as_str);
        let message = message.map_or_else(|| format!("the answer is {status}"), str::to_owned);
        if self.by == Speaker::Provider {
            let is_limit = exit_of(status) == Exit::Limit;
            let exit = if is_limit { Exit::Limit } else { Exit::Failure };
            return Failure::new(exit, format!("the provider answered {status}: {message}"));
        }
        let hint = match self.code() {
            "missing_parameter" => " (on the command line: --model MODEL)",
            "integration_ambiguous" => " (on the command line: --integration INTEGRATION)",
            _ => "",
        };
        let exit = match self.code() {
            "upstream_auth_failed"
            | "integration_unusable"
            | "upstream_redirect"
            | "upstream_error"
            | "upstream_not_public" => Exit::Failure,
            _ => exit_of(status),
        };
        Failure::new(exit, format!("{message}{hint}"))
    }
}

/// Whether what went wrong with one question would go wrong with each.
fn is_lasting(failure: &Failure) -> bool {
    matches!(
        failure.exit,
        Exit::Usage | Exit::NotFound | Exit::Denied | Exit::Unreachable
    )
}

/// A part of an answer on standard output. A terminal is shown no control characters, which it
/// would obey; whatever else reads it gets what came.
fn print_part(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let written = if out.is_terminal() {
        let harmless = |letter: &char| !letter.is_control() || matches!(letter, '\n' | '\t');
        let shown: String = text.chars().filter(harmless).collect();
        out.write_all(shown.as_bytes())
    } else {
        out.write_all(text.as_bytes())
    };
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn refusal(status: u16, by: Speaker, told: Value) -> Failure {
        let status = StatusCode::from_u16(status).unwrap();
        Refusal { status, by, told }.failure()
    }

    fn said(code: &str) -> Value {
        json!({"error": {"message": "what happened", "code": code}, "tollgate": {"code": code}})
    }

    #[test]
    fn a_refusal_has_the_gateways_words_and_the_documented_exit_code() {
        for (status, code, exit) in [
            (401, "invalid_api_key", Exit::Denied),
            (402, "budget_exceeded", Exit::Limit),
            (403, "integration_disabled", Exit::Denied),
            (404, "integration_not_found", Exit::NotFound),
            (429, "rate_limit_exceeded", Exit::Limit),
            (502, "upstream_unreachable", Exit::Unreachable),
            (502, "upstream_auth_failed", Exit::Failure),
            (503, "limits_unavailable", Exit::Unreachable),
            (504, "upstream_timeout", Exit::Unreachable),
        ] {
            let failure = refusal(status, Speaker::Gateway, said(code));
            assert_eq!(
                (failure.exit, &*failure.message),
                (exit, "what happened"),
                "{code}"
            );
        }
        let failure = refusal(400, Speaker::Gateway, said("missing_parameter"));
        assert_eq!(failure.exit, Exit::Usage);
        assert!(failure.message.ends_with("--model MODEL)"), "{failure}");
    }

    #[test]
    fn a_providers_error_is_told_as_the_providers() {
        for (status, exit) in [
            (401, Exit::Failure),
            (429, Exit::Limit),
            (503, Exit::Failure),
        ] {
            let failure = refusal(
                status,
                Speaker::Provider,
                json!({"error": {"message": "no"}}),
            );
            assert_eq!(failure.exit, exit, "{status}");
            assert!(
                failure.message.contains("the provider answered"),
                "{failure}"
            );
        }
        let failure = refusal(500, Speaker::Provider, Value::Null);
        assert!(failure.message.contains("500"), "{failure}");
    }
}
