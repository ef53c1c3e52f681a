//! Would a call pass? The decision of the gateway's own gate, without its effects.

use std::collections::HashMap;

use jiff::Timestamp;
use tollgate_core::role::Permission;
use tollgate_core::verdict::{ReasonCode, Refusal, Verdict, Warnings};
use tollgate_core::{IntegrationId, TenantId};

use super::Estimate;
use crate::app::App;
use crate::context::Context;
use crate::error::AppError;
use crate::metering::Rehearsal;

/// A call that somebody thinks of making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Through which integration; one that the tenant does not have is an answer, not an error.
    pub integration: IntegrationId,
    /// What it may cost and use.
    pub estimate: Estimate,
}

/// What would become of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It would pass, perhaps with warnings.
    Passes(Warnings),
    /// It would not.
    Refused(Refusal),
}

impl Outcome {
    /// The verdict.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match self {
            Self::Passes(warnings) => warnings.verdict(),
            Self::Refused(refusal) => refusal.verdict(),
        }
    }
}

/// The answer to a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// The integration that was asked about.
    pub integration: IntegrationId,
    /// Whose integration.
    pub tenant: TenantId,
    /// What would become of the call.
    pub outcome: Outcome,
    /// Whether the store could not be asked, so that this node's own figures had to do.
    pub is_degraded: bool,
    /// When.
    pub at: Timestamp,
}

impl App {
    /// Would this call pass? Holds nothing, counts nothing, draws nothing.
    pub async fn check(&self, context: &Context, question: Question) -> Result<Check, AppError> {
        let mut checks = self.check_batch(context, vec![question]).await?;
        checks.pop().ok_or(AppError::NotFound("question"))
    }

    /// Would these calls pass, one after the other? Each is answered as if those before it that
    /// pass were in flight. The answers stand in the order of the questions.
    pub async fn check_batch(
        &self,
        context: &Context,
        questions: Vec<Question>,
    ) -> Result<Vec<Check>, AppError> {
        context.must_be_allowed(Permission::Call)?;
        let tenant = context.tenant()?;
        let mut rehearsals: HashMap<IntegrationId, Rehearsal> = HashMap::new();
        let mut checks = Vec::with_capacity(questions.len());
        for question in questions {
            let integration = question.integration;
            let Some(known) = self.integration_of(context, integration) else {
                let outcome = Outcome::Refused(Refusal::plain(ReasonCode::IntegrationNotFound));
                checks.push(Check {
                    integration,
                    tenant: tenant.clone(),
                    outcome,
                    is_degraded: false,
                    at: context.now.wall,
                });
                continue;
            };
            let estimated = self.estimate(&known, &question.estimate)?;
            let rehearsal = match rehearsals.entry(known.id) {
                std::collections::hash_map::Entry::Occupied(entry) => entry.into_mut(),
                std::collections::hash_map::Entry::Vacant(entry) => {
                    entry.insert(self.metering().rehearse(&known).await)
                }
            };
            checks.push(Check {
                integration,
                tenant: tenant.clone(),
                outcome: match rehearsal.next(&estimated.ask) {
                    Ok(warnings) => Outcome::Passes(warnings),
                    Err(refusal) => Outcome::Refused(refusal),
                },
                is_degraded: rehearsal.is_degraded(),
                at: rehearsal.now().wall,
            });
        }
        Ok(checks)
    }
}
