//! Usage of calls that were made elsewhere, as their callers report it.
//!
//! A report is priced here, booked in one transaction with the others of its request, and known to this node's gates when
//! its caller gets the answer. Each report has its own fate: one that is wrong spoils no other.

use std::collections::BTreeMap;
use std::sync::Arc;

use cus_models::CusProviderType;
use tollgate_core::hold::Actual;
use tollgate_core::hold::direct::{DirectHold, HoldOutcome};
use tollgate_core::role::Permission;
use tollgate_core::usage::UsageEntry;
use tollgate_core::usage::report::Flaw;
use tollgate_core::{IntegrationId, Moment, Nanos, Period, TenantId};
use tollgate_store::{Fate, ReportedEntry, StoreError};

use crate::app::App;
use crate::context::Context;
use crate::directory::Integration;
use crate::error::AppError;
use crate::ledger;

pub use tollgate_core::usage::report::{UsageReport, flaw, tokens};
pub use tollgate_store::Standing;

/// A report, with what it says beyond the call itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewReport {
    /// The call.
    pub report: UsageReport,
    /// The provider that it went to, if its caller says so: must be the integration's.
    pub provider: Option<CusProviderType>,
}

/// What became of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reported {
    /// It is in the ledger now.
    Accepted(Standing),
    /// It was in the ledger already.
    Duplicate(Option<Standing>),
    /// Its call is in the ledger, or on its way there, with other content, which stands.
    Conflict(Option<Standing>),
    /// It cannot be booked.
    Rejected(Rejection),
}

/// Why a report cannot be booked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// A stable code.
    pub code: &'static str,
    /// The field that is wrong; none where all of it is.
    pub field: Option<&'static str>,
    /// What is wrong, and what would be right.
    pub reason: String,
}

impl From<Flaw> for Rejection {
    fn from(flaw: Flaw) -> Self {
        let code = if flaw.field == "created_at" {
            "usage_out_of_time"
        } else {
            "invalid"
        };
        Self {
            code,
            field: Some(flaw.field),
            reason: flaw.reason,
        }
    }
}

/// A report's integration, its priced entry, and the month of its hold.
type Prepared = (Arc<Integration>, ReportedEntry, Option<Period>);

/// A report that may be booked.
struct Ready {
    place: usize,
    integration: Arc<Integration>,
    reported: ReportedEntry,
    /// The month of the hold that it names.
    held_in: Option<Period>,
}

impl App {
    /// Books reported calls, each for itself; tells what became of each, in their order.
    ///
    /// Runs to its end also when nobody waits for it any more. Fails as a whole only if the store cannot be reached,
    /// and then has booked nothing.
    pub async fn report_usage(
        self: &Arc<Self>,
        context: &Context,
        reports: Vec<NewReport>,
    ) -> Result<Vec<Reported>, AppError> {
        context.must_be_allowed(Permission::ReportUsage)?;
        let tenant = context.tenant()?.clone();
        let (app, context) = (Arc::clone(self), context.clone());
        ledger::to_the_end(async move { app.book_reports(&context, &tenant, reports).await }).await
    }

    async fn book_reports(
        &self,
        context: &Context,
        tenant: &TenantId,
        reports: Vec<NewReport>,
    ) -> Result<Vec<Reported>, AppError> {
        let mut told: Vec<Option<Reported>> = Vec::with_capacity(reports.len());
        let mut ready = Vec::with_capacity(reports.len());
        for (place, new) in reports.into_iter().enumerate() {
            let prepared = self.prepare(context, tenant, new).await?;
            told.push(prepared.map_or_else(
                |rejection| Some(Reported::Rejected(rejection)),
                |(integration, reported, held_in)| {
                    ready.push(Ready {
                        place,
                        integration,
                        reported,
                        held_in,
                    });
                    None
                },
            ));
        }
        // A call that went through the gateway a moment ago is booked by the gateway.
        self.settle_books().await;
        ready.retain(|one| {
            let in_flight = self.ledger.is_claimed(tenant, &one.reported.entry.call_id);
            if in_flight && let Some(told) = told.get_mut(one.place) {
                *told = Some(Reported::Conflict(None));
            }
            !in_flight
        });
        for (place, reported) in self.book_ready(context, tenant, ready).await? {
            if let Some(told) = told.get_mut(place) {
                *told = Some(reported);
            }
        }
        let lost = || AppError::Unavailable("the fate of a report");
        told.into_iter().map(|told| told.ok_or_else(lost)).collect()
    }

    /// Prices a report, or tells why it cannot be booked.
    async fn prepare(
        &self,
        context: &Context,
        tenant: &TenantId,
        mut new: NewReport,
    ) -> Result<Result<Prepared, Rejection>, AppError> {
        let id = new.report.integration_id;
        if context.bound_to.is_some_and(|bound| bound != id) {
            return Ok(Err(Rejection {
                code: "permission_denied",
                field: Some("integration_id"),
                reason: "this key is bound to another integration".to_owned(),
            }));
        }
        let Some(integration) = self.reported_integration(tenant, id).await? else {
            return Ok(Err(Rejection {
                code: "integration_not_found",
                field: Some("integration_id"),
                reason: "there is no such integration".to_owned(),
            }));
        };
        let hold = self.named_hold(tenant, &new.report).await?;
        // What was reported, and nothing that the server adds to it: a retry says the same.
        let said = serde_json::to_string(&new.report).map_err(AppError::internal)?;
        if let Some(hold) = &hold {
            // A call belongs to the month in which it was admitted.
            new.report.created_at.get_or_insert(hold.created_at);
        }
        let entry = self.price(&integration, new, context.now);
        Ok(entry.map(|mut reported| {
            reported.content = said;
            if let Some(hold) = &hold {
                reported.entry.held = hold.cost;
            }
            let held_in = hold.map(|hold| hold.period);
            (integration, reported, held_in)
        }))
    }

