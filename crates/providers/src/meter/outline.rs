//! The outline of an answer that is too large to be kept: its own members, with what is inside
//! lists and objects left out, but for `usage`. It is JSON if the answer is, and is read like one.

use memchr::memchr2;

use crate::json::skip_space_back;

/// The largest outline that is kept, in bytes.
const OUTLINE_MAX: usize = 64 << 10;

/// Draws an outline from pieces cut anywhere.
#[derive(Debug, Default)]
pub(super) struct Outline {
    text: Vec<u8>,
    /// How many lists and objects are open.
    depth: u64,
    place: Place,
    /// Whether what is inside the present member is drawn, too.
    in_usage: bool,
    /// Whether there was more than may be kept.
    full: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Place {
    #[default]
    Outside,
    String,
    /// In a string, after a backslash.
    Escape,
}

impl Outline {
    /// Looks at the next bytes.
    pub(super) fn push(&mut self, chunk: &[u8]) {
        let mut rest = chunk;
        while let Some(first) = rest.first() {
            rest = match self.place {
                Place::Outside => self.outside(*first, rest),
                Place::String => self.in_string(rest),
                // It does not end the string, whatever it is.
                Place::Escape => {
                    self.place = Place::String;
                    self.draw(rest, 1)
                }
            };
        }
    }

    /// The outline; empty, which is no JSON, when it is too large.
    pub(super) fn text(&self) -> &[u8] {
        if self.full { &[] } else { &self.text }
    }

    fn outside<'b>(&mut self, first: u8, rest: &'b [u8]) -> &'b [u8] {
        match first {
            b'"' => {
                self.place = Place::String;
                self.draw(rest, 1)
            }
            b'{' | b'[' => {
                if self.depth == 1 {
                    self.in_usage = self.is_at_usage();
                }
                let after = self.draw(rest, 1);
                self.depth = self.depth.saturating_add(1);
                after
            }
            b'}' | b']' => {
                self.depth = self.depth.saturating_sub(1);
                self.in_usage &= self.depth > 1;
                self.draw(rest, 1)
            }
            _ => {
                let next = rest.iter().position(|byte| b"\"{}[]".contains(byte));
                self.draw(rest, next.unwrap_or(rest.len()))
            }
        }
    }

    fn in_string<'b>(&mut self, rest: &'b [u8]) -> &'b [u8] {
        let Some(at) = memchr2(b'"', b'\\', rest) else {
            return self.draw(rest, rest.len());
        };
        self.place = match rest.get(at) {
            Some(b'"') => Place::Outside,
            _ => Place::Escape,
        };
        self.draw(rest, at.saturating_add(1))
    }

    /// Draws `length` bytes where they belong to the outline; gives the bytes after them.
    fn draw<'b>(&mut self, rest: &'b [u8], length: usize) -> &'b [u8] {
        let (seen, after) = rest.split_at_checked(length).unwrap_or((rest, &[]));
        if self.depth <= 1 || self.in_usage {
            self.full |= self.text.len().saturating_add(seen.len()) > OUTLINE_MAX;
            if !self.full {
                self.text.extend_from_slice(seen);
            }
        }
        after
    }

    /// Whether what was drawn ends where the value of `usage` begins.
    fn is_at_usage(&self) -> bool {
        let name = skip_space_back(&self.text).strip_suffix(b":");
        name.is_some_and(|name| skip_space_back(name).ends_with(b"\"usage\""))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(text: &str, at_once: usize) -> String {
        let mut outline = Outline::default();
        text.as_bytes()
            .chunks(at_once)
            .for_each(|chunk| outline.push(chunk));
        String::from_utf8(outline.text().to_vec()).unwrap()
    }

    #[test]
    fn what_is_inside_lists_and_objects_is_left_out_but_for_usage() {
        let text = r#"{"a":[1,{"usage":{"b":1}},"]}\"\\"],"m":"x\"{[","n":-1.5,
            "usage" : {"in":1,"more":{"b":[2]}} ,"c":{"usage":[3]},"d":[]} "#;
        let outline = r#"{"a":[],"m":"x\"{[","n":-1.5,
            "usage" : {"in":1,"more":{"b":[2]}} ,"c":{},"d":[]} "#;
        for at_once in 1..text.len() {
            assert_eq!(drawn(text, at_once), outline, "{at_once}");
        }
    }

    #[test]
    fn a_cut_answer_has_a_cut_outline_and_a_large_outline_is_none() {
        for cut in [r#"{"a":[1"#, r#"{"usage":{"in":1}"#, r#"{"a":[]}}"#] {
            assert!(serde_json::from_str::<serde_json::Value>(&drawn(cut, 3)).is_err());
        }
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(OUTLINE_MAX));
        assert_eq!(drawn(&long, 1_000), "");
    }
}
