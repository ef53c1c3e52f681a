//! Settings of the data plane, with their defaults.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Bounds in bytes, seconds and numbers for everything that callers and providers can do.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct GatewayConfig {
    /// Bytes of the largest request body that is taken.
    pub body_bytes_max: usize,
    /// Seconds within which a caller must have sent its request head.
    pub head_seconds: u64,
    /// Seconds within which a caller must have sent its request body.
    pub body_seconds: u64,
    /// Bytes of the largest form of several parts that is taken.
    pub upload_bytes_max: u64,
    /// Seconds for which a caller may pause while it sends a form.
    pub upload_idle_seconds: u64,
    /// Seconds within which all of a form must have come and gone on.
    pub upload_seconds: u64,
    /// The folder where forms wait that cannot be decided on at once; the program puts it into its
    /// data directory. Without one such forms are refused.
    pub spool_dir: Option<PathBuf>,
    /// Bytes that all waiting forms together may take.
    pub spool_bytes_max: u64,
    /// Bytes that must be free on their disk for a form to be kept.
    pub spool_free_bytes_min: u64,
    /// Seconds for which a caller may read nothing of its answer.
    pub write_seconds: u64,
    /// Seconds within which a provider must accept a connection.
    pub connect_seconds: u64,
    /// Seconds within which a provider must begin to answer.
    pub first_byte_seconds: u64,
    /// Seconds for which a provider may pause within an answer.
    pub idle_seconds: u64,
    /// Seconds within which an answer must have ended, whoever is at fault.
    pub total_seconds: u64,
    /// Bytes of the largest whole answer that is kept back until its cost is known, so that the
    /// cost can stand in its head.
    pub whole_answer_bytes_max: usize,
    /// Idle connections kept open to one provider.
    pub idle_connections_max: usize,
    /// Seconds for which the answer of a caller who went away is read on.
    pub drain_seconds: u64,
    /// Bytes of the answer of a caller who went away that are read on.
    pub drain_bytes_max: usize,
    /// How many answers are read on at once for callers who went away.
    pub drains_max: usize,
    /// Seconds for which an answer is asked for that its provider makes in the background; after
    /// them it is charged as held.
    pub background_seconds: u64,
    /// Milliseconds until such an answer is asked for the first time, doubled each time up to half
    /// a minute.
    pub background_poll_ms: u64,
    /// Seconds that calls in flight have to end when the program is told to stop.
    pub stop_seconds: u64,
}

impl Default for GatewayConfig {
    fn default() -> Self {
        Self {
            body_bytes_max: 32 << 20,
            head_seconds: 15,
            body_seconds: 60,
            upload_bytes_max: 512 << 20,
            upload_idle_seconds: 30,
            upload_seconds: 1_800,
            spool_dir: None,
            spool_bytes_max: 4 << 30,
            spool_free_bytes_min: 256 << 20,
            write_seconds: 60,
            connect_seconds: 10,
            first_byte_seconds: 600,
            idle_seconds: 300,
            total_seconds: 3_600,
            whole_answer_bytes_max: 4 << 20,
            idle_connections_max: 512,
            drain_seconds: 120,
            drain_bytes_max: 64 << 20,
            drains_max: 1_024,
            background_seconds: 21_600,
            background_poll_ms: 2_000,
            stop_seconds: 30,
        }
    }
}
