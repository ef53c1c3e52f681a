//! Holds for calls that do not go through the gateway: taken on the same gate, kept in the store,
//! ended once.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};
use tollgate_core::gate::Admission;
use tollgate_core::hold::HoldAmount;
use tollgate_core::hold::direct::{DirectHold, HoldEnd, HoldState};
use tollgate_core::role::Permission;
use tollgate_core::verdict::{ReasonCode, Refusal, Warnings};
use tollgate_core::{CallId, HoldId, IntegrationId, Moment};
use tollgate_store::{LivingHolds, StoreError};

use super::{Estimate, invalid};
use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;
use crate::metering::{CallFacts, NotAdmitted};

/// Seconds that a hold lives when its caller does not say.
pub const HOLD_SECONDS_DEFAULT: u32 = 600;

/// The most seconds that a hold may live.
pub const HOLD_SECONDS_MAX: u32 = 3_600;

/// The model of a refused hold that named none.
const NO_MODEL: &str = "unknown";

/// A hold that is to be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHold {
    /// On whose limits.
    pub integration: IntegrationId,
    /// What the call may cost and use.
    pub estimate: Estimate,
    /// The id that the call will be reported with, if it is known.
    pub call_id: Option<CallId>,
    /// Seconds after which it ends by itself, 1 to 3,600.
    pub seconds: Option<u32>,
}

/// What became of a hold that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It is held, and kept through a crash.
    Held(Box<DirectHold>, Warnings),
    /// It is not, and nothing is.
    Refused(Refusal),
}

impl App {
    /// Takes a hold on every limit of an integration, all or nothing, and keeps it in the store.
    ///
    /// What was held and of which nobody knows whether it is kept, because its caller or the
    /// store went away, stays held and is given back some minutes later.
    pub async fn create_hold(&self, context: &Context, new: NewHold) -> Result<Taken, AppError> {
        context.must_be_allowed(Permission::Call)?;
        let tenant = context.tenant()?;
        let seconds = new.seconds.unwrap_or(HOLD_SECONDS_DEFAULT);
        if !(1..=HOLD_SECONDS_MAX).contains(&seconds) {
            let reason = format!("give 1 to {HOLD_SECONDS_MAX} seconds");
            return Err(invalid("expires_in_seconds", reason));
        }
        let Some(known) = self.integration_of(context, new.integration) else {
            let refusal = Refusal::plain(ReasonCode::IntegrationNotFound);
            return Ok(Taken::Refused(refusal));
        };
        let facts = self.facts_of(&known, &new)?;
        let model = new
            .estimate
            .model
            .is_some()
            .then(|| Arc::clone(&facts.model));
        let (admission, now) = match self.metering().reserve(&known, &facts).await {
            Ok(reserved) => reserved,
            Err(NotAdmitted::Refused { refusal, .. }) => return Ok(Taken::Refused(refusal)),
            Err(NotAdmitted::StoreUnreachable | NotAdmitted::CallIdTaken(_)) => {
                let refusal = Refusal::plain(ReasonCode::LimitsUnavailable);
                return Ok(Taken::Refused(refusal));
            }
        };
        let lifetime = SignedDuration::from_secs(i64::from(seconds));
        let hold = DirectHold {
            id: HoldId::generate(),
            tenant_id: tenant.clone(),
            integration_id: known.id,
            period: admission.hold.period,
            cost: admission.hold.cost,
            tokens: admission.hold.tokens,
            node: self.store.node(),
            model,
            call_id: new.call_id,
            policy_result: admission.warnings.verdict().policy_result(),
            created_at: now.wall.max(admission.hold.period.start()),
            expires_at: now.wall.saturating_add(lifetime).unwrap_or(Timestamp::MAX),
        };
        self.keep(&known, &admission, hold).await
    }

    /// Keeps a hold that the gate has admitted. Where the store does not say that it has it, it
    /// may have it all the same: then it is looked for later, and stays held until that is known.
    async fn keep(
        &self,
        known: &Arc<Integration>,
        admission: &Admission,
        hold: DirectHold,
    ) -> Result<Taken, AppError> {
        let local = (Arc::clone(known), admission.hold);
        let taken = self.now().steady_micros;
        self.open_holds.put(hold.id, local, hold.expires_at, taken);
        let is_limited = known.gate.lock().limits().rate_rpm.is_some();
        if is_limited && self.metering().counts_minutes() {
            // Its row may come much later, or never: the next run of this node is to know of it all the same.
            let operator = self.store.operator();
            let (id, tenant) = (hold.integration_id, &hold.tenant_id);
            operator.count_call(id, tenant, self.now()).await?;
        }
        self.store
            .tenant(&hold.tenant_id)
            .create_hold(&hold)
            .await?;
        self.open_holds.kept(hold.id);
        Ok(Taken::Held(Box::new(hold), admission.warnings))
    }

