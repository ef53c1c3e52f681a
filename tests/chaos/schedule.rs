//! What is done to the nodes and to their store, and when: worked out from the seed alone.

use std::fmt;

use clap::ValueEnum;

use crate::random::Random;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Fault {
    /// Nodes are killed (SIGKILL) and started again
    Kill,
    /// A node is stopped where it is (SIGSTOP) and goes on later
    Freeze,
    /// Nodes are asked to end (SIGTERM) and started again, one after the other
    Rolling,
    /// Most clients hang up in the middle
    Vanish,
    /// The disk of a node's data directory is full
    Disk,
    /// The wall clock of a node is set back, and right again later
    Clock,
    /// The store is stopped, in order or as by a crash, and started again
    Outage,
    /// Replies to COMMIT are swallowed and the connection is cut
    Commit,
    /// All connections of a node to the store are cut
    Cut,
    /// Nothing gets from a node to the store or back
    Hole,
    /// The store answers slowly
    Slow,
}

impl Fault {
    /// Whether it is one between a node and PostgreSQL.
    pub(crate) const fn needs_postgres(self) -> bool {
        matches!(
            self,
            Self::Outage | Self::Commit | Self::Cut | Self::Hole | Self::Slow
        )
    }
}

/// One fault with all that chance decides about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Blow {
    /// Kills these at the same moment; each once more so many milliseconds after its next start began.
    Kill {
        nodes: Vec<usize>,
        again_after_ms: Option<u64>,
    },
    /// Stops a node where it is.
    Freeze { node: usize, ms: u64 },
    /// Restarts every node in this order.
    Rolling { nodes: Vec<usize> },
    /// Has clients hang up.
    Vanish { ms: u64 },
    /// Fills the disk of a node.
    Disk { node: usize, ms: u64 },
    /// Sets a node's wall clock back by so many seconds.
    Clock { node: usize, seconds: u64, ms: u64 },
    /// Stops the store.
    Outage { mode: &'static str, ms: u64 },
    /// Swallows so many replies of a node.
    Commit { node: usize, replies: u32 },
    /// Cuts a node's connections so often.
    Cut { node: usize, times: u64 },
    /// Lets nothing through.
    Hole { node: usize, ms: u64 },
    /// Holds every reply to a node back.
    Slow { node: usize, delay_ms: u64, ms: u64 },
}

/// One or two faults at the same time, and how long all goes well after them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Step {
    /// The faults.
    pub(crate) blows: Vec<Blow>,
    /// Milliseconds without any.
    pub(crate) pause_ms: u64,
}

/// The steps of a run, one after the other without end.
#[derive(Debug)]
pub(crate) struct Schedule {
    random: Random,
    faults: Vec<Fault>,
    /// Faults that are still to come before any comes again.
    deck: Vec<Fault>,
    nodes: usize,
    outage_ms: Option<u64>,
}

impl Schedule {
    /// The schedule of a seed; `outage_ms` is the length of every outage where it is not left to chance.
    pub(crate) fn new(seed: u64, faults: &[Fault], nodes: usize, outage_ms: Option<u64>) -> Self {
        Self {
            random: Random::new(seed),
            faults: faults.to_vec(),
            deck: Vec::new(),
            nodes,
            outage_ms,
        }
    }

    /// The next step.
    pub(crate) fn next(&mut self) -> Step {
        if self.deck.is_empty() {
            self.deck.clone_from(&self.faults);
            self.random.shuffle(&mut self.deck);
        }
        let first = self.deck.pop().unwrap();
        let mut blows = vec![self.blow(first)];
        let others: Vec<Fault> = self
            .faults
            .iter()
            .copied()
            .filter(|fault| *fault != first && *fault != Fault::Rolling)
            .collect();
        // A rolling restart has to go well, so nothing else may happen meanwhile.
        if first != Fault::Rolling && !others.is_empty() && self.random.chance(33) {
            let second = others[self.random.index(others.len())];
            blows.push(self.blow(second));
        }
        let pause_ms = self.random.within(200..=1_200);
        Step { blows, pause_ms }
    }

