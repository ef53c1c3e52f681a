//! The gate of one integration: decides on a call and holds its worst case, all or nothing.
//!
//! A pure state machine: time, the store's answers and the calls come in as arguments, decisions
//! go out. Who calls it decides about locks, databases and sockets.

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};

use crate::account::{Account, Draw, Grant};
use crate::clock::Moment;
use crate::hold::{Actual, Ask, HoldAmount};
use crate::limit::pot::{Fit, Pot};
use crate::limit::rate::RateWindow;
use crate::limit::{LimitKind, Limits};
use crate::money::Nanos;
use crate::period::Period;
use crate::verdict::{LimitFigures, ReasonCode, Refusal, Warnings};

/// Milliseconds after which a call that other calls' holds keep out is worth trying again.
const HELD_RETRY_MS: i64 = 1_000;

/// Milliseconds after which a call is worth trying again when the store cannot be reached.
const UNAVAILABLE_RETRY_MS: i64 = 2_000;

/// Whether an integration may be used at all, whatever its limits; `Err` holds the reason.
pub fn standing(integration: &CusIntegration) -> Result<(), ReasonCode> {
    if integration.is_deleted() {
        return Err(ReasonCode::IntegrationNotFound);
    }
    match integration.status {
        CusIntegrationStatus::Created => Err(ReasonCode::IntegrationNotEnabled),
        CusIntegrationStatus::Disabled => Err(ReasonCode::IntegrationDisabled),
        CusIntegrationStatus::Error => Err(ReasonCode::IntegrationError),
        CusIntegrationStatus::Enabled => match integration.health_state {
            CusHealthState::Failing => Err(ReasonCode::CredentialsInvalid),
            CusHealthState::Unknown | CusHealthState::Healthy | CusHealthState::Degraded => Ok(()),
        },
    }
}

/// What the caller of the gate has already tried for a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// Nothing yet.
    First,
    /// It has drawn from the store; what is still missing is held by others.
    AfterDraw,
    /// The store cannot be reached.
    StoreUnreachable,
}

/// What the gate says to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// It may leave; this is held for it.
    Admitted(Admission),
    /// It may not; nothing has changed.
    Refused(Refusal),
    /// Draw this from the store, then ask again.
    NeedsDraw(Draw),
}

/// A call that may leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Admission {
    /// What is held for it.
    pub hold: HoldAmount,
    /// The limits it came near to.
    pub warnings: Warnings,
}

/// The limits and the month-to-date state of one integration on this node.
///
/// A copy decides as the gate itself would, and holds nothing of it: that is how one asks
/// whether a call would pass.
#[derive(Debug, Clone)]
pub struct Gate {
    standing: Result<(), ReasonCode>,
    limits: Limits,
    current: Option<Account>,
    /// The month before, while calls admitted in it are in flight.
    earlier: Option<Account>,
    window: RateWindow,
}

impl Gate {
    /// The gate of `integration`, before anything is known of its month.
    #[must_use]
    pub fn new(integration: &CusIntegration) -> Self {
        Self {
            standing: standing(integration),
            limits: Limits::of(integration),
            current: None,
            earlier: None,
            window: RateWindow::default(),
        }
    }

    /// Takes in a changed integration: its status, health and limits hold from the next call on.
    pub fn update(&mut self, integration: &CusIntegration) {
        self.standing = standing(integration);
        self.limits = Limits::of(integration);
    }

    /// The limits in force.
    #[must_use]
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Whether the integration may be used at all.
    pub fn check_standing(&self) -> Result<(), Refusal> {
        self.standing.map_err(Refusal::plain)
    }

    /// Decides on a call, and takes its hold when it may leave. The first rule that refuses gives
    /// the only reason: standing, price, budget, tokens, rate; then come the warnings.
    pub fn admit(&mut self, ask: &Ask, now: Moment, attempt: Attempt) -> Decision {
        match self.decide(ask, now, attempt) {
            Ok(admission) => {
                self.account(now).hold(&admission.hold);
                self.window.count(now.steady_micros);
                Decision::Admitted(admission)
            }
            Err(Stop::Refused(refusal)) => Decision::Refused(refusal),
            Err(Stop::NeedsDraw(draw)) => Decision::NeedsDraw(draw),
        }
    }

    /// Takes in the store's answer to a draw. One for a month that is over and settled is too late.
    pub fn grant(&mut self, grant: &Grant) {
        let is_past = self
            .current
            .is_some_and(|current| grant.period < current.period);
        if let Some(account) = self.account_of(grant.period) {
            account.grant(grant);
        } else if !is_past {
            let mut account = Account::unknown(grant.period);
            account.grant(grant);
            self.open(account);
        }
    }

    /// Counts calls that an earlier run of this node admitted in the last minute, oldest first.
    pub fn remember_calls(&mut self, steady_micros: i64, calls: i64) {
        self.window.count_many(steady_micros, calls);
    }

    /// Replaces a hold by what the call really used, in the month that it was admitted in.
    pub fn settle(&mut self, hold: &HoldAmount, actual: &Actual) {
        if let Some(account) = self.account_of(hold.period) {
            account.settle(hold, actual);
        }
        self.forget_earlier_when_idle();
    }

    /// Counts a call that was made elsewhere, was reported to this node and is in the ledger, in its own month.
    pub fn report(&mut self, period: Period, actual: &Actual) {
        if let Some(account) = self.account_of(period) {
            account.report(actual);
        }
    }

