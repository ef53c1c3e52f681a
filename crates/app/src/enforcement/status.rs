//! What is used of the limits, and what a call would meet now.

use cus_models::CusIntegration;
use tollgate_core::hold::Ask;
use tollgate_core::limit::Limits;
use tollgate_core::page::{Page, PageAsk};
use tollgate_core::role::Permission;
use tollgate_core::{IntegrationId, Nanos, Period, TokenUsage};
use tollgate_store::IntegrationFilter;

use super::check::{Check, Outcome};
use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;

/// The limits of an integration now.
#[derive(Debug, Clone)]
pub struct EnforcementStatus {
    /// The integration.
    pub record: CusIntegration,
    /// What the smallest call would meet.
    pub check: Check,
    /// The month.
    pub period: Period,
    /// The limits in force.
    pub limits: Limits,
    /// What its calls have cost in the month.
    pub spent: Nanos,
    /// What is held: by this node's calls in flight, and at most by others'.
    pub budget_held: Nanos,
    /// The tokens that its calls have used in the month.
    pub tokens_used: i64,
    /// Tokens held, likewise.
    pub tokens_held: i64,
    /// Calls admitted on this node in the last 60 seconds.
    pub calls_in_minute: i64,
}

/// A call that asks for nothing: what a limit already reached refuses all the same.
const SMALLEST: Ask = Ask {
    worst: TokenUsage::NONE,
    cost: Some(Nanos::ZERO),
};

impl App {
    /// The limits of one integration, and what a call would meet.
    pub async fn enforcement_status(
        &self,
        context: &Context,
        id: IntegrationId,
    ) -> Result<EnforcementStatus, AppError> {
        context.must_be_allowed(Permission::Call)?;
        context.tenant()?;
        let known = self.integration_of(context, id);
        let known = known.ok_or(AppError::NotFound("integration"))?;
        Ok(self.status_of(&known).await)
    }

    /// The same of the tenant's integrations, newest first. One that another node has made a
    /// moment ago may be missing.
    pub async fn enforcement_statuses(
        &self,
        context: &Context,
        ask: PageAsk,
    ) -> Result<Page<EnforcementStatus>, AppError> {
        context.must_be_allowed(Permission::Call)?;
        let tenant = context.tenant()?;
        let store = self.store.tenant(tenant);
        let filter = IntegrationFilter {
            id: context.bound_to,
            ..IntegrationFilter::default()
        };
        let page = store.list_integrations(ask, filter).await?;
        let mut rows = Vec::with_capacity(page.rows.len());
        for record in page.rows {
            let id = record.id.parse().map_err(AppError::internal)?;
            if let Some(known) = self.integration_of(context, id) {
                rows.push(self.status_of(&known).await);
            }
        }
        Ok(Page {
            rows,
            next: page.next,
        })
    }

    async fn status_of(&self, known: &Integration) -> EnforcementStatus {
        let mut rehearsal = self.metering().rehearse(known).await;
        let (account, calls_in_minute) = rehearsal.figures();
        let (elsewhere_held, elsewhere_tokens) = rehearsal.elsewhere();
        let outcome = match rehearsal.next(&SMALLEST) {
            Ok(warnings) => Outcome::Passes(warnings),
            Err(refusal) => Outcome::Refused(refusal),
        };
        EnforcementStatus {
            record: known.snapshot().record.clone(),
            check: Check {
                integration: known.id,
                tenant: known.tenant_id.clone(),
                outcome,
                is_degraded: rehearsal.is_degraded(),
                at: rehearsal.now().wall,
            },
            period: account.period,
            limits: *rehearsal.limits(),
            spent: account.spent(),
            budget_held: Nanos::new(account.budget.held).saturating_plus(elsewhere_held),
            tokens_used: account.tokens.spent(),
            tokens_held: account.tokens.held.saturating_add(elsewhere_tokens),
            calls_in_minute,
        }
    }
}
