//! The proof that the books balance: every sum is made anew from the ledger and compared, as of one moment.

mod compare;

use std::collections::BTreeMap;
use std::fmt;

use tollgate_core::{IntegrationId, Nanos, NodeId, Period, TenantId};

use self::compare::Findings;
use crate::OperatorStore;
use crate::engine::{Purpose, Work};
use crate::error::StoreError;
use crate::rollups::{self, of, of_ledger};
use crate::value::Place;

/// What a verification found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Rows of the ledger that were summed.
    pub rows: u64,
    /// Balances that were compared.
    pub balances: u64,
    /// Roll-ups that were compared.
    pub days: u64,
    /// How many figures differ.
    pub differences: u64,
    /// The first of them.
    pub first: Option<Difference>,
}

/// A figure that is not what the ledger says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// The table that holds the figure.
    pub table: &'static str,
    /// The figure.
    pub column: &'static str,
    /// Whose it is.
    pub tenant: Option<TenantId>,
    /// Of which integration.
    pub integration: Option<IntegrationId>,
    /// Of which day or month.
    pub when: String,
    /// What the ledger says.
    pub ledger: i64,
    /// What the table says; none where the row or the figure is missing.
    pub found: Option<i64>,
}

impl VerifyReport {
    /// Whether everything is equal to the ledger.
    #[must_use]
    pub const fn is_exact(&self) -> bool {
        self.differences == 0
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.table, self.column)?;
        if let Some(integration) = &self.integration {
            write!(f, " of integration {integration}")?;
        }
        if !self.when.is_empty() {
            write!(f, " in {}", self.when)?;
        }
        match self.found {
            Some(found) => write!(f, " is {found}, and the ledger says {}", self.ledger),
            None => write!(f, " is missing, and the ledger says {}", self.ledger),
        }
    }
}

impl OperatorStore {
    /// Compares balances, cents, allowances, roll-ups and idempotency keys with the ledger: of one tenant, or of all.
    pub async fn verify(&self, tenant: Option<&TenantId>) -> Result<VerifyReport, StoreError> {
        let tenant = tenant.cloned();
        self.perform(Purpose::Snapshot, move |work| {
            Box::pin(async move {
                let mut findings = Findings::default();
                verify_balances(work, tenant.as_ref(), &mut findings).await?;
                verify_allowances(work, tenant.as_ref(), &mut findings).await?;
                verify_days(work, tenant.as_ref(), &mut findings).await?;
                verify_call_keys(work, tenant.as_ref(), &mut findings).await?;
                Ok(findings.report)
            })
        })
        .await
    }

    /// Compares every roll-up with the ledger.
    pub async fn verify_rollups(&self) -> Result<VerifyReport, StoreError> {
        self.perform(Purpose::Snapshot, |work| {
            Box::pin(async {
                let mut findings = Findings::default();
                verify_days(work, None, &mut findings).await?;
                Ok(findings.report)
            })
        })
        .await
    }
}

const LEDGER_MONTHS: &str = "SELECT tenant_id, integration_id, period, CAST(SUM(cost_nanos) AS BIGINT) AS settled_nanos, \
     CAST(SUM(tokens_in) + SUM(tokens_out) AS BIGINT) AS settled_tokens, \
     CAST(SUM(cost_cents) AS BIGINT) AS posted_cents, \
     CAST(SUM(CASE WHEN policy_result = 'blocked' THEN 0 ELSE 1 END) AS BIGINT) AS calls FROM cus_llm_usage";

const STORED_MONTHS: &str = "SELECT tenant_id, integration_id, period, settled_nanos, settled_tokens, posted_cents, calls \
     FROM balances";

