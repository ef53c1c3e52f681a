//! The contract: the seed's three records, four enums and two functions.
//!
//! Everything else in Tollgate exists to make these records true. Their JSON has the keys and values of the original:
//! enum values in lower case, times in RFC 3339, dates as `YYYY-MM-DD`, absent options as `null`.
//! `tests/golden.json` holds what the original did when it was run, and `tests/golden.rs` holds this crate to it.
//!
//! A record is valid when it comes from a constructor or from `Deserialize`. Its fields are public, as the
//! seed's are, so whoever changes one calls `validate` before the record goes anywhere.
//!
//! # Deviations from the original
//!
//! | here | original | reason |
//! | --- | --- | --- |
//! | `provider_type`, `status`, `health_state` and `policy_result` are enums; another text is refused | any text passes the model, the database refuses it | a state that nobody handles cannot be written |
//! | constructors and `Deserialize` always validate | limits are declared and never checked | a bad row is refused where it arises |
//! | limits and latencies below zero are refused, as counts are | some pass | a limit below zero has no meaning |
//! | counts, limits and latencies end at 2⁵³ − 1 | unbounded | exact in JSON for every client, and no sum of two overflows 64 bits |
//! | `name`, `tenant_id`, `model` and `call_id` have at least one character | the empty `call_id` passes | a call that cannot be named cannot be found again or counted once |
//! | `total_tokens` stays at the end of the 64 bits if fields were set past their bounds | unbounded integers | never a wrapped sum, never a panic |
//! | `mark_error` needs a message, `update_health` a state | `None` passes for the message | an error without a word helps nobody |
//! | a time without an offset and a date with a time are refused | both are read | no guess about what was meant |
//! | a whole number written as text is plain decimal digits (`"7"`) or a whole fraction (`1.0`) | also `"1_000"`, `" 7 "`, `true` | what is recorded is kept; the rest hides mistakes |
//! | both times of a new integration, and both of `mark_error` and `update_health`, are one reading of the clock | two readings, microseconds apart | one event has one time |
//!
//! As in the original, a key that no field has is ignored, an absent key takes the field's default, and
//! [`CusIntegration::disable`] works from every status: the rule that only a passed probe leaves `error` belongs to
//! the application. [`CusUsageDaily::success_rate`] can be below zero, because a call that is blocked and
//! an error counts as both.

#![deny(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing
)]

mod clock;
mod daily;
mod enums;
mod id;
mod integration;
mod invalid;
mod usage;
mod wire;

pub use clock::utc_now;
pub use daily::CusUsageDaily;
pub use enums::{CusHealthState, CusIntegrationStatus, CusPolicyResult, CusProviderType};
pub use id::{generate_uuid, random_uuid};
pub use integration::{CusIntegration, EnableError};
pub use invalid::Invalid;
pub use usage::CusLLMUsage;
