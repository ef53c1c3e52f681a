//! The gate of one integration: decides on a call and holds its worst case, all or nothing.
//!
//! A pure state machine: time, the store's answers and the calls come in as arguments, decisions
//! go out. Who calls it decides about locks, databases and sockets.

mod minute;
mod month;
mod spare;

use cus_models::{CusHealthState, CusIntegration, CusIntegrationStatus};

use self::minute::Minute;
use self::month::Month;
pub use self::spare::Spare;
use crate::account::{Account, Draw, Grant, Need};
use crate::clock::Moment;
use crate::health::Cause;
use crate::hold::direct::HoldEnd;
use crate::hold::{Actual, Ask, HoldAmount};
use crate::limit::permits::{PermitAsk, PermitGrant, Permits};
use crate::limit::rate::RateWindow;
use crate::limit::{LimitKind, Limits};
use crate::money::Nanos;
use crate::period::Period;
use crate::verdict::{ReasonCode, Refusal, Warnings};

/// The cause that is the provider's, and not the credential's.
const UNREACHABLE: Cause = Cause::ProviderUnreachable;

/// Milliseconds after which a call is worth trying again when the store cannot be reached.
const UNAVAILABLE_RETRY_MS: i64 = 2_000;

/// How long after a draw that brought too little nobody draws again, in microseconds: other nodes
/// have been told by then, and have given back what they can spare.
const STARVED_MICROS: i64 = 50_000;

/// Whose calls the requests per minute of this gate are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// This node's alone: it counts them itself.
    Alone,
    /// Several nodes': the store counts them, and nodes draw permits.
    Shared,
}

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
            CusHealthState::Failing if Cause::of(integration) == Some(UNREACHABLE) => {
                Err(ReasonCode::ProviderUnreachable)
            }
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
    NeedsDraw(Need),
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
    minute: Minute,
    /// Whether a limit was lowered since the last draw, so that more may be drawn than there is now.
    is_overdrawn: bool,
    /// Until then a draw would bring as little as the last one.
    starved_until_micros: i64,
    /// When a call was last admitted or asked for more, on the steady clock.
    active_micros: i64,
}

impl Gate {
    /// The gate of `integration`, before anything is known of its month.
    #[must_use]
    pub fn new(integration: &CusIntegration, sharing: Sharing) -> Self {
        Self {
            standing: standing(integration),
            limits: Limits::of(integration),
            current: None,
            earlier: None,
            minute: match sharing {
                Sharing::Alone => Minute::Counted(RateWindow::default()),
                Sharing::Shared => Minute::Drawn(Permits::default()),
            },
            is_overdrawn: false,
            starved_until_micros: i64::MIN,
            active_micros: i64::MIN,
        }
    }

    /// Takes in a changed integration: its status, health and limits hold from the next call on.
    ///
    /// What was drawn under a higher limit is not handed out under a lower one, of which every
    /// node would have its share: it must go back to the store first.
    pub fn update(&mut self, integration: &CusIntegration) {
        self.standing = standing(integration);
        let before = std::mem::replace(&mut self.limits, Limits::of(integration));
        self.is_overdrawn |= self.limits.allow_less_than(&before);
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
        self.active_micros = now.steady_micros;
        match self.decide(ask, now, attempt) {
            Ok(mut admission) => {
                self.account(now).hold(&admission.hold);
                admission.hold.rate_mark = self.minute.count(now.steady_micros);
                Decision::Admitted(admission)
            }
            Err(Stop::Refused(refusal)) => {
                if attempt == Attempt::AfterDraw && refusal.code == ReasonCode::BudgetHeld {
                    self.starved_until_micros = now.steady_micros.saturating_add(STARVED_MICROS);
                }
                Decision::Refused(refusal)
            }
            Err(Stop::NeedsDraw(draw)) => Decision::NeedsDraw(draw),
        }
    }

    /// What to ask of the requests per minute for `waiting` calls, where the store counts them.
    pub fn ask_permits(&mut self, waiting: i64, now: Moment) -> Option<PermitAsk> {
        self.limits.rate_rpm?;
        match &mut self.minute {
            Minute::Counted(_) => None,
            Minute::Drawn(permits) => Some(permits.ask(waiting, now.steady_micros)),
        }
    }

