//! Admit, settle, release: the only door between a call and its cost.
//!
//! [`Metering::admit`] decides on a call and gives a [`Hold`]. A hold ends in
//! [`Hold::settle`] or [`Hold::release`]; one that is dropped settles itself at its worst case.

mod attempt;
pub mod batch;
mod drawing;
mod fellowship;
pub mod hold;
mod refusal;
mod rehearsal;

use std::sync::Arc;

use tollgate_core::gate::{Admission, Attempt, Decision, Sharing};
use tollgate_core::hold::Ask;
use tollgate_core::limit::kept::KeptMinute;
use tollgate_core::price::ModelPrices;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::verdict::Refusal;
use tollgate_core::{AgentId, CallId, Clock, Moment, Nanos, SessionId};
use tollgate_store::StoreError;

use crate::authority::Authority;
use crate::directory::Integration;
use crate::journal::Journal;
use crate::ledger::{Carried, Claim, Ledger};

pub use attempt::AttemptOf;
pub(crate) use fellowship::Fellowship;
pub use hold::{Dispatch, DispatchError, Ending, Hold, Settled};
pub(crate) use rehearsal::Rehearsal;

/// What is known of a call before it is decided on.
#[derive(Debug)]
pub struct CallFacts {
    /// The id that the caller gave it, if any.
    pub call_id: Option<CallId>,
    /// The caller's session.
    pub session_id: Option<SessionId>,
    /// The caller's agent.
    pub agent_id: Option<AgentId>,
    /// The model as the provider knows it, 1 to 100 characters.
    pub model: Arc<str>,
    /// What it may use at worst.
    pub ask: Ask,
    /// Its model's prices, if it has any.
    pub prices: Option<Arc<ModelPrices>>,
}

/// Why a call was not admitted.
#[derive(Debug)]
pub enum NotAdmitted {
    /// A rule refused it; the refusal is a row of its own, under this id.
    Refused {
        /// Which rule, and its figures.
        refusal: Refusal,
        /// The id of the row that records the refusal.
        call_id: CallId,
    },
    /// The caller gave an id that one of its tenant's calls already has.
    CallIdTaken(CallId),
    /// The store was needed to look at the caller's own call id, and cannot be reached.
    StoreUnreachable,
}

/// Admission and settlement, over the gates of the directory.
#[derive(Debug)]
pub struct Metering {
    pub(crate) authority: Arc<dyn Authority>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) ledger: Ledger,
    pub(crate) clock: Arc<dyn Clock>,
    /// How much of what is left a draw may take, and whether this node is still heard of.
    pub(crate) fellowship: Fellowship,
    /// Rows that may wait for the store before no further call is admitted.
    pub(crate) backlog_rows_max: u64,
}

impl Metering {
    /// Takes in that the store has heard of this node, and that so many nodes live.
    ///
    /// Where it had not for long, the others may have taken this node for lost and use what it had
    /// drawn: then nothing of that is handed out any more, and the next call draws anew.
    pub(crate) fn heard(&self, integrations: &[Arc<Integration>], nodes: u32, now: Moment) {
        if self.fellowship.is_forgotten(now) {
            for integration in integrations {
                // What the store still counts as drawn comes back with the next draw.
                drop(integration.gate.lock().take_spare(0, now));
            }
        }
        self.fellowship.heard(nodes, now);
    }

    /// Decides on a call and holds its worst case on every limit that applies, all or nothing.
    ///
    /// Touches no database while this node's allowance lasts; otherwise it draws first.
    pub async fn admit(
        self: &Arc<Self>,
        integration: &Arc<Integration>,
        facts: CallFacts,
    ) -> Result<Hold, NotAdmitted> {
        self.must_be_heard_of()?;
        let claim = match &facts.call_id {
            Some(call_id) => Some(self.claim(integration, call_id).await?),
            None => None,
        };
        self.hold(integration, facts, claim, None).await
    }

    /// Refuses while this node could not book a call, or may have been taken for lost.
    fn must_be_heard_of(&self) -> Result<(), NotAdmitted> {
        if self.ledger.backlog_rows() > self.backlog_rows_max
            || self.fellowship.is_forgotten(self.clock.now())
        {
            return Err(NotAdmitted::StoreUnreachable);
        }
        Ok(())
    }

    /// Decides on a call whose id may be used; its row will say `noted` besides.
    async fn hold(
        self: &Arc<Self>,
        integration: &Arc<Integration>,
        facts: CallFacts,
        claim: Option<Claim>,
        noted: Option<Box<str>>,
    ) -> Result<Hold, NotAdmitted> {
        let (admission, now) = self.reserve(integration, &facts).await?;
        let worst = UsageEntry {
            extra: noted,
            ..worst_row(integration, &facts, &admission, now)
        };
        let terms = hold::Terms {
            amount: admission.hold,
            warnings: admission.warnings,
            prices: facts.prices,
            admitted: now,
            claim,
            is_capped: integration.snapshot().config.hard_cap,
        };
        Ok(Hold::new(
            Arc::clone(self),
            Arc::clone(integration),
            worst,
            terms,
        ))
    }

