//! Tokens of what passed, for when the provider does not say: never fewer than were delivered.

use memchr::memmem::Finder;

use crate::json::{skip_space, split_string, value_after, values_named};

/// Members of an answer whose text is not output.
const NOT_OUTPUT: [&[u8]; 10] = [
    b"type",
    b"id",
    b"role",
    b"signature",
    b"stop_reason",
    b"stop_sequence",
    b"finish_reason",
    b"object",
    b"model",
    b"tool_use_id",
];

/// How deep an answer is followed; what lies deeper is counted all the same.
type Depth = u32;

/// The most tokens that a JSON string's text can be, at least one unless it is empty. Two ASCII
/// letters or spaces are one token or less in every known vocabulary; any other byte, also of an
/// escape, is taken as a token of its own.
pub(super) fn text_tokens(text: &[u8]) -> u64 {
    let is_soft = |byte: &&u8| byte.is_ascii_alphabetic() || **byte == b' ';
    let soft = text.iter().filter(is_soft).count();
    let hard = text.len().saturating_sub(soft);
    u64::try_from(hard.saturating_add(soft.div_ceil(2))).unwrap_or(u64::MAX)
}

/// The tokens of all texts in the values of members of one name.
pub(super) fn tokens_named(text: &[u8], finder: &Finder<'static>) -> u64 {
    values_named(text, finder).fold(0, |sum, value| sum.saturating_add(value_tokens(value)))
}

/// The tokens of all texts in the value that `text` begins with, without those that are not
/// output. Reads no further than the value's end.
pub(super) fn value_tokens(text: &[u8]) -> u64 {
    let mut tokens = 0_u64;
    each_text(text, |text| {
        tokens = tokens.saturating_add(text_tokens(text));
    });
    tokens
}

/// Calls `found` with each text of output in the value that `text` begins with.
pub(super) fn each_text<'t>(text: &'t [u8], mut found: impl FnMut(&'t [u8])) {
    let mut rest = text;
    let mut depth: Depth = 0;
    let mut ignored = false;
    let is_mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']' | b',');
    while let Some(at) = rest.iter().position(is_mark) {
        let mark = rest.get(at).copied().unwrap_or_default();
        rest = rest.get(at.saturating_add(1)..).unwrap_or_default();
        match mark {
            b'"' => {
                let (string, after) = split_string(rest);
                if depth > 0 && value_after(after).is_some() {
                    ignored = NOT_OUTPUT.contains(&string);
                    rest = skip_space(after);
                    continue;
                }
                if !ignored {
                    found(string);
                }
                rest = after;
            }
            b'{' | b'[' => {
                depth = depth.saturating_add(1);
                ignored = false;
            }
            b'}' | b']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            break;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn texts_of_a_value_are_counted_and_what_is_not_output_is_not() {
        let delta = br#"{"role":"assistant","content":"Hello","id":"x"},"finish_reason":"stop"}"#;
        assert_eq!(value_tokens(delta), 3);
        assert_eq!(value_tokens(br#""Hello","x":"more""#), 3);
        assert_eq!(value_tokens(br#"null,"x":"more""#), 0);
        assert_eq!(
            value_tokens(br#"{"a":{"type":"t","b":["c","d"]},"e":"f"} "more""#),
            3
        );
        assert_eq!(value_tokens(b"{\"a\":\"never closed"), 6);
        assert_eq!(value_tokens(b""), 0);
    }

    #[test]
    fn a_text_is_never_fewer_tokens_than_it_can_have() {
        assert_eq!(text_tokens(b""), 0);
        assert_eq!(text_tokens(b"a"), 1);
        assert_eq!(text_tokens(b"12,345"), 6);
        assert_eq!(text_tokens("héllo".as_bytes()), 4);
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_counted(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let most = u64::try_from(bytes.len()).unwrap();
            prop_assert!(value_tokens(&bytes) <= most);
        }
    }
}
