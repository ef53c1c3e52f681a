//! A call of the gateway whose id another call has in the ledger: it is booked beside that.

use tollgate_core::CallId;
use tollgate_core::usage::UsageEntry;
use tollgate_store::AppendReport;

/// What the id of a call ends in that went through the gateway when somebody had reported another under its own.
const GATEWAY_SUFFIX: &str = "~gateway";

/// The calls of a batch that are to be booked beside others, under ids that follow from their own, so that each is booked
/// once however often this is tried. Marks go with them.
pub(super) fn beside(
    entries: &[UsageEntry],
    marks: &[Option<i64>],
    report: &AppendReport,
) -> (Vec<UsageEntry>, Vec<Option<i64>>) {
    let is_reported = |entry: &UsageEntry| {
        let mut reported = report.reported.iter();
        reported.any(|(tenant, call)| *tenant == entry.tenant_id && *call == entry.call_id)
    };
    let all = entries.iter().zip(marks).enumerate();
    let beside = all.filter_map(|(place, (entry, mark))| {
        if entry.is_of_batch() {
            // What has its id is the same batch, read by somebody else at the same time.
            return None;
        }
        let suffix = if report.others.contains(&place) {
            // Where it ended is another copy of it, this is the same: when it was admitted.
            format!("~{:x}", entry.created_at.as_microsecond())
        } else if is_reported(entry) {
            GATEWAY_SUFFIX.to_owned()
        } else {
            return None;
        };
        Some((under_another_id(entry, &suffix)?, *mark))
    });
    beside.unzip()
}

fn under_another_id(entry: &UsageEntry, suffix: &str) -> Option<UsageEntry> {
    let room = CallId::MAX_LENGTH.saturating_sub(suffix.len());
    let id = entry.call_id.as_str();
    let kept = id.get(..room).unwrap_or(id);
    Some(UsageEntry {
        call_id: format!("{kept}{suffix}").parse().ok()?,
        ..entry.clone()
    })
}