    /// Takes in the store's answer to [`Gate::ask_permits`], asked for at `asked`.
    pub fn grant_permits(&mut self, granted: &PermitGrant, asked: Moment) {
        if let Minute::Drawn(permits) = &mut self.minute {
            permits.grant(granted, asked.steady_micros);
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

    /// Begins a month with the store's figures, and with what an earlier run of this node has used that is not in them yet.
    pub fn resume(&mut self, figures: &Grant, owed: &Actual) {
        if self.account_of(figures.period).is_none() {
            self.open(Account::unknown(figures.period));
        }
        if let Some(account) = self.account_of(figures.period) {
            account.resume(figures, owed);
        }
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
        self.minute.take_back(hold.rate_mark);
        self.forget_earlier_when_idle();
    }

    /// Takes a hold again that an earlier run of this node had taken. Its call is counted with the others of the last minute, not here.
    pub fn retake(&mut self, hold: &HoldAmount) {
        if self.account_of(hold.period).is_none() {
            self.open(Account::unknown(hold.period));
        }
        if let Some(account) = self.account_of(hold.period) {
            account.hold(hold);
        }
    }

    /// Ends a direct hold as the store has ended it. The store's figures of the same moment must
    /// be taken in with it: what was not used of the hold is no longer in this node's allowance.
    pub fn heed(&mut self, hold: &HoldAmount, end: HoldEnd) {
        let is_loaded = self
            .account_of(hold.period)
            .is_some_and(|account| account.is_loaded);
        let unused = Actual {
            cost: Nanos::ZERO,
            tokens: 0,
        };
        match end {
            HoldEnd::Released => self.release(hold),
            HoldEnd::Settled(actual) if is_loaded => self.settle(hold, &actual),
            // A month that is not known yet learns what was used with the store's figures; and a
            // hold that expired may have been used, so its call stays counted.
            HoldEnd::Settled(_) | HoldEnd::Expired => self.settle(hold, &unused),
        }
    }

    /// The present month's account, and the calls of the last minute.
    pub fn snapshot(&mut self, now: Moment) -> (Account, i64) {
        (*self.account(now), self.minute.calls(now))
    }

    fn decide(&mut self, ask: &Ask, now: Moment, attempt: Attempt) -> Result<Admission, Stop> {
        self.check_standing()?;
        let limits = self.limits;
        let mut account = *self.account(now);
        if self.is_overdrawn {
            // Only what calls hold is beyond doubt.
            account.take_spare();
        }
        let cost = match (ask.cost, limits.budget) {
            (Some(cost), _) => cost,
            (None, None) => Nanos::ZERO,
            (None, Some(_)) => return Err(Refusal::plain(ReasonCode::PriceUnknown).into()),
        };
        let month = Month {
            account: &account,
            attempt: match attempt {
                Attempt::First if now.steady_micros < self.starved_until_micros => {
                    Attempt::AfterDraw
                }
                Attempt::First | Attempt::AfterDraw | Attempt::StoreUnreachable => attempt,
            },
        };
        let budget = limits.budget.map(Nanos::get);
        let draw = Draw {
            period: account.period,
            budget: month.check(LimitKind::Budget, budget, cost.get())?,
            tokens: month.check(LimitKind::Tokens, limits.tokens, ask.tokens())?,
        };
        let is_short = month.must_load() || draw.budget > 0 || draw.tokens > 0;
        // Where money or tokens must be drawn first, a full minute is told of after that.
        let permit = match limits.rate_rpm {
            Some(rpm) if !is_short || !self.minute.is_full(rpm, now) => {
                self.minute.check(rpm, now, attempt)?
            }
            _ => false,
        };
        if is_short || permit {
            let draw = is_short.then_some(draw);
            return Err(Stop::NeedsDraw(Need { draw, permit }));
        }
        let hold = HoldAmount {
            period: account.period,
            cost,
            tokens: ask.tokens(),
            rate_mark: now.steady_micros,
        };
        let warnings = Warnings {
            budget: account.budget.warning(LimitKind::Budget, budget),
            tokens: account.tokens.warning(LimitKind::Tokens, limits.tokens),
        };
        Ok(Admission { hold, warnings })
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

    /// Opens a month. One before the present month goes beside it, and never in its place.
    fn open(&mut self, account: Account) {
        if self
            .current
            .is_some_and(|current| account.period < current.period)
        {
            self.earlier = Some(account);
        } else if let Some(before) = self.current.replace(account)
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
    NeedsDraw(Need),
}

impl From<Refusal> for Stop {
    fn from(refusal: Refusal) -> Self {
        Self::Refused(refusal)
    }
}

#[cfg(test)]
mod tests;
