//! A call of the gateway whose id somebody had reported another under: it is booked beside that.

use tollgate_core::CallId;
use tollgate_core::usage::UsageEntry;

/// What the id of a call ends in that went through the gateway when somebody had reported another under its own.
const GATEWAY_SUFFIX: &str = "~gateway";

/// The same call under an id that follows from its own, so that it is booked once however often this is tried.
pub(super) fn under_another_id(entry: &UsageEntry) -> Option<UsageEntry> {
    let room = CallId::MAX_LENGTH.saturating_sub(GATEWAY_SUFFIX.len());
    let id = entry.call_id.as_str();
    let kept = id.get(..room).unwrap_or(id);
    Some(UsageEntry {
        call_id: format!("{kept}{GATEWAY_SUFFIX}").parse().ok()?,
        ..entry.clone()
    })
}
