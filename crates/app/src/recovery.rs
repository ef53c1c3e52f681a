//! What an earlier run of this node left in its journal: taken up at a start, and booked while calls pass again.
//!
//! A start does not wait until the ledger has it all. What is on its way stays in the node's allowances in the store, and
//! the gates count it as used, so that no limit is passed meanwhile. It is read piece by piece, twice: now for its sums, and
//! again when it is booked.

use std::collections::BTreeMap;
use std::sync::Arc;

use tollgate_core::account::Grant;
use tollgate_core::hold::Actual;
use tollgate_core::usage::UsageEntry;
use tollgate_core::{CallId, IntegrationId, Nanos, Period, TenantId};
use tollgate_store::{Owed, StoreError};

use crate::authority::Authority;
use crate::directory::Integration;
use crate::error::AppError;
use crate::journal::{Journal, Receipt, Recovery};
use crate::ledger::{Counted, Earlier, EarlierIds};
use crate::metering::Metering;

/// So many calls are read, and asked about, at a time.
const PIECE: usize = 2_048;

/// Rows that are on their way to the ledger, and what they have used that it does not have.
#[derive(Debug)]
pub(crate) struct Backlog {
    rows: Vec<Receipt>,
    ids: EarlierIds,
    owed: BTreeMap<(IntegrationId, Period), (TenantId, Actual)>,
    /// The store's figures of what is owed.
    figures: Vec<(IntegrationId, Grant)>,
    /// Calls that may have been admitted in the last minute.
    calls: BTreeMap<IntegrationId, i64>,
    /// Bytes that were left half-written.
    pub(crate) torn_bytes: u64,
}

/// Reads what an earlier run left, asks the store what it has of it already, and gives back what that run had drawn and
/// not used. A call that was dispatched and never finished is charged at its worst case: the provider may have billed it.
pub(crate) async fn resume(
    authority: &dyn Authority,
    journal: &Journal,
    recovery: Recovery,
) -> Result<Backlog, AppError> {
    let mut backlog = Backlog::of(journal, recovery);
    backlog.sum_up(authority, journal).await?;
    // Only direct holds outlive a run, and what is on its way to the ledger: the rest of what was drawn is not needed.
    backlog.figures = authority.give_back_all(&backlog.owed()).await?;
    Ok(backlog)
}

impl Backlog {
    fn of(journal: &Journal, recovery: Recovery) -> Self {
        let (finished, interrupted) = (recovery.unposted.len(), recovery.interrupted.len());
        let torn_bytes = recovery.torn_bytes;
        if finished > 0 || interrupted > 0 || torn_bytes > 0 {
            tracing::info!(
                finished,
                interrupted,
                torn_bytes,
                "recovering calls from the journal"
            );
        }
        let mut rows = recovery.unposted;
        rows.reserve_exact(interrupted);
        let given_up = recovery.interrupted.into_iter();
        rows.extend(given_up.map(|ticket| journal.give_up(ticket)));
        Self {
            ids: EarlierIds::with_room_for(rows.len()),
            rows,
            owed: BTreeMap::new(),
            figures: Vec::new(),
            calls: BTreeMap::new(),
            torn_bytes,
        }
    }

    async fn sum_up(
        &mut self,
        authority: &dyn Authority,
        journal: &Journal,
    ) -> Result<(), AppError> {
        let rows = std::mem::take(&mut self.rows);
        for piece in rows.chunks(PIECE) {
            let entries = journal.rows(piece)?;
            let known = known(authority, &entries).await?;
            for (entry, is_known) in entries.iter().zip(known) {
                self.note(entry);
                if !is_known {
                    self.owe(entry);
                }
            }
        }
        self.ids.sort();
        self.rows = rows;
        Ok(())
    }

    fn note(&mut self, entry: &UsageEntry) {
        self.ids.add(&entry.tenant_id, &entry.call_id);
        if !entry.is_refusal() {
            let calls = self.calls.entry(entry.integration_id).or_default();
            *calls = calls.saturating_add(1);
        }
    }

    /// The ledger does not have it.
    fn owe(&mut self, entry: &UsageEntry) {
        let month = (entry.integration_id, entry.period());
        let nothing = || {
            let actual = Actual {
                cost: Nanos::ZERO,
                tokens: 0,
            };
            (entry.tenant_id.clone(), actual)
        };
        let (_, owed) = self.owed.entry(month).or_insert_with(nothing);
        let tokens = i64::try_from(entry.tokens.total()).unwrap_or(i64::MAX);
        owed.cost = Nanos::new(owed.cost.get().saturating_add(entry.cost.get()));
        owed.tokens = owed.tokens.saturating_add(tokens);
    }

    fn owed(&self) -> Vec<Owed> {
        let owed = self.owed.iter();
        let owed = owed.map(|(&(integration, period), (tenant, used))| Owed {
            integration,
            tenant: tenant.clone(),
            period,
            nanos: used.cost.get(),
            tokens: used.tokens,
        });
        owed.filter(|owed| owed.nanos > 0 || owed.tokens > 0)
            .collect()
    }

    /// Has the gates count what is on its way as used, and then has it booked. Where an integration is gone, nothing
    /// passes any more.
    pub(crate) async fn take_up(
        self,
        metering: &Metering,
        find: impl Fn(IntegrationId) -> Option<Arc<Integration>>,
    ) -> Result<(), StoreError> {
        for (id, figures) in &self.figures {
            let owed = self.owed.get(&(*id, figures.period));
            if let (Some(known), Some((_, owed))) = (find(*id), owed) {
                known.gate.lock().resume(figures, owed);
            }
        }
        let now = metering.clock.now();
        let mut counted = Counted {
            mark: now.steady_micros,
            ..Counted::default()
        };
        for (&id, &calls) in &self.calls {
            let Some(known) = find(id).filter(|_| metering.counts_minutes()) else {
                continue;
            };
            // What was counted before comes first. Nobody knows when these were admitted, for the wall clock may have
            // been set since: they count as admitted now.
            metering.remember_calls(&known, now).await?;
            let mut gate = known.gate.lock();
            gate.remember_calls(now.steady_micros, calls);
            if gate.limits().rate_rpm.is_some() {
                counted.integrations.insert(id);
            }
        }
        let earlier = Earlier::new(self.rows, self.ids, counted);
        metering.ledger.begin(earlier);
        Ok(())
    }
}

/// Which of these calls the ledger has: another call may have an id that two nodes were given at once.
async fn known(authority: &dyn Authority, entries: &[UsageEntry]) -> Result<Vec<bool>, AppError> {
    let calls: Vec<(TenantId, CallId)> = entries
        .iter()
        .map(|entry| (entry.tenant_id.clone(), entry.call_id.clone()))
        .collect();
    let admitted = authority.known_calls(&calls).await?;
    let known = entries.iter().zip(admitted);
    Ok(known
        .map(|(entry, admitted)| admitted == Some(entry.created_at))
        .collect())
}
