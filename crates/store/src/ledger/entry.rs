//! Entries on their way into the ledger: checked, compared within their batch, laid out as rows.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use foldhash::fast::RandomState;
use jiff::Timestamp;
use tollgate_core::books::Figures;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::period::day_of;
use tollgate_core::usage::{Origin, UsageEntry};
use tollgate_core::{AgentId, CallId, HoldId, Nanos, OrderedIds, SessionId, TenantId};

use super::Standing;
use super::content::Content;
use super::texts::{self, Texts};
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Rows, Value, Work};
use crate::error::StoreError;
use crate::value::{micros, storable, storable_shared};

/// An entry as it is given: whose row it becomes, and how it came to be known.
#[derive(Clone, Copy)]
pub(super) struct Given<'a> {
    pub(super) entry: &'a UsageEntry,
    pub(super) origin: Origin,
    /// What its caller thinks it cost.
    pub(super) client_cost: Option<Nanos>,
    /// What tells it from another call of the same id; none where that is the entry itself.
    pub(super) content: Option<&'a str>,
    /// The hold that it settles.
    pub(super) hold: Option<HoldId>,
    /// When it was admitted, on the machine's clock, where its calls of a minute are counted with their rows.
    pub(super) mark: Option<i64>,
}

/// An entry that may be booked, with its texts: whatever can be made ready is, before anything is locked.
pub(super) struct Prepared {
    pub(super) entry: UsageEntry,
    /// The id of its row.
    pub(super) id: Arc<str>,
    /// Tells whether another entry with the same call id is the same entry.
    pub(super) content: Content,
    /// The hold that it settles.
    pub(super) hold: Option<HoldId>,
    /// When it was admitted, if it is to be counted.
    pub(super) mark: Option<i64>,
    origin: Origin,
    client_cost: Option<Nanos>,
    integration: Arc<str>,
    provider: Arc<str>,
    policy_result: Arc<str>,
    source: Arc<str>,
    heard: Arc<str>,
    period: Arc<str>,
    day: Arc<str>,
    tokens_by_class: Arc<str>,
    price_version: Option<Arc<str>>,
    unit_prices: Option<Arc<str>>,
}

/// A batch on its way: of each call the first entry, and where every entry given belongs.
pub(super) struct Intake {
    pub(super) firsts: Vec<Prepared>,
    pub(super) slots: Vec<Slot>,
}

/// Where an entry of a batch belongs.
pub(super) enum Slot {
    /// It can never be booked.
    Refused(&'static str),
    /// It is the first of its call: its place among the firsts.
    First(usize),
    /// Its call is in the batch already: the first's place, and what it says itself.
    Again(usize, Content, Box<UsageEntry>),
}

impl Intake {
    /// Sorts out which entries may be booked and which are in the batch twice.
    ///
    /// Rows get ids in their order at that time: in the index of ids they then stand together.
    pub(super) fn of(given: &[Given<'_>], now: Timestamp) -> Result<Self, StoreError> {
        let mut intake = Self {
            firsts: Vec::with_capacity(given.len()),
            slots: Vec::with_capacity(given.len()),
        };
        let (mut texts, mut ids) = (Texts::default(), OrderedIds::at(now));
        let mut places: HashMap<(&TenantId, &CallId), usize, RandomState> =
            HashMap::with_capacity_and_hasher(given.len(), RandomState::default());
        for one in given {
            let entry = one.entry;
            if let Some(reason) = flaw(entry) {
                intake.slots.push(Slot::Refused(reason));
                continue;
            }
            let content = Content::of(entry, one.content);
            let place = intake.firsts.len();
            match places.entry((&entry.tenant_id, &entry.call_id)) {
                Entry::Occupied(first) => {
                    let again = Slot::Again(*first.get(), content, Box::new(entry.clone()));
                    intake.slots.push(again);
                    continue;
                }
                Entry::Vacant(free) => free.insert(place),
            };
            intake.slots.push(Slot::First(place));
            let id = texts::uuid(ids.next_id());
            let prepared = Prepared::new(one, content, id, &mut texts)?;
            intake.firsts.push(prepared);
        }
        Ok(intake)
    }
}

impl Prepared {
    fn new(
        given: &Given<'_>,
        content: Content,
        id: Arc<str>,
        texts: &mut Texts,
    ) -> Result<Self, StoreError> {
        let entry = given.entry;
        let price = entry.price.as_ref();
        Ok(Self {
            entry: entry.clone(),
            id,
            content,
            hold: given.hold,
            mark: given.mark,
            origin: given.origin,
            client_cost: given.client_cost,
            integration: texts.integration(entry.integration_id),
            provider: texts.word(entry.provider.as_str()),
            policy_result: texts.word(entry.policy_result.as_str()),
            source: texts.word(entry.source.as_str()),
            heard: texts.word(given.origin.as_str()),
            period: texts.month(entry.period()),
            day: texts.day(day_of(entry.created_at)),
            tokens_by_class: texts::tokens(&entry.tokens),
            price_version: price.map(|price| storable_shared(&price.version)),
            unit_prices: price.map(|price| texts.prices(&price.rates)).transpose()?,
        })
    }

