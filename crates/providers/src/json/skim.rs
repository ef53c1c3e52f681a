//! The members of an object in one pass, which looks at what is inside of them no more than it
//! takes to know that it is JSON.
//!
//! What comes out is what `serde_json` reads. Where that is not certain (a name with escapes, a
//! member that stands there twice, anything that may not be JSON) nothing comes out, and
//! [`read`](super::read) asks `serde_json`, which has the last word on what is wrong.

use memchr::memchr2;

use super::{Members, has_controls, plain_length};

/// What is in a string, as it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Text<'a> {
    pub(super) inside: &'a [u8],
    pub(super) escapes: Escapes,
}

/// Whether there are backslashes in a string.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// There are none.
    None,
    /// There are, but nothing hides behind them.
    Plain,
    /// There are quotes behind them, or characters that are written as numbers.
    Hiding,
}

/// Looks at no string.
pub(super) const fn unseen(_: Text<'_>) {}

/// The members, where they are beyond doubt; `seen` is told of every string.
pub(super) fn skim<'a, T: Members<'a>>(
    text: &'a str,
    seen: &mut impl FnMut(Text<'_>),
) -> Option<T> {
    let mut rest = Rest::of(text);
    rest.skip_space();
    let mut members = T::default();
    rest.object(&mut members, seen)?;
    rest.skip_space();
    rest.bytes.is_empty().then_some(members)
}

/// What is left of a text. Every step answers nothing where the text is not the JSON that it
/// looks for; what is left then does not matter.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest<'a> {
    text: &'a str,
    bytes: &'a [u8],
    /// Of the string that was passed last.
    escapes: Escapes,
}

impl<'a> Rest<'a> {
    const fn of(text: &'a str) -> Self {
        Self {
            text,
            bytes: text.as_bytes(),
            escapes: Escapes::None,
        }
    }

    /// How much of the text was passed.
    pub(super) const fn at(&self) -> usize {
        self.text.len().saturating_sub(self.bytes.len())
    }

    /// What was passed since so much was.
    pub(super) fn since(&self, start: usize) -> Option<&'a str> {
        self.text.get(start..self.at())
    }

    pub(super) fn peek(&self) -> Option<u8> {
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

    #[inline]
    fn skip_space(&mut self) {
        while let Some((b' ' | b'\n' | b'\r' | b'\t', rest)) = self.bytes.split_first() {
            self.bytes = rest;
        }
    }

    /// Passes an object, and keeps those of its members that are looked at.
    pub(super) fn object<T: Members<'a>>(
        &mut self,
        members: &mut T,
        seen: &mut impl FnMut(Text<'_>),
    ) -> Option<()> {
        self.skip(b'{')?;
        self.skip_space();
        if self.skip(b'}').is_some() {
            return Some(());
        }
        loop {
            let name = self.name()?;
            if self.escapes != Escapes::None {
                return None;
            }
            seen(self.told(name));
            members.take(name, self, seen)?;
            self.skip_space();
            match self.next()? {
                b',' => self.skip_space(),
                b'}' => return Some(()),
                _ => return None,
            }
        }
    }

    /// Passes a member's name and what stands before its value; gives the name.
    #[inline]
    fn name(&mut self) -> Option<&'a [u8]> {
        self.skip(b'"')?;
        let name = self.skip_string()?;
        self.skip_space();
        self.skip(b':')?;
        self.skip_space();
        Some(name)
    }

    /// Passes a string whose opening quote was passed; gives what is in it.
    #[inline]
    fn skip_string(&mut self) -> Option<&'a [u8]> {
        // Most strings are short and have nothing special in them.
        let near = plain_length(self.bytes);
        let (inside, rest) = self.bytes.split_at_checked(near)?;
        if let Some((b'"', after)) = rest.split_first() {
            self.bytes = after;
            self.escapes = Escapes::None;
            return Some(inside);
        }
        self.skip_long_string(rest)
    }

    /// The same, of which all before `rest` was looked at.
    #[inline(never)]
    fn skip_long_string(&mut self, rest: &'a [u8]) -> Option<&'a [u8]> {
        let all = self.bytes;
        self.bytes = rest;
        self.escapes = Escapes::None;
        while self.skip_to_mark()? == b'\\' {
            if matches!(self.peek()?, b'"' | b'u') {
                self.escapes = Escapes::Hiding;
            } else if self.escapes == Escapes::None {
                self.escapes = Escapes::Plain;
            }
            self.skip_escape()?;
            self.bytes = self.bytes.get(plain_length(self.bytes)..)?;
        }
        let length = all.len().checked_sub(self.bytes.len())?.checked_sub(1)?;
        all.get(..length)
    }

    /// The string that was passed last, to be told.
    const fn told(&self, inside: &'a [u8]) -> Text<'a> {
        Text {
            inside,
            escapes: self.escapes,
        }
    }

    /// Passes what is in a string up to and with the next quote or backslash; gives which it is.
    fn skip_to_mark(&mut self) -> Option<u8> {
        if !matches!(self.peek()?, b'"' | b'\\') {
            let stop = memchr2(b'"', b'\\', self.bytes)?;
            let (inside, rest) = self.bytes.split_at_checked(stop)?;
            if has_controls(inside) {
                return None;
            }
            self.bytes = rest;
        }
        self.next()
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
    #[inline]
    fn skip_digits(&mut self) -> Option<()> {
        let first = self.next()?;
        while let Some((b'0'..=b'9', rest)) = self.bytes.split_first() {
            self.bytes = rest;
        }
        first.is_ascii_digit().then_some(())
    }

    /// Passes a number.
    #[inline]
    fn skip_number(&mut self) -> Option<()> {
        if self.peek()? == b'-' {
            self.next()?;
        }
        // A digit after a leading zero is found by what has to follow the number.
        if self.skip(b'0').is_none() {
            self.skip_digits()?;
        }
        match self.peek() {
            Some(b'.' | b'e' | b'E') => self.skip_fraction(),
            _ => Some(()),
        }
    }

    /// Passes what follows the whole part of a number.
    fn skip_fraction(&mut self) -> Option<()> {
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
    pub(crate) fn skip_value(&mut self, seen: &mut impl FnMut(Text<'_>)) -> Option<()> {
        let mut rest = *self;
        // A bit for each list or object that is open, the innermost last: one of an object is set.
        // Before all of them stands a bit that is set.
        let mut open = 1_u64;
        loop {
            match rest.peek()? {
                b'"' => {
                    rest.next()?;
                    let string = rest.skip_string()?;
                    seen(rest.told(string));
                }
                b'{' => {
                    rest.next()?;
                    rest.skip_space();
                    if rest.skip(b'}').is_none() {
                        open = open.checked_mul(2)?.checked_add(1)?;
                        let name = rest.name()?;
                        seen(rest.told(name));
                        continue;
                    }
                }
                b'[' => {
                    rest.next()?;
                    rest.skip_space();
                    if rest.skip(b']').is_none() {
                        open = open.checked_mul(2)?;
                        continue;
                    }
                }
                b't' => rest.skip_all(b"true")?,
                b'f' => rest.skip_all(b"false")?,
                b'n' => rest.skip_all(b"null")?,
                _ => rest.skip_number()?,
            }
            loop {
                if open == 1 {
                    *self = rest;
                    return Some(());
                }
                rest.skip_space();
                match (rest.next()?, open & 1) {
                    (b',', 1) => {
                        rest.skip_space();
                        let name = rest.name()?;
                        seen(rest.told(name));
                        break;
                    }
                    (b',', _) => {
                        rest.skip_space();
                        break;
                    }
                    (b'}', 1) | (b']', 0) => open = open.div_euclid(2),
                    _ => return None,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::json::{Raw, object, read, read_noting, split_string};

    object! {
        #[derive(Debug, PartialEq)]
        Few { usage, r#type as "type", model }
    }

    object! {
        #[derive(Debug, PartialEq)]
        Outer { usage in Few, model in Few, r#type as "type" }
    }

    /// What is found in one pass is what is found in one for each object.
    fn agrees_inside(text: &str) {
        let (Ok(outer), Ok(few)) = (read::<Outer<'_>>(text), read::<Few<'_>>(text)) else {
            assert!(read::<Outer<'_>>(text).is_err() && read::<Few<'_>>(text).is_err());
            return;
        };
        assert_eq!(outer.r#type, few.r#type);
        for (nested, raw) in [(outer.usage, few.usage), (outer.model, few.model)] {
            assert_eq!(nested.raw(), raw, "{text}");
            let slow: Option<Result<Few<'_>, _>> = raw.object().map(serde_json::from_str);
            match (nested.members(), slow) {
                (Ok(members), slow) => assert_eq!(members, slow.map(Result::unwrap), "{text}"),
                (Err(_), slow) => assert!(slow.unwrap().is_err(), "{text}"),
            }
        }
    }

    fn skimmed(text: &str) -> Option<[Option<&str>; 3]> {
        skim::<Few<'_>>(text, &mut unseen).map(|it| [it.usage, it.r#type, it.model].map(Raw::text))
    }

    /// What is skimmed is what `serde_json` reads; what it does not read is never skimmed.
    fn agrees(text: &str) {
        if text.trim_start().starts_with('{') {
            agrees_inside(text);
        }
        let read = serde_json::from_str::<Few<'_>>(text).ok();
        let is_object = text.trim_start().starts_with('{');
        if let Some(few) = skim::<Few<'_>>(text, &mut unseen) {
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
            // Longer than what is looked at word by word.
            "\"[a-z ]{20,50}(é|\\\\[\"\\\\nu]0061)?[a-z ]{0,50}(\\\\\\\\)?\"",
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

    /// All strings, as they are written, and whether there is a quote or a number in each.
    fn strings(text: &str) -> Vec<(&[u8], bool, bool)> {
        let mut rest = text.as_bytes();
        let mut found = Vec::new();
        while let Some(at) = rest.iter().position(|byte| *byte == b'"') {
            let (inside, after) = split_string(&rest[at + 1..]);
            let marks: Vec<u8> = String::from_utf8_lossy(inside)
                .replace("\\\\", "")
                .split('\\')
                .skip(1)
                .filter_map(|after| after.bytes().next())
                .collect();
            let hides = marks.iter().any(|mark| b"\"u".contains(mark));
            found.push((inside, inside.contains(&b'\\'), hides));
            rest = after;
        }
        found
    }

    proptest! {
        #[test]
        fn every_string_is_told_of_as_it_is_written(text in json()) {
            let mut told = Vec::new();
            let text = format!("{{\"a\":{text}}}");
            let read = skim::<Few<'_>>(&text, &mut |string| {
                let is_escaped = string.escapes != Escapes::None;
                let hides = string.escapes == Escapes::Hiding;
                told.push((string.inside.to_vec(), is_escaped, hides));
            });
            prop_assume!(read.is_some());
            let told: Vec<_> = told.iter().map(|it| (it.0.as_slice(), it.1, it.2)).collect();
            prop_assert_eq!(told, strings(&text));
        }

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
