//! Finished calls as a journal has them that a crash left behind.

use std::path::Path;

use cus_models::{CusPolicyResult, CusProviderType};
use tollgate_core::price::{PricePin, Rates};
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{CallId, IntegrationId, Nanos, TenantId, TokenUsage};

use super::{BEGINNING, MODEL};
use crate::journal::{Journal, JournalConfig, SyncPolicy};

/// The row of a finished call of `cost`, made when every world begins.
#[must_use]
pub fn finished(
    tenant: &TenantId,
    integration: IntegrationId,
    call_id: CallId,
    cost: Nanos,
) -> UsageEntry {
    UsageEntry {
        tenant_id: tenant.clone(),
        integration_id: integration,
        call_id,
        session_id: None,
        agent_id: None,
        provider: CusProviderType::OpenAi,
        model: MODEL.into(),
        tokens: TokenUsage::plain(1_200, 340),
        cost,
        held: cost,
        source: UsageSource::Provider,
        price: Some(PricePin {
            version: "2026-10-01".into(),
            rates: Rates::default(),
        }),
        latency_ms: Some(800),
        policy_result: CusPolicyResult::Allowed,
        error_code: None,
        error_message: None,
        extra: None,
        created_at: BEGINNING.parse().expect("a time"),
    }
}

/// Leaves these calls in the journal of a world that does not run, finished and not in the ledger:
/// two records each.
pub fn leave_behind(folder: &Path, rows: impl IntoIterator<Item = UsageEntry>) {
    let config = JournalConfig {
        sync: SyncPolicy::Never,
        ..JournalConfig::at(folder.join("journal"))
    };
    let (journal, _) = Journal::open(config).expect("a journal");
    for row in rows {
        let ticket = journal.dispatched(&row).expect("a dispatched call");
        let _kept = journal.settled(ticket, &row).expect("a settled call");
    }
}
