//! The members of an object in one pass, which looks at what is inside of them no more than it
//! takes to know that it is JSON.
//!
//! What comes out is what `serde_json` reads. Where that is not certain (a name with escapes, a
//! member that stands there twice, anything that may not be JSON) nothing comes out, and
//! [`read`] asks `serde_json`, which has the last word on what is wrong.

use memchr::memchr2;
use serde::Deserialize;

use super::{HIGHEST, Raw, SPACES, plain_length};

/// An object of which some members are looked at, by their names.
pub(crate) trait Members<'a>: Deserialize<'a> + Default {
    /// Where the member of this name is put; none when it is not looked at.
    fn place(&mut self, name: &[u8]) -> Option<&mut Raw<'a>>;
}

/// Defines an object of which some members are looked at: a struct of [`Raw`] values, each called
/// like its member, or `as` its member is called.
macro_rules! object {
    ($(#[$about:meta])* $kind:ident { $($(#[$told:meta])* $field:ident $(as $name:literal)?),+ $(,)? }) => {
        $(#[$about])*
        #[derive(serde::Deserialize, Default)]
        #[serde(default)]
        struct $kind<'a> {
            $($(#[$told])* #[serde(borrow $(, rename = $name)?)] $field: $crate::json::Raw<'a>,)+
        }

        impl<'a> $crate::json::Members<'a> for $kind<'a> {
            fn place(&mut self, name: &[u8]) -> Option<&mut $crate::json::Raw<'a>> {
                $(if name == $crate::json::object!(@name $field $($name)?).as_bytes() {
                    return Some(&mut self.$field);
                })+
                None
            }
        }
    };
    (@name $field:ident) => { stringify!($field) };
    (@name $field:ident $name:literal) => { $name };
}

pub(crate) use object;

/// Reads the members of the object that `text` is; an error when it is none, is not JSON, or has
/// one of them twice.
pub(crate) fn read<'a, T: Members<'a>>(text: &'a str) -> Result<T, serde_json::Error> {
    skim(text, &mut |_| {}).map_or_else(|| serde_json::from_str(text), Ok)
}

/// Reads the members of an object, and tells whether there may be a string in it, at any depth,
/// that `is_noted`. One with a quote or a character's number in it always is.
pub(crate) fn read_noting<'a, T: Members<'a>>(
    text: &'a str,
    is_noted: impl Fn(&[u8]) -> bool,
) -> Result<(T, bool), serde_json::Error> {
    let mut noted = false;
    let members = skim(text, &mut |string: Text<'_>| {
        noted |= string.hides || is_noted(string.inside);
    });
    match members {
        Some(members) => Ok((members, noted)),
        None => serde_json::from_str(text).map(|members| (members, true)),
    }
}

/// What is in a string, as it is written.
#[derive(Debug, Clone, Copy)]
struct Text<'a> {
    inside: &'a [u8],
    /// Whether there are backslashes in it.
    is_escaped: bool,
    /// Whether there are quotes in it, or characters that are written as numbers.
    hides: bool,
}

/// The members, where they are beyond doubt; `seen` is told of every string.
fn skim<'a, T: Members<'a>>(text: &'a str, seen: &mut impl FnMut(Text<'_>)) -> Option<T> {
    let mut members = T::default();
    let mut rest = Rest::of(text);
    rest.skip_space();
    rest.skip(b'{')?;
    rest.skip_space();
    if rest.skip(b'}').is_none() {
        loop {
            let name = rest.name()?;
            if name.is_escaped {
                return None;
            }
            seen(name);
            let start = rest.at(text);
            rest.skip_value(seen)?;
            if let Some(place) = members.place(name.inside) {
                let value = text.get(start..rest.at(text))?;
                if place.0.replace(value).is_some() {
                    return None;
                }
            }
            rest.skip_space();
            match rest.next()? {
                b',' => rest.skip_space(),
                b'}' => break,
                _ => return None,
            }
        }
    }
    rest.skip_space();
    rest.bytes.is_empty().then_some(members)
}

/// What is left of a text. Every step answers nothing where the text is not the JSON that it
/// looks for; what is left then does not matter.
struct Rest<'a> {
    bytes: &'a [u8],
}

