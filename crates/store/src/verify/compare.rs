//! Comparing two tables of figures: all differences are counted, the first is kept.

use std::collections::{BTreeMap, BTreeSet};

use tollgate_core::{IntegrationId, TenantId};

use super::{Difference, Figure, VerifyReport};
use crate::ledger::Day;

/// Stands for no average; real ones are not negative.
const NO_AVERAGE: i64 = -1;

/// Where a figure stands: table, tenant, integration, day or month.
type Place<'a> = (&'static str, &'a TenantId, IntegrationId, String);

/// The differences so far.
#[derive(Debug, Default)]
pub(super) struct Findings {
    pub(super) report: VerifyReport,
}

impl Findings {
    /// Compares rows by their keys. A row without a counterpart is compared with nothing but zeros.
    pub(super) fn rows<W: Ord + Clone, const N: usize>(
        &mut self,
        table: &'static str,
        ledger: &BTreeMap<(TenantId, IntegrationId, W), [Figure; N]>,
        stored: &BTreeMap<(TenantId, IntegrationId, W), [Figure; N]>,
        when: impl Fn(&W) -> String,
    ) {
        let keys: BTreeSet<_> = ledger.keys().chain(stored.keys()).collect();
        for key in keys {
            let place = (table, &key.0, key.1, when(&key.2));
            match (ledger.get(key), stored.get(key)) {
                (Some(right), Some(found)) => {
                    for (right, (_, found)) in right.iter().zip(found) {
                        self.figure(&place, *right, Some(*found));
                    }
                }
                (Some(right), None) => {
                    for right in right {
                        self.figure(&place, *right, None);
                    }
                }
                (None, found) => self.unfounded(&place, found.into_iter().flatten()),
            }
        }
    }

    /// Compares figures of which the ledger knows nothing: those that were opened and not used are zero.
    fn unfounded<'f>(&mut self, place: &Place<'_>, found: impl Iterator<Item = &'f Figure>) {
        for &(column, found) in found {
            let right = if found == NO_AVERAGE { NO_AVERAGE } else { 0 };
            self.figure(place, (column, right), Some(found));
        }
    }

    /// Compares one figure.
    pub(super) fn figure(&mut self, place: &Place<'_>, right: Figure, found: Option<i64>) {
        let (table, tenant, integration, when) = place;
        let (column, ledger) = right;
        if found != Some(ledger) {
            self.differ(|| Difference {
                table,
                column,
                tenant: Some((*tenant).clone()),
                integration: Some(*integration),
                when: when.clone(),
                ledger,
                found,
            });
        }
    }

    /// Compares a number of rows.
    pub(super) fn total(
        &mut self,
        table: &'static str,
        tenant: Option<&TenantId>,
        right: Figure,
        found: i64,
    ) {
        let (column, ledger) = right;
        if found != ledger {
            self.differ(|| Difference {
                table,
                column,
                tenant: tenant.cloned(),
                integration: None,
                when: String::new(),
                ledger,
                found: Some(found),
            });
        }
    }

    fn differ(&mut self, difference: impl FnOnce() -> Difference) {
        self.report.differences += 1;
        self.report.first.get_or_insert_with(difference);
    }
}

/// The figures of a roll-up.
pub(super) fn day(day: &Day, avg_latency_ms: Option<i64>) -> [Figure; 10] {
    [
        ("total_calls", day.calls),
        ("total_tokens_in", day.tokens_in),
        ("total_tokens_out", day.tokens_out),
        ("total_cost_cents", day.cents),
        ("total_cost_nanos", day.nanos),
        ("error_count", day.errors),
        ("blocked_count", day.blocked),
        ("latency_sum_ms", day.latency_sum_ms),
        ("latency_count", day.latency_count),
        ("avg_latency_ms", avg_latency_ms.unwrap_or(NO_AVERAGE)),
    ]
}
