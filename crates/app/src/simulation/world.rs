//! A world: nodes, the store, the wire between them, and the step that is next.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;
use tollgate_core::gate::Sharing;

use super::acts::End;
use super::dice::Dice;
use super::machine::Machine;
use super::oracle::{Broken, Oracle};
use super::plan::{Act, Plan, Subject};
use super::shelf::Shelf;
use super::time::Truth;
use super::trace::Trace;
use super::wire::{Letter, Wire, unreachable_store};

/// A world.
pub(super) struct World {
    pub(super) dice: Dice,
    pub(super) plan: Plan,
    pub(super) truth: Truth,
    /// How far the store's own clock is ahead.
    pub(super) store_ahead: i64,
    pub(super) shelf: Shelf,
    pub(super) wire: Arc<Mutex<Wire>>,
    pub(super) subjects: Vec<Subject>,
    pub(super) machines: Vec<Machine>,
    pub(super) oracle: Oracle,
    pub(super) trace: Trace,
    pub(super) calls_asked: usize,
    /// Whether no node can reach the store.
    pub(super) is_out: bool,
    /// Who has still to hear that an integration's part is wanted.
    pub(super) wants: BTreeSet<(usize, usize)>,
    /// Whether calls use all that they asked for.
    pub(super) uses_all: bool,
    nodes_made: u128,
    weights: Vec<usize>,
}

impl World {
    /// A world in which nothing has happened, with every node started.
    pub(super) fn new(seed: u64, shelf: Shelf) -> Self {
        let mut dice = Dice::new(seed);
        let plan = Plan::draw(&mut dice);
        let subjects = plan.subjects.clone();
        let mut world = Self {
            truth: Truth::at(plan.beginning),
            store_ahead: dice.between(-2_000_000, 2_000_000),
            shelf,
            wire: Arc::default(),
            oracle: Oracle::new(&subjects),
            subjects,
            machines: Vec::new(),
            trace: Trace::new(),
            calls_asked: 0,
            is_out: false,
            wants: BTreeSet::new(),
            uses_all: false,
            nodes_made: 0,
            weights: plan.acts.iter().map(|(_, weight)| *weight).collect(),
            dice,
            plan,
        };
        world.shelf.open(&world.plan);
        for wall_ahead in world.plan.wall_ahead.clone() {
            world.add_machine(wall_ahead);
        }
        world
    }

    /// Another node in the place of one.
    pub(super) fn replace_machine(&mut self, number: usize, wall_ahead: i64) {
        self.nodes_made += 1;
        let is_cut = self.machines[number].is_cut;
        self.machines[number] =
            Machine::new(number, self.nodes_made, wall_ahead, self.truth.micros());
        self.machines[number].is_cut = is_cut;
    }

    /// Ends a world that is not looked at any more.
    pub(super) fn close(mut self) {
        for machine in &mut self.machines {
            if let Some(life) = machine.life.take() {
                life.die();
            }
        }
        if let Some(real) = self.shelf.real.take() {
            real.close();
        }
    }

    fn add_machine(&mut self, wall_ahead: i64) {
        self.nodes_made += 1;
        let number = self.machines.len();
        self.machines.push(Machine::new(
            number,
            self.nodes_made,
            wall_ahead,
            self.truth.micros(),
        ));
    }

    /// One step: something happens, and everybody does what follows from it.
    pub(super) fn step(&mut self) -> Result<(), Broken> {
        self.trace.step += 1;
        let act = self.dice.weighted(&self.weights);
        let (act, _) = self.plan.acts[act];
        self.act(act)?;
        self.turn()
    }

    fn act(&mut self, act: Act) -> Result<(), Broken> {
        match act {
            Act::Ask => self.ask(),
            Act::Leave => self.leave_one(),
            Act::Finish => self.finish_one()?,
            Act::Release => self.release_one(),
            Act::HangUp => self.hang_up(),
            Act::Serve => self.serve()?,
            Act::Deliver => self.deliver(),
            Act::Tick => self.tick(),
            Act::Chores => self.chores(),
            Act::GiveBack => self.give_back(),
            Act::Beat => self.beat_one(),
            Act::HearChange => self.hear_change(),
            Act::HearWant => self.hear_want(),
            Act::Crash => self.crash_one(),
            Act::Tear => self.tear(),
            Act::Restart => self.restart()?,
            Act::Stop => self.stop(),
            Act::Retire => self.retire(),
            Act::ChangeLimits => self.change_limits(),
            Act::Toggle => self.toggle(),
            Act::Outage => self.outage(),
            Act::Cut => self.cut(),
            Act::DiskFault => self.disk_fault(),
            Act::SetWall => self.set_wall(),
            Act::SetStoreClock => self.set_store_clock(),
            Act::Sleep => self.sleep()?,
        }
        Ok(())
    }

    /// Lets every node do what it can, and takes in what came of it.
    pub(super) fn turn(&mut self) -> Result<(), Broken> {
        for number in 0..self.machines.len() {
            if let Some(life) = &mut self.machines[number].life {
                life.turn(&mut self.dice);
                self.take_outcomes(number)?;
            }
            if self.machines[number].platter.is_cut_off() {
                self.crash(number, End::Killed);
            }
        }
        Ok(())
    }

