//! Finished calls as a busy installation has them: many tenants, a few of them large, several models, tokens of a recorded
//! trace where there is one, and now and then a call that comes twice, fails or is refused.

use std::sync::Arc;

use cus_models::{CusPolicyResult, CusProviderType};
use jiff::{SignedDuration, Timestamp};
use tollgate_core::price::{PricePin, Rates};
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{CallId, IntegrationId, Nanos, TenantId, TokenUsage};

/// Integrations of one tenant.
const INTEGRATIONS_OF_TENANT: usize = 4;
/// One call in so many is booked twice.
const AGAIN_IN: u64 = 50;
/// One batch in so many has a call of the batch before.
const LATE_IN: u64 = 20;
/// One call in so many failed.
const FAILED_IN: u64 = 100;
/// One call in so many was refused.
const REFUSED_IN: u64 = 200;

/// Model, its provider, and dollars for a million input and output tokens, in nano-dollars.
const MODELS: [(&str, CusProviderType, i64, i64); 6] = [
    (
        "gpt-4o",
        CusProviderType::OpenAi,
        2_500_000_000,
        10_000_000_000,
    ),
    (
        "gpt-4o-mini",
        CusProviderType::OpenAi,
        150_000_000,
        600_000_000,
    ),
    ("o3", CusProviderType::OpenAi, 2_000_000_000, 8_000_000_000),
    (
        "claude-sonnet-4-5",
        CusProviderType::Anthropic,
        3_000_000_000,
        15_000_000_000,
    ),
    (
        "claude-haiku-4-5",
        CusProviderType::Anthropic,
        1_000_000_000,
        5_000_000_000,
    ),
    ("llama-3.3-70b", CusProviderType::Custom, 0, 0),
];

/// Tokens of the calls where no trace is given: input and output of an ordinary afternoon.
const TOKENS: [(u64, u64); 8] = [
    (374, 44),
    (396, 109),
    (879, 55),
    (91, 16),
    (4_808, 10),
    (3_180, 8),
    (1_313, 142),
    (7_433, 14),
];

/// What the calls are made of.
#[derive(Debug, Clone)]
pub struct Scene {
    integrations: Vec<(TenantId, IntegrationId)>,
    models: Vec<(Arc<str>, CusProviderType, Option<PricePin>)>,
    tokens: Vec<(u64, u64)>,
    start: Timestamp,
    step: SignedDuration,
    state: u64,
    made: u64,
    /// A call of the batch before, which comes once more.
    late: Option<UsageEntry>,
}

impl Scene {
    /// Calls of so many integrations, so many a day, beginning at a fixed moment. The seed tells scenes apart.
    pub fn new(integrations: usize, calls_a_day: u64, seed: u64, trace: Option<&str>) -> Self {
        let integrations = (0..integrations.max(1))
            .map(|index| {
                let tenant = format!("tenant-{:05}", index / INTEGRATIONS_OF_TENANT);
                let id = format!("00000000-0000-4000-8000-{index:012x}");
                (tenant.parse().unwrap(), id.parse().unwrap())
            })
            .collect();
        let day_micros = 86_400_000_000;
        let step = i64::try_from(day_micros / calls_a_day.max(1)).unwrap();
        Self {
            integrations,
            models: MODELS.map(model).to_vec(),
            tokens: trace.map_or_else(|| TOKENS.to_vec(), tokens),
            start: "2026-09-01T00:00:00Z".parse().unwrap(),
            step: SignedDuration::from_micros(step),
            state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1,
            made: 0,
            late: None,
        }
    }

    /// The tenants, and for each the integrations.
    pub fn integrations(&self) -> &[(TenantId, IntegrationId)] {
        &self.integrations
    }

    /// The moment of the next call.
    pub fn now(&self) -> Timestamp {
        self.start + self.step * i32::try_from(self.made).unwrap()
    }

    /// Goes on as if so many calls had been made.
    pub fn skip(&mut self, calls: u64) {
        self.made += calls;
    }