    /// Gives a hold back: nothing reached the provider. Done again it changes nothing; a conflict
    /// where the hold was settled or has expired.
    pub async fn release_hold(
        &self,
        context: &Context,
        id: HoldId,
    ) -> Result<DirectHold, AppError> {
        context.must_be_allowed(Permission::Call)?;
        let store = self.store.tenant(context.tenant()?);
        let released = store.release_hold(id, context.now.wall).await;
        let (hold, before) = released.map_err(|error| AppError::from(error).naming("hold"))?;
        let message = match before {
            HoldState::Held | HoldState::Released => {
                self.heed_own(hold.integration_id).await;
                return Ok(hold);
            }
            HoldState::Settled => "the hold is settled: its call was reported",
            HoldState::Expired => "the hold has expired: what it held is free already",
        };
        Err(AppError::Conflict {
            code: "hold_ended",
            message: message.to_owned(),
        })
    }

    /// Ends what has expired and takes in what has ended: also what other nodes have ended.
    pub async fn sweep_holds(&self) -> Result<(), AppError> {
        let now = self.now();
        for (id, tenant) in self.open_holds.doubtful(now.steady_micros) {
            match self.store.tenant(&tenant).release_hold(id, now.wall).await {
                Ok(_) => self.open_holds.kept(id),
                Err(StoreError::NotFound) => self.forget_hold(id),
                Err(error) => return Err(error.into()),
            }
        }
        self.store.operator().expire_holds(now.wall).await?;
        for integration in self.store.operator().unheeded_holds().await? {
            self.heed_holds(integration).await?;
        }
        Ok(())
    }

    /// Whether there is anything to sweep that cannot wait.
    pub(crate) fn has_holds_due(&self) -> bool {
        let is_shared = self.store.engine_name() != "sqlite";
        let holds = &self.open_holds;
        holds.has_due(self.now().wall) || (is_shared && !holds.is_empty())
    }

    /// Takes in the ends of this node's holds on an integration, if the store can be reached;
    /// otherwise the next sweep does.
    pub(crate) async fn heed_own(&self, integration: IntegrationId) {
        if let Err(error) = self.heed_holds(integration).await {
            tracing::warn!(%error, %integration, "the end of a hold cannot be taken in yet");
        }
    }

    /// Nobody draws meanwhile: the figures that are taken in with the ends are those of one moment.
    async fn heed_holds(&self, integration: IntegrationId) -> Result<(), AppError> {
        let known = self.directory().integration(integration);
        let _turn = match &known {
            Some(known) => Some(known.drawing.lock().await),
            None => None,
        };
        let operator = self.store.operator();
        let ended = operator.ended_holds(integration).await?;
        let mut ids = Vec::with_capacity(ended.holds.len());
        for one in &ended.holds {
            if let Some(open) = self.open_holds.remove(one.id) {
                let end = match one.end {
                    // Its place in the minute was taken by an earlier run, and stays taken.
                    HoldEnd::Released if open.is_retaken => HoldEnd::Expired,
                    end @ (HoldEnd::Settled(_) | HoldEnd::Released | HoldEnd::Expired) => end,
                };
                open.integration.gate.lock().heed(&open.amount, end);
            }
            ids.push(one.id);
        }
        if let Some(known) = &known {
            let mut gate = known.gate.lock();
            for figures in &ended.figures {
                gate.grant(figures);
            }
        }
        Ok(operator.heed_holds(&ids).await?)
    }

    fn forget_hold(&self, id: HoldId) {
        if let Some(open) = self.open_holds.remove(id) {
            open.integration.gate.lock().release(&open.amount);
        }
    }

    /// Takes the living holds of an earlier run again.
    pub(crate) async fn restore_holds(&self) -> Result<(), AppError> {
        let now = self.now();
        for living in self.store.operator().living_holds().await? {
            let Some(known) = self.directory().integration(living.integration) else {
                // Nothing passes there any more; the holds end by themselves.
                continue;
            };
            self.restore(&known, &living, now);
            self.metering().remember_calls(&known, now).await?;
        }
        Ok(())
    }

    fn restore(&self, known: &Arc<Integration>, living: &LivingHolds, now: Moment) {
        for hold in &living.holds {
            let amount = HoldAmount {
                period: hold.period,
                cost: hold.cost,
                tokens: hold.tokens,
                rate_mark: now.steady_micros,
            };
            known.gate.lock().retake(&amount);
            let local = (Arc::clone(known), amount);
            self.open_holds
                .put(hold.id, local, hold.expires_at, now.steady_micros);
            self.open_holds.retaken(hold.id);
        }
        known.gate.lock().grant(&living.figures);
    }

    fn facts_of(&self, known: &Integration, new: &NewHold) -> Result<CallFacts, AppError> {
        let estimated = self.estimate(known, &new.estimate)?;
        let snapshot = known.snapshot();
        let usual = snapshot.record.default_model.as_deref().unwrap_or(NO_MODEL);
        Ok(CallFacts {
            call_id: new.call_id.clone(),
            session_id: None,
            agent_id: None,
            model: estimated.model.unwrap_or_else(|| usual.into()),
            ask: estimated.ask,
            prices: None,
        })
    }
}