/// A figure's name and its value.
type Figure = (&'static str, i64);

#[derive(sqlx::FromRow)]
struct MonthRow {
    tenant_id: String,
    integration_id: String,
    period: String,
    settled_nanos: i64,
    settled_tokens: i64,
    posted_cents: i64,
    calls: i64,
}

type MonthFigures = BTreeMap<(TenantId, IntegrationId, Period), [Figure; 4]>;

async fn verify_balances(
    work: &mut Work,
    tenant: Option<&TenantId>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let grouped =
        of_ledger(work, LEDGER_MONTHS, tenant).push(" GROUP BY tenant_id, integration_id, period");
    let ledger = months(work.fetch_all(grouped).await?)?;
    let stored = months(work.fetch_all(of(STORED_MONTHS, tenant)).await?)?;
    findings.report.balances = rollups::count(stored.len());
    for ((tenant, integration, period), figures) in &stored {
        // The cents that rows bear are those of the exact total, to within half a cent.
        let [(_, nanos), _, (_, cents), _] = *figures;
        let place = ("balances", tenant, *integration, period.to_string());
        findings.figure(
            &place,
            ("posted_cents", Nanos::new(nanos).cents()),
            Some(cents),
        );
    }
    findings.rows("balances", &ledger, &stored, Period::to_string);
    Ok(())
}

fn months(rows: Vec<MonthRow>) -> Result<MonthFigures, StoreError> {
    rows.into_iter()
        .map(|row| {
            let place = Place {
                table: "balances",
                row: &row.integration_id,
            };
            let key = (
                place.text("tenant_id", &row.tenant_id)?,
                place.text("integration_id", &row.integration_id)?,
                place.text("period", &row.period)?,
            );
            let figures = [
                ("settled_nanos", row.settled_nanos),
                ("settled_tokens", row.settled_tokens),
                ("posted_cents", row.posted_cents),
                ("calls", row.calls),
            ];
            Ok((key, figures))
        })
        .collect()
}

const LEDGER_NODES: &str = "SELECT MIN(tenant_id), integration_id, period, node_id, CAST(SUM(cost_nanos) AS BIGINT), \
     CAST(SUM(tokens_in) + SUM(tokens_out) AS BIGINT) FROM cus_llm_usage";

const STORED_NODES: &str = "SELECT tenant_id, integration_id, period, node_id, settled_nanos, settled_tokens FROM \
     (SELECT b.tenant_id, a.integration_id, a.period, a.node_id, a.settled_nanos, a.settled_tokens \
      FROM allowances a LEFT JOIN balances b ON b.integration_id = a.integration_id AND b.period = a.period) AS settled";

async fn verify_allowances(
    work: &mut Work,
    tenant: Option<&TenantId>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let grouped =
        of_ledger(work, LEDGER_NODES, tenant).push(" GROUP BY integration_id, period, node_id");
    let ledger = nodes(work.fetch_all(grouped).await?)?;
    let stored = nodes(work.fetch_all(of(STORED_NODES, tenant)).await?)?;
    findings.rows("allowances", &ledger, &stored, |(period, node)| {
        format!("{period} on node {node}")
    });
    Ok(())
}

type NodeRow = (Option<String>, String, String, String, i64, i64);
type NodeFigures = BTreeMap<(TenantId, IntegrationId, (Period, NodeId)), [Figure; 2]>;

fn nodes(rows: Vec<NodeRow>) -> Result<NodeFigures, StoreError> {
    rows.into_iter()
        .map(|(tenant, integration, period, node, nanos, tokens)| {
            let place = Place {
                table: "allowances",
                row: &integration,
            };
            let key = (
                place.text("tenant_id", tenant.as_deref().unwrap_or("unknown"))?,
                place.text("integration_id", &integration)?,
                (
                    place.text("period", &period)?,
                    place.text("node_id", &node)?,
                ),
            );
            Ok((key, [("settled_nanos", nanos), ("settled_tokens", tokens)]))
        })
        .collect()
}

async fn verify_days(
    work: &mut Work,
    tenant: Option<&TenantId>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let ledger = rollups::from_ledger(work, tenant).await?;
    let stored = rollups::stored(work, tenant).await?;
    let rows = ledger.values().map(|day| day.calls.unsigned_abs()).sum();
    findings.report.rows = rows;
    findings.report.days = rollups::count(stored.len());
    let ledger = ledger
        .into_iter()
        .map(|(key, day)| (key, compare::day(&day, day.avg_latency_ms())));
    let stored = stored
        .into_iter()
        .map(|(key, (day, avg))| (key, compare::day(&day, avg)));
    findings.rows(
        "cus_usage_daily",
        &ledger.collect(),
        &stored.collect(),
        ToString::to_string,
    );
    Ok(())
}

async fn verify_call_keys(
    work: &mut Work,
    tenant: Option<&TenantId>,
    findings: &mut Findings,
) -> Result<(), StoreError> {
    let count = of("SELECT COUNT(*) FROM call_keys", tenant);
    let (keys,): (i64,) = work.fetch_one(count).await?;
    let rows = i64::try_from(findings.report.rows).unwrap_or(i64::MAX);
    findings.total("call_keys", tenant, ("call_id", rows), keys);
    Ok(())
}