    /// The row that the entry becomes, as those who gave it are told.
    pub(super) fn standing(&self, cost_cents: i64, hold: Option<HoldOutcome>) -> Standing {
        Standing {
            id: Arc::clone(&self.id),
            cost: self.entry.cost,
            cost_cents,
            price_version: self.price_version.clone(),
            origin: self.origin,
            created_at: self.entry.created_at,
            hold,
        }
    }

    /// Whether the row has nothing in the columns that only [`INSERT`] has.
    fn is_plain(&self) -> bool {
        let entry = &self.entry;
        entry.session_id.is_none()
            && entry.agent_id.is_none()
            && entry.error_code.is_none()
            && entry.error_message.is_none()
            && entry.extra.is_none()
            && self.origin == Origin::Gateway
            && self.client_cost.is_none()
            && self.hold.is_none()
    }

    /// The row of one that is plain, in the order of [`INSERT_PLAIN`].
    pub(super) fn plain_row(
        &self,
        cost_cents: i64,
        node: Arc<str>,
        now: Timestamp,
    ) -> [Value; PLAIN_COLUMNS] {
        let entry = &self.entry;
        let figures = Figures::of(entry);
        [
            Arc::clone(&self.id).into(),
            entry.tenant_id.shared().into(),
            Arc::clone(&self.integration).into(),
            entry.call_id.shared().into(),
            Arc::clone(&self.provider).into(),
            storable_shared(&entry.model).into(),
            figures.tokens_in.into(),
            figures.tokens_out.into(),
            cost_cents.into(),
            entry.latency_ms.into(),
            Arc::clone(&self.policy_result).into(),
            micros(entry.created_at).into(),
            figures.cost_nanos.into(),
            entry.held.get().into(),
            Arc::clone(&self.source).into(),
            Arc::clone(&self.tokens_by_class).into(),
            self.price_version.clone().into(),
            self.unit_prices.clone().into(),
            Arc::clone(&self.period).into(),
            Arc::clone(&self.day).into(),
            node.into(),
            micros(now).into(),
        ]
    }