    /// So many calls, some of them twice, and now and then one that was in the batch before.
    pub fn batch(&mut self, rows: usize) -> Vec<UsageEntry> {
        let mut batch: Vec<UsageEntry> = Vec::with_capacity(rows);
        if self.random().is_multiple_of(LATE_IN) {
            batch.extend(self.late.take());
        }
        while batch.len() < rows {
            let is_again = self.random().is_multiple_of(AGAIN_IN);
            let again = if is_again {
                batch.last().cloned()
            } else {
                None
            };
            let next = again.unwrap_or_else(|| self.call());
            batch.push(next);
        }
        self.late = batch.last().cloned();
        batch
    }

    fn call(&mut self) -> UsageEntry {
        let created_at = self.now();
        self.made += 1;
        // The product of two: few integrations have most of the calls.
        let (first, second) = (self.below(1 << 16), self.below(1 << 16));
        let place = (first * second * self.integrations.len()) >> 32;
        let (tenant_id, integration_id) = self.integrations[place].clone();
        let model = (self.below(2) + place) % self.models.len();
        let (model, provider, price) = self.models[model].clone();
        let tokens = self.below(self.tokens.len());
        let (input, output) = self.tokens[tokens];
        let tokens = TokenUsage::plain(input, output);
        let cost = |tokens: &TokenUsage| {
            let price = price.as_ref().map(|price| price.rates.cost(tokens));
            price.map_or(Nanos::ZERO, |cost| cost.unwrap())
        };
        let entry = UsageEntry {
            tenant_id,
            integration_id,
            call_id: call_id(created_at),
            session_id: (self.below(2) == 0).then(|| format!("session-{place}").parse().unwrap()),
            agent_id: None,
            provider,
            model,
            tokens,
            cost: cost(&tokens),
            held: cost(&TokenUsage::plain(input * 3, 4_096)),
            source: UsageSource::Provider,
            price: price.clone(),
            latency_ms: Some(i64::try_from(200 + output * 12).unwrap()),
            policy_result: CusPolicyResult::Allowed,
            error_code: None,
            error_message: None,
            extra: None,
            created_at,
        };
        self.ended(entry)
    }

    fn ended(&mut self, entry: UsageEntry) -> UsageEntry {
        if self.random().is_multiple_of(REFUSED_IN) {
            return UsageEntry {
                tokens: TokenUsage::NONE,
                cost: Nanos::ZERO,
                held: Nanos::ZERO,
                price: None,
                latency_ms: None,
                policy_result: CusPolicyResult::Blocked,
                error_code: Some("rate_limit_exceeded".into()),
                ..entry
            };
        }
        if self.random().is_multiple_of(FAILED_IN) {
            return UsageEntry {
                error_code: Some("upstream_timeout".into()),
                source: UsageSource::Estimated,
                cost: entry.held,
                ..entry
            };
        }
        entry
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.random() % u64::try_from(bound).unwrap()).unwrap()
    }

    /// The next number of xorshift64*.
    fn random(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16
    }
}

/// An id as the gateway gives it to a call whose caller gave none.
fn call_id(at: Timestamp) -> CallId {
    CallId::generate_at(at)
}

fn model(
    (name, provider, input, output): (&str, CusProviderType, i64, i64),
) -> (Arc<str>, CusProviderType, Option<PricePin>) {
    let rates = Rates {
        input,
        output,
        cached_input: Some(input / 2),
        ..Rates::default()
    };
    let price = (input > 0).then(|| PricePin {
        version: "2026-11-20".into(),
        rates,
    });
    (name.into(), provider, price)
}

/// The tokens of a trace: `TIMESTAMP,ContextTokens,GeneratedTokens`, a line each.
fn tokens(trace: &str) -> Vec<(u64, u64)> {
    let line = |line: &str| {
        let mut parts = line.trim().rsplit(',');
        let output = parts.next()?.parse().ok()?;
        Some((parts.next()?.parse().ok()?, output))
    };
    let tokens: Vec<_> = trace.lines().filter_map(line).collect();
    assert!(!tokens.is_empty(), "the trace has no calls");
    tokens
}
