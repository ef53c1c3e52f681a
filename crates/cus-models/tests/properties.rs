//! What holds for every record: JSON brings it back unchanged, sums never wrap, and what validation refuses
//! `Deserialize` refuses too.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use cus_models::{
    CusHealthState, CusIntegration, CusIntegrationStatus, CusLLMUsage, CusPolicyResult,
    CusProviderType, CusUsageDaily,
};
use jiff::civil::{Date, date};
use jiff::{Timestamp, ToSpan};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

const COUNT_MAX: i64 = 9_007_199_254_740_991;

/// A text of so many characters, from all of Unicode.
fn text(least: usize, most: usize) -> impl Strategy<Value = String> {
    prop::collection::vec(any::<char>(), least..=most)
        .prop_map(|characters| characters.into_iter().collect())
}

fn count() -> impl Strategy<Value = i64> {
    prop_oneof![0..=COUNT_MAX, Just(0), Just(COUNT_MAX)]
}

/// Any number, more often near the bounds.
fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        any::<i64>(),
        count(),
        (-3_i64..=3),
        (COUNT_MAX - 2..=COUNT_MAX + 2),
        Just(i64::MIN),
        Just(i64::MAX),
    ]
}

fn time() -> impl Strategy<Value = Timestamp> {
    (0_i64..=4_102_444_800_000_000).prop_map(|micros| Timestamp::from_microsecond(micros).unwrap())
}

fn day() -> impl Strategy<Value = Date> {
    (0_i64..50_000).prop_map(|days| date(1970, 1, 1).checked_add(days.days()).unwrap())
}

fn settings() -> impl Strategy<Value = Map<String, Value>> {
    let value = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        text(0, 20).prop_map(Value::from),
        prop::collection::vec(any::<u32>(), 0..3).prop_map(Value::from),
    ];
    prop::collection::vec((text(0, 10), value), 0..4)
        .prop_map(|entries| entries.into_iter().collect())
}

fn one_of<T: Copy + std::fmt::Debug + 'static>(all: &'static [T]) -> impl Strategy<Value = T> {
    prop::sample::select(all)
}

prop_compose! {
    fn integration()(
        names in (text(1, 100), text(1, 255), text(0, 40)),
        states in (
            one_of(CusProviderType::ALL),
            one_of(CusIntegrationStatus::ALL),
            one_of(CusHealthState::ALL),
        ),
        limits in (count(), count(), count()),
        times in (time(), time(), prop::option::of(time()), prop::option::of(time())),
        texts in (
            prop::option::of(text(0, 300)),
            prop::option::of(text(0, 100)),
            prop::option::of(text(0, 40)),
        ),
        config in prop::option::of(settings()),
    ) -> CusIntegration {
        let mut integration = CusIntegration::new(names.0, names.1, states.0, names.2).unwrap();
        (integration.status, integration.health_state) = (states.1, states.2);
        integration.budget_limit_cents = limits.0;
        integration.token_limit_month = limits.1;
        integration.rate_limit_rpm = limits.2;
        (integration.created_at, integration.updated_at) = (times.0, times.1);
        (integration.deleted_at, integration.health_checked_at) = (times.2, times.3);
        (integration.health_message, integration.default_model) = (texts.0, texts.1);
        (integration.created_by, integration.config) = (texts.2, config);
        integration
    }
}

prop_compose! {
    fn usage()(
        names in (text(1, 100), text(0, 40), text(1, 100), text(0, 50), text(1, 100)),
        counts in (count(), count(), count(), prop::option::of(count())),
        policy_result in one_of(CusPolicyResult::ALL),
        callers in (prop::option::of(text(0, 40)), prop::option::of(text(0, 100))),
        failure in (prop::option::of(text(0, 50)), prop::option::of(text(0, 300))),
        extra_data in prop::option::of(settings()),
        created_at in time(),
    ) -> CusLLMUsage {
        let mut usage = CusLLMUsage::new(names.0, names.1, names.2, names.3, names.4)
            .and_then(|usage| usage.with_counts(counts.0, counts.1, counts.2))
            .unwrap();
        usage.latency_ms = counts.3;
        usage.policy_result = policy_result;
        (usage.session_id, usage.agent_id) = callers;
        (usage.error_code, usage.error_message) = failure;
        usage.extra_data = extra_data;
        usage.created_at = created_at;
        usage
    }
}

prop_compose! {
    fn daily(numbers: fn() -> BoxedStrategy<i64>)(
        names in (text(1, 100), text(0, 40)),
        date in day(),
        counts in (numbers(), numbers(), numbers(), numbers(), numbers(), numbers()),
        avg_latency_ms in prop::option::of(numbers()),
        updated_at in time(),
    ) -> CusUsageDaily {
        let mut daily = CusUsageDaily::new(names.0, names.1, date).unwrap();
        (daily.total_calls, daily.error_count, daily.blocked_count) = (counts.0, counts.1, counts.2);
        (daily.total_tokens_in, daily.total_tokens_out) = (counts.3, counts.4);
        daily.total_cost_cents = counts.5;
        daily.avg_latency_ms = avg_latency_ms;
        daily.updated_at = updated_at;
        daily
    }
}

