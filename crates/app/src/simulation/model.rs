//! The store as a model: what the statements keep, in maps; what decides is the product's own.
//!
//! The drawing, the minute and the sums are the functions of the core that the store calls between
//! its statements. `real.rs` compares every answer with an embedded store's.

use std::collections::{BTreeMap, HashMap};

use tollgate_core::account::{Draw, Grant};
use tollgate_core::allowance::{Allowances, Part, SettledByAll};
use tollgate_core::books::{Books, Day, MonthKey, MonthSum};
use tollgate_core::limit::kept::KeptMinute;
use tollgate_core::limit::rate::RateWindow;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Moment, NodeId, TenantId};
use tollgate_store::{AppendReport, DrawAsk, Owed};

use super::wire::{Question, Reply};

/// One row of the ledger.
#[derive(Debug, Clone)]
pub(super) struct Row {
    pub(super) entry: UsageEntry,
    pub(super) cents: i64,
}

/// A node as the store knows it.
#[derive(Debug, Clone, Copy)]
pub(super) struct NodeSeen {
    /// By the node's own clock, as the store is told.
    pub(super) seen_micros: i64,
    pub(super) is_retired: bool,
}

/// One node's money and tokens of a month.
type Parts = (Part, Part);

/// The model.
#[derive(Debug, Default)]
pub(super) struct ModelStore {
    pub(super) books: Books,
    pub(super) parts: BTreeMap<MonthKey, BTreeMap<NodeId, Parts>>,
    windows: BTreeMap<IntegrationId, RateWindow>,
    /// The minutes of nodes that count them themselves.
    minutes: BTreeMap<IntegrationId, KeptMinute>,
    pub(super) rows: Vec<Row>,
    calls: HashMap<CallId, usize>,
    pub(super) nodes: BTreeMap<NodeId, NodeSeen>,
    /// Integrations of which somebody lacks a part that others have.
    pub(super) wanted: Vec<IntegrationId>,
}

impl ModelStore {
    /// What the store answers; `clock_micros` is its own clock.
    pub(super) fn answer(&mut self, question: &Question, node: NodeId, clock_micros: i64) -> Reply {
        match question {
            Question::Draw(ask) => Reply::Grant(self.draw(ask, node)),
            Question::Permits(draw) => {
                let window = self
                    .windows
                    .entry(draw.integration)
                    .or_insert_with(|| RateWindow::of_permits([]));
                Reply::Permits(window.permit(draw.rpm, clock_micros, &draw.ask, draw.share))
            }
            Question::GiveBack(integration, unused) => {
                Reply::Grant(self.give_back((*integration, unused.period), unused, node))
            }
            Question::GiveBackAll(owed) => {
                self.free(node);
                Reply::Figures(self.keep_owed(owed, node))
            }
            Question::Kept(integration, now) => {
                let kept = self.minutes.get(integration);
                let slots = kept.into_iter().flat_map(KeptMinute::slots);
                Reply::Kept(KeptMinute::of(slots, now.steady_micros))
            }
            Question::IsKnown(_, call) => Reply::IsKnown(self.calls.contains_key(call)),
            Question::Known(calls) => {
                let known = calls.iter();
                let known = known.map(|(_, call)| Some(self.row_of(call)?.entry.created_at));
                Reply::Known(known.collect())
            }
            Question::Append(entries, marks, now) => {
                Reply::Append(self.append(entries, marks, *now, node))
            }
        }
    }

    /// What a month has settled, and what all have drawn and not settled, in nano-dollars and tokens.
    pub(super) fn committed(&self, key: &MonthKey) -> (i64, i64) {
        let settled = self.settled(key);
        let seen = self.seen(key, NodeId::from_uuid(uuid::Uuid::nil()));
        (
            settled.nanos + seen.nanos.outstanding(),
            settled.tokens + seen.tokens.outstanding(),
        )
    }

    /// What all months of an integration have settled.
    pub(super) fn committed_in(&self, integration: IntegrationId) -> i64 {
        let months = self.books.months.iter();
        let own = months.filter(|((id, _), _)| *id == integration);
        own.map(|(_, month)| month.nanos).sum()
    }

    pub(super) fn row_of(&self, call: &CallId) -> Option<&Row> {
        self.rows.get(*self.calls.get(call)?)
    }

    /// Frees what a node has drawn and not settled.
    pub(super) fn free(&mut self, node: NodeId) {
        for parts in self.parts.values_mut() {
            if let Some((nanos, tokens)) = parts.get_mut(&node) {
                nanos.drawn = nanos.drawn.min(nanos.settled.max(0));
                tokens.drawn = tokens.drawn.min(tokens.settled.max(0));
            }
        }
    }

    fn settled(&self, key: &MonthKey) -> SettledByAll {
        let month = self.books.months.get(key);
        SettledByAll {
            nanos: month.map_or(0, |month| month.nanos),
            tokens: month.map_or(0, |month| month.tokens),
        }
    }

    fn seen(&self, key: &MonthKey, node: NodeId) -> Allowances {
        let mut seen = Allowances::default();
        for (other, (nanos, tokens)) in self.parts.get(key).into_iter().flatten() {
            seen.nanos.add(*nanos);
            seen.tokens.add(*tokens);
            if *other == node {
                (seen.nanos.own, seen.tokens.own) = (*nanos, *tokens);
            }
        }
        seen
    }

    fn keep(&mut self, key: MonthKey, node: NodeId, seen: &Allowances) {
        let parts = self.parts.entry(key).or_default().entry(node).or_default();
        parts.0.drawn = seen.nanos.own.drawn;
        parts.1.drawn = seen.tokens.own.drawn;
    }

