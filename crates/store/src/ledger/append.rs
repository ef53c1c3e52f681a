//! The one transaction in which a batch becomes part of the books.
//!
//! Locks are taken in one order everywhere, so batches and draws cannot deadlock: call keys sorted by tenant and call, then
//! balances sorted by integration and month. Whoever has a month's balance has its roll-ups and allowances.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use foldhash::fast::RandomState;
use tollgate_core::hold::direct::HoldOutcome;
use tollgate_core::period::day_of;
use tollgate_core::usage::Origin;
use tollgate_core::{HoldId, Moment, Nanos, NodeId, Period};

use super::Books;
use super::entry::{Intake, LedgerRows, Prepared, Slot};
use super::texts::Texts;
use super::{Fate, Standing};
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Rows, Value, Work};
use crate::error::StoreError;
use crate::holds::NamedHolds;
use crate::value::{Place, micros};
use crate::windows::{self, Marks};
use crate::{allowances, balances, prices, rollups};

/// Books a batch and tells the fate of each entry given, in their order.
pub(super) async fn append(
    work: &mut Work,
    intake: &Intake,
    node: NodeId,
    now: Moment,
) -> Result<Vec<Fate>, StoreError> {
    let mut fates = claim(work, &intake.firsts).await?;
    let fresh: Vec<&Prepared> = intake
        .firsts
        .iter()
        .zip(&fates)
        .filter(|(_, fate)| fate.is_none())
        .map(|(first, _)| first)
        .collect();
    if !fresh.is_empty() {
        let named: Vec<HoldId> = fresh.iter().filter_map(|prepared| prepared.hold).collect();
        let before = NamedHolds::read(work, &named).await?;
        let mut books = open(work, &fresh, &before).await?;
        // What was held before its month was locked may have ended meanwhile.
        let mut holds = NamedHolds::read(work, &named).await?;
        let mut texts = Texts::default();
        let mut rows = LedgerRows::of(work);
        let mut booked = Vec::with_capacity(fresh.len());
        let mut refused = Vec::new();
        let mut marks = Marks::new();
        for (prepared, fate) in intake.firsts.iter().zip(&mut fates) {
            if fate.is_some() {
                continue;
            }
            let held_by = holds.node_of(prepared.hold, &prepared.entry);
            let node = held_by.unwrap_or(node);
            *fate = Some(match books.post(&prepared.entry, node) {
                Ok(cents) => {
                    let hold = holds.settle(prepared.hold, &prepared.entry);
                    let row = prepared.plain_row(cents, texts.node(node), now.wall);
                    rows.add(prepared, row, hold);
                    note(&mut marks, prepared);
                    booked.push(&prepared.entry);
                    Held::New(cents, hold)
                }
                Err(reason) => {
                    refused.push(key(prepared));
                    Held::Refused(reason)
                }
            });
        }
        work.execute_batch(DISCLAIM, refused.into()).await?;
        rows.insert(work).await?;
        balances::write(work, &books).await?;
        allowances::settle(work, &books).await?;
        holds.write(work, now.wall).await?;
        rollups::write(work, &books, now.wall).await?;
        prices::note_unpriced(work, booked.into_iter()).await?;
        windows::count(work, &marks, now.steady_micros).await?;
    }
    Ok(told(intake, &fates))
}

/// Notes when a call was admitted that is counted with its row.
fn note(marks: &mut Marks, prepared: &Prepared) {
    if let Some(mark) = prepared.mark {
        let entry = &prepared.entry;
        let tenant = || (entry.tenant_id.clone(), Vec::new());
        let (_, admitted) = marks.entry(entry.integration_id).or_insert_with(tenant);
        admitted.push(mark);
    }
}