    /// Decides on a call and takes its worst case from the gate, without a [`Hold`] that would
    /// give it back: the caller sees to that.
    pub(crate) async fn reserve(
        &self,
        integration: &Integration,
        facts: &CallFacts,
    ) -> Result<(Admission, Moment), NotAdmitted> {
        if self.ledger.backlog_rows() > self.backlog_rows_max {
            return Err(NotAdmitted::StoreUnreachable);
        }
        let mut now = self.clock.now();
        let mut decision = integration
            .gate
            .lock()
            .admit(&facts.ask, now, Attempt::First);
        if matches!(decision, Decision::NeedsDraw(_)) {
            (decision, now) = self.draw_and_admit(integration, &facts.ask).await;
        }
        match decision {
            Decision::Admitted(admission) => Ok((admission, now)),
            Decision::Refused(refusal) => Err(self.refuse(integration, facts, refusal, now)),
            // The gate asks for a draw only on the first attempt.
            Decision::NeedsDraw(_) => Err(NotAdmitted::StoreUnreachable),
        }
    }

    /// Makes sure that a caller's own call id is new: not in flight here, not in the ledger.
    async fn claim(
        &self,
        integration: &Integration,
        call_id: &CallId,
    ) -> Result<Claim, NotAdmitted> {
        let tenant = &integration.tenant_id;
        let taken = || NotAdmitted::CallIdTaken(call_id.clone());
        let claim = self.ledger.claim(tenant, call_id).ok_or_else(taken)?;
        match self.authority.is_call_known(tenant, call_id).await {
            Ok(false) => Ok(claim),
            Ok(true) => Err(taken()),
            Err(error) => {
                tracing::warn!(%error, "a caller's call id cannot be looked up");
                Err(NotAdmitted::StoreUnreachable)
            }
        }
    }

    /// Counts the calls that an earlier run of this node admitted in the last minute.
    pub(crate) async fn remember_calls(
        &self,
        integration: &Integration,
        now: Moment,
    ) -> Result<(), StoreError> {
        let kept = self.kept_minute(integration, now).await?;
        integration.gate.lock().remember_minute(&kept);
        integration.has_remembered_calls();
        Ok(())
    }

    /// The calls that an earlier run of this node admitted in the last minute, unless the gate
    /// counts them already.
    async fn kept_minute(
        &self,
        integration: &Integration,
        now: Moment,
    ) -> Result<KeptMinute, StoreError> {
        if integration.remembers_calls() || !self.counts_minutes() {
            return Ok(KeptMinute::default());
        }
        self.authority.kept_minute(integration.id, now).await
    }

    /// Whether this node counts the calls of a minute itself.
    pub(crate) const fn counts_minutes(&self) -> bool {
        matches!(self.fellowship.sharing(), Sharing::Alone)
    }

    fn refuse(
        &self,
        integration: &Integration,
        facts: &CallFacts,
        refusal: Refusal,
        now: Moment,
    ) -> NotAdmitted {
        let entry = refusal::row(integration, facts, &refusal, now);
        let call_id = entry.call_id.clone();
        match self.journal.recorded(&entry) {
            Ok(receipt) => self.ledger.post(Some(receipt), entry, Carried::default()),
            Err(error) => tracing::error!(%error, "a refused call could not be recorded"),
        }
        NotAdmitted::Refused { refusal, call_id }
    }

    /// Whether an integration may be used at all: what is asked of calls that no provider bills.
    pub fn check_standing(&self, integration: &Integration) -> Result<(), Refusal> {
        integration.gate.lock().check_standing()
    }

    /// What of a month is held by calls in flight on this node, and the calls of the last minute.
    #[must_use]
    pub fn in_flight(&self, integration: &Integration) -> InFlight {
        let now = self.clock.now();
        let (account, calls) = integration.gate.lock().snapshot(now);
        InFlight {
            budget_held: Nanos::new(account.budget.held),
            tokens_held: account.tokens.held,
            calls_in_minute: calls,
        }
    }
}

/// What the calls in flight of an integration hold on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InFlight {
    /// Money held.
    pub budget_held: Nanos,
    /// Tokens held.
    pub tokens_held: i64,
    /// Calls admitted in the last 60 seconds.
    pub calls_in_minute: i64,
}

/// The row of an admitted call of which nothing more is heard.
fn worst_row(
    integration: &Integration,
    facts: &CallFacts,
    admission: &Admission,
    now: Moment,
) -> UsageEntry {
    let prices = facts.prices.as_ref();
    UsageEntry {
        tenant_id: integration.tenant_id.clone(),
        integration_id: integration.id,
        call_id: facts
            .call_id
            .clone()
            .unwrap_or_else(|| CallId::generate_at(now.wall)),
        session_id: facts.session_id.clone(),
        agent_id: facts.agent_id.clone(),
        provider: integration.snapshot().record.provider_type,
        model: Arc::clone(&facts.model),
        tokens: facts.ask.worst,
        cost: admission.hold.cost,
        held: admission.hold.cost,
        source: UsageSource::Estimated,
        price: prices.map(|prices| prices.pin(&facts.ask.worst)),
        latency_ms: None,
        policy_result: admission.warnings.verdict().policy_result(),
        error_code: Some("interrupted".into()),
        error_message: None,
        extra: None,
        // A wall clock that was set back may show the month before the hold's.
        created_at: now.wall.max(admission.hold.period.start()),
    }
}
