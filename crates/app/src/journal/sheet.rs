//! A buffer that is filled from its front, and what records are written on it as: postcard's form of them, field by field.
//!
//! A call writes two entries of forty fields each, most of them a byte or two. By the general way through a serializer
//! each costs several times as much, so an entry has its own. What is read is read by postcard, and a test compares both.

use tollgate_core::price::{PricePin, Rates};
use tollgate_core::usage::{UsageEntry, UsageSource};
use tollgate_core::{AgentId, Nanos, SessionId, TokenUsage};

/// What can be written on a sheet.
pub(super) trait Record {
    /// Writes it as postcard does.
    fn write(&self, sheet: &mut Sheet<'_>);
}

/// A buffer, and how much of it is used. What goes beyond its end is counted and not written.
pub(super) struct Sheet<'b> {
    bytes: &'b mut [u8],
    used: usize,
}

impl<'b> Sheet<'b> {
    /// A sheet on which so many bytes from the front are left as they are.
    pub(super) const fn behind(bytes: &'b mut [u8], used: usize) -> Self {
        Self { bytes, used }
    }

    /// How long all is that was written; what is beyond the buffer's end is missing from it.
    pub(super) const fn used(&self) -> usize {
        self.used
    }

    pub(super) fn byte(&mut self, byte: u8) {
        if let Some(place) = self.bytes.get_mut(self.used) {
            *place = byte;
        }
        self.used += 1;
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        let end = self.used + bytes.len();
        if let Some(place) = self.bytes.get_mut(self.used..end) {
            place.copy_from_slice(bytes);
        }
        self.used = end;
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self, number: u64) {
        let mut left = number;
        while left >= 0x80 {
            let [low, ..] = left.to_le_bytes();
            self.byte(low | 0x80);
            left >>= 7;
        }
        let [last, ..] = left.to_le_bytes();
        self.byte(last);
    }

    /// The sign is the lowest bit, so that what is near nothing is short.
    fn signed(&mut self, number: i64) {
        self.number(((number << 1) ^ (number >> 63)).cast_unsigned());
    }

    fn length(&mut self, length: usize) {
        self.number(u64::try_from(length).unwrap_or(u64::MAX));
    }

    fn text(&mut self, text: &str) {
        self.length(text.len());
        self.bytes(text.as_bytes());
    }

    fn maybe_signed(&mut self, number: Option<i64>) {
        match number {
            None => self.byte(0),
            Some(number) => {
                self.byte(1);
                self.signed(number);
            }
        }
    }

    fn maybe_text(&mut self, text: Option<&str>) {
        match text {
            None => self.byte(0),
            Some(text) => {
                self.byte(1);
                self.text(text);
            }
        }
    }

    fn nanos(&mut self, nanos: Nanos) {
        self.signed(nanos.get());
    }
}

impl Record for () {
    fn write(&self, _sheet: &mut Sheet<'_>) {}
}

impl Record for u64 {
    fn write(&self, sheet: &mut Sheet<'_>) {
        sheet.number(*self);
    }
}

impl Record for Vec<u64> {
    fn write(&self, sheet: &mut Sheet<'_>) {
        sheet.length(self.len());
        for number in self {
            sheet.number(*number);
        }
    }
}

// Every field by its name and in the order in which it is declared: one that is added does not compile until it is told here.

impl Record for UsageEntry {
    fn write(&self, sheet: &mut Sheet<'_>) {
        let Self {
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
        } = self;
        sheet.text(tenant_id.as_str());
        let integration = integration_id.uuid();
        sheet.length(integration.as_bytes().len());
        sheet.bytes(integration.as_bytes());
        sheet.text(call_id.as_str());
        sheet.maybe_text(session_id.as_ref().map(SessionId::as_str));
        sheet.maybe_text(agent_id.as_ref().map(AgentId::as_str));
        sheet.text(provider.as_str());
        sheet.text(model);
        tokens.write(sheet);
        sheet.nanos(*cost);
        sheet.nanos(*held);
        sheet.byte(match source {
            UsageSource::Provider => 0,
            UsageSource::Counted => 1,
            UsageSource::Estimated => 2,
        });
        match price {
            None => sheet.byte(0),
            Some(price) => {
                sheet.byte(1);
                price.write(sheet);
            }
        }
        sheet.maybe_signed(*latency_ms);
        sheet.text(policy_result.as_str());
        sheet.maybe_text(error_code.as_deref());
        sheet.maybe_text(error_message.as_deref());
        sheet.maybe_text(extra.as_deref());
        sheet.signed(created_at.as_microsecond());
    }
}

impl Record for TokenUsage {
    fn write(&self, sheet: &mut Sheet<'_>) {
        let Self {
            input,
            cached_input,
            cache_write,
            cache_write_hour,
            audio_input,
            image_input,
            output,
            reasoning,
            audio_output,
            image_output,
        } = self;
        sheet.number(*input);
        sheet.number(*cached_input);
        sheet.number(*cache_write);
        sheet.number(*cache_write_hour);
        sheet.number(*audio_input);
        sheet.number(*image_input);
        sheet.number(*output);
        sheet.number(*reasoning);
        sheet.number(*audio_output);
        sheet.number(*image_output);
    }
}

impl Record for PricePin {
    fn write(&self, sheet: &mut Sheet<'_>) {
        let Self { version, rates } = self;
        sheet.text(version);
        rates.write(sheet);
    }
}

impl Record for Rates {
    fn write(&self, sheet: &mut Sheet<'_>) {
        let Self {
            input,
            output,
            cached_input,
            cache_write,
            cache_write_hour,
            audio_input,
            reasoning,
            audio_output,
            image_input,
            image_output,
            web_search,
            file_search,
            request,
        } = self;
        sheet.signed(*input);
        sheet.signed(*output);
        sheet.maybe_signed(*cached_input);
        sheet.maybe_signed(*cache_write);
        sheet.maybe_signed(*cache_write_hour);
        sheet.maybe_signed(*audio_input);
        sheet.maybe_signed(*reasoning);
        sheet.maybe_signed(*audio_output);
        sheet.maybe_signed(*image_input);
        sheet.maybe_signed(*image_output);
        sheet.maybe_signed(*web_search);
        sheet.maybe_signed(*file_search);
        sheet.signed(*request);
    }
}

#[cfg(test)]
mod tests {
    use cus_models::{CusPolicyResult, CusProviderType};
    use jiff::Timestamp;
    use proptest::prelude::*;
    use serde::Serialize;