    /// Gives back the hold of a call that never reached its provider.
    pub fn release(&mut self, hold: &HoldAmount) {
        if let Some(account) = self.account_of(hold.period) {
            account.release(hold);
        }
        self.window.take_back(hold.admitted_micros);
        self.forget_earlier_when_idle();
    }

    /// The present month's account, and the calls of the last minute.
    pub fn snapshot(&mut self, now: Moment) -> (Account, i64) {
        (*self.account(now), self.window.calls(now.steady_micros))
    }

    fn decide(&mut self, ask: &Ask, now: Moment, attempt: Attempt) -> Result<Admission, Stop> {
        self.check_standing()?;
        let limits = self.limits;
        let account = *self.account(now);
        let cost = match (ask.cost, limits.budget) {
            (Some(cost), _) => cost,
            (None, None) => Nanos::ZERO,
            (None, Some(_)) => return Err(Refusal::plain(ReasonCode::PriceUnknown).into()),
        };
        let month = Month {
            account: &account,
            attempt,
        };
        let budget = limits.budget.map(Nanos::get);
        let budget_short = month.check(LimitKind::Budget, budget, cost.get())?;
        let tokens_short = month.check(LimitKind::Tokens, limits.tokens, ask.tokens())?;
        if month.must_load() || budget_short > 0 || tokens_short > 0 {
            let period = account.period;
            return Err(Stop::NeedsDraw(Draw {
                period,
                budget: budget_short,
                tokens: tokens_short,
            }));
        }
        self.check_rate(limits.rate_rpm, now)?;
        let hold = HoldAmount {
            period: account.period,
            cost,
            tokens: ask.tokens(),
            admitted_micros: now.steady_micros,
        };
        let warnings = Warnings {
            budget: account.budget.warning(LimitKind::Budget, budget),
            tokens: account.tokens.warning(LimitKind::Tokens, limits.tokens),
        };
        Ok(Admission { hold, warnings })
    }

    fn check_rate(&mut self, rpm: Option<i64>, now: Moment) -> Result<(), Refusal> {
        let Some(rpm) = rpm else { return Ok(()) };
        self.window
            .check(rpm, now.steady_micros)
            .map_err(|full| Refusal {
                code: ReasonCode::RateLimitExceeded,
                figures: Some(LimitFigures {
                    kind: LimitKind::Rate,
                    limit: rpm,
                    spent: full.calls,
                    held: 0,
                    asked: 1,
                }),
                retry_after_ms: Some(full.retry_after_ms),
                resets_at: None,
            })
    }

    /// The present month's account; opens it when the month is new. A clock that is set back does
    /// not open the month before again: the later month goes on.
    fn account(&mut self, now: Moment) -> &mut Account {
        let period = Period::of(now.wall);
        if self.current.is_none_or(|current| current.period < period) {
            self.open(Account::unknown(period));
        }
        self.current.get_or_insert_with(|| Account::unknown(period))
    }

    fn open(&mut self, account: Account) {
        if let Some(before) = self.current.replace(account)
            && !before.is_idle()
        {
            self.earlier = Some(before);
        }
    }

    fn account_of(&mut self, period: Period) -> Option<&mut Account> {
        [self.current.as_mut(), self.earlier.as_mut()]
            .into_iter()
            .flatten()
            .find(|account| account.period == period)
    }

    fn forget_earlier_when_idle(&mut self) {
        self.earlier = self.earlier.filter(|account| !account.is_idle());
    }
}

/// Why a decision stopped short of an admission.
enum Stop {
    Refused(Refusal),
    NeedsDraw(Draw),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

/// The monthly limits at the moment of one decision.
struct Month<'a> {
    account: &'a Account,
    attempt: Attempt,
}

impl Month<'_> {
    const fn must_load(&self) -> bool {
        !self.account.is_loaded && matches!(self.attempt, Attempt::First)
    }

    /// How much must be drawn before `asked` fits, or the refusal.
    fn check(&self, kind: LimitKind, limit: Option<i64>, asked: i64) -> Result<i64, Refusal> {
        let Some(ceiling) = limit else { return Ok(0) };
        let pot: &Pot = match kind {
            LimitKind::Budget => &self.account.budget,
            LimitKind::Tokens | LimitKind::Rate => &self.account.tokens,
        };
        let refuse = |code, retry_after_ms| Refusal {
            code,
            figures: Some(pot.figures(kind, ceiling, asked)),
            retry_after_ms,
            resets_at: Some(self.account.period.end()),
        };
        match (pot.fit(limit, asked), self.attempt) {
            (Fit::Fits, _) => Ok(0),
            (Fit::Exceeded, _) => Err(refuse(kind.exceeded(), None)),
            (Fit::Short(missing), Attempt::First) => Ok(missing),
            (Fit::Held, _) | (Fit::Short(_), Attempt::AfterDraw) => {
                Err(refuse(ReasonCode::BudgetHeld, Some(HELD_RETRY_MS)))
            }
            (Fit::Short(_), Attempt::StoreUnreachable) => Err(refuse(
                ReasonCode::LimitsUnavailable,
                Some(UNAVAILABLE_RETRY_MS),
            )),
        }
    }
}

#[cfg(test)]
mod tests;