    /// Asks the store one of the questions that are on their way, or loses it.
    fn serve(&mut self) -> Result<(), Broken> {
        let waiting: Vec<u64> = {
            let wire = self.wire.lock();
            let unasked = wire.letters.iter().filter(|(_, one)| one.reply.is_none());
            unasked.map(|(number, _)| *number).collect()
        };
        if waiting.is_empty() {
            return Ok(());
        }
        let number = self.dice.one_of(&waiting);
        let Some(mut letter) = self.wire.lock().letters.remove(&number) else {
            return Ok(());
        };
        if self.is_out
            || self.machines[letter.machine].is_cut
            || self.dice.per_mille(self.plan.lost_questions)
        {
            self.trace.note(
                "question lost",
                [of(letter.machine), number.cast_signed(), 0, 0],
            );
            letter.deliver(Err(unreachable_store()));
            return Ok(());
        }
        self.answer(&mut letter)?;
        self.trace.note(
            "question answered",
            [of(letter.machine), number.cast_signed(), 0, 0],
        );
        self.wire.lock().letters.insert(number, letter);
        Ok(())
    }

    /// The store answers; the answer is not yet on its way back.
    fn answer(&mut self, letter: &mut Letter) -> Result<(), Broken> {
        let clock = self.truth.micros() + self.store_ahead;
        let reply = self.shelf.answer(&letter.question, letter.node, clock)?;
        letter.reply = Some(reply);
        for id in std::mem::take(&mut self.shelf.model.wanted) {
            if let Some(subject) = self.subjects.iter().position(|one| one.id == id) {
                self.wants
                    .extend((0..self.machines.len()).map(|machine| (machine, subject)));
            }
        }
        Ok(())
    }

    /// One of the answers comes back, or is lost after the store has done what it was asked.
    fn deliver(&mut self) {
        let answered: Vec<u64> = {
            let wire = self.wire.lock();
            let answered = wire.letters.iter().filter(|(_, one)| one.reply.is_some());
            answered.map(|(number, _)| *number).collect()
        };
        if answered.is_empty() {
            return;
        }
        let number = self.dice.one_of(&answered);
        let Some(mut letter) = self.wire.lock().letters.remove(&number) else {
            return;
        };
        let machine = of(letter.machine);
        match letter.reply.take() {
            Some(reply) if !self.dice.per_mille(self.plan.lost_answers) => {
                self.trace
                    .note("answer", [machine, number.cast_signed(), 0, 0]);
                letter.deliver(Ok(reply));
            }
            _ => {
                self.trace
                    .note("answer lost", [machine, number.cast_signed(), 0, 0]);
                letter.deliver(Err(unreachable_store()));
            }
        }
    }

    /// Serves everything that is on the wire, losing nothing.
    pub(super) fn serve_all(&mut self) -> Result<(), Broken> {
        loop {
            let Some((number, mut letter)) = self.wire.lock().letters.pop_first() else {
                return Ok(());
            };
            if letter.reply.is_none() {
                self.answer(&mut letter)?;
            }
            self.trace
                .note("served", [of(letter.machine), number.cast_signed(), 0, 0]);
            if let Some(reply) = letter.reply.take() {
                letter.deliver(Ok(reply));
            }
        }
    }

    /// What a dead node had asked: what is on its way arrives now or never, because a store that still
    /// works on a question holds the locks that the node needs when it starts again.
    pub(super) fn settle_wire(&mut self, machine: usize) -> Result<(), Broken> {
        let of_machine: Vec<u64> = {
            let wire = self.wire.lock();
            let its = wire
                .letters
                .iter()
                .filter(|(_, one)| one.machine == machine);
            its.map(|(number, _)| *number).collect()
        };
        for number in of_machine {
            let taken = self.wire.lock().letters.remove(&number);
            let Some(mut letter) = taken else { continue };
            let arrives =
                !self.is_out && !self.machines[machine].is_cut && self.dice.per_mille(500);
            if letter.reply.is_none() && arrives {
                self.answer(&mut letter)?;
            }
        }
        Ok(())
    }

    /// Signs of life, and what follows from those of others.
    pub(super) fn beat(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        if self.is_out || machine.is_cut || !machine.is_serving() {
            return;
        }
        let Some(life) = &machine.life else { return };
        let now = life.clock.now();
        let before = self.truth.micros() - 23 * 3_600_000_000;
        let freed = self.shelf.beat(
            machine.node,
            now.wall,
            self.truth.micros() + self.store_ahead,
        );
        machine.heard_micros = self.truth.micros();
        let nodes = self.shelf.living();
        life.metering.heard(&life.integrations, nodes, now);
        self.trace
            .note("beat", [of(number), i64::from(nodes), of(freed.len()), 0]);
        for node in freed {
            let lost = self.machines.iter().find(|one| one.node == node);
            // One that was heard within the day must not be taken for lost.
            if let Some(lost) = lost.filter(|lost| lost.heard_micros < before) {
                self.oracle.freed(lost.number);
            }
        }
    }

    /// A machine that a condition holds for.
    pub(super) fn one_machine(&mut self, is_meant: impl Fn(&Machine) -> bool) -> Option<usize> {
        let meant: Vec<usize> = self
            .machines
            .iter()
            .filter(|machine| is_meant(machine))
            .map(|machine| machine.number)
            .collect();
        (!meant.is_empty()).then(|| self.dice.one_of(&meant))
    }

    pub(super) fn is_shared(&self) -> bool {
        self.plan.sharing == Sharing::Shared
    }

    /// Sets how far a node's wall clock is ahead.
    pub(super) fn set_wall_of(&self, number: usize, ahead: i64) {
        self.machines[number]
            .wall_ahead
            .store(ahead, Ordering::SeqCst);
    }
}

/// A count as a figure of the trace.
pub(super) fn of(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