impl<'a> Rest<'a> {
    const fn of(text: &'a str) -> Self {
        Self {
            bytes: text.as_bytes(),
        }
    }

    /// How much of `text` was passed.
    const fn at(&self, text: &str) -> usize {
        text.len().saturating_sub(self.bytes.len())
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.first().copied()
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*first)
    }

    /// Passes this byte, if it is the next.
    fn skip(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.bytes.split_first()?;
        if *first != byte {
            return None;
        }
        self.bytes = rest;
        Some(())
    }

    fn skip_all(&mut self, bytes: &[u8]) -> Option<()> {
        self.bytes = self.bytes.strip_prefix(bytes)?;
        Some(())
    }

    fn skip_space(&mut self) {
        while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = self.bytes.split_first() {
            self.bytes = rest;
        }
    }

    /// Passes a member's name and what stands before its value; gives the name.
    fn name(&mut self) -> Option<Text<'a>> {
        self.skip(b'"')?;
        let name = self.skip_string()?;
        self.skip_space();
        self.skip(b':')?;
        self.skip_space();
        Some(name)
    }

    /// Passes a string whose opening quote was passed; gives what is in it.
    fn skip_string(&mut self) -> Option<Text<'a>> {
        // Most strings are short and have nothing special in them.
        if let Some(length) = plain_length(self.bytes) {
            let (inside, rest) = self.bytes.split_at_checked(length)?;
            if let Some((b'"', rest)) = rest.split_first() {
                self.bytes = rest;
                return Some(Text {
                    inside,
                    is_escaped: false,
                    hides: false,
                });
            }
        }
        self.skip_long_string()
    }

    fn skip_long_string(&mut self) -> Option<Text<'a>> {
        let all = self.bytes;
        let (mut is_escaped, mut hides) = (false, false);
        loop {
            let stop = if let Some(near) = plain_length(self.bytes) {
                near
            } else {
                let stop = memchr2(b'"', b'\\', self.bytes)?;
                if has_controls(self.bytes.get(..stop)?) {
                    return None;
                }
                stop
            };
            let (mark, rest) = self.bytes.get(stop..)?.split_first()?;
            self.bytes = rest;
            match mark {
                b'"' => break,
                b'\\' => {}
                // A control character.
                _ => return None,
            }
            is_escaped = true;
            hides |= matches!(self.peek()?, b'"' | b'u');
            self.skip_escape()?;
        }
        let length = all.len().checked_sub(self.bytes.len())?.checked_sub(1)?;
        Some(Text {
            inside: all.get(..length)?,
            is_escaped,
            hides,
        })
    }

    /// Passes what follows a backslash.
    fn skip_escape(&mut self) -> Option<()> {
        match self.next()? {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => Some(()),
            b'u' => {
                let (digits, rest) = self.bytes.split_at_checked(4)?;
                self.bytes = rest;
                digits.iter().all(u8::is_ascii_hexdigit).then_some(())
            }
            _ => None,
        }
    }

    /// Passes one digit or more.
    fn skip_digits(&mut self) -> Option<()> {
        let first = self.next()?;
        while let Some((b'0'..=b'9', rest)) = self.bytes.split_first() {
            self.bytes = rest;
        }
        first.is_ascii_digit().then_some(())
    }

    /// Passes a number without its sign.
    fn skip_number(&mut self) -> Option<()> {
        // A digit after a leading zero is found by what has to follow the number.
        if self.skip(b'0').is_none() {
            self.skip_digits()?;
        }
        if self.skip(b'.').is_some() {
            self.skip_digits()?;
        }
        if let Some(b'e' | b'E') = self.peek() {
            self.next()?;
            if let Some(b'+' | b'-') = self.peek() {
                self.next()?;
            }
            self.skip_digits()?;
        }
        Some(())
    }

    /// Passes a value. Lists and objects deeper than 63 in each other are left to others.
    fn skip_value(&mut self, seen: &mut impl FnMut(Text<'_>)) -> Option<()> {
        // A bit for each list or object that is open, the innermost last: one of an object is set.
        // Before all of them stands a bit that is set.
        let mut open = 1_u64;
        loop {
            match self.peek()? {
                b'"' => {
                    self.next()?;
                    seen(self.skip_string()?);
                }
                b'{' => {
                    self.next()?;
                    self.skip_space();
                    if self.skip(b'}').is_none() {
                        open = open.checked_mul(2)?.checked_add(1)?;
                        seen(self.name()?);
                        continue;
                    }
                }
                b'[' => {
                    self.next()?;
                    self.skip_space();
                    if self.skip(b']').is_none() {
                        open = open.checked_mul(2)?;
                        continue;
                    }
                }
                b't' => self.skip_all(b"true")?,
                b'f' => self.skip_all(b"false")?,
                b'n' => self.skip_all(b"null")?,
                b'-' => {
                    self.next()?;
                    self.skip_number()?;
                }
                _ => self.skip_number()?,
            }
            loop {
                if open == 1 {
                    return Some(());
                }
                self.skip_space();
                match (self.next()?, open & 1) {
                    (b',', 1) => {
                        self.skip_space();
                        seen(self.name()?);
                        break;
                    }
                    (b',', _) => {
                        self.skip_space();
                        break;
                    }
                    (b'}', 1) | (b']', 0) => open = open.div_euclid(2),
                    _ => return None,
                }
            }
        }
    }
}

