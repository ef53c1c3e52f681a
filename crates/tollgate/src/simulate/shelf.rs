//! What a simulated provider keeps to be asked for again: responses, files, batches. In memory, the
//! newest ones.

use std::collections::VecDeque;

use parking_lot::Mutex;

/// So many things are kept.
const THINGS_MAX: usize = 4_096;

/// One thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Kept {
    /// What is told of it, once it is done.
    pub(super) whole: String,
    /// What is told of it before.
    pub(super) early: String,
    /// How often it is still not done when it is asked for.
    pub(super) looks: u64,
}

impl Kept {
    /// Something that was done at once.
    pub(super) fn done(whole: String) -> Self {
        Self {
            whole,
            early: String::new(),
            looks: 0,
        }
    }
}

/// All things, by id.
#[derive(Debug, Default)]
pub(super) struct Shelf(Mutex<VecDeque<(String, Kept)>>);

impl Shelf {
    /// Keeps a thing, and forgets the oldest where there are too many.
    pub(super) fn keep(&self, id: String, thing: Kept) {
        let mut things = self.0.lock();
        if things.len() == THINGS_MAX {
            things.pop_front();
        }
        things.push_back((id, thing));
    }

    /// What is told of a thing now.
    pub(super) fn look(&self, id: &str) -> Option<String> {
        let mut things = self.0.lock();
        let (_, thing) = things.iter_mut().find(|(of, _)| of == id)?;
        if thing.looks > 0 {
            thing.looks -= 1;
            return Some(thing.early.clone());
        }
        Some(thing.whole.clone())
    }

    /// Everything whose id begins so, as it is told now.
    pub(super) fn all(&self, prefix: &str) -> Vec<String> {
        let things = self.0.lock();
        let fit = things
            .iter()
            .filter(|(id, _)| id.starts_with(prefix) && !id.contains('/'));
        fit.map(|(_, thing)| thing.whole.clone()).collect()
    }

    /// Forgets a thing; whether it was there.
    pub(super) fn forget(&self, id: &str) -> bool {
        let mut things = self.0.lock();
        let before = things.len();
        things.retain(|(of, _)| of != id);
        things.len() < before
    }
}
