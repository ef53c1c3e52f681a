//! Usage, as the control plane shows it.

pub(crate) mod usage_daily;
pub(crate) mod usage_history;
pub(crate) mod usage_summary;
