//! Settings of the use cases, with their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize};
use tollgate_core::health::Pace;

use crate::health::Probing;
use crate::journal::{JournalConfig, SyncPolicy};
use crate::ledger::WriterConfig;

/// The length of one file of the journal. Only whole files are removed, so a smaller journal would stay full.
const SEGMENT_BYTES: u64 = 64 << 20;

/// How the books are kept on this node.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AppConfig {
    /// The folder of the journal; within the data directory when not set.
    pub journal_dir: Option<PathBuf>,
    /// When the journal reaches the disk: `grouped` (every `journal_sync_ms`), `always` (before a
    /// call leaves), `never`.
    pub journal_sync: SyncChoice,
    /// Milliseconds between two syncs of a grouped journal.
    pub journal_sync_ms: u64,
    /// Bytes of the journal beyond which no further call is admitted; at least one of its files.
    #[serde(deserialize_with = "at_least_a_segment")]
    pub journal_bytes_max: u64,
    /// Bytes that must be free on the journal's disk for a further call to be admitted; 0 never
    /// looks.
    pub journal_free_bytes_min: u64,
    /// Milliseconds from one write to the ledger to the next while calls keep ending, unless a whole
    /// batch waits.
    pub ledger_gather_ms: u64,
    /// Rows written to the ledger in one transaction, at most.
    pub ledger_batch_rows: usize,
    /// Rows that may wait for the store, in memory and in the journal, before no further call is
    /// admitted. What an earlier run left in the journal does not count.
    pub ledger_backlog_rows_max: u64,
    /// Seconds between two looks at what other nodes have changed, for when news of it is missed.
    pub refresh_seconds: u64,
    /// Seconds between two probes of a healthy integration; 0 makes none but those asked for.
    pub probe_seconds: u64,
    /// Seconds until the next probe while the last answers decide nothing yet.
    pub probe_retry_seconds: u64,
    /// The longest wait, in seconds, between two probes of a provider that does not answer.
    pub probe_recovery_seconds: u64,
    /// Seconds within which a probe must be answered.
    pub probe_patience_seconds: u64,
    /// Probes under way at once on this node.
    pub probes_max: usize,
    /// Prefixes of the environment variables that `env://` references may name.
    pub env_credential_prefixes: Vec<String>,
}

/// When the journal reaches the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SyncChoice {
    /// Rows of a few milliseconds together: next to no cost, and a power cut loses at most those.
    Grouped,
    /// Before a call leaves, together with others that leave then. The end of a call waits for no
    /// sync: after a power cut it may be found interrupted, and is charged at its hold.
    Always,
    /// When the operating system likes.
    Never,
}

impl Default for AppConfig {
    fn default() -> Self {
        Self {
            journal_dir: None,
            journal_sync: SyncChoice::Grouped,
            journal_sync_ms: 5,
            journal_bytes_max: 4 << 30,
            journal_free_bytes_min: 64 << 20,
            ledger_gather_ms: 100,
            ledger_batch_rows: 1_000,
            ledger_backlog_rows_max: 500_000,
            refresh_seconds: 2,
            probe_seconds: 300,
            probe_retry_seconds: 10,
            probe_recovery_seconds: 60,
            probe_patience_seconds: 10,
            probes_max: 8,
            env_credential_prefixes: vec!["TOLLGATE_CRED_".to_owned()],
        }
    }
}

impl AppConfig {
    /// How rows are written to the ledger.
    pub(crate) fn writing(&self) -> WriterConfig {
        WriterConfig {
            gather_ms: self.ledger_gather_ms,
            batch_rows: self.ledger_batch_rows.max(1),
        }
    }

    /// How integrations are probed.
    pub(crate) fn probing(&self) -> Probing {
        let usual = Self::default();
        let is_on = self.probe_seconds > 0;
        Probing {
            is_on,
            pace: Pace {
                every_seconds: if is_on {
                    self.probe_seconds
                } else {
                    usual.probe_seconds
                },
                retry_seconds: self.probe_retry_seconds.max(1),
                recovery_seconds: self.probe_recovery_seconds.max(1),
            },
            patience_seconds: self.probe_patience_seconds.max(1),
            at_once_max: self.probes_max.max(1),
        }
    }

    /// The journal's own settings; `dir` is used when none is configured.
    #[must_use]
    pub fn journal(&self, dir: PathBuf) -> JournalConfig {
        let sync = match self.journal_sync {
            SyncChoice::Grouped => SyncPolicy::Grouped {
                millis: self.journal_sync_ms,
            },
            SyncChoice::Always => SyncPolicy::Always,
            SyncChoice::Never => SyncPolicy::Never,
        };
        JournalConfig {
            dir: self.journal_dir.clone().unwrap_or(dir),
            sync,
            segment_bytes: SEGMENT_BYTES,
            bytes_max: self.journal_bytes_max,
            free_bytes_min: self.journal_free_bytes_min,
        }
    }
}

fn at_least_a_segment<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
    let bytes = u64::deserialize(from)?;
    if bytes < SEGMENT_BYTES {
        let problem = format!(
            "give at least {SEGMENT_BYTES} bytes: the journal is files of that length, and only whole ones are removed"
        );
        return Err(serde::de::Error::custom(problem));
    }
    Ok(bytes)
}
