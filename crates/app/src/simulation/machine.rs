//! One node: the product's admission, journal and writer, on a simulated clock, disk and wire.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};

use parking_lot::Mutex;
use tollgate_core::{Clock, NodeId};
use tollgate_providers::UrlPolicy;

use super::dice::Dice;
use super::plan::{Plan, Subject};
use super::tasks::{Tasks, Timers};
use super::time::{NodeClock, Truth};
use super::wire::{Link, Wire};
use crate::authority::Authority;
use crate::directory::{Integration, Snapshot};
use crate::error::AppError;
use crate::journal::{Journal, JournalError, Platter, Recovery};
use crate::ledger::Ledger;
use crate::metering::{CallFacts, Fellowship, Hold, Metering, NotAdmitted};
use crate::recovery::resume;

/// Where a task leaves what came of it.
pub(super) type Outcome<T> = Arc<Mutex<Option<T>>>;

/// A node, whether or not it runs.
pub(super) struct Machine {
    pub(super) number: usize,
    pub(super) node: NodeId,
    pub(super) platter: Platter,
    pub(super) wall_ahead: Arc<AtomicI64>,
    pub(super) life: Option<Life>,
    /// Whether only this node cannot reach the store.
    pub(super) is_cut: bool,
    /// Whether its disk refuses something now.
    pub(super) is_disk_faulty: bool,
    /// When the store last heard of it, in true time.
    pub(super) heard_micros: i64,
    /// When the machine was last switched on, in true time.
    pub(super) booted_micros: i64,
}

/// One run of a node.
pub(super) struct Life {
    pub(super) clock: Arc<dyn Clock>,
    pub(super) metering: Arc<Metering>,
    pub(super) journal: Arc<Journal>,
    pub(super) ledger: Ledger,
    pub(super) integrations: Vec<Arc<Integration>>,
    /// How often each integration had been changed when this node last heard of it.
    pub(super) heard: Vec<u64>,
    pub(super) link: Arc<Link>,
    pub(super) tasks: Tasks,
    pub(super) timers: Timers,
    /// What came of the start, once it has ended.
    pub(super) start: Outcome<Result<(), String>>,
    pub(super) is_serving: bool,
    /// Calls that wait to be admitted, with their task.
    pub(super) asking: BTreeMap<usize, (u64, Outcome<Result<Hold, NotAdmitted>>)>,
    pub(super) holds: BTreeMap<usize, Hold>,
    /// Calls of which nothing may be on the disk yet.
    pub(super) unsynced: BTreeSet<usize>,
    /// Calls whose end may not be on the disk yet.
    pub(super) unended: BTreeSet<usize>,
    /// Ends when the node has stopped in order.
    pub(super) stop: Option<Outcome<()>>,
}

/// An integration as the directory would have it.
pub(super) fn snapshot(subject: &Subject) -> Snapshot {
    Snapshot::read(subject.record.clone(), None, &UrlPolicy::default()).unwrap()
}

impl Machine {
    pub(super) fn new(number: usize, run: u128, wall_ahead: i64, booted_micros: i64) -> Self {
        Self {
            number,
            node: NodeId::from_uuid(uuid::Uuid::from_u128(run + 1)),
            platter: Platter::default(),
            wall_ahead: Arc::new(AtomicI64::new(wall_ahead)),
            life: None,
            is_cut: false,
            is_disk_faulty: false,
            heard_micros: 0,
            booted_micros,
        }
    }

    fn link(&self, wire: &Arc<Mutex<Wire>>) -> Arc<Link> {
        Arc::new(Link {
            machine: self.number,
            node: self.node,
            wire: Arc::clone(wire),
            is_cut: AtomicBool::new(false),
        })
    }

    pub(super) fn is_serving(&self) -> bool {
        self.life
            .as_ref()
            .is_some_and(|life| life.is_serving && life.stop.is_none())
    }

