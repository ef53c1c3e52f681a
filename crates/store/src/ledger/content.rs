//! What tells a call from another that came under its id: a hash of all that is said of it.
//!
//! The hash stands beside the call's key for as long as the ledger does, so how it is made never changes; what earlier
//! versions made of an entry is recognized too.

use cus_models::CusPolicyResult;
use tollgate_core::price::PricePin;
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{AgentId, Nanos, SessionId, TokenClass};

use crate::error::StoreError;
use crate::value::{content_hash, to_json};

/// What a call says, as far as it has to be told from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// The hash of an entry.
    Entry(i64),
    /// The hash of the text that was reported.
    Report(i64),
}

impl Content {
    /// The content of a call that was reported as this text, or that is nothing but its entry.
    pub(super) fn of(entry: &UsageEntry, reported: Option<&str>) -> Self {
        match reported {
            Some(text) => Self::Report(content_hash(text.as_bytes())),
            None => Self::Entry(hash_of(entry)),
        }
    }

    /// The hash that is kept.
    pub(super) const fn hash(self) -> i64 {
        match self {
            Self::Entry(hash) | Self::Report(hash) => hash,
        }
    }

    /// Whether this is what the ledger has under a hash, which an earlier version may have made of the entry.
    pub(super) fn is_kept_as(self, hash: i64, entry: &UsageEntry) -> bool {
        let is_of_earlier_version = || match self {
            Self::Entry(_) => earlier_hash_of(entry).is_ok_and(|earlier| earlier == hash),
            Self::Report(_) => false,
        };
        self.hash() == hash || is_of_earlier_version()
    }
}

/// As earlier versions made it: of the entry's JSON, which takes ten times as long to write as all fields take to hash.
fn earlier_hash_of(entry: &UsageEntry) -> Result<i64, StoreError> {
    Ok(content_hash(to_json(entry)?.as_bytes()))
}

fn hash_of(entry: &UsageEntry) -> i64 {
    // Every field by its name: one that is added does not compile until it is told here.
    let UsageEntry {
        tenant_id,
        integration_id,
        call_id,
        session_id,
        agent_id,
        provider,
        model,
        tokens,
        cost,
        held,
        source,
        price,
        latency_ms,
        policy_result,
        error_code,
        error_message,
        extra,
        created_at,
    } = entry;
    let mut words = Words(SEED);
    words.text(tenant_id.as_str());
    let (high, low) = integration_id.uuid().as_u64_pair();
    words.add(high);
    words.add(low);
    words.text(call_id.as_str());
    words.maybe_text(session_id.as_ref().map(SessionId::as_str));
    words.maybe_text(agent_id.as_ref().map(AgentId::as_str));
    words.text(provider.as_str());
    words.text(model);
    for class in TokenClass::ALL {
        words.add(tokens.get(class));
    }
    words.nanos(*cost);
    words.nanos(*held);
    words.add(match source {
        UsageSource::Provider => 0,
        UsageSource::Counted => 1,
        UsageSource::Estimated => 2,
    });
    match price {
        None => words.add(0),
        Some(price) => words.price(price),
    }
    words.maybe_number(*latency_ms);
    words.add(match policy_result {
        CusPolicyResult::Allowed => 0,
        CusPolicyResult::Warned => 1,
        CusPolicyResult::Blocked => 2,
    });
    words.maybe_text(error_code.as_deref());
    words.maybe_text(error_message.as_deref());
    words.maybe_text(extra.as_deref());
    words.number(created_at.as_microsecond());
    words.hash()
}

const SEED: u64 = 0x746f_6c6c_6761_7465;
/// Odd, so that multiplying by them loses nothing.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;
const MIX: u64 = 0xbf58_476d_1ce4_e5b9;
const END: u64 = 0x94d0_49bb_1331_11eb;

/// A hash under way, a word of eight bytes at a time. Two contents that differ in one word never have one hash. Like the hash
/// that it replaces it is no protection against someone who looks for an equal one.
struct Words(u64);

impl Words {
    const fn add(&mut self, word: u64) {
        let word = word.wrapping_mul(SPREAD);
        self.0 = (self.0 ^ word).rotate_left(29).wrapping_mul(MIX);
    }

    const fn number(&mut self, number: i64) {
        self.add(number.cast_unsigned());
    }

    const fn nanos(&mut self, nanos: Nanos) {
        self.number(nanos.get());
    }

    const fn maybe_number(&mut self, number: Option<i64>) {
        match number {
            None => self.add(0),
            Some(number) => {
                self.add(1);
                self.number(number);
            }
        }
    }

    /// A text begins with its length, so that two that follow each other are not taken for others.
    fn text(&mut self, text: &str) {
        let (words, rest) = text.as_bytes().as_chunks();
        self.add(u64::try_from(text.len()).unwrap_or(u64::MAX));
        for word in words {
            self.add(u64::from_le_bytes(*word));
        }
        if !rest.is_empty() {
            let bytes = rest.iter().rev();
            self.add(bytes.fold(0, |word, byte| word << 8 | u64::from(*byte)));
        }
    }

    fn maybe_text(&mut self, text: Option<&str>) {
        match text {
            // No text is as long.
            None => self.add(u64::MAX),
            Some(text) => self.text(text),
        }
    }

    fn price(&mut self, price: &PricePin) {
        let PricePin { version, rates } = price;
        self.add(1);
        self.text(version);
        // The first three are in every price, and no word says so: it stands in ledgers like that.
        let [input, output, request, others @ ..] = rates.each();
        for price in [input, output, request] {
            self.number(price.unwrap_or_default());
        }
        for price in others {
            self.maybe_number(price);
        }
    }

