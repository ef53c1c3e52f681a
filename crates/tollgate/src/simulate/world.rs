//! What all connections of a simulated provider share.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;
use tokio::sync::watch;

use super::{
    answer::{Stamp, Terms, Wire},
    clock,
    faults::{ErrorSequence, Faults},
    forms::Forms,
    journal::Journal,
    shelf::Shelf,
};

/// Keys that begin like this are refused whatever the provider requires.
const BAD_KEY_PREFIX: &str = "bad-key";

/// The state of a simulated provider.
#[derive(Debug)]
pub(super) struct World {
    pub(super) journal: Journal,
    pub(super) forms: Forms,
    pub(super) shelf: Shelf,
    initial_faults: Faults,
    faults: RwLock<Faults>,
    billed_errors: ErrorSequence,
    free_errors: ErrorSequence,
    /// How often the list of models was asked for.
    lists: AtomicU64,
    required_key: Option<RequiredKey>,
    default_output_tokens: u64,
    id_prefix: String,
    ids: AtomicU64,
    stopping: watch::Sender<bool>,
}

/// The only key that a simulated provider takes.
struct RequiredKey(String);

impl std::fmt::Debug for RequiredKey {
    fn fmt(&self, text: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        text.write_str("RequiredKey")
    }
}

impl World {
    pub(super) fn new(
        journal: Journal,
        faults: Faults,
        required_key: Option<String>,
        default_output_tokens: u64,
    ) -> Self {
        // The start in microseconds keeps ids apart from those of an earlier run that wrote the same journal.
        let id_prefix = format!("{:014x}", clock::now().time.as_microsecond());
        Self {
            journal,
            forms: Forms::default(),
            shelf: Shelf::default(),
            initial_faults: faults,
            faults: RwLock::new(faults),
            billed_errors: ErrorSequence::default(),
            free_errors: ErrorSequence::default(),
            lists: AtomicU64::new(0),
            required_key: required_key.map(RequiredKey),
            default_output_tokens,
            id_prefix,
            ids: AtomicU64::new(0),
            stopping: watch::Sender::new(false),
        }
    }

    pub(super) fn faults(&self) -> Faults {
        *self.faults.read()
    }

    /// Put other faults in force; the sequences of errors begin again.
    pub(super) fn set_faults(&self, faults: Faults) {
        *self.faults.write() = faults;
        self.billed_errors.restart();
        self.free_errors.restart();
    }

    /// Back to the faults of the start, with no line in memory.
    pub(super) fn reset(&self) {
        self.set_faults(self.initial_faults);
        self.journal.forget();
        self.forms.forget();
    }

    /// Whether the next request, billed or free, gets an error: each kind has its own sequence, so that probes do not shift calls.
    pub(super) fn next_fails(&self, billed: Billed, faults: &Faults) -> bool {
        let sequence = match billed {
            Billed::Yes => &self.billed_errors,
            Billed::No => &self.free_errors,
        };
        sequence.next_fails(*faults)
    }

    /// Counts a request for the list of models.
    pub(super) fn listed(&self) {
        self.lists.fetch_add(1, Ordering::Relaxed);
    }

    /// What was asked for since the start, as JSON text.
    pub(super) fn requests(&self) -> String {
        let lists = self.lists.load(Ordering::Relaxed);
        format!(r#"{{"models":{lists}}}"#)
    }

    pub(super) fn terms(&self, wire: Wire) -> Terms {
        Terms {
            wire,
            faults: self.faults(),
            default_output_tokens: self.default_output_tokens,
        }
    }

    pub(super) fn accepts(&self, key: &str) -> bool {
        !key.starts_with(BAD_KEY_PREFIX)
            && self
                .required_key
                .as_ref()
                .is_none_or(|required| required.0 == key)
    }

    pub(super) fn stamp(&self) -> Stamp {
        let now = clock::now();
        let number = self.ids.fetch_add(1, Ordering::Relaxed);
        Stamp {
            id: format!("{}{number:08x}", self.id_prefix),
            time: now.time,
            created: now.unix_seconds,
        }
    }

    /// Ask all connections to end.
    pub(super) fn stop(&self) {
        self.stopping.send_replace(true);
    }

    /// Wait until the provider is asked to stop.
    pub(super) async fn stopped(&self) {
        // The sender lives as long as this world: the wait cannot fail.
        drop(
            self.stopping
                .subscribe()
                .wait_for(|stopping| *stopping)
                .await,
        );
    }
}

/// Whether a request is one that is billed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Billed {
    /// It is, if it does not fail.
    Yes,
    /// It costs nothing.
    No,
}