    fn open(&mut self, key: MonthKey, tenant: &TenantId) {
        self.books.months.entry(key).or_insert_with(|| MonthSum {
            tenant: tenant.to_string(),
            nanos: 0,
            tokens: 0,
            cents: 0,
            calls: 0,
        });
    }

    fn draw(&mut self, ask: &DrawAsk, node: NodeId) -> Grant {
        let key = (ask.integration, ask.need.period);
        self.open(key, &ask.tenant);
        let settled = self.settled(&key);
        let mut seen = self.seen(&key, node);
        let drawn = seen.draw(&ask.limits, &settled, &ask.need, ask.share);
        if drawn.is_changed {
            self.keep(key, node, &seen);
        }
        if drawn.is_lacking {
            self.wanted.push(ask.integration);
        }
        seen.grant(key.1, &settled)
    }

    fn give_back(&mut self, key: MonthKey, unused: &Draw, node: NodeId) -> Grant {
        let mut seen = self.seen(&key, node);
        if seen.give_back(unused) {
            self.keep(key, node, &seen);
        }
        seen.grant(key.1, &self.settled(&key))
    }

    /// Counts what a node owes as drawn; the figures of those months.
    fn keep_owed(&mut self, owed: &[Owed], node: NodeId) -> Vec<(IntegrationId, Grant)> {
        let mut figures = Vec::new();
        for one in owed {
            let key = (one.integration, one.period);
            self.open(key, &one.tenant);
            let mut seen = self.seen(&key, node);
            for (share, more) in [(&mut seen.nanos, one.nanos), (&mut seen.tokens, one.tokens)] {
                share.own.drawn = share.own.drawn.max(share.own.settled) + more;
            }
            self.keep(key, node, &seen);
            figures.push((one.integration, seen.grant(key.1, &self.settled(&key))));
        }
        figures
    }

    /// Counts a call with its row.
    fn count(&mut self, integration: IntegrationId, mark: i64, now: Moment) {
        let kept = self.minutes.entry(integration).or_default();
        *kept = KeptMinute::of(kept.slots(), now.steady_micros);
        kept.count(mark);
    }

    fn append(
        &mut self,
        entries: &[UsageEntry],
        marks: &[Option<i64>],
        now: Moment,
        node: NodeId,
    ) -> AppendReport {
        let mut report = AppendReport::default();
        for (place, (entry, mark)) in entries.iter().zip(marks).enumerate() {
            if let Some(known) = self.row_of(&entry.call_id) {
                if known.entry == *entry {
                    report.duplicates += 1;
                } else {
                    let key = (entry.tenant_id.clone(), entry.call_id.clone());
                    report.conflicts.push(key);
                    let is_other = known.entry.created_at != entry.created_at;
                    report.others.extend(is_other.then_some(place));
                }
                continue;
            }
            self.open((entry.integration_id, entry.period()), &entry.tenant_id);
            let cents = self.books.post(entry, node).unwrap();
            self.calls.insert(entry.call_id.clone(), self.rows.len());
            self.rows.push(Row {
                entry: entry.clone(),
                cents,
            });
            report.written += 1;
            if let Some(mark) = mark {
                self.count(entry.integration_id, *mark, now);
            }
        }
        for ((key, node), settled) in std::mem::take(&mut self.books.settled) {
            let parts = self.parts.entry(key).or_default().entry(node).or_default();
            parts.0.settled += settled.nanos;
            parts.1.settled += settled.tokens;
        }
        report
    }

    /// Whether the sums are those of the rows, and the cents those of the sums; else what is not.
    pub(super) fn verify(&self) -> Result<(), String> {
        let mut months: BTreeMap<MonthKey, (i64, i64)> = BTreeMap::new();
        let mut cents: BTreeMap<MonthKey, i64> = BTreeMap::new();
        let mut days: BTreeMap<_, Day> = BTreeMap::new();
        for Row { entry, cents: own } in &self.rows {
            let key = (entry.integration_id, entry.period());
            let month = months.entry(key).or_default();
            let tokens = i64::try_from(entry.tokens.total()).unwrap();
            *month = (month.0 + entry.cost.get(), month.1 + tokens);
            *cents.entry(key).or_default() += own;
            let day = tollgate_core::period::day_of(entry.created_at);
            let key = (entry.tenant_id.clone(), entry.integration_id, day);
            let day = days.entry(key).or_default();
            day.calls += 1;
            day.nanos += entry.cost.get();
            day.cents += own;
            day.tokens_in += i64::try_from(entry.tokens.tokens_in()).unwrap();
            day.tokens_out += i64::try_from(entry.tokens.tokens_out()).unwrap();
            day.errors += i64::from(entry.error_code.is_some());
            day.blocked += i64::from(entry.is_refusal());
            day.latency_sum_ms += entry.latency_ms.unwrap_or(0);
            day.latency_count += i64::from(entry.latency_ms.is_some());
        }
        if days != self.books.days {
            return Err("a roll-up is not the sum of its rows".to_owned());
        }
        for (key, sum) in &self.books.months {
            let rows = months.get(key).copied().unwrap_or_default();
            if rows != (sum.nanos, sum.tokens) {
                return Err(format!(
                    "{key:?}: the rows sum to {rows:?}, the balance is {sum:?}"
                ));
            }
            let cents = cents.get(key).copied().unwrap_or_default();
            let exact = tollgate_core::Nanos::new(sum.nanos).cents();
            if cents != exact || sum.cents != exact {
                return Err(format!("{key:?}: cents {cents}, {sum:?}, of {exact}"));
            }
            let own: i64 = self
                .parts
                .get(key)
                .into_iter()
                .flatten()
                .map(|(_, (nanos, _))| nanos.settled)
                .sum();
            if own != sum.nanos {
                return Err(format!("{key:?}: nodes settled {own} of {sum:?}"));
            }
        }
        Ok(())
    }
}
