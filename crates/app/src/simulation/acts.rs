//! What can happen to nodes, clocks, disks and the control plane.

use std::sync::atomic::Ordering;

use cus_models::CusIntegrationStatus;
use tollgate_core::gate::Sharing;

use super::machine::{Machine, snapshot};
use super::oracle::Broken;
use super::wire::unreachable_store;
use super::world::{World, of};
use crate::journal::{JournalError, SyncPolicy};

/// How a run of a node ends that does not stop in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// The process is killed; the system has what it wrote.
    Killed,
    /// The machine loses power, and some of what was not on the disk.
    PowerLost,
}

const SECOND: i64 = 1_000_000;
const HOUR: i64 = 3_600 * SECOND;

impl World {
    pub(super) fn tick(&mut self) {
        let micros = match self.dice.below(100) {
            0..70 => self.dice.between(1, 50_000),
            70..95 => self.dice.between(100_000, 2 * SECOND),
            95..99 => self.dice.between(10 * SECOND, 70 * SECOND),
            _ => self.dice.between(300 * SECOND, HOUR),
        };
        let micros = (micros / self.plan.slowness).max(1);
        self.truth.advance(micros);
        self.trace.note("time goes by", [micros, 0, 0, 0]);
    }

    /// Hours go by at once, as in a machine that sleeps.
    pub(super) fn sleep(&mut self) -> Result<(), Broken> {
        // Calls and questions have deadlines of minutes: none is under way for hours.
        let letters = std::mem::take(&mut self.wire.lock().letters);
        for letter in letters.into_values() {
            letter.deliver(Err(unreachable_store()));
        }
        self.turn()?;
        self.end_calls()?;
        let micros = self.dice.between(HOUR, 40 * HOUR);
        self.truth.advance(micros);
        self.trace.note("sleep", [micros, 0, 0, 0]);
        Ok(())
    }

    /// The journal's thread comes by.
    pub(super) fn chores(&mut self) {
        if let Some(number) = self.one_machine(|machine| machine.life.is_some()) {
            self.chores_of(number);
        }
    }

    pub(super) fn chores_of(&mut self, number: usize) {
        let policy = self.plan.journal.sync;
        let Some(life) = &mut self.machines[number].life else {
            return;
        };
        let is_done = life.journal.do_chores(policy).is_ok();
        if is_done && policy != SyncPolicy::Never && life.journal.status().unsynced == 0 {
            life.unsynced.clear();
            life.unended.clear();
        }
        self.trace
            .note("chores", [of(number), i64::from(is_done), 0, 0]);
    }

    pub(super) fn give_back(&mut self) {
        let Some(number) = self.one_machine(Machine::is_serving) else {
            return;
        };
        let subject = self.dice.below(self.subjects.len());
        if let Some(life) = &mut self.machines[number].life
            && life.metering.fellowship.share() != 1
        {
            life.give_back(subject, 2 * SECOND);
            self.trace
                .note("gives back", [of(number), of(subject), 0, 0]);
        }
    }

    pub(super) fn beat_one(&mut self) {
        if let Some(number) = self.one_machine(Machine::is_serving) {
            self.beat(number);
        }
    }

    /// A node hears what was changed of an integration.
    pub(super) fn hear_change(&mut self) {
        let subject = self.dice.below(self.subjects.len());
        let version = self.subjects[subject].version;
        let behind = |machine: &Machine| {
            let heard = machine.life.as_ref().map(|life| life.heard[subject]);
            heard.is_some_and(|heard| heard < version)
        };
        if let Some(number) = self.one_machine(behind) {
            self.tell_change(number, subject);
        }
    }

    pub(super) fn tell_change(&mut self, number: usize, subject: usize) {
        let Some(life) = &mut self.machines[number].life else {
            return;
        };
        let now = &self.subjects[subject];
        if life.heard[subject] == now.version {
            return;
        }
        life.heard[subject] = now.version;
        life.integrations[subject].update(snapshot(now));
        self.trace.note(
            "hears",
            [of(number), of(subject), now.version.cast_signed(), 0],
        );
    }

