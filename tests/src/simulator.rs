//! The simulated provider as a process of its own, so that it outlives the gateway that is killed.

use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::client::Http;
use crate::program::Program;

/// One request that the provider billed.
#[derive(Debug, Clone, Deserialize)]
pub struct Line {
    /// When it was billed.
    pub time: jiff::Timestamp,
    /// The gateway's id of the call.
    pub client_request_id: Option<String>,
    /// The model that was asked for.
    pub model: String,
    /// Billed input tokens.
    pub tokens_in: u64,
    /// Billed output tokens.
    pub tokens_out: u64,
    /// The request's path.
    pub path: String,
}

/// A running simulated provider.
#[derive(Debug)]
pub struct Simulator {
    program: Program,
    journal: PathBuf,
    http: Http,
    /// Where it listens, without a path.
    pub url: String,
}

impl Simulator {
    /// Starts one whose journal and output are in a folder.
    pub async fn start(folder: &Path, options: &[&str]) -> Self {
        Self::start_in(folder, options, &[]).await
    }

    /// The same, in an environment of its own.
    pub async fn start_in(folder: &Path, options: &[&str], env: &[(String, String)]) -> Self {
        let journal = folder.join("provider.jsonl");
        let mut args = vec!["simulate", "--json", "--listen", "127.0.0.1:0"];
        args.extend(["--journal", journal.to_str().unwrap()]);
        args.extend(options);
        let env: Vec<(&str, &str)> = env
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let mut program = Program::start(folder, "provider", &args, &env);
        let ready = program.ready().await;
        let url = ready["url"]
            .as_str()
            .expect("the simulator's line has a url")
            .to_owned();
        Self {
            program,
            journal,
            http: Http::new(),
            url,
        }
    }

    /// Has it do these things wrong from now on; what is not named stays.
    pub async fn faults(&self, faults: &Value) {
        let url = format!("{}/__faults", self.url);
        let answer = self.http.post(&url, &[], faults.to_string()).await.unwrap();
        assert!(answer.status < 300, "{faults}: {}", answer.text());
    }

    /// How often the list of models was asked for: what probes do.
    pub async fn probes(&self) -> u64 {
        let url = format!("{}/__requests", self.url);
        let answer = self.http.get(&url, &[]).await.unwrap();
        answer.json()["models"].as_u64().unwrap()
    }

    /// What arrived of forms of several parts, oldest first.
    pub async fn forms(&self) -> Vec<Value> {
        let url = format!("{}/__forms", self.url);
        let answer = self.http.get(&url, &[]).await.unwrap();
        answer.json().as_array().unwrap().clone()
    }

    /// Has it do nothing wrong from now on.
    pub async fn no_faults(&self) {
        self.http
            .post(&format!("{}/__reset", self.url), &[], "")
            .await
            .unwrap();
    }

    /// Everything that it billed, oldest first, with lines cut by nothing: it is never killed before its end.
    pub fn lines(&self) -> Vec<Line> {
        let text = std::fs::read_to_string(&self.journal).unwrap();
        text.lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// What it billed beyond so many bytes of its journal, and how long the journal is now.
    pub fn lines_from(&self, offset: u64) -> (Vec<Line>, u64) {
        let mut file = std::fs::File::open(&self.journal).unwrap();
        file.seek(SeekFrom::Start(offset)).unwrap();
        let mut text = String::new();
        let read = file.read_to_string(&mut text).unwrap();
        let lines = text
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect();
        (lines, offset + u64::try_from(read).unwrap())
    }

    /// How many requests it billed.
    pub fn billed(&self) -> usize {
        let text = std::fs::read(&self.journal).unwrap();
        text.split(|byte| *byte == b'\n').count() - 1
    }

    /// Ends it.
    pub async fn stop(&mut self) {
        if self.program.is_running() {
            self.program.kill().await;
        }
    }
}