/// The sum of two numbers, kept within 64 bits.
fn kept_sum(one: i64, other: i64) -> i64 {
    let sum = i128::from(one) + i128::from(other);
    i64::try_from(sum).unwrap_or(if sum < 0 { i64::MIN } else { i64::MAX })
}

proptest! {
    #[test]
    fn json_brings_an_integration_back_unchanged(integration in integration()) {
        prop_assert_eq!(integration.validate(), Ok(()));
        let json = serde_json::to_string(&integration).unwrap();
        prop_assert_eq!(serde_json::from_str::<CusIntegration>(&json).unwrap(), integration);
    }

    #[test]
    fn json_brings_a_usage_record_back_unchanged(usage in usage()) {
        prop_assert_eq!(usage.validate(), Ok(()));
        let json = serde_json::to_string(&usage).unwrap();
        prop_assert_eq!(serde_json::from_str::<CusLLMUsage>(&json).unwrap(), usage);
    }

    #[test]
    fn json_brings_a_day_back_unchanged(daily in daily(|| count().boxed())) {
        prop_assert_eq!(daily.validate(), Ok(()));
        let json = serde_json::to_string(&daily).unwrap();
        prop_assert_eq!(serde_json::from_str::<CusUsageDaily>(&json).unwrap(), daily);
    }

    #[test]
    fn the_sum_of_valid_counts_is_exact(usage in usage(), daily in daily(|| count().boxed())) {
        let sum = i128::from(usage.tokens_in) + i128::from(usage.tokens_out);
        prop_assert_eq!(i128::from(usage.total_tokens()), sum);
        let sum = i128::from(daily.total_tokens_in) + i128::from(daily.total_tokens_out);
        prop_assert_eq!(i128::from(daily.total_tokens()), sum);
        prop_assert!(daily.success_rate() <= 1.0);
        prop_assert!(daily.cost_dollars() >= 0.0);
    }

    #[test]
    fn no_number_makes_a_sum_wrap(
        usage in usage(),
        daily in daily(|| number().boxed()),
        tokens_in in number(),
        tokens_out in number(),
    ) {
        let usage = CusLLMUsage { tokens_in, tokens_out, ..usage };
        prop_assert_eq!(usage.total_tokens(), kept_sum(tokens_in, tokens_out));
        let kept = kept_sum(daily.total_tokens_in, daily.total_tokens_out);
        prop_assert_eq!(daily.total_tokens(), kept);
        prop_assert!(daily.success_rate().is_finite());
        prop_assert!(daily.cost_dollars().is_finite());
    }

    #[test]
    fn a_day_is_refused_by_json_exactly_if_it_is_invalid(daily in daily(|| number().boxed())) {
        let read = serde_json::from_value::<CusUsageDaily>(serde_json::to_value(&daily).unwrap());
        match daily.validate() {
            Ok(()) => prop_assert_eq!(read.unwrap(), daily),
            Err(invalid) => prop_assert_eq!(read.unwrap_err().to_string(), invalid.to_string()),
        }
    }

    #[test]
    fn a_usage_record_is_refused_by_json_exactly_if_it_is_invalid(
        usage in usage(),
        texts in (text(0, 110), text(0, 110), text(0, 60), text(0, 110), text(0, 60)),
        numbers in (number(), number(), number(), number()),
    ) {
        let usage = CusLLMUsage {
            tenant_id: texts.0,
            call_id: texts.1,
            provider: texts.2,
            model: texts.3,
            error_code: Some(texts.4),
            tokens_in: numbers.0,
            tokens_out: numbers.1,
            cost_cents: numbers.2,
            latency_ms: Some(numbers.3),
            ..usage
        };
        let read = serde_json::from_value::<CusLLMUsage>(serde_json::to_value(&usage).unwrap());
        match usage.validate() {
            Ok(()) => prop_assert_eq!(read.unwrap(), usage),
            Err(invalid) => prop_assert_eq!(read.unwrap_err().to_string(), invalid.to_string()),
        }
    }
}

#[test]
fn a_key_that_no_field_has_is_ignored_and_a_double_one_refused() {
    let day = json!({
        "tenant_id": "acme", "integration_id": "i-1", "date": "2026-01-01", "cost_usd": "0.1",
    });
    assert!(serde_json::from_value::<CusUsageDaily>(day).is_ok());
    let twice = r#"{"tenant_id":"a","tenant_id":"b","integration_id":"i","date":"2026-01-01"}"#;
    assert!(serde_json::from_str::<CusUsageDaily>(twice).is_err());
}

#[test]
fn a_time_needs_its_offset() {
    let read = |time: &str| {
        serde_json::from_value::<CusUsageDaily>(json!({
            "tenant_id": "acme", "integration_id": "i-1", "date": "2026-01-01", "updated_at": time,
        }))
        .map(|daily| serde_json::to_value(daily).unwrap()["updated_at"].clone())
    };
    assert_eq!(
        read("2026-01-01T02:00:00.000001+02:00").unwrap(),
        "2026-01-01T00:00:00.000001Z"
    );
    assert!(read("2026-01-01T00:00:00").is_err());
    assert!(read("2026-01-01").is_err());
}
