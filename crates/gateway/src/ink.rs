//! The texts of an answer's headers: short and many, so they are written one behind the other into
//! one allocation, and not by the formatting macros, which cost more than all else of them.

use bytes::BytesMut;
use http::HeaderValue;

/// Bytes of all the texts that an answer usually has.
const USUAL_BYTES: usize = 256;

/// The digits of the longest number.
const DIGITS_MAX: usize = 20;

/// What headers' values are written with.
#[derive(Debug)]
pub(crate) struct Ink(BytesMut);

impl Ink {
    /// For one answer.
    pub(crate) fn new() -> Self {
        Self(BytesMut::with_capacity(USUAL_BYTES))
    }

    /// Writes a text.
    pub(crate) fn text(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Writes a number of so many parts of ten to the power of `places`, with all its places.
    pub(crate) fn decimal(&mut self, parts: u64, places: usize) -> &mut Self {
        let mut digits = [b'0'; DIGITS_MAX];
        let (mut left, mut length) = (parts, 0_usize);
        for place in digits.iter_mut().rev() {
            if left == 0 && length > places {
                break;
            }
            *place = b'0'.saturating_add(u8::try_from(left % 10).unwrap_or(0));
            left /= 10;
            length = length.saturating_add(1);
        }
        let (_, shown) = digits.split_at(DIGITS_MAX.saturating_sub(length));
        let (whole, rest) = shown.split_at(length.saturating_sub(places));
        self.0.extend_from_slice(whole);
        if !rest.is_empty() {
            self.0.extend_from_slice(b".");
            self.0.extend_from_slice(rest);
        }
        self
    }

    /// What was written since the last value; nothing where it may not stand in a header.
    pub(crate) fn value(&mut self) -> Option<HeaderValue> {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tollgate_core::Nanos;

    use super::*;

    fn written(write: impl FnOnce(&mut Ink)) -> String {
        let mut ink = Ink::new();
        write(&mut ink);
        let value = ink.value().expect("it may stand in a header");
        value.to_str().expect("it is text").to_owned()
    }

    #[test]
    fn values_that_were_written_after_one_another_stay_what_they_are() {
        let mut ink = Ink::new();
        let first = ink.text("req_").text("1").value();
        let second = ink.decimal(60, 0).value();
        ink.text(&"x".repeat(1_000));
        let third = ink.value();
        assert_eq!(first, Some(HeaderValue::from_static("req_1")));
        assert_eq!(second, Some(HeaderValue::from_static("60")));
        assert_eq!(third.map(|value| value.len()), Some(1_000));
    }

    #[test]
    fn what_may_not_stand_in_a_header_is_no_value_and_spoils_none_after_it() {
        let mut ink = Ink::new();
        assert_eq!(ink.text("a\r\nb: c").value(), None);
        assert_eq!(ink.text("d").value(), Some(HeaderValue::from_static("d")));
    }

    proptest! {
        #[test]
        fn numbers_and_amounts_are_written_as_they_are_formatted(number in prop_oneof![0_u64..2_000, any::<u64>()]) {
            prop_assert_eq!(written(|ink| { ink.decimal(number, 0); }), number.to_string());
            prop_assert_eq!(
                written(|ink| { ink.decimal(number, 3); }),
                format!("{}.{:03}", number / 1_000, number % 1_000)
            );
            let nanos = i64::try_from(number / 2).unwrap_or(0);
            prop_assert_eq!(
                written(|ink| { ink.decimal(nanos.unsigned_abs(), 9); }),
                Nanos::new(nanos).to_string()
            );
        }
    }
}