/// What the ledger holds for a call id when the batch is booked.
enum Held {
    /// The first entry of the batch, with these cents, and what became of the hold that it named.
    New(i64, Option<HoldOutcome>),
    /// A row that was there before, with the hash of its content.
    Earlier(i64, Option<Standing>),
    /// Nothing: the first entry of the batch cannot be booked.
    Refused(&'static str),
}

/// The fate of each entry given.
fn told(intake: &Intake, held: &[Option<Held>]) -> Vec<Fate> {
    let fate = |slot: &Slot| {
        let place = match slot {
            Slot::Refused(reason) => return Fate::Refused(reason),
            Slot::First(place) | Slot::Again(place, _, _) => *place,
        };
        let first = intake.firsts.get(place);
        let (Some(first), Some(Some(held))) = (first, held.get(place)) else {
            return Fate::Refused("it has no place in its batch");
        };
        let (row, is_same) = match (held, slot) {
            (Held::Refused(reason), _) => return Fate::Refused(reason),
            (Held::New(cents, outcome), slot) => {
                let row = first.standing(*cents, *outcome);
                let Slot::Again(_, content, _) = slot else {
                    return Fate::Written(row);
                };
                (Some(row), *content == first.content)
            }
            (Held::Earlier(hash, row), Slot::Again(_, content, entry)) => {
                (row.clone(), content.is_kept_as(*hash, entry))
            }
            (Held::Earlier(hash, row), _) => {
                let is_same = first.content.is_kept_as(*hash, &first.entry);
                (row.clone(), is_same)
            }
        };
        if is_same {
            Fate::Duplicate(row)
        } else {
            Fate::Conflict(row)
        }
    };
    intake.slots.iter().map(fate).collect()
}

const CLAIM: Batch = Batch {
    head: "INSERT INTO call_keys (tenant_id, call_id, entry_hash, created_at)",
    columns: &[Text, Text, Integer, Integer],
    tail: "ON CONFLICT (tenant_id, call_id) DO NOTHING RETURNING tenant_id, call_id",
    locks_rows: false,
};

/// The same, for those who only have to know how many were new.
const CLAIM_COUNTED: Batch = Batch {
    tail: "ON CONFLICT (tenant_id, call_id) DO NOTHING",
    ..CLAIM
};

const FIND: Batch = Batch {
    head: "SELECT k.tenant_id, k.call_id, k.entry_hash, u.id, u.cost_nanos, u.cost_cents, u.price_version, u.origin, u.hold_outcome, \
           k.created_at FROM call_keys k LEFT JOIN cus_llm_usage u \
           ON u.tenant_id = k.tenant_id AND u.created_at = k.created_at AND u.call_id = k.call_id \
           WHERE (k.tenant_id, k.call_id) IN (",
    columns: &[Text, Text],
    tail: ")",
    locks_rows: false,
};

const DISCLAIM: Batch = Batch {
    head: "DELETE FROM call_keys WHERE (tenant_id, call_id) IN (",
    columns: &[Text, Text],
    tail: ")",
    locks_rows: false,
};

/// Claims the call ids of a batch; gives for each entry the row that has its id already, if there is one.
async fn claim(work: &mut Work, firsts: &[Prepared]) -> Result<Vec<Option<Held>>, StoreError> {
    let mut sorted: Vec<&Prepared> = firsts.iter().collect();
    sorted.sort_by_key(|prepared| (&prepared.entry.tenant_id, &prepared.entry.call_id));
    let keys = || {
        let mut keys = Rows::default();
        for first in &sorted {
            keys.add(claimed_key(first));
        }
        keys
    };
    let mut held: Vec<Option<Held>> = firsts.iter().map(|_| None).collect();
    // A row that comes back costs more than one that is written. So that none comes back where all are new, as they almost always
    // are, they are counted first. Nothing else was done yet; a savepoint would keep what every page was.
    let new = work.execute_batch(CLAIM_COUNTED, keys()).await?;
    if new == rollups::count(firsts.len()) {
        return Ok(held);
    }
    work.start_over().await?;
    let claimed: Vec<(String, String)> = work.fetch_batch(CLAIM, keys()).await?;
    if claimed.len() == firsts.len() {
        return Ok(held);
    }
    let claimed: HashSet<_> = claimed.into_iter().collect();
    let is_known = |prepared: &&Prepared| !claimed.contains(&text_key(prepared));
    let known = firsts.iter().filter(is_known).map(key).collect();
    let found: Vec<KnownRow> = work.fetch_batch(FIND, known).await?;
    let mut found: HashMap<_, _> = found
        .into_iter()
        .map(|row| ((row.tenant_id.clone(), row.call_id.clone()), row))
        .collect();
    for (prepared, held) in firsts.iter().zip(&mut held) {
        if is_known(&prepared) {
            let row = found
                .remove(&text_key(prepared))
                .ok_or(StoreError::NotFound)?;
            *held = Some(Held::Earlier(row.entry_hash, row.read()?));
        }
    }
    Ok(held)
}

/// A call id that is taken, with its row.
#[derive(sqlx::FromRow)]
struct KnownRow {
    tenant_id: String,
    call_id: String,
    entry_hash: i64,
    id: Option<String>,
    cost_nanos: Option<i64>,
    cost_cents: Option<i64>,
    price_version: Option<String>,
    origin: Option<String>,
    hold_outcome: Option<String>,
    created_at: i64,
}

impl KnownRow {
    fn read(self) -> Result<Option<Standing>, StoreError> {
        let (Some(id), Some(origin)) = (self.id, self.origin) else {
            return Ok(None);
        };
        let place = Place {
            table: "cus_llm_usage",
            row: &id,
        };
        Ok(Some(Standing {
            cost: Nanos::new(self.cost_nanos.unwrap_or_default()),
            cost_cents: self.cost_cents.unwrap_or_default(),
            price_version: self.price_version.map(Into::into),
            origin: place.known("origin", Origin::from_name(&origin))?,
            created_at: place.time("created_at", self.created_at)?,
            hold: self
                .hold_outcome
                .as_deref()
                .and_then(HoldOutcome::from_name),
            id: id.into(),
        }))
    }
}

fn key(prepared: &Prepared) -> Vec<Value> {
    vec![
        prepared.entry.tenant_id.shared().into(),
        prepared.entry.call_id.shared().into(),
    ]
}

fn claimed_key(prepared: &Prepared) -> [Value; 4] {
    [
        prepared.entry.tenant_id.shared().into(),
        prepared.entry.call_id.shared().into(),
        prepared.content.hash().into(),
        micros(prepared.entry.created_at).into(),
    ]
}

fn text_key(prepared: &Prepared) -> (String, String) {
    (
        prepared.entry.tenant_id.to_string(),
        prepared.entry.call_id.to_string(),
    )
}

/// Locks and reads what the entries will change.
async fn open(
    work: &mut Work,
    fresh: &[&Prepared],
    holds: &NamedHolds,
) -> Result<Books, StoreError> {
    let mut months: BTreeMap<_, _> = holds.months().collect();
    let mut days = BTreeSet::new();
    // There are far fewer days than rows.
    let mut seen = HashSet::with_capacity_and_hasher(fresh.len(), RandomState::default());
    for prepared in fresh {
        let entry = &prepared.entry;
        let (integration, day) = (entry.integration_id, day_of(entry.created_at));
        if seen.insert((&entry.tenant_id, integration, day)) {
            let tenant = || entry.tenant_id.clone();
            days.insert((tenant(), integration, day));
            let month = (integration, Period::of_day(day));
            months.entry(month).or_insert_with(tenant);
        }
    }
    Ok(Books {
        months: balances::open(work, months).await?,
        days: rollups::read(work, days).await?,
        ..Books::default()
    })
}
