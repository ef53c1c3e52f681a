//! A call that was made elsewhere, as its caller reports it: what it may say, and when it counts.

use std::sync::Arc;

use cus_models::CusPolicyResult;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use super::UsageSource;
use crate::id::{AgentId, CallId, HoldId, IntegrationId, SessionId};
use crate::money::Nanos;
use crate::tokens::{TOKENS_MAX, TokenUsage};

/// How many days back a reported call may lie.
pub const DAYS_LATE_MAX: i64 = 35;

/// How many minutes ahead of the server's clock a reported call may lie.
pub const MINUTES_AHEAD_MAX: i64 = 5;

/// The longest a reported call may have taken, in milliseconds: as long as it may be late.
pub const LATENCY_MS_MAX: i64 = DAYS_LATE_MAX * 86_400_000;

/// The longest model name, in characters.
pub const MODEL_LENGTH_MAX: usize = 100;

/// The longest error code, in characters.
pub const ERROR_CODE_LENGTH_MAX: usize = 50;

/// The longest error message, in characters.
pub const ERROR_MESSAGE_LENGTH_MAX: usize = 2_000;

/// The longest further data, in bytes of JSON.
pub const EXTRA_BYTES_MAX: usize = 8_192;

/// What a caller says of one call. Two reports are the same if they say the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UsageReport {
    /// The integration whose credential the call used.
    pub integration_id: IntegrationId,
    /// The call.
    pub call_id: CallId,
    /// The model, 1 to 100 characters.
    pub model: Arc<str>,
    /// Tokens by class.
    pub tokens: TokenUsage,
    /// Where the token counts come from.
    pub source: UsageSource,
    /// The caller's session.
    pub session_id: Option<SessionId>,
    /// The caller's agent.
    pub agent_id: Option<AgentId>,
    /// What the caller thinks it cost: kept, never charged.
    pub client_cost: Option<Nanos>,
    /// Milliseconds that it took.
    pub latency_ms: Option<i64>,
    /// What was decided about it.
    pub policy_result: CusPolicyResult,
    /// What went wrong, as a code of 1 to 50 characters.
    pub error_code: Option<String>,
    /// What went wrong, for people.
    pub error_message: Option<String>,
    /// More, as a JSON object in text.
    pub extra: Option<Box<str>>,
    /// The hold that was taken for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_id: Option<HoldId>,
    /// When it was made; if absent, when its hold was taken, else when it is reported. To the microsecond.
    #[serde(serialize_with = "jiff::fmt::serde::timestamp::microsecond::optional::serialize")]
    pub created_at: Option<Timestamp>,
}

/// What is wrong with a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flaw {
    /// The field.
    pub field: &'static str,
    /// What is wrong with it, and what would be right.
    pub reason: String,
}

impl UsageReport {
    /// When the call counts: at its own time, if that is neither too late nor too far ahead.
    pub fn moment(&self, now: Timestamp) -> Result<Timestamp, Flaw> {
        let Some(at) = self.created_at else {
            return Ok(now);
        };
        let age = now.duration_since(at);
        let reason = if age > SignedDuration::from_hours(DAYS_LATE_MAX * 24) {
            format!(
                "{at} is more than {DAYS_LATE_MAX} days ago: such usage can no longer be booked"
            )
        } else if at.duration_since(now) > SignedDuration::from_mins(MINUTES_AHEAD_MAX) {
            format!(
                "{at} is more than {MINUTES_AHEAD_MAX} minutes ahead of the server's clock ({now}): \
                 set the clock that made it"
            )
        } else {
            return Ok(at);
        };
        Err(flaw("created_at", reason))
    }

    /// Whether everything but the time is within its bounds.
    pub fn check(&self) -> Result<(), Flaw> {
        named("model", &self.model, MODEL_LENGTH_MAX)?;
        if let Some(code) = &self.error_code {
            named("error_code", code, ERROR_CODE_LENGTH_MAX)?;
        }
        let message = self.error_message.as_deref().unwrap_or_default();
        if message.chars().count() > ERROR_MESSAGE_LENGTH_MAX {
            let reason = format!("give at most {ERROR_MESSAGE_LENGTH_MAX} characters");
            return Err(flaw("error_message", reason));
        }
        if self
            .extra
            .as_ref()
            .is_some_and(|extra| extra.len() > EXTRA_BYTES_MAX)
        {
            let reason = format!("give at most {EXTRA_BYTES_MAX} bytes of JSON");
            return Err(flaw("extra_data", reason));
        }
        if self.client_cost.is_some_and(|cost| cost < Nanos::ZERO) {
            return Err(flaw("cost_usd", "give 0 or more"));
        }
        if self
            .latency_ms
            .is_some_and(|latency| !(0..=LATENCY_MS_MAX).contains(&latency))
        {
            let reason = format!("give 0 to {LATENCY_MS_MAX} milliseconds");
            return Err(flaw("latency_ms", reason));
        }
        if self.policy_result == CusPolicyResult::Blocked && self.tokens.total() > 0 {
            let reason =
                "a blocked call never reached its provider: give 0 tokens, or another result";
            return Err(flaw("policy_result", reason));
        }
        Ok(())
    }
}