    /// Starts as the program does: reads the journal, gives back what was drawn and is not used, and books beside calls.
    pub(super) fn start(
        &mut self,
        plan: &Plan,
        subjects: &[Subject],
        truth: &Truth,
        wire: &Arc<Mutex<Wire>>,
    ) -> Result<(), JournalError> {
        let clock = NodeClock::new(truth, self.booted_micros, &self.wall_ahead);
        let clock: Arc<dyn Clock> = Arc::new(clock);
        let (journal, recovery) = Journal::simulated(&self.platter, &plan.journal)?;
        let journal = Arc::new(journal);
        let link = self.link(wire);
        let authority: Arc<dyn Authority> = Arc::<Link>::clone(&link);
        let timers = Timers::default();
        let (waits, ticks) = (timers.clone(), Arc::clone(&clock));
        let (ledger, writing) = Ledger::prepare(
            Arc::clone(&authority),
            Arc::clone(&journal),
            Arc::clone(&clock),
            plan.writing,
            move |length| waits.pause(&ticks, length),
        );
        let metering = Arc::new(Metering {
            authority: Arc::clone(&authority),
            journal: Arc::clone(&journal),
            ledger: ledger.clone(),
            clock: Arc::clone(&clock),
            fellowship: Fellowship::joined(plan.sharing, clock.now()),
            backlog_rows_max: plan.backlog_rows_max,
        });
        let mut tasks = Tasks::default();
        tasks.begin(writing);
        let start = Outcome::default();
        let mut life = Life {
            clock,
            metering,
            journal,
            ledger,
            integrations: Vec::new(),
            heard: Vec::new(),
            link,
            tasks,
            timers,
            start,
            is_serving: false,
            asking: BTreeMap::new(),
            holds: BTreeMap::new(),
            unsynced: BTreeSet::new(),
            unended: BTreeSet::new(),
            stop: None,
        };
        life.load(plan, subjects);
        life.begin_start(recovery);
        self.life = Some(life);
        Ok(())
    }
}

impl Life {
    fn load(&mut self, plan: &Plan, subjects: &[Subject]) {
        for subject in subjects {
            let integration = Integration::new(snapshot(subject), plan.sharing);
            self.integrations.push(Arc::new(integration));
            self.heard.push(subject.version);
        }
    }

    /// Begins what the program does before it serves.
    fn begin_start(&mut self, recovery: Recovery) {
        let told = Arc::clone(&self.start);
        let (metering, journal) = (Arc::clone(&self.metering), Arc::clone(&self.journal));
        let known: BTreeMap<_, _> = self
            .integrations
            .iter()
            .map(|one| (one.id, Arc::clone(one)))
            .collect();
        self.tasks.begin(async move {
            let started = async {
                let backlog = resume(metering.authority.as_ref(), &journal, recovery).await?;
                let find = |id| known.get(&id).map(Arc::clone);
                backlog
                    .take_up(&metering, find)
                    .await
                    .map_err(AppError::from)
            };
            let started = started.await;
            *told.lock() = Some(started.map_err(|error| error.to_string()));
        });
    }

    /// Lets every task run as far as it can.
    pub(super) fn turn(&mut self, dice: &mut Dice) {
        self.timers.ring(self.clock.now().steady_micros);
        self.tasks.turn(dice);
    }

    /// Begins to ask for the admission of a call.
    pub(super) fn ask(&mut self, call: usize, subject: usize, facts: CallFacts) {
        let outcome = Outcome::default();
        let told = Arc::clone(&outcome);
        let metering = Arc::clone(&self.metering);
        let integration = Arc::clone(&self.integrations[subject]);
        let task = self.tasks.begin(async move {
            let admitted = metering.admit(&integration, facts).await;
            *told.lock() = Some(admitted);
        });
        self.asking.insert(call, (task, outcome));
    }

    /// Begins to give back what is idle.
    pub(super) fn give_back(&mut self, subject: usize, idle_micros: i64) {
        let metering = Arc::clone(&self.metering);
        let integration = Arc::clone(&self.integrations[subject]);
        self.tasks.begin(async move {
            metering.give_back(&integration, idle_micros).await;
        });
    }

    /// Begins to stop in order, which takes no further call.
    pub(super) fn begin_stop(&mut self) {
        let outcome = Outcome::default();
        let told = Arc::clone(&outcome);
        let (ledger, link) = (self.ledger.clone(), Arc::clone(&self.link));
        self.tasks.begin(async move {
            ledger.caught_up().await;
            // What the store does not hear of stays counted there.
            drop(link.give_back_all(&[]).await);
            *told.lock() = Some(());
        });
        self.stop = Some(outcome);
    }

    /// The process dies: nothing that it still does reaches anybody.
    pub(super) fn die(self) {
        self.link.is_cut.store(true, Ordering::SeqCst);
        drop(self);
    }
}