    /// Every bit of it depends on every bit before.
    const fn hash(self) -> i64 {
        let hash = (self.0 ^ (self.0 >> 30)).wrapping_mul(MIX);
        let hash = (hash ^ (hash >> 27)).wrapping_mul(END);
        (hash ^ (hash >> 31)).cast_signed()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use cus_models::CusProviderType;
    use jiff::Timestamp;
    use tollgate_core::TokenUsage;

    use tollgate_core::price::Rates;

    use super::*;

    fn entry() -> UsageEntry {
        UsageEntry {
            tenant_id: "acme".parse().unwrap(),
            integration_id: "00000000-0000-4000-8000-000000000001".parse().unwrap(),
            call_id: "call-1".parse().unwrap(),
            session_id: None,
            agent_id: None,
            provider: CusProviderType::OpenAi,
            model: "gpt-4o".into(),
            tokens: TokenUsage::plain(374, 44),
            cost: Nanos::new(1_375_000),
            held: Nanos::new(40_960_000),
            source: UsageSource::Provider,
            price: Some(PricePin {
                version: "2026-11-20".into(),
                rates: Rates {
                    input: 2_500_000_000,
                    output: 10_000_000_000,
                    cached_input: Some(1_250_000_000),
                    ..Rates::default()
                },
            }),
            latency_ms: Some(728),
            policy_result: CusPolicyResult::Allowed,
            error_code: None,
            error_message: None,
            extra: None,
            created_at: Timestamp::from_microsecond(1_794_744_000_123_456).unwrap(),
        }
    }

    /// Entries that differ from the first, and from each other, in one thing.
    fn variants() -> Vec<UsageEntry> {
        let changes: [fn(&mut UsageEntry); 26] = [
            |_| {},
            |entry| entry.tenant_id = "acme2".parse().unwrap(),
            |entry| entry.integration_id = "10000000-0000-4000-8000-000000000001".parse().unwrap(),
            |entry| entry.call_id = "call-2".parse().unwrap(),
            |entry| entry.session_id = Some("s".parse().unwrap()),
            |entry| entry.agent_id = Some("s".parse().unwrap()),
            |entry| entry.provider = CusProviderType::Anthropic,
            |entry| entry.model = "gpt-4o-mini".into(),
            |entry| entry.tokens = TokenUsage::plain(44, 374),
            |entry| entry.tokens.image_output = 1,
            |entry| entry.tokens.cached_input = 1,
            |entry| entry.cost = Nanos::new(1_375_001),
            |entry| entry.held = Nanos::new(1_375_000),
            |entry| entry.source = UsageSource::Counted,
            |entry| entry.source = UsageSource::Estimated,
            |entry| entry.price = None,
            |entry| entry.price.as_mut().unwrap().version = "2026-11-21".into(),
            |entry| entry.price.as_mut().unwrap().rates.request = 1,
            |entry| entry.price.as_mut().unwrap().rates.cached_input = None,
            |entry| entry.latency_ms = None,
            |entry| entry.latency_ms = Some(0),
            |entry| entry.policy_result = CusPolicyResult::Warned,
            |entry| entry.error_code = Some("timeout".into()),
            |entry| entry.error_message = Some("timeout".into()),
            |entry| entry.extra = Some("{}".into()),
            |entry| entry.created_at = Timestamp::from_microsecond(1_794_744_000_123_457).unwrap(),
        ];
        let all = changes.map(|change| {
            let mut entry = entry();
            change(&mut entry);
            entry
        });
        all.into()
    }

    #[test]
    fn entries_that_differ_in_one_thing_have_hashes_that_differ() {
        let variants = variants();
        let hashes: HashSet<i64> = variants.iter().map(hash_of).collect();
        assert_eq!(hashes.len(), variants.len());
    }

    #[test]
    fn texts_that_follow_each_other_are_not_taken_for_others() {
        let hash = |texts: [Option<&str>; 2]| {
            let mut words = Words(SEED);
            for text in texts {
                words.maybe_text(text);
            }
            words.hash()
        };
        let pairs = [
            [Some("ab"), Some("c")],
            [Some("a"), Some("bc")],
            [Some("abc"), None],
            [None, Some("abc")],
            [Some("abc"), Some("")],
            [Some("abc\0"), Some("")],
            [Some("12345678"), Some("")],
        ];
        let hashes: HashSet<i64> = pairs.into_iter().map(hash).collect();
        assert_eq!(hashes.len(), pairs.len());
    }

    #[test]
    fn the_hash_of_an_entry_is_what_it_was() {
        // It stands in ledgers: whoever changes it has to recognize these.
        assert_eq!(hash_of(&entry()), 7_754_439_082_154_933_352);
    }

    #[test]
    fn an_entry_is_known_by_its_hash_and_by_that_of_an_earlier_version() {
        let entry = entry();
        let content = Content::of(&entry, None);
        assert!(content.is_kept_as(content.hash(), &entry));
        assert!(content.is_kept_as(earlier_hash_of(&entry).unwrap(), &entry));
        for other in variants().into_iter().skip(1) {
            assert!(!content.is_kept_as(hash_of(&other), &entry));
            assert!(!content.is_kept_as(earlier_hash_of(&other).unwrap(), &entry));
        }
    }

    #[test]
    fn a_report_is_known_by_its_own_text_alone() {
        let entry = entry();
        let content = Content::of(&entry, Some("reported"));
        assert!(content.is_kept_as(content_hash(b"reported"), &entry));
        assert!(!content.is_kept_as(earlier_hash_of(&entry).unwrap(), &entry));
    }
}
