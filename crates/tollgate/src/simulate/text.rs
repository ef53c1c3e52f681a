//! The words that a simulated model says, and the little writing of JSON that answers need.

use std::fmt::Write as _;

/// What the model says, over and over: one word a token.
const WORDS: [&str; 16] = [
    "able", "bold", "calm", "deep", "easy", "fair", "good", "high", "just", "kind", "lean", "mild",
    "neat", "open", "pure", "rare",
];

/// A stream says at most so many pieces of text a choice; longer answers say several tokens a piece.
pub(super) const MAX_PIECES: u64 = 64;

/// A JSON text under construction.
#[derive(Debug, Default)]
pub(super) struct Json(String);

impl Json {
    pub(super) fn with_capacity(bytes: usize) -> Self {
        Self(String::with_capacity(bytes))
    }

    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Text that is JSON already.
    pub(super) fn raw(&mut self, text: &str) -> &mut Self {
        self.0.push_str(text);
        self
    }

    pub(super) fn number(&mut self, number: u64) -> &mut Self {
        let mut digits = [0_u8; 20];
        let mut at = digits.len();
        let mut rest = number;
        loop {
            at -= 1;
            if let (Some(digit), Ok(value)) = (digits.get_mut(at), u8::try_from(rest % 10)) {
                *digit = b'0' + value;
            }
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.0
            .extend(digits.iter().skip(at).map(|digit| char::from(*digit)));
        self
    }

    /// A string with its quotation marks.
    pub(super) fn string(&mut self, text: &str) -> &mut Self {
        self.0.push('"');
        for character in text.chars() {
            match character {
                '"' => self.0.push_str("\\\""),
                '\\' => self.0.push_str("\\\\"),
                control if control < ' ' => {
                    // Writing to a string does not fail.
                    write!(self.0, "\\u{:04x}", u32::from(control)).unwrap_or_default();
                }
                other => self.0.push(other),
            }
        }
        self.0.push('"');
        self
    }

    /// The words of the tokens `from .. from + count` of an answer; all but the first have a space before them.
    pub(super) fn words(&mut self, from: u64, count: u64) -> &mut Self {
        let skipped = usize::try_from(from % 16).unwrap_or_default();
        let mut words = WORDS.iter().cycle().skip(skipped);
        for token in from..from + count {
            if token > 0 {
                self.0.push(' ');
            }
            self.0.push_str(words.next().copied().unwrap_or_default());
        }
        self
    }

    /// Bytes in base64.
    pub(super) fn base64(&mut self, bytes: &[u8]) -> &mut Self {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        for three in bytes.chunks(3) {
            let byte = |at: usize| u32::from(three.get(at).copied().unwrap_or_default());
            let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
            for place in 0..4_usize {
                let sextet = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or_default();
                self.0.push(if place > three.len() {
                    '='
                } else {
                    char::from(ALPHABET.get(sextet).copied().unwrap_or_default())
                });
            }
        }
        self
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// How an answer of so many tokens is cut into pieces: `(first token, number of tokens)` of each, in order.
pub(super) fn pieces(tokens: u64) -> impl Iterator<Item = (u64, u64)> {
    let count = tokens.min(MAX_PIECES);
    (0..count).map(move |piece| {
        let from = piece * tokens / count;
        (from, (piece + 1) * tokens / count - from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(write: impl FnOnce(&mut Json) -> &mut Json) -> String {
        let mut json = Json::default();
        write(&mut json);
        json.into_string()
    }

    #[test]
    fn pieces_say_every_token_once_and_in_order() {
        for tokens in [0, 1, 2, 63, 64, 65, 100, 1_000, 999_999] {
            let mut next = 0;
            let mut said = String::new();
            for (from, count) in pieces(tokens) {
                assert_eq!(from, next);
                assert!(count > 0);
                next = from + count;
                said += &text(|json| json.words(from, count));
            }
            assert_eq!(next, tokens);
            assert_eq!(said, text(|json| json.words(0, tokens)));
            assert_eq!(said.split_whitespace().count() as u64, tokens);
            assert!(pieces(tokens).count() as u64 <= MAX_PIECES);
        }
    }

    #[test]
    fn what_is_written_is_read_back_as_it_was() {
        for number in [0, 7, 10, 9_007_199_254_740_993, u64::MAX] {
            assert_eq!(text(|json| json.number(number)), number.to_string());
        }
        let hard = "a \"quoted\" \\ back\u{1}\n\tslash ü 🦀";
        assert_eq!(
            serde_json::from_str::<String>(&text(|json| json.string(hard))).unwrap(),
            hard
        );
        for (bytes, expected) in [
            (&b""[..], ""),
            (b"f", "Zg=="),
            (b"fo", "Zm8="),
            (b"foo", "Zm9v"),
            (b"foob", "Zm9vYg=="),
        ] {
            assert_eq!(text(|json| json.base64(bytes)), expected);
        }
        assert_eq!(text(|json| json.base64(&[0xff, 0xfe, 0xfd])), "//79");
    }
}
