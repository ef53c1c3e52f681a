//! What happened how often, and what must not have happened at all.

use std::collections::BTreeMap;
use std::sync::Mutex;

/// Counts by name.
#[derive(Debug, Default)]
pub(crate) struct Tally(Mutex<BTreeMap<String, u64>>);

impl Tally {
    /// Once more.
    pub(crate) fn count(&self, what: &str) {
        self.add(what, 1);
    }

    /// So many times more.
    pub(crate) fn add(&self, what: &str, times: u64) {
        *self.0.lock().unwrap().entry(what.to_owned()).or_default() += times;
    }

    /// The greatest that was seen.
    pub(crate) fn most(&self, what: &str, seen: u64) {
        let mut counts = self.0.lock().unwrap();
        let most = counts.entry(what.to_owned()).or_default();
        *most = seen.max(*most);
    }

    /// How often so far.
    pub(crate) fn of(&self, what: &str) -> u64 {
        self.0
            .lock()
            .unwrap()
            .get(what)
            .copied()
            .unwrap_or_default()
    }

    /// Everything, by name.
    pub(crate) fn all(&self) -> BTreeMap<String, u64> {
        self.0.lock().unwrap().clone()
    }
}

/// Broken promises, the first ones first.
#[derive(Debug, Default)]
pub(crate) struct Broken(Mutex<Vec<String>>);

impl Broken {
    /// Notes one.
    pub(crate) fn note(&self, promise: String) {
        self.0.lock().unwrap().push(promise);
    }

    /// All of them.
    pub(crate) fn all(&self) -> Vec<String> {
        self.0.lock().unwrap().clone()
    }
}
