//! Usage, as the control plane shows it and takes it in.

mod csv;
mod report;
pub(crate) mod report_batch;
pub(crate) mod report_usage;
pub(crate) mod usage_daily;
pub(crate) mod usage_export;
pub(crate) mod usage_history;
pub(crate) mod usage_summary;