    fn blow(&mut self, fault: Fault) -> Blow {
        let node = self.random.index(self.nodes);
        let random = &mut self.random;
        match fault {
            Fault::Kill => self.kill(),
            Fault::Freeze => Blow::Freeze {
                node,
                ms: random.within(200..=4_000),
            },
            Fault::Rolling => Blow::Rolling {
                nodes: self.some_nodes(self.nodes),
            },
            Fault::Vanish => Blow::Vanish {
                ms: random.within(500..=2_000),
            },
            Fault::Disk => Blow::Disk {
                node,
                ms: random.within(500..=3_000),
            },
            Fault::Clock => Blow::Clock {
                node,
                seconds: random.within(1..=300),
                ms: random.within(2_000..=4_000),
            },
            Fault::Outage => Blow::Outage {
                mode: if random.chance(50) {
                    "immediate"
                } else {
                    "fast"
                },
                ms: self.outage_ms.unwrap_or_else(|| random.within(200..=5_000)),
            },
            Fault::Commit => Blow::Commit {
                node,
                replies: u32::try_from(random.within(1..=4)).unwrap(),
            },
            Fault::Cut => Blow::Cut {
                node,
                times: random.within(1..=5),
            },
            Fault::Hole => Blow::Hole {
                node,
                ms: random.within(300..=7_000),
            },
            Fault::Slow => Blow::Slow {
                node,
                delay_ms: random.within(10..=400),
                ms: random.within(1_000..=3_000),
            },
        }
    }

    /// Mostly one node, sometimes several or all.
    fn kill(&mut self) -> Blow {
        let several = if self.random.chance(25) {
            self.random.index(self.nodes)
        } else {
            0
        };
        let again = self.random.chance(20);
        let again_after_ms = self.random.within(1..=400);
        Blow::Kill {
            nodes: self.some_nodes(several + 1),
            again_after_ms: again.then_some(again_after_ms),
        }
    }

    fn some_nodes(&mut self, count: usize) -> Vec<usize> {
        let mut nodes: Vec<usize> = (0..self.nodes).collect();
        self.random.shuffle(&mut nodes);
        nodes.truncate(count);
        nodes
    }
}

impl fmt::Display for Blow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kill {
                nodes,
                again_after_ms: None,
            } => write!(f, "kill {nodes:?}"),
            Self::Kill {
                nodes,
                again_after_ms: Some(ms),
            } => {
                write!(f, "kill {nodes:?}, and again {ms} ms into the start")
            }
            Self::Freeze { node, ms } => write!(f, "freeze [{node}] for {ms} ms"),
            Self::Rolling { nodes } => write!(f, "restart {nodes:?} one by one"),
            Self::Vanish { ms } => write!(f, "clients hang up for {ms} ms"),
            Self::Disk { node, ms } => write!(f, "disk of [{node}] full for {ms} ms"),
            Self::Clock { node, seconds, ms } => {
                write!(f, "clock of [{node}] {seconds} s back for {ms} ms")
            }
            Self::Outage { mode, ms } => write!(f, "store stopped ({mode}) for {ms} ms"),
            Self::Commit { node, replies } => {
                write!(f, "swallow {replies} replies to COMMIT of [{node}]")
            }
            Self::Cut { node, times } => {
                write!(f, "cut [{node}] from the store {times} times")
            }
            Self::Hole { node, ms } => {
                write!(f, "nothing between [{node}] and the store for {ms} ms")
            }
            Self::Slow { node, delay_ms, ms } => {
                write!(f, "store {delay_ms} ms slow for [{node}] for {ms} ms")
            }
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let blows: Vec<String> = self.blows.iter().map(ToString::to_string).collect();
        f.write_str(&blows.join(" + "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(seed: u64, faults: &[Fault]) -> Vec<Step> {
        let mut schedule = Schedule::new(seed, faults, 3, None);
        (0..50).map(|_| schedule.next()).collect()
    }

    #[test]
    fn a_seed_makes_the_same_schedule_again_and_another_one_another() {
        let all = Fault::value_variants();
        assert_eq!(steps(5, all), steps(5, all));
        assert_ne!(steps(5, all), steps(6, all));
    }

    #[test]
    fn every_fault_comes_before_any_comes_again_and_nothing_disturbs_a_rolling_restart() {
        let all = Fault::value_variants();
        let mut schedule = Schedule::new(3, all, 3, None);
        let round: Vec<Step> = all.iter().map(|_| schedule.next()).collect();
        let mut kinds: Vec<_> = round
            .iter()
            .map(|step| std::mem::discriminant(&step.blows[0]))
            .collect();
        kinds.dedup();
        assert_eq!(kinds.len(), all.len());
        let many = steps(3, all);
        let rolling = |step: &&Step| {
            step.blows
                .iter()
                .any(|blow| matches!(blow, Blow::Rolling { .. }))
        };
        assert!(
            many.iter()
                .filter(rolling)
                .all(|step| step.blows.len() == 1)
        );
        assert!(many.iter().any(|step| step.blows.len() == 2));
    }
}
