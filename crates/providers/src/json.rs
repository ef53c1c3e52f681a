//! JSON as text: small steps over bytes that are known to be JSON, or may be anything.
//!
//! Nothing here fails: where the text is not what was expected, a step answers "not there".

mod members;
mod skim;

use std::ops::Range;

use memchr::memmem::Finder;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

pub(crate) use members::{Member, Members, Nested, object, read, read_noting};
pub(crate) use skim::{Rest, Text};

/// The raw text of a member, also of one that is `null`; nothing when it is absent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Raw<'a>(Option<&'a str>);

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Self(Some(raw.get())))
    }
}

impl<'a> Raw<'a> {
    /// The text of the value, unless absent.
    pub(crate) const fn text(self) -> Option<&'a str> {
        self.0
    }

    /// The text of the value, unless absent or `null`.
    pub(crate) fn present(self) -> Option<&'a str> {
        self.text().filter(|text| *text != "null")
    }

    /// What is in the string that the value is, where that needs no reading: nothing but visible
    /// ASCII characters and spaces, and no escapes. None where it may have to be read.
    pub(crate) fn plain_string(self) -> Option<&'a str> {
        let inside = self.text()?.strip_prefix('"')?.strip_suffix('"')?;
        is_plain(inside.as_bytes()).then_some(inside)
    }

    /// The text of the value when it is an object.
    pub(crate) fn object(self) -> Option<&'a str> {
        self.text().filter(|text| text.starts_with('{'))
    }

    /// Where the value stands in the text that it was borrowed from.
    pub(crate) fn span(self, whole: &str) -> Option<Range<usize>> {
        span_of(self.text()?, whole)
    }
}

/// Whether text between quotes is what it means, and ASCII without control characters.
pub(crate) fn is_plain(text: &[u8]) -> bool {
    let is_other = |byte: u8| !matches!(byte, b' '..=b'~') || byte == b'"' || byte == b'\\';
    // Without a stop at the first, so that many are looked at together.
    !text.iter().fold(false, |seen, byte| seen | is_other(*byte))
}

/// The members of an object; none when it is none, or has one of them twice.
pub(crate) fn members_of<'a, T: Members<'a>>(data: &'a [u8]) -> Option<T> {
    read(object_of(data)?).ok()
}

/// An object with more in it than raw members; none when it is none.
pub(crate) fn parsed<'a, T: Deserialize<'a>>(data: &'a [u8]) -> Option<T> {
    serde_json::from_str(object_of(data)?).ok()
}

/// The text of what begins like an object.
fn object_of(data: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(data).ok()?;
    text.trim_start().starts_with('{').then_some(text)
}

/// Where `part` stands in the text that it was borrowed from; none when it was not.
pub(crate) fn span_of(part: &str, whole: &str) -> Option<Range<usize>> {
    span_of_bytes(part.as_bytes(), whole.as_bytes())
}

/// Where `part` stands in the bytes that it was borrowed from; none when it was not.
pub(crate) fn span_of_bytes(part: &[u8], whole: &[u8]) -> Option<Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(whole.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (whole.get(start..end)? == part).then_some(start..end)
}

/// The bytes after leading white space.
pub(crate) fn skip_space(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let start = bytes
        .iter()
        .position(|byte| !is_space(byte))
        .unwrap_or(bytes.len());
    bytes.get(start..).unwrap_or_default()
}

/// The bytes before trailing white space.
pub(crate) fn skip_space_back(bytes: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r' | b'\n');
    let end = bytes
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(0, |at| at.saturating_add(1));
    bytes.get(..end).unwrap_or_default()
}

/// The bytes from the value on, when `after` begins with the colon that follows a name.
pub(crate) fn value_after(after: &[u8]) -> Option<&[u8]> {
    skip_space(after).strip_prefix(b":").map(skip_space)
}

/// The values of members called what `finder` looks for (a name in its quotes), each from its
/// first byte to the end of `text`. A name inside a string cannot match, since its quotes would
/// be escaped there; one at another depth can.
pub(crate) fn values_named<'t>(
    text: &'t [u8],
    finder: &'t Finder<'static>,
) -> impl Iterator<Item = &'t [u8]> {
    let length = finder.needle().len();
    finder
        .find_iter(text)
        .filter_map(move |at| value_after(text.get(at.checked_add(length)?..)?))
}

/// Bytes that are looked at eight at a time, before a search that has to be begun is worth it.
const NEAR_BYTES: usize = 32;

/// One in each byte of a word.
const ONES: u64 = u64::MAX / 255;

/// The highest bit of each byte of a word.
const HIGHEST: u64 = ONES << 7;

/// Finds the first quote, backslash or control character in eight bytes: the highest bit of its
/// byte is the lowest that is set. Above it anything may be.
const fn marks(bytes: [u8; 8]) -> u64 {
    const QUOTES_TO_SPACES: u64 = ONES * (0x22 ^ 0x20);
    const ABOVE_SPACES: u64 = ONES * 0x21;
    const BACKSLASHES: u64 = ONES * 0x5c;
    let word = u64::from_le_bytes(bytes);
    // With that bit turned a quote is a space, and control characters are what they were: others.
    let low = (word ^ QUOTES_TO_SPACES).wrapping_sub(ABOVE_SPACES);
    let backslash = (word ^ BACKSLASHES).wrapping_sub(ONES);
    (low | backslash) & !word & HIGHEST
}