    use super::*;

    fn written(record: &impl Record) -> Vec<u8> {
        let mut measured = Sheet::behind(&mut [], 0);
        record.write(&mut measured);
        let mut bytes = vec![0; measured.used()];
        let mut sheet = Sheet::behind(&mut bytes, 0);
        record.write(&mut sheet);
        assert_eq!(sheet.used(), measured.used());
        bytes
    }

    fn is_as_postcard_has_it(record: &(impl Record + Serialize)) -> bool {
        written(record) == postcard::to_stdvec(record).unwrap()
    }

    /// Numbers of every length.
    fn signed() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0..64).prop_map(|(number, bits)| number >> bits)
    }

    fn tokens() -> impl Strategy<Value = TokenUsage> {
        let number = (any::<u64>(), 0..64).prop_map(|(number, bits)| number >> bits);
        prop::array::uniform10(number).prop_map(
            |[
                input,
                cached_input,
                cache_write,
                cache_write_hour,
                audio_input,
                image_input,
                output,
                reasoning,
                audio_output,
                image_output,
            ]| TokenUsage {
                input,
                cached_input,
                cache_write,
                cache_write_hour,
                audio_input,
                image_input,
                output,
                reasoning,
                audio_output,
                image_output,
            },
        )
    }

    fn rates() -> impl Strategy<Value = Rates> {
        let rates = prop::array::uniform10(prop::option::of(signed()));
        (rates, signed(), signed(), signed()).prop_map(
            |(
                [
                    cached_input,
                    cache_write,
                    cache_write_hour,
                    audio_input,
                    reasoning,
                    audio_output,
                    image_input,
                    image_output,
                    web_search,
                    file_search,
                ],
                input,
                output,
                request,
            )| Rates {
                input,
                output,
                cached_input,
                cache_write,
                cache_write_hour,
                audio_input,
                reasoning,
                audio_output,
                image_input,
                image_output,
                web_search,
                file_search,
                request,
            },
        )
    }

    fn entry() -> impl Strategy<Value = UsageEntry> {
        let id = || "[a-z0-9-]{1,100}";
        let sources = [
            UsageSource::Provider,
            UsageSource::Counted,
            UsageSource::Estimated,
        ];
        let results = [
            CusPolicyResult::Allowed,
            CusPolicyResult::Warned,
            CusPolicyResult::Blocked,
        ];
        let providers = [CusProviderType::OpenAi, CusProviderType::Custom];
        let ids = (id(), id(), prop::option::of(id()), prop::option::of(id()));
        let price = prop::option::of((".{0,20}", rates()));
        let sums = (tokens(), signed(), signed(), price);
        let texts = prop::array::uniform3(prop::option::of(".{0,200}"));
        let kinds = (
            prop::sample::select(sources.to_vec()),
            prop::sample::select(results.to_vec()),
            prop::sample::select(providers.to_vec()),
        );
        let times = (prop::option::of(signed()), 0..4_000_000_000_000_000_i64);
        (ids, any::<u128>(), ".{1,100}", sums, texts, kinds, times).prop_map(
            |(ids, integration, model, sums, [code, message, extra], kinds, times)| UsageEntry {
                tenant_id: ids.0.parse().unwrap(),
                integration_id: format!("{integration:032x}").parse().unwrap(),
                call_id: ids.1.parse().unwrap(),
                session_id: ids.2.map(|id| id.parse().unwrap()),
                agent_id: ids.3.map(|id| id.parse().unwrap()),
                provider: kinds.2,
                model: model.into(),
                tokens: sums.0,
                cost: Nanos::new(sums.1),
                held: Nanos::new(sums.2),
                source: kinds.0,
                price: sums.3.map(|(version, rates)| PricePin {
                    version: version.into(),
                    rates,
                }),
                latency_ms: times.0,
                policy_result: kinds.1,
                error_code: code.map(Into::into),
                error_message: message,
                extra: extra.map(Into::into),
                created_at: Timestamp::from_microsecond(times.1).unwrap(),
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn an_entry_is_written_as_postcard_writes_it(entry in entry()) {
            prop_assert!(is_as_postcard_has_it(&entry));
        }

        #[test]
        fn numbers_are_written_as_postcard_writes_them(numbers: Vec<u64>) {
            prop_assert!(is_as_postcard_has_it(&numbers));
            prop_assert!(numbers.iter().all(is_as_postcard_has_it));
        }
    }

    #[test]
    fn what_has_no_room_is_counted_and_not_written() {
        let mut bytes = [7; 4];
        let mut sheet = Sheet::behind(&mut bytes[..3], 1);
        sheet.byte(1);
        sheet.bytes(&[2, 3]);
        sheet.byte(4);
        assert_eq!(sheet.used(), 5);
        assert_eq!(bytes, [7, 1, 7, 7]);
        assert!(is_as_postcard_has_it(&u64::MAX) && is_as_postcard_has_it(&()));
    }
}
