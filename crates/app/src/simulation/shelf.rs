//! Where everything is kept in a simulation: the model, and where it is asked for a real store beside
//! it, which must give the same answers.

use jiff::Timestamp;
use tollgate_core::NodeId;

use super::model::{ModelStore, NodeSeen};
use super::oracle::Broken;
use super::plan::Plan;
use super::real::RealStore;
use super::wire::{Question, Reply};

/// How long without a sign of life a node still counts, in microseconds.
const SILENT_MICROS: i64 = 20_000_000;
/// How long without a sign of life until what a node has drawn is free.
const LOST_MICROS: i64 = 24 * 3_600_000_000;

/// The model, and the real store beside it.
#[derive(Debug, Default)]
pub(super) struct Shelf {
    pub(super) model: ModelStore,
    pub(super) real: Option<RealStore>,
}

impl Shelf {
    /// A shelf with an embedded store.
    pub(super) fn with_real_store() -> Self {
        Self {
            model: ModelStore::default(),
            real: Some(RealStore::open()),
        }
    }

    /// Makes what must be there before the first call.
    pub(super) fn open(&mut self, plan: &Plan) {
        if let Some(real) = &mut self.real {
            real.furnish(plan);
        }
    }

    /// What the store answers.
    pub(super) fn answer(
        &mut self,
        question: &Question,
        node: NodeId,
        clock_micros: i64,
    ) -> Result<Reply, Broken> {
        let reply = self.model.answer(question, node, clock_micros);
        if let Some(real) = &mut self.real {
            real.compare(question, node, &reply)?;
        }
        Ok(reply)
    }

    /// Takes a sign of life.
    pub(super) fn seen(&mut self, node: NodeId, wall: Timestamp) {
        let seen = NodeSeen {
            seen_micros: wall.as_microsecond(),
            is_retired: false,
        };
        self.model.nodes.insert(node, seen);
    }

    /// Takes a sign of life, and frees what nodes had drawn that gave none for a day. Tells which.
    pub(super) fn beat(
        &mut self,
        node: NodeId,
        wall: Timestamp,
        _clock_micros: i64,
    ) -> Vec<NodeId> {
        self.seen(node, wall);
        let before = wall.as_microsecond() - LOST_MICROS;
        let lost = self.model.nodes.iter().filter(|(other, seen)| {
            **other != node && !seen.is_retired && seen.seen_micros < before
        });
        let lost: Vec<NodeId> = lost.map(|(node, _)| *node).collect();
        for node in &lost {
            self.model.free(*node);
        }
        if let Some(real) = &mut self.real {
            real.free(&lost);
        }
        lost
    }

    /// How many nodes live.
    pub(super) fn living(&self) -> u32 {
        let alive = || self.model.nodes.values().filter(|node| !node.is_retired);
        let latest = alive().map(|node| node.seen_micros).max().unwrap_or(0);
        let living = alive().filter(|node| node.seen_micros >= latest - SILENT_MICROS);
        u32::try_from(living.count()).unwrap()
    }

    /// An operator says that a node will not return.
    pub(super) fn retire(&mut self, node: NodeId) {
        if let Some(seen) = self.model.nodes.get_mut(&node) {
            seen.is_retired = true;
        }
        self.model.free(node);
        if let Some(real) = &mut self.real {
            real.free(&[node]);
        }
    }
}
