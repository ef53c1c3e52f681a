//! Server-sent events, found while their bytes pass: never changed, never held longer than needed.
//!
//! A scanner is fed chunks cut anywhere and tells where events end. Lines end with CR, LF or CRLF,
//! also when a chunk ends between the two. An event of more than [`EVENT_MAX`] bytes is not kept.

use std::borrow::Cow;

use memchr::{memchr2, memmem};

/// The largest event that is kept to be read, in bytes.
pub(crate) const EVENT_MAX: usize = 1 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Finds where events end.
#[derive(Debug, Default)]
pub(crate) struct Scanner {
    /// The bytes so far of an event that began in an earlier chunk.
    partial: Vec<u8>,
    /// How many bytes of the event were let go, because it is too large.
    skipped: usize,
    /// Whether the line has bytes in earlier chunks.
    line_open: bool,
    /// Whether the chunk before ended with a CR, to which a LF may belong.
    after_cr: bool,
    /// Whether an event was seen.
    started: bool,
}

/// What a scanner found, up to and including a byte of the chunk.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<'a> {
    /// The LF that belongs to the CR at the end of the event before.
    Tail,
    /// An event with its closing blank line. It begins in this chunk or an earlier one.
    Event(&'a [u8]),
    /// An event of so many bytes, too large to be kept.
    TooLarge(usize),
}

impl Scanner {
    /// Looks at the next bytes; calls `found` with each end and its place in the chunk.
    pub(crate) fn push(&mut self, chunk: &[u8], mut found: impl FnMut(Found<'_>, usize)) {
        if chunk.is_empty() {
            return;
        }
        let (mut start, mut line) = (0_usize, 0_usize);
        if std::mem::take(&mut self.after_cr) && chunk.starts_with(b"\n") {
            line = 1;
            if self.is_between_events() {
                start = 1;
                found(Found::Tail, 1);
            }
        }
        while let Some(offset) = chunk
            .get(line..)
            .and_then(|rest| memchr2(b'\r', b'\n', rest))
        {
            let stop = line.saturating_add(offset);
            let blank = offset == 0 && !self.line_open;
            line = stop.saturating_add(1);
            if chunk.get(stop) == Some(&b'\r') {
                match chunk.get(line) {
                    Some(b'\n') => line = line.saturating_add(1),
                    Some(_) => {}
                    None => self.after_cr = true,
                }
            }
            self.line_open = false;
            if blank {
                self.end_event(chunk.get(start..line).unwrap_or_default(), line, &mut found);
                start = line;
            }
        }
        self.line_open |= line < chunk.len();
        self.keep(chunk.get(start..).unwrap_or_default());
    }

    /// The bytes of an event that has not ended, for when nothing more comes.
    pub(crate) fn rest(&self) -> &[u8] {
        self.without_mark(&self.partial)
    }

    /// Whether nothing of a next event was seen.
    pub(crate) fn is_between_events(&self) -> bool {
        self.partial.is_empty() && self.skipped == 0
    }

    /// Whether an event that comes now begins with its first byte: nothing of it was seen, and no LF
    /// belongs to the one before.
    pub(crate) const fn is_fresh(&self) -> bool {
        self.partial.is_empty() && self.skipped == 0 && !self.after_cr && !self.line_open
    }

    /// Whether the bytes of the present event are let go.
    pub(crate) fn is_skipping(&self) -> bool {
        self.skipped > 0
    }

    fn end_event(&mut self, last: &[u8], end: usize, found: &mut impl FnMut(Found<'_>, usize)) {
        let length = self
            .skipped
            .saturating_add(self.partial.len())
            .saturating_add(last.len());
        if self.is_skipping() || length > EVENT_MAX {
            found(Found::TooLarge(length), end);
        } else if self.partial.is_empty() {
            found(Found::Event(self.without_mark(last)), end);
        } else {
            self.partial.extend_from_slice(last);
            found(Found::Event(self.without_mark(&self.partial)), end);
        }
        self.partial.clear();
        self.skipped = 0;
        self.started = true;
    }

    fn keep(&mut self, bytes: &[u8]) {
        if !self.is_skipping() && self.partial.len().saturating_add(bytes.len()) <= EVENT_MAX {
            self.partial.extend_from_slice(bytes);
            return;
        }
        let held = std::mem::take(&mut self.partial).len();
        self.skipped = self
            .skipped
            .saturating_add(held)
            .saturating_add(bytes.len());
    }

    /// A stream may begin with a byte order mark, which is no part of its first event.
    fn without_mark<'a>(&self, event: &'a [u8]) -> &'a [u8] {
        if self.started {
            event
        } else {
            event.strip_prefix(BYTE_ORDER_MARK).unwrap_or(event)
        }
    }
}

/// The fields of an event that matter here.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Event<'a> {
    /// The last `event` field.
    pub(crate) name: Option<&'a [u8]>,
    /// The `data` fields, joined by line breaks.
    pub(crate) data: Cow<'a, [u8]>,
}

