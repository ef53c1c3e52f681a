//! How much of an integration's limits is used: what is settled, what calls in flight hold.

use tollgate_core::role::Permission;
use tollgate_core::{IntegrationId, Nanos, Period};

use crate::app::App;
use crate::context::Context;
use crate::error::AppError;

/// The limits of an integration in this month, and how much of them is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IntegrationLimits {
    /// The month.
    pub period: Period,
    /// The most that calls may cost in it, in cents; 0 is no limit.
    pub budget_limit_cents: i64,
    /// What its settled calls cost.
    pub budget_used: Nanos,
    /// What is held for calls in flight on this node.
    pub budget_held: Nanos,
    /// The most tokens in it; 0 is no limit.
    pub token_limit: i64,
    /// The tokens of its settled calls.
    pub tokens_used: i64,
    /// The tokens held for calls in flight on this node.
    pub tokens_held: i64,
    /// The most calls in 60 seconds; 0 is no limit.
    pub rate_limit_rpm: i64,
    /// Calls admitted on this node in the last 60 seconds.
    pub current_rpm: i64,
}

impl App {
    /// How much of an integration's limits is used now.
    pub async fn integration_limits(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<IntegrationLimits, AppError> {
        context.must_be_allowed(Permission::ReadIntegrations)?;
        context.must_see(id)?;
        let store = self.store.tenant(context.tenant()?);
        let record = store.get_integration(id).await;
        let record = record.map_err(|error| AppError::from(error).naming("integration"))?;
        // A call is either held or on its way to the ledger: first hold, then settled, so that one
        // that settles in between is counted twice for a moment rather than not at all.
        let known = self.directory().integration(id);
        let held = known.map(|known| self.metering().in_flight(&known));
        self.settle_books().await;
        let period = Period::of(context.now.wall);
        let balance = store.balance(id, period).await?;
        Ok(IntegrationLimits {
            period,
            budget_limit_cents: record.budget_limit_cents,
            budget_used: balance.settled,
            budget_held: held.map_or(Nanos::ZERO, |held| held.budget_held),
            token_limit: record.token_limit_month,
            tokens_used: balance.tokens,
            tokens_held: held.map_or(0, |held| held.tokens_held),
            rate_limit_rpm: record.rate_limit_rpm,
            current_rpm: held.map_or(0, |held| held.calls_in_minute),
        })
    }
}