    /// What stands behind the plain row in the order of [`INSERT`].
    fn rest_of_row(&self, hold: Option<HoldOutcome>) -> [Value; REST_COLUMNS] {
        let entry = &self.entry;
        [
            entry.session_id.as_ref().map(SessionId::shared).into(),
            entry.agent_id.as_ref().map(AgentId::shared).into(),
            entry.error_code.as_deref().map(storable).into(),
            entry.error_message.as_deref().map(storable).into(),
            entry.extra.as_deref().map(storable).into(),
            Arc::clone(&self.heard).into(),
            self.client_cost.map(Nanos::get).into(),
            self.hold.map(|hold| hold.to_string()).into(),
            hold.map(|outcome| outcome.as_str().to_owned()).into(),
        ]
    }
}

/// The rows of a batch.
pub(super) struct LedgerRows {
    plain: Rows,
    others: Rows,
    /// Each value costs on SQLite, even one that is nothing. On PostgreSQL a statement more costs as much as it saves.
    are_apart: bool,
}

impl LedgerRows {
    /// None yet.
    pub(super) fn of(work: &Work) -> Self {
        Self {
            plain: Rows::default(),
            others: Rows::default(),
            are_apart: !work.is_postgres(),
        }
    }

    /// Adds a row, of which the plain part is given.
    pub(super) fn add(
        &mut self,
        prepared: &Prepared,
        row: [Value; PLAIN_COLUMNS],
        hold: Option<HoldOutcome>,
    ) {
        if self.are_apart && prepared.is_plain() {
            self.plain.add(row);
        } else {
            let rest = prepared.rest_of_row(hold);
            self.others.add(row.into_iter().chain(rest));
        }
    }

    /// Inserts them all.
    pub(super) async fn insert(self, work: &mut Work) -> Result<(), StoreError> {
        work.execute_batch(INSERT_PLAIN, self.plain).await?;
        work.execute_batch(INSERT, self.others).await.map(drop)
    }
}

/// Why an entry can never be booked, if it cannot.
fn flaw(entry: &UsageEntry) -> Option<&'static str> {
    if entry.cost.get() < 0 || entry.held.get() < 0 {
        Some("an amount of money is negative")
    } else if entry.latency_ms.is_some_and(|latency| latency < 0) {
        Some("its latency is negative")
    } else if !(1_970..=9_998).contains(&day_of(entry.created_at).year()) {
        Some("its time is out of range")
    } else {
        None
    }
}

/// The columns of [`INSERT_PLAIN`].
const PLAIN_COLUMNS: usize = 22;
/// Those that [`INSERT`] has besides.
const REST_COLUMNS: usize = 9;

macro_rules! plain_columns {
    () => {
        "id, tenant_id, integration_id, call_id, provider, model, tokens_in, tokens_out, cost_cents, latency_ms, \
         policy_result, created_at, cost_nanos, held_nanos, usage_source, tokens_by_class, price_version, unit_prices, \
         period, day, node_id, settled_at"
    };
}

/// Rows that went through the gateway, without an error or anything that a caller may add: most of them. What is left out is
/// nothing in every table, and the origin is the gateway.
const INSERT_PLAIN: Batch = Batch {
    head: concat!("INSERT INTO cus_llm_usage (", plain_columns!(), ")"),
    columns: INSERT.columns.split_at(PLAIN_COLUMNS).0,
    tail: "",
    locks_rows: false,
};

/// All columns: rows of any kind.
const INSERT: Batch = Batch {
    head: concat!(
        "INSERT INTO cus_llm_usage (",
        plain_columns!(),
        ", session_id, agent_id, error_code, error_message, extra_data, origin, client_cost_nanos, hold_id, hold_outcome)"
    ),
    columns: &[
        Text, Text, Text, Text, Text, Text, Integer, Integer, Integer, Integer, Text, Integer,
        Integer, Integer, Text, Text, Text, Text, Text, Text, Text, Integer, Text, Text, Text,
        Text, Text, Text, Integer, Text, Text,
    ],
    tail: "",
    locks_rows: false,
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_column_that_is_named_has_a_kind() {
        let all = PLAIN_COLUMNS + REST_COLUMNS;
        for (batch, columns) in [(INSERT_PLAIN, PLAIN_COLUMNS), (INSERT, all)] {
            assert_eq!(batch.head.split(',').count(), columns);
            assert_eq!(batch.columns.len(), columns);
        }
    }
}