impl<'a> Event<'a> {
    /// Takes an event apart. Comments and other fields are passed over.
    pub(crate) fn parse(bytes: &'a [u8]) -> Self {
        let mut event = Self {
            name: None,
            data: Cow::Borrowed(&[]),
        };
        let mut has_data = false;
        let mut rest = bytes;
        while !rest.is_empty() {
            let end = memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
            let (line, after) = rest.split_at_checked(end).unwrap_or((rest, &[]));
            rest = after.get(1..).unwrap_or_default();
            if let Some(value) = field(line, b"data") {
                if std::mem::replace(&mut has_data, true) {
                    let joined = event.data.to_mut();
                    joined.push(b'\n');
                    joined.extend_from_slice(value);
                } else {
                    event.data = Cow::Borrowed(value);
                }
            } else if let Some(value) = field(line, b"event") {
                event.name = Some(value);
            }
        }
        event
    }

    /// Whether the data contains `text`.
    pub(crate) fn mentions(&self, text: &memmem::Finder<'_>) -> bool {
        text.find(&self.data).is_some()
    }
}

/// The value of a line's field: after the colon, and after one space if there is one.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let after = line.strip_prefix(name)?;
    if after.is_empty() {
        return Some(after);
    }
    let value = after.strip_prefix(b":")?;
    Some(value.strip_prefix(b" ").unwrap_or(value))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every event of a stream that comes in these chunks, and their ends in the whole stream.
    fn events(chunks: &[&[u8]]) -> (Vec<Vec<u8>>, Vec<usize>) {
        let mut scanner = Scanner::default();
        let (mut found, mut ends, mut before) = (Vec::new(), Vec::new(), 0);
        for chunk in chunks {
            scanner.push(chunk, |it, end| match it {
                Found::Event(event) => {
                    found.push(event.to_vec());
                    ends.push(before + end);
                }
                Found::Tail => *ends.last_mut().unwrap() = before + end,
                Found::TooLarge(length) => panic!("{length}"),
            });
            before += chunk.len();
        }
        (found, ends)
    }

    fn data(event: &[u8]) -> String {
        String::from_utf8(Event::parse(event).data.into_owned()).unwrap()
    }

    #[test]
    fn an_event_ends_at_a_blank_line_of_any_kind() {
        for line_end in ["\n", "\r", "\r\n"] {
            let stream =
                "event: a\ndata: 1\ndata:2\n: c\nid: 9\n\ndata\n\n".replace('\n', line_end);
            let (found, ends) = events(&[stream.as_bytes()]);
            let texts: Vec<String> = found.iter().map(|event| data(event)).collect();
            assert_eq!(texts, ["1\n2", ""], "{line_end:?}");
            assert_eq!(ends.last(), Some(&stream.len()));
            assert_eq!(Event::parse(&found[0]).name, Some(&b"a"[..]));
        }
    }

    #[test]
    fn a_byte_order_mark_belongs_to_no_event_but_only_at_the_beginning() {
        let stream = b"\xef\xbb\xbfdata: 1\n\n\xef\xbb\xbfdata: 2\n\n";
        let (found, _) = events(&[stream]);
        assert_eq!(data(&found[0]), "1");
        assert_eq!(data(&found[1]), "");
    }

    #[test]
    fn an_event_beyond_the_bound_is_not_kept_and_the_next_one_is_found() {
        let mut scanner = Scanner::default();
        let mut found = Vec::new();
        let line = vec![b'x'; 100_000];
        for _ in 0..12 {
            scanner.push(&line, |_, _| unreachable!());
            assert!(scanner.partial.capacity() <= 2 * EVENT_MAX);
        }
        assert!(scanner.is_skipping());
        scanner.push(b"\n\ndata: 1\n\n", |it, end| {
            found.push((matches!(it, Found::TooLarge(1_200_002)), end));
        });
        assert_eq!(found, [(true, 2), (false, 11)]);
    }

    proptest! {
        #[test]
        fn no_cut_changes_what_is_found(
            stream in "(\u{feff})?(data: ?[a-z]{0,3}|event: x|:|\r|\n|\r\n|\n\n|\r\r|\r\n\r\n){0,30}",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..8),
        ) {
            let bytes = stream.as_bytes();
            let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
            cuts.extend([0, bytes.len()]);
            cuts.sort_unstable();
            let chunks: Vec<&[u8]> = cuts.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
            let (whole, ends) = events(&[bytes]);
            let (cut, cut_ends) = events(&chunks);
            let texts = |events: &[Vec<u8>]| events.iter().map(|it| data(it)).collect::<Vec<_>>();
            prop_assert_eq!(texts(&whole), texts(&cut));
            prop_assert_eq!(ends, cut_ends);
        }

        #[test]
        fn any_bytes_can_be_scanned_and_parsed(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut scanner = Scanner::default();
            scanner.push(&bytes, |found, _| if let Found::Event(event) = found {
                Event::parse(event);
            });
            Event::parse(scanner.rest());
        }
    }
}
