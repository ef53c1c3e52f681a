//! Drawing: the slow path of an admission, where a call needs more than this node has drawn; and
//! giving back what it has drawn and does not need.

use std::sync::atomic::{AtomicI64, Ordering};

use tollgate_core::Moment;
use tollgate_core::account::{Account, Draw, Grant, Need};
use tollgate_core::gate::{Attempt, Decision};
use tollgate_core::hold::Ask;
use tollgate_core::limit::Limits;
use tollgate_core::limit::permits::PermitAsk;
use tollgate_store::{DrawAsk, PermitDraw, StoreError};

use super::Metering;
use crate::directory::Integration;

/// What one draw brought may be used by others before the call that waited for it looks again: so
/// many times it draws once more.
const DRAWS_MAX: usize = 4;

/// What a draw brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Brought {
    /// All that was needed.
    Enough,
    /// Less: the store has no more now.
    TooLittle,
}

/// Counts the calls that wait for a draw.
struct Waiting<'a>(&'a AtomicI64);

impl<'a> Waiting<'a> {
    fn of(integration: &'a Integration) -> Self {
        integration.waiting.fetch_add(1, Ordering::Relaxed);
        Self(&integration.waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metering {
    /// The slow path: one call draws from the store while the others wait for what it brings.
    /// Where a draw has just failed nobody waits for the next to fail.
    pub(super) async fn draw_and_admit(
        &self,
        integration: &Integration,
        ask: &Ask,
    ) -> (Decision, Moment) {
        let admit = |attempt| {
            let now = self.clock.now();
            (integration.gate.lock().admit(ask, now, attempt), now)
        };
        if integration.draw_failed_lately(self.clock.now()) {
            return admit(Attempt::StoreUnreachable);
        }
        let _waiting = Waiting::of(integration);
        let _turn = integration.drawing.lock().await;
        for _ in 0..DRAWS_MAX {
            let (again, now) = admit(Attempt::First);
            let Decision::NeedsDraw(need) = again else {
                return (again, now);
            };
            if integration.draw_failed_lately(now) {
                return admit(Attempt::StoreUnreachable);
            }
            match self.draw(integration, &need, now).await {
                Ok(Brought::Enough) => {}
                Ok(Brought::TooLittle) => return admit(Attempt::AfterDraw),
                Err(error) => {
                    tracing::warn!(%error, integration = %integration.id, "cannot draw an allowance");
                    // The store may have drawn, and only its answer was lost.
                    if let Some(draw) = &need.draw {
                        integration.gate.lock().doubt(draw.period);
                    }
                    integration.draw_failed(self.clock.now());
                    return admit(Attempt::StoreUnreachable);
                }
            }
        }
        admit(Attempt::AfterDraw)
    }

    async fn draw(
        &self,
        integration: &Integration,
        need: &Need,
        now: Moment,
    ) -> Result<Brought, StoreError> {
        let mut brought = Brought::Enough;
        if let Some(draw) = &need.draw {
            brought = self.draw_allowance(integration, draw, now).await?;
        }
        if need.permit && brought == Brought::Enough {
            brought = self.draw_permits(integration).await?;
        }
        Ok(brought)
    }

    async fn draw_allowance(
        &self,
        integration: &Integration,
        draw: &Draw,
        now: Moment,
    ) -> Result<Brought, StoreError> {
        self.give_back_overdrawn(integration).await?;
        let (before, limits) = {
            let mut gate = integration.gate.lock();
            (gate.snapshot(now).0, *gate.limits())
        };
        let ask = DrawAsk {
            integration: integration.id,
            tenant: integration.tenant_id.clone(),
            need: *draw,
            limits,
            share: self.fellowship.share(),
        };
        let grant = self.authority.draw(&ask).await?;
        let kept = self.kept_minute(integration, now).await?;
        let mut gate = integration.gate.lock();
        gate.grant(&grant);
        gate.remember_minute(&kept);
        integration.has_remembered_calls();
        Ok(what_came(&before, draw, &limits, &grant))
    }

    /// After a limit was lowered, what was drawn under the higher one goes back first: then the
    /// store alone says what is left of the lower one.
    async fn give_back_overdrawn(&self, integration: &Integration) -> Result<(), StoreError> {
        let overdrawn = integration.gate.lock().take_overdrawn();
        for draw in &overdrawn {
            let given = self.authority.give_back(integration.id, draw).await;
            let mut gate = integration.gate.lock();
            match given {
                Ok(grant) => gate.grant(&grant),
                Err(error) => {
                    gate.distrust(draw.period);
                    return Err(error);
                }
            }
        }
        Ok(())
    }

    /// The same before somebody asks what the store would say: it must not count what goes back anyway.
    pub(super) async fn heed_lowered_limit(&self, integration: &Integration) {
        if !integration.gate.lock().is_overdrawn() {
            return;
        }
        let _turn = integration.drawing.lock().await;
        if let Err(error) = self.give_back_overdrawn(integration).await {
            tracing::warn!(%error, integration = %integration.id, "an allowance cannot be given back");
            integration.draw_failed(self.clock.now());
        }
    }

    async fn draw_permits(&self, integration: &Integration) -> Result<Brought, StoreError> {
        let waiting = integration.waiting.load(Ordering::Relaxed).max(1);
        let asked = self.clock.now();
        let (ask, rpm) = {
            let mut gate = integration.gate.lock();
            let ask = gate.ask_permits(waiting, asked);
            (ask, gate.limits().rate_rpm)
        };
        // The limit may have gone while the call waited for its turn.
        let (Some(ask), Some(rpm)) = (ask, rpm) else {
            return Ok(Brought::Enough);
        };
        let draw = self.permit_draw(integration, rpm, ask);
        let grant = self.authority.draw_permits(&draw).await?;
        integration.gate.lock().grant_permits(&grant, asked);
        Ok(if grant.calls > 0 {
            Brought::Enough
        } else {
            Brought::TooLittle
        })
    }

    fn permit_draw(&self, integration: &Integration, rpm: i64, ask: PermitAsk) -> PermitDraw {
        PermitDraw {
            integration: integration.id,
            tenant: integration.tenant_id.clone(),
            rpm,
            ask,
            share: self.fellowship.share(),
        }
    }

    /// Gives back what this node has drawn and does not need, if no call came for so many
    /// microseconds. What the store does not hear of stays counted there, which is the safe side,
    /// until the next time.
    pub(crate) async fn give_back(&self, integration: &Integration, idle_micros: i64) {
        let Ok(_turn) = integration.drawing.try_lock() else {
            return;
        };
        let asked = self.clock.now();
        let (spare, rpm) = {
            let mut gate = integration.gate.lock();
            (gate.take_spare(idle_micros, asked), gate.limits().rate_rpm)
        };
        for draw in &spare.draws {
            match self.authority.give_back(integration.id, draw).await {
                Ok(grant) => integration.gate.lock().grant(&grant),
                Err(error) => {
                    tracing::warn!(%error, integration = %integration.id, "an allowance cannot be given back");
                    integration.gate.lock().doubt(draw.period);
                }
            }
        }
        if let Some(rpm) = rpm.filter(|_limited| !spare.permits.is_empty()) {
            let ask = PermitAsk {
                unused: spare.permits,
                ..PermitAsk::default()
            };
            let draw = self.permit_draw(integration, rpm, ask);
            match self.authority.draw_permits(&draw).await {
                Ok(grant) => integration.gate.lock().grant_permits(&grant, asked),
                Err(error) => {
                    tracing::warn!(%error, integration = %integration.id, "permits cannot be given back");
                }
            }
        }
    }
}

/// Whether a draw brought all that was needed of what is limited.
fn what_came(before: &Account, draw: &Draw, limits: &Limits, grant: &Grant) -> Brought {
    let is_enough = |is_limited: bool, before: i64, need: i64, drawn: i64| {
        !is_limited || drawn >= before.saturating_add(need)
    };
    let money = is_enough(
        limits.budget.is_some(),
        before.budget.drawn,
        draw.budget,
        grant.budget.drawn,
    );
    let tokens = is_enough(
        limits.tokens.is_some(),
        before.tokens.drawn,
        draw.tokens,
        grant.tokens.drawn,
    );
    if money && tokens {
        Brought::Enough
    } else {
        Brought::TooLittle
    }
}