/// Whether there is a control character. Asked of eight bytes at once, and without a stop at the
/// first.
fn has_controls(text: &[u8]) -> bool {
    const SPACES: u64 = ONES * 0x20;
    let (words, rest) = text.as_chunks::<8>();
    let below = words.iter().fold(0, |seen, bytes| {
        let word = u64::from_le_bytes(*bytes);
        seen | (word.wrapping_sub(SPACES) & !word)
    });
    below & HIGHEST != 0 || rest.iter().any(|byte| *byte < b' ')
}

/// Whether a string cannot have this byte in it as it is.
const fn is_mark(byte: u8) -> bool {
    matches!(byte, 0..b' ' | b'"' | b'\\')
}

/// How many bytes stand before the first quote, backslash or control character; where none is near,
/// how many were looked at.
#[inline]
pub(crate) fn plain_length(text: &[u8]) -> usize {
    let near = text.get(..NEAR_BYTES).unwrap_or(text);
    let mut rest = near;
    while let Some((bytes, after)) = rest.split_first_chunk::<8>() {
        let marks = marks(*bytes);
        if marks != 0 {
            let before = usize::try_from(marks.trailing_zeros().div_euclid(8));
            let passed = near.len().saturating_sub(rest.len());
            return passed.saturating_add(before.unwrap_or_default());
        }
        rest = after;
    }
    near.len().saturating_sub(after_plain(rest).len())
}

/// What begins with the first quote, backslash or control character, asked of byte after byte.
fn after_plain(bytes: &[u8]) -> &[u8] {
    let first = bytes.iter().position(|byte| is_mark(*byte));
    first.and_then(|at| bytes.get(at..)).unwrap_or_default()
}

/// Splits a string's text from what follows its closing quote; `text` begins after the opening
/// quote. A string that does not end is given whole.
pub(crate) fn split_string(text: &[u8]) -> (&[u8], &[u8]) {
    let mut at = 0_usize;
    while let Some(rest) = text.get(at..) {
        let Some(found) = memchr::memchr2(b'"', b'\\', rest) else {
            break;
        };
        let stop = at.saturating_add(found);
        if rest.get(found) == Some(&b'"') {
            let after = text.get(stop.saturating_add(1)..).unwrap_or_default();
            return (text.get(..stop).unwrap_or_default(), after);
        }
        at = stop.saturating_add(2);
    }
    (text, &[])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_string_ends_at_its_own_quote() {
        assert_eq!(
            split_string(br#"a\"b\\" , 1"#),
            (&br#"a\"b\\"#[..], &b" , 1"[..])
        );
        assert_eq!(split_string(b"cut\\"), (&b"cut\\"[..], &b""[..]));
        assert_eq!(split_string(b""), (&b""[..], &b""[..]));
    }

    #[test]
    fn what_stands_before_the_first_mark_is_plain() {
        for stop in 0..=u8::MAX {
            let is_stop = stop < b' ' || stop == b'"' || stop == b'\\';
            assert_eq!(is_mark(stop), is_stop);
            for after in [b'"', b'\\', b'\n', b'!', b'#', b'[', b']', 0x7f, 0x80, 0xff] {
                for (at, more) in (0..20).flat_map(|at| [(at, 0), (at, 8)]) {
                    let mut text = vec![b'a'; at];
                    text.extend([stop, after]);
                    text.resize(text.len() + more, b'"');
                    let first = text.iter().position(|byte| is_mark(*byte));
                    assert!(!is_stop || first == Some(at));
                    let expected = first.unwrap_or(text.len());
                    assert_eq!(plain_length(&text), expected, "{stop} {after} {at}");
                }
            }
        }
        assert_eq!(plain_length(&[b'a'; 100]), NEAR_BYTES);
        assert_eq!(plain_length(b""), 0);
    }

    proptest! {
        #[test]
        fn what_is_plain_is_what_a_parser_reads(
            text in "(\"[ -~]{0,20}\"|[\"\\\\u0061é\u{0}-\u{9f}]{0,6}|null|5)",
        ) {
            prop_assume!(text.trim() == text);
            let read = serde_json::from_str::<String>(&text);
            let needs_none = read.as_ref().is_ok_and(|read| {
                read.bytes().all(|byte| (b' '..=b'~').contains(&byte)) && !text.contains('\\')
            });
            let plain = Raw(Some(&text)).plain_string();
            prop_assert_eq!(plain.map(str::to_owned), read.ok().filter(|_| needs_none));
        }
    }

    #[test]
    fn a_name_is_found_before_a_colon_only_and_never_in_a_string() {
        let finder = Finder::new(b"\"usage\"");
        let text = br#"{"a":"\"usage\":{","b":["usage"],"usage" : {1}"#;
        let found: Vec<_> = values_named(text, &finder).collect();
        assert_eq!(found, [b"{1}"]);
    }

    #[test]
    fn a_part_is_found_where_it_was_borrowed_from() {
        let whole = String::from("abcabc");
        assert_eq!(span_of(whole.get(3..6).unwrap(), &whole), Some(3..6));
        assert_eq!(span_of("elsewhere", &whole), None);
        assert_eq!(skip_space_back(b"a \n"), b"a");
    }
}
