//! Events that are like one before but for a text: most of a stream are, and only that text is
//! looked at. What is left is counted as if all of the event had been read.

use memchr::memchr2;
use memchr::memmem::Finder;

use super::counting::{each_text, text_tokens};
use crate::json::{plain_length, span_of_bytes, split_string, value_after, values_named};
use crate::sse::EVENT_MAX;

/// The largest event that is kept, in bytes: one for every stream that is open.
const KEPT_MAX: usize = 2_048;

/// How often an event may be kept in vain: some providers write something else into every one.
const TRIES: u8 = 8;

/// An event that had nothing but output, taken apart at its last text.
#[derive(Debug)]
pub(super) struct Echo {
    /// Up to and with the quote before the text; nothing when no event is kept.
    before: Vec<u8>,
    /// What follows the quote after it.
    after: Vec<u8>,
    /// The tokens of its other texts.
    beside: u64,
    tries: u8,
}

impl Default for Echo {
    fn default() -> Self {
        Self {
            before: Vec::new(),
            after: Vec::new(),
            beside: 0,
            tries: TRIES,
        }
    }
}

impl Echo {
    /// One that keeps no event.
    #[cfg(test)]
    pub(super) fn deaf() -> Self {
        Self {
            tries: 0,
            ..Self::default()
        }
    }

    /// The tokens of an event that is like the one that is kept but for its text; none when it is
    /// another, and has to be read.
    ///
    /// The text has no line break, and no quote but behind a backslash, so that the event has the
    /// same fields, members and depths. It brings no member of a name that is searched for: such a
    /// name would have to end with the quote after the text, and no colon follows there. Only of
    /// `"error"` a mention is enough.
    pub(super) fn tokens(&mut self, event: &[u8]) -> Option<u64> {
        if self.before.is_empty() {
            return None;
        }
        let rest = event.strip_prefix(self.before.as_slice())?;
        let (text, after) = text_and_rest(rest)?;
        if after != self.after || text.ends_with(b"error") {
            return None;
        }
        self.tries = TRIES;
        Some(self.beside.saturating_add(text_tokens(text)))
    }

    /// The tokens of bytes that are such an event to their last, so that nobody has to look where
    /// they end. Before them another event has ended.
    pub(super) fn tokens_of_all(&mut self, bytes: &[u8]) -> Option<u64> {
        // After a CR alone, a LF that comes next belongs to it.
        let ends = self.after.ends_with(b"\n") && bytes.len() <= EVENT_MAX;
        ends.then(|| self.tokens(bytes)).flatten()
    }

    /// Keeps an event that had output in the member that `pieces` finds in its `data`, and nothing
    /// else that matters.
    pub(super) fn keep(&mut self, event: &[u8], data: &[u8], pieces: &Finder<'static>) {
        let Some(tries) = self.tries.checked_sub(1) else {
            return;
        };
        self.tries = tries;
        self.before.clear();
        if event.len() > KEPT_MAX {
            return;
        }
        let mut values = values_named(data, pieces);
        let (Some(value), None) = (values.next(), values.next()) else {
            return;
        };
        let (mut all, mut last) = (0_u64, None);
        each_text(value, |text| {
            all = all.saturating_add(text_tokens(text));
            last = Some(text);
        });
        let Some(text) = last else { return };
        // Data of several lines was put together, and stands nowhere in the event.
        let Some(place) = span_of_bytes(text, event) else {
            return;
        };
        let (before, after) = (event.get(..place.start), event.get(place.end..));
        let (Some(before), Some([b'"', after @ ..])) = (before, after) else {
            return;
        };
        // Where nothing follows, a text without an end would look the same.
        if after.is_empty() || value_after(after).is_some() {
            return;
        }
        self.before.extend_from_slice(before);
        self.after.clear();
        self.after.extend_from_slice(after);
        self.beside = all.saturating_sub(text_tokens(text));
    }
}