    /// The hold that a report names, if there is such a one for its integration.
    async fn named_hold(
        &self,
        tenant: &TenantId,
        report: &UsageReport,
    ) -> Result<Option<DirectHold>, AppError> {
        let Some(id) = report.hold_id else {
            return Ok(None);
        };
        match self.store.tenant(tenant).get_hold(id).await {
            Ok((hold, _)) => {
                Ok(Some(hold).filter(|hold| hold.integration_id == report.integration_id))
            }
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The tenant's living integration. One that this node has not heard of yet is looked for in the store.
    async fn reported_integration(
        &self,
        tenant: &TenantId,
        id: IntegrationId,
    ) -> Result<Option<Arc<Integration>>, AppError> {
        if self.directory().integration(id).is_none() {
            self.refresh_integration(id).await?;
        }
        let found = self.directory().integration(id);
        Ok(found.filter(|one| one.tenant_id == *tenant))
    }

    fn price(
        &self,
        integration: &Integration,
        new: NewReport,
        now: Moment,
    ) -> Result<ReportedEntry, Rejection> {
        let NewReport { report, provider } = new;
        report.check()?;
        let created_at = report.moment(now.wall)?;
        let snapshot = integration.snapshot();
        let known = snapshot.record.provider_type;
        if provider.is_some_and(|provider| provider != known) {
            let reason = format!("the integration's provider is {}", known.as_str());
            return Err(flaw("provider", reason).into());
        }
        let then = Moment {
            wall: created_at,
            ..now
        };
        let is_blocked = report.policy_result == cus_models::CusPolicyResult::Blocked;
        let prices = self.prices(&snapshot, &report.model, then);
        let price = prices
            .filter(|_| !is_blocked)
            .map(|prices| prices.pin(&report.tokens));
        // A call that failed without a token was not billed, so it does not cost its request's price either.
        let is_free = report.error_code.is_some() && report.tokens.total() == 0;
        let cost = match &price {
            Some(price) if !is_free => price.rates.cost(&report.tokens),
            _ => Ok(Nanos::ZERO),
        };
        let cost = cost.map_err(|overflow| flaw("tokens_in", overflow.to_string()))?;
        let hold = report.hold_id;
        let entry = UsageEntry {
            tenant_id: integration.tenant_id.clone(),
            integration_id: integration.id,
            call_id: report.call_id,
            session_id: report.session_id,
            agent_id: report.agent_id,
            provider: known,
            model: report.model,
            tokens: report.tokens,
            cost,
            held: Nanos::ZERO,
            source: report.source,
            price,
            latency_ms: report.latency_ms,
            policy_result: report.policy_result,
            error_code: report.error_code.map(Into::into),
            error_message: report.error_message,
            extra: report.extra,
            created_at,
        };
        Ok(ReportedEntry {
            entry,
            client_cost: report.client_cost,
            content: String::new(),
            hold,
        })
    }

    /// Books reports in one transaction, and lets this node's gates know.
    async fn book_ready(
        &self,
        context: &Context,
        tenant: &TenantId,
        ready: Vec<Ready>,
    ) -> Result<Vec<(usize, Reported)>, AppError> {
        if ready.is_empty() {
            return Ok(Vec::new());
        }
        let involved: BTreeMap<IntegrationId, &Arc<Integration>> = ready
            .iter()
            .map(|one| (one.integration.id, &one.integration))
            .collect();
        // Nobody draws meanwhile: the figures of a draw have all of these calls, or none.
        let mut turns = Vec::with_capacity(involved.len());
        for integration in involved.values() {
            turns.push(integration.drawing.lock().await);
        }
        let entries: Vec<_> = ready.iter().map(|one| one.reported.clone()).collect();
        let store = self.store.tenant(tenant);
        let fates = store.report_usage(&entries, context.now.wall).await?;
        let mut settled = Vec::new();
        let told = ready.iter().zip(fates).map(|(one, fate)| {
            match &fate {
                Fate::Written(row) if one.is_from_its_hold(row) => settled.push(one.integration.id),
                Fate::Written(_) => one.tell_gate(),
                Fate::Duplicate(_) | Fate::Conflict(_) | Fate::Refused(_) => {}
            }
            (one.place, Reported::from(fate))
        });
        let told = told.collect();
        drop(turns);
        for integration in settled {
            self.heed_own(integration).await;
        }
        Ok(told)
    }
}

impl Ready {
    /// Whether the call was taken from the allowance that its hold was in: the node that took the
    /// hold hears of it when it heeds the hold's end.
    fn is_from_its_hold(&self, row: &Standing) -> bool {
        row.hold == Some(HoldOutcome::Settled) && self.held_in == Some(self.reported.entry.period())
    }

    /// Counts the call against the limits of its month on this node.
    fn tell_gate(&self) {
        let entry = &self.reported.entry;
        let actual = Actual {
            cost: entry.cost,
            tokens: i64::try_from(entry.tokens.total()).unwrap_or(i64::MAX),
        };
        self.integration.gate.lock().report(entry.period(), &actual);
    }
}

impl From<Fate> for Reported {
    fn from(fate: Fate) -> Self {
        match fate {
            Fate::Written(row) => Self::Accepted(row),
            Fate::Duplicate(row) => Self::Duplicate(row),
            Fate::Conflict(row) => Self::Conflict(row),
            Fate::Refused(reason) => Self::Rejected(Rejection {
                code: "invalid",
                field: None,
                reason: reason.to_owned(),
            }),
        }
    }
}