    /// A node hears that others lack a part of an integration.
    pub(super) fn hear_want(&mut self) {
        let wants: Vec<(usize, usize)> = self.wants.iter().copied().collect();
        if !wants.is_empty() {
            let (number, subject) = self.dice.one_of(&wants);
            self.tell_want(number, subject);
        }
    }

    pub(super) fn tell_want(&mut self, number: usize, subject: usize) {
        self.wants.remove(&(number, subject));
        if let Some(life) = &mut self.machines[number].life {
            life.give_back(subject, 0);
            self.trace
                .note("is wanted", [of(number), of(subject), 0, 0]);
        }
    }

    pub(super) fn crash_one(&mut self) {
        if let Some(number) = self.one_machine(|machine| machine.life.is_some()) {
            let is_power = self.dice.per_mille(300);
            let end = if is_power {
                End::PowerLost
            } else {
                End::Killed
            };
            self.crash(number, end);
        }
    }

    /// A run of a node ends.
    pub(super) fn crash(&mut self, number: usize, end: End) {
        let is_power = end == End::PowerLost;
        self.trace
            .note("dies", [of(number), i64::from(is_power), 0, 0]);
        let machine = &mut self.machines[number];
        let Some(life) = machine.life.take() else {
            return;
        };
        let dice = &mut self.dice;
        machine.platter = if is_power {
            machine.platter.lose_power(|most| dice.below(most + 1))
        } else {
            machine.platter.kill()
        };
        machine.is_disk_faulty = false;
        if is_power {
            machine.booted_micros = self.truth.micros();
        }
        self.oracle.died(number);
        if is_power {
            for call in &life.unended {
                self.oracle.doubt(*call);
            }
            for call in &life.unsynced {
                self.oracle.may_be_missing(*call);
                if self.plan.sharing == Sharing::Alone {
                    // Such a node counts by what is in the ledger.
                    self.oracle.forget_minute_of(*call);
                }
            }
        }
        life.die();
        if self.settle_wire(number).is_err() {
            self.trace.note("the stores differ", [of(number), 0, 0, 0]);
        }
    }

    /// The next write of a node's journal ends in the middle, and the process with it.
    pub(super) fn tear(&mut self) {
        if let Some(number) = self.one_machine(|machine| machine.life.is_some()) {
            let bytes = self.dice.below(400);
            self.machines[number].platter.tear_after(bytes);
            self.trace.note("will tear", [of(number), of(bytes), 0, 0]);
        }
    }

    pub(super) fn restart(&mut self) -> Result<(), Broken> {
        match self.one_machine(|machine| machine.life.is_none()) {
            Some(number) => self.start(number),
            None => Ok(()),
        }
    }

    /// A node starts, if its store can be reached.
    pub(super) fn start(&mut self, number: usize) -> Result<(), Broken> {
        let machine = &mut self.machines[number];
        if self.is_out || machine.is_cut || machine.life.is_some() {
            return Ok(());
        }
        let now = self.truth.micros();
        let wall = now + machine.wall_ahead.load(Ordering::SeqCst);
        let wall = jiff::Timestamp::from_microsecond(wall).unwrap();
        self.shelf.seen(machine.node, wall);
        machine.heard_micros = now;
        let started = machine.start(&self.plan, &self.subjects, &self.truth, &self.wire);
        self.trace
            .note("starts", [of(number), i64::from(started.is_ok()), 0, 0]);
        match started {
            Err(error @ (JournalError::Corrupt { .. } | JournalError::Format { .. })) => {
                Err(format!("node {number} cannot read its journal: {error}"))
            }
            // The disk refuses; the next start tries again.
            Err(_) if self.machines[number].platter.is_cut_off() => {
                let left = self.machines[number].platter.kill();
                self.machines[number].platter = left;
                Ok(())
            }
            Ok(()) | Err(_) => Ok(()),
        }
    }

    pub(super) fn stop(&mut self) {
        let idle = |machine: &Machine| {
            let life = machine.life.as_ref();
            machine.is_serving()
                && life.is_some_and(|life| life.holds.is_empty() && life.asking.is_empty())
        };
        if let Some(number) = self.one_machine(idle)
            && let Some(life) = &mut self.machines[number].life
        {
            life.begin_stop();
            self.trace.note("stops", [of(number), 0, 0, 0]);
        }
    }