/// The text that `rest` begins with, and what follows its closing quote; none where there are line
/// breaks in it.
fn text_and_rest(rest: &[u8]) -> Option<(&[u8], &[u8])> {
    let (text, after) = rest.split_at_checked(plain_length(rest))?;
    if let Some((b'"', after)) = after.split_first() {
        return Some((text, after));
    }
    let (text, after) = split_string(rest);
    memchr2(b'\r', b'\n', text)
        .is_none()
        .then_some((text, after))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;
    use crate::meter::{End, Meter, MeterPlan, Observed, Reader, UsageChunk};
    use crate::{AnswerShape, Bounds, Dialect, Operation};

    const CASES: [(Dialect, Operation); 4] = [
        (Dialect::OpenAi, Operation::ChatCompletions),
        (Dialect::OpenAi, Operation::Completions),
        (Dialect::OpenAi, Operation::Transcriptions),
        (Dialect::Anthropic, Operation::Messages),
    ];

    /// What is read of a stream, as one piece, by a meter whose echo is this one; and the echo.
    fn read(case: (Dialect, Operation), stream: &str, echo: Echo) -> (Observed, Echo) {
        let (observed, _, echo) = pieces(case, &[stream], UsageChunk::Keep, echo);
        (observed, echo)
    }

    /// What is read of pieces, and what comes out.
    fn pieces(
        case: (Dialect, Operation),
        pieces: &[&str],
        usage_chunk: UsageChunk,
        echo: Echo,
    ) -> (Observed, Vec<u8>, Echo) {
        let plan = MeterPlan {
            usage_chunk,
            bounds: Bounds::NONE,
        };
        let mut meter = Meter::new(case.0, case.1, AnswerShape::Stream, plan);
        *kept(&mut meter) = echo;
        let mut passed = Vec::new();
        let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
        for piece in pieces {
            meter.push(&Bytes::copy_from_slice(piece.as_bytes()), &mut out);
        }
        let echo = std::mem::take(kept(&mut meter));
        let observed = meter.finish(End::Clean, &mut out);
        (observed, passed, echo)
    }

    fn kept(meter: &mut Meter) -> &mut Echo {
        match &mut meter.reader {
            Reader::OpenAi(reader) => &mut reader.echo,
            Reader::Anthropic(reader) => &mut reader.echo,
            Reader::Responses(_) | Reader::Media(_) | Reader::Bedrock(_) => panic!("no echo"),
        }
    }

    fn chunk(text: &str) -> String {
        format!(
            r#"data: {{"id":"c1","model":"gpt-4o","choices":[{{"index":0,"delta":{{"content":"{text}"}},"finish_reason":null}}],"usage":null}}"#
        ) + "\n\n"
    }

    #[test]
    fn an_event_that_differs_in_its_text_alone_is_counted_without_being_read() {
        let table = [
            (CASES[0], chunk("one"), chunk(r#"two, \u00e9 \n \"three\""#)),
            (CASES[0], chunk(""), chunk("usage")),
            (
                CASES[3],
                "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"a\"}}\r\n\r\n".to_owned(),
                "event: content_block_delta\r\ndata: {\"type\":\"content_block_delta\",\"delta\":{\"type\":\"text_delta\",\"text\":\"\"}}\r\n\r\n".to_owned(),
            ),
        ];
        for (case, first, like) in table {
            let begun = first.repeat(2);
            let (_, mut echo) = read(case, &begun, Echo::default());
            assert!(echo.tokens(like.as_bytes()).is_some(), "{like}");
            let stream = format!("{begun}{like}");
            assert_eq!(
                read(case, &stream, Echo::default()).0,
                read(case, &stream, Echo::deaf()).0
            );
        }
    }

    #[test]
    fn an_event_that_may_have_more_in_it_is_read() {
        let begun = chunk("one").repeat(2);
        for other in [
            chunk(r#"two"},"finish_reason":"stop","x":{"y":""#),
            chunk(r#"two","content":"three"#),
            chunk("two\n\ndata: {}"),
            chunk("two\r"),
            chunk("an error"),
            chunk("two").replace("\"usage\":null", "\"usage\":{}"),
            chunk("two").replace("null}]", "\"stop\"}]"),
            chunk("two").replace("\"}", ""),
            chunk("two").trim_end().to_owned(),
            String::new(),
        ] {
            let (_, mut echo) = read(CASES[0], &begun, Echo::default());
            assert_eq!(echo.tokens(other.as_bytes()), None, "{other}");
        }
    }

    #[test]
    fn what_is_unlike_every_time_is_soon_not_kept_any_more() {
        let unlike = |number: u64| chunk("one").replace("c1", &number.to_string());
        let stream: String = (0..100).map(unlike).collect();
        let (_, mut echo) = read(CASES[0], &stream, Echo::default());
        assert_eq!(echo.tries, 0);
        assert_eq!(echo.tokens(unlike(99).as_bytes()), None);
        let large = chunk(&"x".repeat(KEPT_MAX));
        let (_, echo) = read(CASES[0], &large.repeat(3), Echo::default());
        assert!(echo.before.is_empty());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1_000))]
        #[test]
        fn no_stream_is_read_otherwise_than_event_by_event(
            case in 0..CASES.len(),
            pattern in "(data: ?|event: content_block_delta\ndata: |data: 1\ndata: )[{]\"model\":\"m\",(\"[a-c]\":\"x\",)?\"(delta|text)\":([{]?\"(content|text|type|delta|usage)\": ?)?\"@\"[}]?(:[{]|,\"(finish_reason|usage|error|delta)\":(null|[{]|\"@\"))?[}]{0,2}",
            texts in prop::collection::vec("(|a|word |error|usage|delta|text|\\\\\"|\\\\\"(error|usage|delta|finish_reason)|\\\\|\"|\n|\r|\\\\u00e9|\",\"finish_reason\":\"stop|\":[{]\"usage\":[{])", 1..12),
            end in "(\n\n|\r\n\r\n|\r\r|\n: x\n\n|\n\n\n)",
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..3),
            strips in any::<bool>(),
        ) {
            let mut events: Vec<String> = texts.iter().map(|text| pattern.replace('@', text) + &end).collect();
            let usage_only = r#"data: {"choices":[],"usage":{"prompt_tokens":1,"completion_tokens":2}}"#;
            events.insert(events.len() / 2, format!("{usage_only}{end}"));
            let mut apart: Vec<&str> = Vec::new();
            for (number, event) in events.iter().enumerate() {
                let cut = cuts.get(number).map_or(event.len(), |cut| cut.index(event.len()));
                let cut = (0..=cut).rev().find(|at| event.is_char_boundary(*at)).unwrap_or(0);
                let (one, other) = event.split_at(cut);
                apart.extend([one, other].into_iter().filter(|it| !it.is_empty()));
            }
            let stream = events.concat();
            let usage_chunk = if strips { UsageChunk::Strip } else { UsageChunk::Keep };
            let (seen, passed, _) = pieces(CASES[case], &[&stream], usage_chunk, Echo::deaf());
            for these in [vec![stream.as_str()], apart] {
                let (heard, out, _) = pieces(CASES[case], &these, usage_chunk, Echo::default());
                prop_assert_eq!(&heard, &seen, "{}", stream);
                prop_assert_eq!(String::from_utf8_lossy(&out), String::from_utf8_lossy(&passed));
            }
        }
    }
}