/// The tokens of a report: both sums, and the classes where it tells them, which must add up.
pub fn tokens(
    tokens_in: u64,
    tokens_out: u64,
    by_class: Option<TokenUsage>,
) -> Result<TokenUsage, Flaw> {
    for (field, count) in [("tokens_in", tokens_in), ("tokens_out", tokens_out)] {
        if count > TOKENS_MAX {
            return Err(flaw(field, format!("give at most {TOKENS_MAX}")));
        }
    }
    let Some(usage) = by_class else {
        return Ok(TokenUsage::plain(tokens_in, tokens_out));
    };
    // The sums stop at the bound, so classes beyond it could only equal a sum at the bound.
    let fits = usage.tokens_in() == tokens_in && usage.tokens_out() == tokens_out;
    let is_exact = crate::TokenClass::ALL
        .into_iter()
        .try_fold(0_u64, |sum, class| sum.checked_add(usage.get(class)))
        == tokens_in.checked_add(tokens_out);
    if fits && is_exact {
        return Ok(usage);
    }
    let reason = format!(
        "its classes add up to {} tokens in and {} out, not to tokens_in and tokens_out: classes are \
         disjoint, and `input` and `output` are what is in no other class",
        usage.tokens_in(),
        usage.tokens_out()
    );
    Err(flaw("tokens_by_class", reason))
}

/// A flaw of a field.
pub fn flaw(field: &'static str, reason: impl Into<String>) -> Flaw {
    Flaw {
        field,
        reason: reason.into(),
    }
}

fn named(field: &'static str, text: &str, most: usize) -> Result<(), Flaw> {
    let length = text.chars().count();
    if length == 0 || length > most || text.chars().any(char::is_control) {
        let reason = format!("give 1 to {most} characters, none of them a control character");
        return Err(flaw(field, reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn report() -> UsageReport {
        UsageReport {
            integration_id: IntegrationId::generate(),
            call_id: "c-1".parse().unwrap(),
            model: "gpt-4o".into(),
            tokens: TokenUsage::plain(1, 2),
            source: UsageSource::Provider,
            session_id: None,
            agent_id: None,
            client_cost: None,
            latency_ms: None,
            policy_result: CusPolicyResult::Allowed,
            error_code: None,
            error_message: None,
            extra: None,
            hold_id: None,
            created_at: None,
        }
    }

    #[test]
    fn a_late_call_counts_at_its_own_time_for_thirty_five_days() {
        let now = at("2026-11-22T10:00:00Z");
        for (made, counts) in [
            ("2026-10-18T10:00:00Z", true),
            ("2026-10-18T09:59:59.999999Z", false),
            ("2026-11-22T10:05:00Z", true),
            ("2026-11-22T10:05:00.000001Z", false),
        ] {
            let report = UsageReport {
                created_at: Some(at(made)),
                ..report()
            };
            let moment = report.moment(now);
            assert_eq!(moment.is_ok(), counts, "{made}");
            match moment {
                Ok(moment) => assert_eq!(moment, at(made)),
                Err(flaw) => assert_eq!(flaw.field, "created_at"),
            }
        }
        assert_eq!(report().moment(now), Ok(now));
    }

    #[test]
    fn a_report_beyond_its_bounds_names_the_field() {
        type Break = fn(&mut UsageReport);
        let table: [(&str, Break); 9] = [
            ("model", |report| report.model = "".into()),
            ("model", |report| report.model = "m".repeat(101).into()),
            ("error_code", |report| {
                report.error_code = Some(String::new());
            }),
            ("error_code", |report| {
                report.error_code = Some("a\nb".to_owned());
            }),
            ("error_message", |report| {
                report.error_message = Some("é".repeat(2_001));
            }),
            ("extra_data", |report| {
                report.extra = Some("x".repeat(8_193).into());
            }),
            ("latency_ms", |report| report.latency_ms = Some(-1)),
            ("cost_usd", |report| {
                report.client_cost = Some(Nanos::new(-1));
            }),
            ("policy_result", |report| {
                report.policy_result = CusPolicyResult::Blocked;
            }),
        ];
        for (field, break_it) in table {
            let mut report = report();
            report.check().unwrap();
            break_it(&mut report);
            assert_eq!(report.check().unwrap_err().field, field);
        }
    }

    #[test]
    fn classes_must_add_up_to_the_sums() {
        assert_eq!(tokens(3, 4, None), Ok(TokenUsage::plain(3, 4)));
        let classes = TokenUsage {
            cached_input: 2,
            reasoning: 1,
            ..TokenUsage::plain(1, 3)
        };
        assert_eq!(tokens(3, 4, Some(classes)), Ok(classes));
        assert_eq!(
            tokens(1, 3, Some(classes)).unwrap_err().field,
            "tokens_by_class"
        );
        assert_eq!(
            tokens(TOKENS_MAX + 1, 0, None).unwrap_err().field,
            "tokens_in"
        );
        let absurd = TokenUsage::plain(TOKENS_MAX, u64::MAX);
        assert_eq!(
            tokens(TOKENS_MAX, TOKENS_MAX, Some(absurd))
                .unwrap_err()
                .field,
            "tokens_by_class"
        );
    }
}
