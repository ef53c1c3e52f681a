//! The one transaction in which a batch becomes part of the books.
//!
//! Locks are taken in one order everywhere, so batches and draws cannot deadlock: call keys sorted by tenant and call, then
//! balances sorted by integration and month. Whoever has a month's balance has its roll-ups and allowances.

use std::collections::{BTreeSet, HashMap, HashSet};

use jiff::Timestamp;
use tollgate_core::NodeId;
use tollgate_core::period::day_of;

use super::AppendReport;
use super::books::Books;
use super::entry::{self, Prepared};
use crate::engine::Kind::{Integer, Text};
use crate::engine::{Batch, Value, Work};
use crate::error::StoreError;
use crate::{allowances, balances, rollups};

pub(super) async fn append(
    work: &mut Work,
    batch: &[Prepared],
    node: NodeId,
    now: Timestamp,
    mut report: AppendReport,
) -> Result<AppendReport, StoreError> {
    let fresh = claim(work, batch, &mut report).await?;
    if fresh.is_empty() {
        return Ok(report);
    }
    let mut books = open(work, &fresh).await?;
    let mut rows = Vec::with_capacity(fresh.len());
    let mut refused = Vec::new();
    for prepared in fresh {
        match books.post(prepared) {
            Ok(cents) => rows.push(prepared.row(cents, node, now)),
            Err(reason) => refused.push((prepared, reason)),
        }
    }
    disclaim(work, &refused).await?;
    report.refused.extend(
        refused
            .into_iter()
            .map(|(prepared, reason)| prepared.refused(reason)),
    );
    report.written = work.execute_batch(entry::INSERT, rows).await?;
    balances::write(work, &books).await?;
    allowances::settle(work, &books, node).await?;
    rollups::write(work, &books, now).await?;
    Ok(report)
}

const CLAIM: Batch = Batch {
    head: "INSERT INTO call_keys (tenant_id, call_id, entry_hash)",
    columns: &[Text, Text, Integer],
    tail: "ON CONFLICT (tenant_id, call_id) DO NOTHING RETURNING tenant_id, call_id",
    locks_rows: false,
};

const FIND: Batch = Batch {
    head: "SELECT tenant_id, call_id, entry_hash FROM call_keys WHERE (tenant_id, call_id) IN (",
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

/// Claims the call ids of a batch; gives the entries, in the batch's order, whose ids nobody had.
async fn claim<'a>(
    work: &mut Work,
    batch: &'a [Prepared],
    report: &mut AppendReport,
) -> Result<Vec<&'a Prepared>, StoreError> {
    let mut sorted: Vec<&Prepared> = batch.iter().collect();
    sorted.sort_by_key(|prepared| (&prepared.entry.tenant_id, &prepared.entry.call_id));
    let keys = sorted.iter().map(|prepared| {
        let mut key = key(prepared);
        key.push(prepared.hash.into());
        key
    });
    let claimed: Vec<(String, String)> = work.fetch_batch(CLAIM, keys.collect()).await?;
    if claimed.len() == batch.len() {
        return Ok(batch.iter().collect());
    }
    let claimed: HashSet<_> = claimed.into_iter().collect();
    let (fresh, known): (Vec<&Prepared>, Vec<&Prepared>) = batch
        .iter()
        .partition(|prepared| claimed.contains(&text_key(prepared)));
    let found: Vec<(String, String, i64)> = work
        .fetch_batch(FIND, known.iter().map(|prepared| key(prepared)).collect())
        .await?;
    let found: HashMap<_, _> = found
        .into_iter()
        .map(|(tenant, call, hash)| ((tenant, call), hash))
        .collect();
    for prepared in known {
        if found.get(&text_key(prepared)) == Some(&prepared.hash) {
            report.duplicates += 1;
        } else {
            let entry = &prepared.entry;
            report
                .conflicts
                .push((entry.tenant_id.clone(), entry.call_id.clone()));
        }
    }
    Ok(fresh)
}

/// Gives back the ids of entries that cannot be booked.
async fn disclaim(
    work: &mut Work,
    refused: &[(&Prepared, &'static str)],
) -> Result<(), StoreError> {
    let keys = refused.iter().map(|(prepared, _)| key(prepared)).collect();
    work.execute_batch(DISCLAIM, keys).await.map(drop)
}

fn key(prepared: &Prepared) -> Vec<Value> {
    vec![
        prepared.entry.tenant_id.as_str().into(),
        prepared.entry.call_id.as_str().into(),
    ]
}

fn text_key(prepared: &Prepared) -> (String, String) {
    (
        prepared.entry.tenant_id.to_string(),
        prepared.entry.call_id.to_string(),
    )
}

/// Locks and reads what the entries will change.
async fn open(work: &mut Work, fresh: &[&Prepared]) -> Result<Books, StoreError> {
    let months = fresh
        .iter()
        .map(|prepared| (prepared.entry.integration_id, prepared.entry.period()))
        .zip(
            fresh
                .iter()
                .map(|prepared| prepared.entry.tenant_id.clone()),
        )
        .collect();
    let days: BTreeSet<_> = fresh
        .iter()
        .map(|prepared| {
            let entry = &prepared.entry;
            (
                entry.tenant_id.clone(),
                entry.integration_id,
                day_of(entry.created_at),
            )
        })
        .collect();
    Ok(Books {
        months: balances::lock(work, months).await?,
        days: rollups::read(work, days).await?,
        ..Books::default()
    })
}
