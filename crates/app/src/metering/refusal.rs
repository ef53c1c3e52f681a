//! The row of a refused call: no tokens, no cost, and an id of its own, so that the caller may
//! try again under the id that it gave.

use std::sync::Arc;

use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::verdict::Refusal;
use tollgate_core::{CallId, Moment, Nanos, TokenUsage};

use crate::directory::Integration;
use crate::metering::CallFacts;

pub(super) fn row(
    integration: &Integration,
    facts: &CallFacts,
    refusal: &Refusal,
    now: Moment,
) -> UsageEntry {
    let asked_as = facts.call_id.as_ref().map(|call_id| {
        serde_json::json!({ "requested_call_id": call_id.as_str() })
            .to_string()
            .into_boxed_str()
    });
    UsageEntry {
        tenant_id: integration.tenant_id.clone(),
        integration_id: integration.id,
        call_id: CallId::generate_at(now.wall),
        session_id: facts.session_id.clone(),
        agent_id: facts.agent_id.clone(),
        provider: integration.snapshot().record.provider_type,
        model: Arc::clone(&facts.model),
        tokens: TokenUsage::NONE,
        cost: Nanos::ZERO,
        held: Nanos::ZERO,
        source: UsageSource::Counted,
        price: None,
        latency_ms: None,
        policy_result: refusal.verdict().policy_result(),
        error_code: Some(refusal.code.as_str().into()),
        error_message: None,
        extra: asked_as,
        created_at: now.wall,
    }
}