    /// An operator gives up a dead node; another takes its place.
    pub(super) fn retire(&mut self) {
        let is_shared = self.is_shared();
        let dead = self.one_machine(|machine| machine.life.is_none() && is_shared);
        let Some(number) = dead else { return };
        let node = self.machines[number].node;
        self.shelf.retire(node);
        self.oracle.gone(number);
        let wall_ahead = self.machines[number].wall_ahead.load(Ordering::SeqCst);
        self.replace_machine(number, wall_ahead);
        self.trace.note("is retired", [of(number), 0, 0, 0]);
    }

    pub(super) fn change_limits(&mut self) {
        let at = self.dice.below(self.subjects.len());
        let subject = &mut self.subjects[at];
        match self.dice.below(3) {
            0 => subject.record.budget_limit_cents = self.dice.one_of(&[0, 1, 2, 5, 30, 400]),
            1 => subject.record.token_limit_month = self.dice.one_of(&[0, 2_000, 20_000, 90_000]),
            _ => subject.record.rate_limit_rpm = self.dice.one_of(&[0, 1, 5, 30, 300]),
        }
        subject.version += 1;
        let subject = subject.clone();
        self.oracle.limits_changed(at, &subject);
        let record = &subject.record;
        let (budget, rpm) = (record.budget_limit_cents, record.rate_limit_rpm);
        let figures = [of(at), budget, record.token_limit_month, rpm];
        self.trace.note("limits change", figures);
    }

    pub(super) fn toggle(&mut self) {
        let at = self.dice.below(self.subjects.len());
        let subject = &mut self.subjects[at];
        let is_on = subject.record.status == CusIntegrationStatus::Enabled;
        subject.record.status = if is_on {
            CusIntegrationStatus::Disabled
        } else {
            CusIntegrationStatus::Enabled
        };
        subject.version += 1;
        self.trace
            .note("is toggled", [of(at), i64::from(!is_on), 0, 0]);
    }

    pub(super) fn outage(&mut self) {
        self.is_out = !self.is_out;
        self.trace
            .note("store is out", [i64::from(self.is_out), 0, 0, 0]);
    }

    pub(super) fn cut(&mut self) {
        if let Some(number) = self.one_machine(|_| true) {
            let machine = &mut self.machines[number];
            machine.is_cut = !machine.is_cut;
            let is_cut = i64::from(machine.is_cut);
            self.trace.note("is cut off", [of(number), is_cut, 0, 0]);
        }
    }

    pub(super) fn disk_fault(&mut self) {
        let Some(number) = self.one_machine(|machine| machine.life.is_some()) else {
            return;
        };
        if self.machines[number].is_disk_faulty {
            self.mend_disk(number);
            return;
        }
        let machine = &mut self.machines[number];
        machine.is_disk_faulty = true;
        let room = self.dice.below(2_000);
        let is_full = self.dice.per_mille(500);
        if is_full {
            machine.platter.leave_room(room);
        } else {
            machine.platter.refuse_syncs();
        }
        self.trace
            .note("disk fails", [of(number), i64::from(is_full), of(room), 0]);
    }

    pub(super) fn mend_disk(&mut self, number: usize) {
        let machine = &mut self.machines[number];
        machine.is_disk_faulty = false;
        machine.platter.mend();
        self.trace.note("disk is mended", [of(number), 0, 0, 0]);
    }

    pub(super) fn set_wall(&mut self) {
        if let Some(number) = self.one_machine(|_| true) {
            let near = self.dice.between(-90 * SECOND, 90 * SECOND);
            let ahead = self.dice.one_of(&[0, near]);
            self.set_wall_of(number, ahead);
            self.trace
                .note("wall clock is set", [of(number), ahead, 0, 0]);
        }
    }

    /// The store's clock is set back a little. Forward it would let a minute pass that has not.
    pub(super) fn set_store_clock(&mut self) {
        let back = self.dice.between(0, 5 * SECOND);
        self.store_ahead -= back;
        self.trace
            .note("store's clock is set back", [back, 0, 0, 0]);
    }
}
