//! What the simulated provider billed: the record that a gateway's ledger is compared with.

use std::{
    collections::VecDeque,
    fs::{File, OpenOptions},
    io::{self, Write as _},
    path::Path,
    sync::Arc,
};

use jiff::Timestamp;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;

/// So many lines are kept in memory, the newest ones; the file keeps all.
pub const LINES_KEPT: usize = 65_536;

/// One billed request, as a line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Line {
    /// When the request was billed: before the first byte of its answer.
    pub time: Timestamp,
    /// The provider's id of the request, as in the answer's headers.
    pub request_id: String,
    /// The value of the request's `x-client-request-id` header.
    pub client_request_id: Option<String>,
    /// The model as the request named it.
    pub model: String,
    /// Billed input tokens, cached ones included.
    pub tokens_in: u64,
    /// Billed output tokens.
    pub tokens_out: u64,
    /// The request's path.
    pub path: String,
}

/// A line before it is written: the same members, borrowed.
#[derive(Serialize)]
pub(super) struct Entry<'a> {
    pub(super) time: Timestamp,
    pub(super) request_id: &'a str,
    pub(super) client_request_id: Option<&'a str>,
    pub(super) model: &'a str,
    pub(super) tokens_in: u64,
    pub(super) tokens_out: u64,
    pub(super) path: &'a str,
}

#[derive(Debug, Default)]
struct Kept {
    lines: VecDeque<Arc<str>>,
    billed: u64,
}

/// The append-only record of billed requests.
#[derive(Debug)]
pub(super) struct Journal {
    file: Option<File>,
    kept: Mutex<Kept>,
    changed: Notify,
}

impl Journal {
    /// Open the journal, appending to what the file already has; without a path it is in memory only.
    pub(super) fn open(path: Option<&Path>) -> io::Result<Self> {
        let file = path
            .map(|path| {
                OpenOptions::new()
                    .create(true)
                    .append(true)
                    .open(path)
                    .map_err(|error| {
                        io::Error::new(
                            error.kind(),
                            format!("cannot open the journal {}: {error}", path.display()),
                        )
                    })
            })
            .transpose()?;
        Ok(Self {
            file,
            kept: Mutex::default(),
            changed: Notify::new(),
        })
    }

    /// Bill a request: its line is in the file, in one write, when this returns.
    pub(super) fn append(&self, entry: &Entry<'_>) -> io::Result<()> {
        let mut line = serde_json::to_string(entry)?;
        line.push('\n');
        if let Some(mut file) = self.file.as_ref() {
            // Not `write_all`: a line written in two parts could be torn apart by another process.
            let written = file.write(line.as_bytes())?;
            if written != line.len() {
                return Err(io::Error::new(
                    io::ErrorKind::WriteZero,
                    "a line was cut short",
                ));
            }
        }
        line.pop();
        let mut kept = self.kept.lock();
        if kept.lines.len() == LINES_KEPT {
            kept.lines.pop_front();
        }
        kept.lines.push_back(line.into());
        kept.billed += 1;
        drop(kept);
        self.changed.notify_waiters();
        Ok(())
    }

    /// The newest lines, at most [`LINES_KEPT`], oldest first.
    pub(super) fn lines(&self) -> Vec<Arc<str>> {
        self.kept.lock().lines.iter().cloned().collect()
    }

    /// The number of requests billed since the start or the last reset.
    pub(super) fn billed(&self) -> u64 {
        self.kept.lock().billed
    }

    /// Wait until so many requests are billed.
    pub(super) async fn billed_reaches(&self, count: u64) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            // Enlist before looking, so that no line falls between the look and the wait.
            changed.as_mut().enable();
            if self.billed() >= count {
                return;
            }
            changed.await;
        }
    }

    /// Forget the lines in memory; the file is append-only and stays as it is.
    pub(super) fn forget(&self) {
        *self.kept.lock() = Kept::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(model: &str) -> Entry<'_> {
        Entry {
            time: Timestamp::UNIX_EPOCH,
            request_id: "req_1",
            client_request_id: None,
            model,
            tokens_in: 3,
            tokens_out: 4,
            path: "/v1/embeddings",
        }
    }

    #[test]
    fn lines_are_appended_to_what_the_file_already_has() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("billed.jsonl");
        std::fs::write(&path, "before\n").unwrap();
        let journal = Journal::open(Some(&path)).unwrap();
        journal.append(&entry("a\"b")).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            concat!(
                "before\n",
                r#"{"time":"1970-01-01T00:00:00Z","request_id":"req_1","client_request_id":null,"#,
                r#""model":"a\"b","tokens_in":3,"tokens_out":4,"path":"/v1/embeddings"}"#,
                "\n"
            )
        );
    }

    #[test]
    fn memory_keeps_the_newest_lines_and_counts_all() {
        let journal = Journal::open(None).unwrap();
        for number in 0..LINES_KEPT + 2 {
            journal.append(&entry(&number.to_string())).unwrap();
        }
        let lines = journal.lines();
        assert_eq!(lines.len(), LINES_KEPT);
        assert_eq!(serde_json::from_str::<Line>(&lines[0]).unwrap().model, "2");
        assert_eq!(journal.billed(), u64::try_from(LINES_KEPT + 2).unwrap());
    }
}
