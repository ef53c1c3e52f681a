//! The program as a child process, and a client for what it serves.

use std::path::Path;
use std::process::Stdio;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy::{Client, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// The program that was built beside the tests, without anything from the environment of the tests.
pub(crate) fn program(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tollgate"));
    command
        .args(args)
        .env_clear()
        .kill_on_drop(true)
        .stdin(Stdio::null());
    command
}

/// How a program ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the program to its end.
pub(crate) async fn run(args: &[&str], env: &[(&str, &str)], input: &str) -> Ended {
    let mut command = program(args);
    command.envs(env.iter().copied()).stdin(Stdio::piped());
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // A program that does not read its input may have ended already.
    drop(tokio::io::AsyncWriteExt::write_all(&mut stdin, input.as_bytes()).await);
    drop(stdin);
    let output = child.wait_with_output().await.unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

/// A running gateway.
pub(crate) struct Gate {
    pub(crate) ready: Value,
    pub(crate) line: String,
    child: Child,
    _out: Lines<BufReader<ChildStdout>>,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Gate {
    /// Starts the program and waits for the line that says it is ready.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let mut child = program(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
        let Some(line) = out.next_line().await.unwrap() else {
            panic!(
                "{args:?} ended before it was ready: {}",
                messages(&mut child).await
            );
        };
        let ready = serde_json::from_str(&line).unwrap();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self {
            ready,
            line,
            child,
            _out: out,
            client,
        }
    }

    /// `dev` on free ports, with its data in a folder and a provider of the test's own.
    pub(crate) async fn dev(folder: &Path, provider: &str) -> Self {
        let folder = folder.to_str().unwrap();
        Self::start(&[
            "dev",
            "--json",
            "--listen",
            "127.0.0.1:0",
            "--data-dir",
            folder,
            "--provider-url",
            provider,
        ])
        .await
    }

    /// A member of the line that said that it is ready.
    pub(crate) fn told(&self, name: &str) -> &str {
        self.ready[name].as_str().unwrap()
    }

    /// Sends a call of a demo caller; the answer's body is not read yet.
    pub(crate) async fn call(&self, path: &str, body: &Value) -> http::Response<Incoming> {
        let request = Request::builder()
            .method(Method::POST)
            .uri(format!("{}{path}", self.told("url")))
            .header(
                "authorization",
                format!("Bearer {}", self.told("caller_key")),
            )
            .header("content-type", "application/json")
            .header("anthropic-version", "2023-06-01")
            .body(Full::new(Bytes::from(body.to_string())));
        self.client.request(request.unwrap()).await.unwrap()
    }

    /// Asks the control plane with a key of the demonstration.
    pub(crate) async fn ask(&self, path: &str, key: &str) -> (StatusCode, Value) {
        let request = Request::builder()
            .uri(format!("{}{path}", self.told("admin_url")))
            .header("authorization", format!("Bearer {}", self.told(key)))
            .body(Full::default());
        let answer = self.client.request(request.unwrap()).await.unwrap();
        let status = answer.status();
        let text = text(answer).await;
        (
            status,
            serde_json::from_str(&text).unwrap_or(Value::String(text)),
        )
    }

    /// What the control plane's listener answers without a key.
    pub(crate) async fn read(&self, path: &str) -> String {
        let uri = format!("{}{path}", self.told("admin_url")).parse().unwrap();
        text(self.client.get(uri).await.unwrap()).await
    }

    /// The environment of a command that asks this control plane with a key.
    pub(crate) fn env(&self, key: &str) -> [(&'static str, String); 2] {
        [
            ("TOLLGATE_ADMIN_URL", self.told("admin_url").to_owned()),
            ("TOLLGATE_KEY", self.told(key).to_owned()),
        ]
    }

    /// Runs a command against this control plane.
    pub(crate) async fn command(&self, key: &str, args: &[&str], input: &str) -> Ended {
        let env = self.env(key);
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (*name, value.as_str()))
            .collect();
        run(args, &env, input).await
    }

    /// Asks the program to end.
    pub(crate) async fn ask_to_end(&self) {
        let pid = self.child.id().unwrap().to_string();
        let sent = Command::new("kill")
            .args(["-TERM", &pid])
            .status()
            .await
            .unwrap();
        assert!(sent.success());
    }

    /// Waits for its end, and returns its exit code and what it said.
    pub(crate) async fn ended(mut self) -> (Option<i32>, String) {
        let said = messages(&mut self.child).await;
        (self.child.wait().await.unwrap().code(), said)
    }

    /// Ends it as a loss of power would.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }
}

async fn messages(child: &mut Child) -> String {
    let mut said = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut said)
        .await
        .unwrap();
    said
}

/// The whole body of an answer.
pub(crate) async fn text(answer: http::Response<Incoming>) -> String {
    let bytes = answer.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}