/// Whether there is a control character. Asked of eight bytes at once, as `plain_length` does, and
/// without a stop at the first.
fn has_controls(bytes: &[u8]) -> bool {
    let (words, rest) = bytes.as_chunks::<8>();
    let below = words.iter().fold(0, |seen, bytes| {
        let word = u64::from_le_bytes(*bytes);
        seen | (word.wrapping_sub(SPACES) & !word)
    });
    below & HIGHEST != 0 || rest.iter().any(|byte| *byte < b' ')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    object! {
        #[derive(Debug, PartialEq)]
        Few { usage, r#type as "type", model }
    }

    fn skimmed(text: &str) -> Option<[Option<&str>; 3]> {
        skim::<Few<'_>>(text, &mut |_| {}).map(|it| [it.usage, it.r#type, it.model].map(Raw::text))
    }

    /// What is skimmed is what `serde_json` reads; what it does not read is never skimmed.
    fn agrees(text: &str) {
        let read = serde_json::from_str::<Few<'_>>(text).ok();
        let is_object = text.trim_start().starts_with('{');
        if let Some(few) = skim::<Few<'_>>(text, &mut |_| {}) {
            assert_eq!(Some(few), read, "{text}");
        } else if let Some(few) = read.filter(|_| is_object) {
            let is_told = text.contains('\\') || text.matches(['{', '[']).count() > 60;
            assert!(is_told, "was not skimmed: {text}: {few:?}");
        }
    }

    #[test]
    fn the_members_are_found_among_all_kinds_of_others() {
        let text = " {\"a\":[1,-0.5e+3,{\"usage\":1}, [] ,{ }],\n\t\"usage\" : {\"in\":[1 , 2]} ,\"type\":\"x\\\"{\\u00e9\\\\\",\"b\":true,\"c\":false,\"model\":null} \r\n";
        assert_eq!(
            skimmed(text),
            Some([
                Some(r#"{"in":[1 , 2]}"#),
                Some(r#""x\"{\u00e9\\""#),
                Some("null")
            ])
        );
        assert_eq!(skimmed("{}"), Some([None; 3]));
    }

    #[test]
    fn what_is_in_doubt_is_left_to_others() {
        for text in [
            "",
            "[]",
            "{",
            "{}x",
            r#"{"usage":1,"usage":2}"#,
            r#"{"us\u0061ge":1}"#,
            r#"{"usage":1,}"#,
            r#"{"usage":[1,]}"#,
            r#"{"usage":{"a":1,}}"#,
            r#"{"usage":[1}}"#,
            r#"{"usage":{"a":1]}"#,
            r#"{"usage":01}"#,
            r#"{"usage":-}"#,
            r#"{"usage":1.}"#,
            r#"{"usage":.5}"#,
            r#"{"usage":1e}"#,
            r#"{"usage":+1}"#,
            r#"{"usage":tru}"#,
            r#"{"usage":nul}"#,
            r#"{"usage":"a\x"}"#,
            r#"{"usage":"\u12g4"}"#,
            r#"{"usage":"a}"#,
            "{\"usage\":\"a\nb\"}",
            "{\"usage\":\"a\u{1f}b\"}",
            "{\"us\nage\":1}",
            r#"{"usage" 1}"#,
            "{usage:1}",
            r#"{"a":}"#,
        ] {
            assert_eq!(skimmed(text), None, "{text}");
            agrees(text);
        }
    }

    #[test]
    fn no_depth_is_too_deep_to_be_read() {
        for depth in [10, 62, 63, 64, 65, 5_000] {
            let text = format!(
                r#"{{"a":{}{},"usage":{{"in":1}}}}"#,
                "[".repeat(depth),
                "]".repeat(depth)
            );
            let few: Few<'_> = read(&text).unwrap();
            assert_eq!(few.usage.text(), Some(r#"{"in":1}"#), "{depth}");
        }
    }

    #[test]
    fn a_member_that_stands_there_twice_is_an_error_by_its_name() {
        let error = read::<Few<'_>>(r#"{"type":1,"type":null}"#)
            .map(drop)
            .unwrap_err();
        assert!(
            error.to_string().contains("duplicate field `type`"),
            "{error}"
        );
    }

    #[test]
    fn a_noted_string_is_found_at_any_depth_and_one_that_may_hide_it_is_noted() {
        let noted = |text| {
            let read = read_noting::<Few<'_>>(text, |string| string == b"image");
            read.map(|(_, noted)| noted).unwrap()
        };
        for text in [
            r#"{"image":1}"#,
            r#"{"a":{"b":[1,{"image":2}]}}"#,
            r#"{"a":{"b":[1,"image"]}}"#,
            r#"{"a":{"b":1,"image":2}}"#,
            r#"{"a":"\"image"}"#,
            r#"{"a":"im\u0061ge"}"#,
            r#"{"\n":1}"#,
        ] {
            assert!(noted(text), "{text}");
        }
        assert!(!noted(
            r#"{"a":["images","Image","an image \n\t\\ of its own that is long enough"],"b":{"c":1}}"#
        ));
    }

    fn json() -> impl Strategy<Value = String> {
        let leaf = prop_oneof![
            "(null|true|false)",
            "-?(0|[1-9][0-9]{0,3})(\\.[0-9]{1,3})?([eE][+-]?[0-9]{1,2})?",
            "\"([a-z é\u{1f980}]|\\\\[\"\\\\/bfnrt]|\\\\u[0-9a-fA-F]{4}){0,6}\"",
        ];
        leaf.prop_recursive(4, 24, 4, |inner| {
            let name = "\"(usage|type|model|a|b)\"[ \n]{0,2}:[ \t]{0,2}";
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4)
                    .prop_map(|all| format!("[{}]", all.join(" ,"))),
                prop::collection::vec((name, inner), 0..4).prop_map(|all| {
                    let all: Vec<String> =
                        all.into_iter().map(|(name, value)| name + &value).collect();
                    format!("{{ {}}}", all.join(",\r\n"))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn any_json_is_read_as_serde_json_reads_it(text in json()) {
            agrees(&text);
        }

        #[test]
        fn json_that_was_tampered_with_is_read_as_serde_json_reads_it(
            text in json(),
            at in any::<prop::sample::Index>(),
            by in "[\\[\\]{},:\"\\\\0-9eE.\u{0}-\u{20}a-z+-]{0,2}",
        ) {
            let at = at.index(text.chars().count().max(1));
            let mut bent: String = text.chars().take(at).collect();
            bent.push_str(&by);
            bent.extend(text.chars().skip(at + 1));
            agrees(&bent);
        }

        #[test]
        fn any_text_is_read_as_serde_json_reads_it(text in "[\\[\\]{},:\"\\\\u0-9eE.\\-\n a]{0,24}") {
            agrees(&text);
            agrees(&format!("{{\"usage\":{text}}}"));
        }
    }
}
