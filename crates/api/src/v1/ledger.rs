//! The books as a whole, for the operator.

pub(crate) mod rebuild_rollups;
pub(crate) mod status;
pub(crate) mod verify;
pub(crate) mod verify_rollups;

use serde::Serialize;
use tollgate_app::books::VerifyReport;
use utoipa::ToSchema;

/// What a comparison found.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = VerifyReport)]
pub(crate) struct VerifyBody {
    /// Whether nothing differs.
    exact: bool,
    /// Rows of the ledger that were added up.
    rows: u64,
    /// Balances that were compared.
    balances: u64,
    /// Days of roll-ups that were compared.
    days: u64,
    /// How many figures differ.
    differences: u64,
    /// The first difference in words; null if there is none.
    first_difference: Option<String>,
}

impl From<VerifyReport> for VerifyBody {
    fn from(report: VerifyReport) -> Self {
        Self {
            exact: report.is_exact(),
            rows: report.rows,
            balances: report.balances,
            days: report.days,
            differences: report.differences,
            first_difference: report.first.map(|difference| difference.to_string()),
        }
    }
}
