//! Streams as providers send them, cut anywhere; and as a liar would send them.

mod cut;

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use proptest::prelude::*;
use tollgate_core::TokenUsage;
use tollgate_core::tokens::TOKENS_MAX;

use super::*;

const OPENAI: &str = r#"data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"role":"assistant","content":"","refusal":null},"finish_reason":null}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{"content":"Hé \"usage\":{"},"finish_reason":null}],"usage":null}

: keep-alive

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[{"index":0,"delta":{},"finish_reason":"stop"}],"usage":null}

data: {"id":"c1","object":"chat.completion.chunk","model":"gpt-4o-2024-08-06","choices":[],"usage":{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13,"prompt_tokens_details":{"cached_tokens":3}}}

data: [DONE]

"#;

const ANTHROPIC: &str = r#"event: message_start
data: {"type":"message_start","message":{"id":"m1","type":"message","role":"assistant","model":"claude-sonnet-4-5","content":[],"stop_reason":null,"usage":{"input_tokens":25,"cache_read_input_tokens":7,"output_tokens":1}}}

event: content_block_start
data: {"type":"content_block_start","index":0,"content_block":{"type":"tool_use","id":"t1","name":"look","input":{"usage":{"output_tokens":999}}}}

event: ping
data: {"type":"ping"}

event: content_block_delta
data: {"type":"content_block_delta","index":0,"delta":{"type":"input_json_delta","partial_json":"{\"type\":\"message_delta\",\"usage\":{\"output_tokens\":5}}"}}

event: content_block_stop
data: {"type":"content_block_stop","index":0}

event: message_delta
data: {"type":"message_delta","delta":{"stop_reason":"tool_use","stop_sequence":null},"usage":{"output_tokens":15}}

event: message_stop
data: {"type":"message_stop"}

"#;

fn meter(dialect: Dialect, shape: AnswerShape, usage_chunk: UsageChunk, bounds: Bounds) -> Meter {
    let operation = match dialect {
        Dialect::OpenAi => Operation::ChatCompletions,
        Dialect::Anthropic => Operation::Messages,
        Dialect::Bedrock => Operation::ConverseStream,
    };
    Meter::new(
        dialect,
        operation,
        shape,
        MeterPlan {
            usage_chunk,
            bounds,
        },
    )
}

/// What comes out of a meter, and what it saw, when the stream comes in these chunks.
fn through(mut meter: Meter, chunks: &[&[u8]]) -> (String, Observed) {
    let mut sent = Vec::new();
    let mut out = |bytes: Bytes| {
        assert!(!bytes.is_empty());
        sent.extend_from_slice(&bytes);
    };
    for chunk in chunks {
        meter.push(&Bytes::copy_from_slice(chunk), &mut out);
    }
    let observed = meter.finish(End::Clean, &mut out);
    (String::from_utf8(sent).unwrap(), observed)
}

fn stream(dialect: Dialect, usage_chunk: UsageChunk, text: &str) -> (String, Observed) {
    through(
        meter(dialect, AnswerShape::Stream, usage_chunk, Bounds::NONE),
        &[text.as_bytes()],
    )
}

fn whole(dialect: Dialect, text: &str) -> Observed {
    let meter = meter(dialect, AnswerShape::Whole, UsageChunk::Keep, Bounds::NONE);
    let (sent, observed) = through(meter, &[text.as_bytes()]);
    assert_eq!(sent, text);
    observed
}

/// The stream without its usage event.
fn stripped() -> String {
    let events: Vec<&str> = OPENAI
        .split_inclusive("\n\n")
        .filter(|event| !event.contains("\"choices\":[]"))
        .collect();
    assert_eq!(events.len(), 5);
    events.concat()
}

#[test]
fn an_openai_stream_tells_its_usage_and_passes_unchanged() {
    let (sent, seen) = stream(Dialect::OpenAi, UsageChunk::Keep, OPENAI);
    assert_eq!(sent, OPENAI);
    assert_eq!(
        seen.usage,
        Some(TokenUsage {
            cached_input: 3,
            ..TokenUsage::plain(6, 4)
        })
    );
    assert_eq!(seen.model.as_deref(), Some("gpt-4o-2024-08-06"));
    assert!(seen.complete && seen.finish_seen && !seen.error_seen);
    assert_eq!(seen.invalid_usage, None);
}

#[test]
fn an_anthropic_stream_tells_its_usage_and_tools_cannot_fake_it() {
    let (sent, seen) = stream(Dialect::Anthropic, UsageChunk::Strip, ANTHROPIC);
    assert_eq!(sent, ANTHROPIC);
    assert_eq!(
        seen.usage,
        Some(TokenUsage {
            cached_input: 7,
            ..TokenUsage::plain(25, 15)
        })
    );
    assert_eq!(seen.model.as_deref(), Some("claude-sonnet-4-5"));
    assert!(seen.complete && seen.finish_seen && !seen.error_seen);
}

#[test]
fn an_anthropic_stream_without_event_names_is_read_by_its_types() {
    let unnamed: Vec<&str> = ANTHROPIC
        .split_inclusive('\n')
        .filter(|line| !line.starts_with("event:"))
        .collect();
    let (_, named) = stream(Dialect::Anthropic, UsageChunk::Keep, ANTHROPIC);
    let (_, seen) = stream(Dialect::Anthropic, UsageChunk::Keep, &unnamed.concat());
    assert_eq!(seen, named);
}

#[test]
fn only_the_usage_event_is_taken_out() {
    assert_eq!(
        stream(Dialect::OpenAi, UsageChunk::Strip, OPENAI).0,
        stripped()
    );
    // Not one of these: usage beside choices, choices without usage.
    let other = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":1}}\n\n\
                 data: {\"choices\":[],\"prompt_filter_results\":[]}\n\n\
                 data: {\"choices\":[],\"usage\":null}\n\n";
    assert_eq!(stream(Dialect::OpenAi, UsageChunk::Strip, other).0, other);
}

#[test]
fn the_last_of_several_usages_counts() {
    let text = "data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n\
                data: {\"choices\":[{}],\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":2}}\n\n";
    let (_, seen) = stream(Dialect::OpenAi, UsageChunk::Keep, text);
    assert_eq!(seen.usage, Some(TokenUsage::plain(5, 2)));
    assert!(!seen.complete);
}

#[test]
fn without_usage_at_least_what_was_delivered_is_counted() {
    let (cut, _) = OPENAI.split_once(": keep").unwrap();
    let (_, seen) = stream(Dialect::OpenAi, UsageChunk::Strip, cut);
    assert_eq!(seen.usage, None);
    // Nine letters and a space are five; é is two, and so is each escaped quote; `:` and `{`.
    assert_eq!(seen.counted_output, 4 + 2 + 4 + 2);
    assert_eq!(seen.counted(100), TokenUsage::plain(100, 12));
    let (cut, _) = ANTHROPIC.split_once("event: message_delta").unwrap();
    let (_, seen) = stream(Dialect::Anthropic, UsageChunk::Keep, cut);
    assert_eq!(seen.usage, None);
    assert!(seen.counted_output > 30 && !seen.complete);
    let counted = seen.counted(1_000);
    assert_eq!((counted.input, counted.cached_input), (25, 7));
}

#[test]
fn more_than_the_request_allowed_is_neither_counted_nor_believed() {
    let bounds = Bounds {
        tokens_in: 100,
        tokens_out: 3,
    };
    let run = |text: &str| {
        let meter = meter(
            Dialect::OpenAi,
            AnswerShape::Stream,
            UsageChunk::Strip,
            bounds,
        );
        through(meter, &[text.as_bytes()]).1
    };
    let seen = run(OPENAI);
    assert_eq!(seen.counted_output, 3);
    assert_eq!(
        (seen.usage, seen.invalid_usage),
        (None, Some(InvalidUsage::AboveBound))
    );
}

#[test]
fn a_meter_that_is_asked_in_the_middle_keeps_to_the_bounds() {
    let bounds = Bounds {
        tokens_in: 100,
        tokens_out: 3,
    };
    let mut meter = meter(
        Dialect::OpenAi,
        AnswerShape::Stream,
        UsageChunk::Keep,
        bounds,
    );
    meter.push(&Bytes::from_static(OPENAI.as_bytes()), &mut drop);
    assert_eq!(meter.observed.counted_output, 3);
}

#[test]
fn a_later_lie_takes_back_what_was_believed() {
    let text = "data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":1}}\n\n\
                data: {\"usage\":{\"prompt_tokens\":5,\"completion_tokens\":-1}}\n\n";
    let (_, seen) = stream(Dialect::OpenAi, UsageChunk::Keep, text);
    assert_eq!(
        (seen.usage, seen.invalid_usage),
        (None, Some(InvalidUsage::NotACount))
    );
}

#[test]
fn a_lie_among_anthropics_counts_is_not_hidden_by_later_ones() {
    let lie = ANTHROPIC.replace("\"input_tokens\":25", "\"input_tokens\":-25");
    let (_, seen) = stream(Dialect::Anthropic, UsageChunk::Keep, &lie);
    assert_eq!(
        (seen.usage, seen.invalid_usage),
        (None, Some(InvalidUsage::NotACount))
    );
}

#[test]
fn an_error_in_a_stream_is_seen() {
    let openai = "data: {\"error\":{\"message\":\"overloaded\"}}\n\n";
    assert!(
        stream(Dialect::OpenAi, UsageChunk::Strip, openai)
            .1
            .error_seen
    );
    let spoken = "data: {\"choices\":[{\"delta\":{\"content\":\"\\\"error\\\":{}\"}}]}\n\n";
    assert!(
        !stream(Dialect::OpenAi, UsageChunk::Strip, spoken)
            .1
            .error_seen
    );
    let anthropic =
        "event: error\ndata: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\"}}\n\n";
    assert!(
        stream(Dialect::Anthropic, UsageChunk::Keep, anthropic)
            .1
            .error_seen
    );
}

#[test]
fn a_last_event_without_its_blank_line_is_still_read() {
    let (_, seen) = stream(Dialect::OpenAi, UsageChunk::Strip, OPENAI.trim_end());
    assert!(seen.complete);
}

#[test]
fn a_line_of_more_than_a_mebibyte_passes_and_is_not_free() {
    let text = format!(
        "data: {{\"choices\":[{{\"delta\":{{\"content\":\"{}\"}}}}]}}\n\n{OPENAI}",
        "x".repeat(2 << 20)
    );
    let chunks: Vec<&[u8]> = text.as_bytes().chunks(16_384).collect();
    let meter = meter(
        Dialect::OpenAi,
        AnswerShape::Stream,
        UsageChunk::Strip,
        Bounds::NONE,
    );
    let (sent, seen) = through(meter, &chunks);
    assert_eq!(sent.len() + OPENAI.len(), text.len() + stripped().len());
    assert!(seen.counted_output > 2 << 20 && seen.usage.is_some());
}

#[test]
fn a_whole_answer_tells_its_usage_however_it_is_written() {
    let body = "{ \"model\" : \"gpt-4o\",\n\"choices\":[{\"message\":{\"content\":\"\\\"usage\\\":{\"},\
                \"finish_reason\":\"stop\"}],\t\"usage\" : { \"prompt_tokens\" : 8 , \"completion_tokens\":0 } }";
    let seen = whole(Dialect::OpenAi, body);
    assert_eq!(seen.usage, Some(TokenUsage::plain(8, 0)));
    assert!(seen.complete && seen.finish_seen);
    let body = r#"{"type":"message","model":"claude","content":[{"type":"tool_use","input":{"usage":{"input_tokens":1}}}],
                   "stop_reason":"tool_use","usage":{"input_tokens":3,"output_tokens":4}}"#;
    assert_eq!(
        whole(Dialect::Anthropic, body).usage,
        Some(TokenUsage::plain(3, 4))
    );
}

#[test]
fn a_whole_answer_in_pieces_is_the_same_answer() {
    let body = r#"{"choices":[],"usage":{"prompt_tokens":8,"completion_tokens":1}}"#;
    let meter = meter(
        Dialect::OpenAi,
        AnswerShape::Whole,
        UsageChunk::Strip,
        Bounds::NONE,
    );
    let pieces: Vec<&[u8]> = body.as_bytes().chunks(7).collect();
    let (sent, seen) = through(meter, &pieces);
    assert_eq!(sent, body);
    assert_eq!(seen.usage, Some(TokenUsage::plain(8, 1)));
}

#[test]
fn a_whole_answer_without_usage_is_counted() {
    let seen = whole(
        Dialect::OpenAi,
        r#"{"choices":[{"message":{"role":"assistant","content":"Hello you"}}]}"#,
    );
    assert_eq!((seen.usage, seen.counted_output), (None, 5));
    let seen = whole(
        Dialect::Anthropic,
        r#"{"type":"message","content":[{"type":"text","text":"Hello you"}]}"#,
    );
    assert_eq!((seen.usage, seen.counted_output), (None, 5));
}

#[test]
fn rubbish_is_an_answer_without_usage() {
    let deep = format!(
        "{{\"usage\":{}{}}}",
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    for text in ["", "null", "[1]", "{", "{\"usage\":{}", deep.as_str()] {
        for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
            assert_eq!(whole(dialect, text).usage, None);
            assert_eq!(
                stream(dialect, UsageChunk::Strip, &format!("data: {text}\n\n"))
                    .1
                    .usage,
                None
            );
        }
    }
}

#[test]
fn the_shape_of_an_answer_is_in_its_headers() {
    let of = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, http::HeaderValue::from_static(value));
        AnswerShape::of(&headers)
    };
    assert_eq!(of("text/event-stream; charset=utf-8"), AnswerShape::Stream);
    assert_eq!(of("Text/Event-Stream"), AnswerShape::Stream);
    assert_eq!(of("application/json"), AnswerShape::Whole);
    assert_eq!(AnswerShape::of(&HeaderMap::new()), AnswerShape::Whole);
}

#[test]
fn a_compressed_answer_passes_and_is_not_taken_for_one_that_was_read() {
    let of = |encodings: &[&'static str]| {
        let mut headers = HeaderMap::new();
        let stream = http::HeaderValue::from_static("text/event-stream");
        headers.insert(CONTENT_TYPE, stream);
        for encoding in encodings {
            let value = http::HeaderValue::from_static(encoding);
            headers.append(CONTENT_ENCODING, value);
        }
        AnswerShape::of(&headers)
    };
    assert_eq!(of(&["gzip"]), AnswerShape::Opaque);
    assert_eq!(of(&["identity", "br"]), AnswerShape::Opaque);
    assert_eq!(of(&["identity, zstd"]), AnswerShape::Opaque);
    assert_eq!(of(&["Identity"]), AnswerShape::Stream);
    assert_eq!(of(&[""]), AnswerShape::Stream);
    let (keep, none) = (UsageChunk::Strip, Bounds::NONE);
    let meter = meter(Dialect::OpenAi, AnswerShape::Opaque, keep, none);
    assert!(!meter.is_stream() && meter.has_said_all());
    let (sent, seen) = through(meter, &[OPENAI.as_bytes()]);
    assert_eq!((sent.as_str(), seen.usage), (OPENAI, None));
    assert!(seen.unreadable);
}

#[test]
fn a_whole_answer_that_cannot_be_read_is_not_one_without_output() {
    let complete = r#"{"type":"message","choices":[],"content":[]}"#;
    let cut = r#"{"type":"message","choices":[{"message":{"content":"Hello"#;
    let twice = r#"{"model":"a","model":"b","choices":[]}"#;
    for dialect in [Dialect::OpenAi, Dialect::Anthropic] {
        assert!(!whole(dialect, complete).unreadable);
        for text in ["", "null", cut, twice, OPENAI, "{} {}"] {
            assert!(whole(dialect, text).unreadable, "{text}");
        }
        let (_, seen) = stream(dialect, UsageChunk::Keep, "data: rubbish\n\n");
        assert!(!seen.unreadable);
    }
}

#[test]
fn the_usage_of_an_answer_too_large_to_be_kept_is_still_found() {
    let run = |dialect, before: &str, after: &str| {
        let text = [before, &"[0.5,{\"usage\":1}],".repeat(600_000), after].concat();
        assert!(text.len() > kept::KEPT_MAX);
        let meter = meter(dialect, AnswerShape::Whole, UsageChunk::Keep, Bounds::NONE);
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(60_001).collect();
        let (sent, seen) = through(meter, &chunks);
        assert!(sent == text);
        seen
    };
    let usage = r#"[]],"model":"m","usage":{"prompt_tokens":8,"completion_tokens":2}}"#;
    let seen = run(Dialect::OpenAi, r#"{"choices":["#, usage);
    assert_eq!(
        (seen.usage, seen.unreadable),
        (Some(TokenUsage::plain(8, 2)), false)
    );
    assert_eq!(seen.model.as_deref(), Some("m"));
    let start = r#"{"type":"message","usage":{"input_tokens":3,"output_tokens":4},"content":["#;
    let seen = run(Dialect::Anthropic, start, "[]]}");
    assert_eq!(seen.usage, Some(TokenUsage::plain(3, 4)));
    // Cut, without usage, or with two of them: what it used is unknown.
    for after in ["[]],\"usage\":{", "[]]}", "[]],\"usage\":{},\"usage\":{}}"] {
        let seen = run(Dialect::OpenAi, r#"{"choices":["#, after);
        assert_eq!(
            (seen.usage, seen.unreadable),
            (None, seen.invalid_usage.is_none())
        );
    }
}

#[test]
fn a_stream_has_said_all_when_it_says_why_it_ends() {
    let after = |dialect, text: &str| {
        let mut meter = meter(
            dialect,
            AnswerShape::Stream,
            UsageChunk::Strip,
            Bounds::NONE,
        );
        meter.push(&Bytes::copy_from_slice(text.as_bytes()), &mut drop);
        assert!(meter.is_stream());
        meter.has_said_all()
    };
    let (cut, _) = OPENAI.split_once(": keep-alive").unwrap();
    assert!(!after(Dialect::OpenAi, cut));
    assert!(after(Dialect::OpenAi, OPENAI));
    assert!(after(Dialect::OpenAi, "data: [DONE]\n\n"));
    assert!(after(Dialect::OpenAi, "data: {\"error\":{}}\n\n"));
    let (cut, _) = ANTHROPIC.split_once("event: message_delta").unwrap();
    assert!(!after(Dialect::Anthropic, cut));
    assert!(after(Dialect::Anthropic, ANTHROPIC));
}

#[test]
fn an_input_that_cannot_be_is_not_booked_when_the_stream_breaks_after_it() {
    let (start, _) = ANTHROPIC.split_once("event: content_block_start").unwrap();
    let lie = start.replace("\"input_tokens\":25", "\"input_tokens\":5000000000");
    let run = |tokens_in| {
        let bounds = Bounds {
            tokens_in,
            tokens_out: 3,
        };
        let (stream, keep) = (AnswerShape::Stream, UsageChunk::Keep);
        let meter = meter(Dialect::Anthropic, stream, keep, bounds);
        through(meter, &[lie.as_bytes()]).1
    };
    let seen = run(1_000);
    assert_eq!(seen.invalid_usage, Some(InvalidUsage::AboveBound));
    assert_eq!((seen.usage, seen.input), (None, None));
    // Where the request bounds no input, half a report is taken for no more than was held.
    let seen = run(TOKENS_MAX);
    assert_eq!(seen.invalid_usage, None);
    let counted = seen.counted(1_000);
    assert_eq!(counted, TokenUsage::plain(2_024, 0));
    let not_a_count = start.replace("\"input_tokens\":25", "\"input_tokens\":-25");
    let (_, seen) = stream(Dialect::Anthropic, UsageChunk::Keep, &not_a_count);
    assert_eq!(seen.invalid_usage, Some(InvalidUsage::NotACount));
}

fn cut<'t>(text: &'t [u8], cuts: &[prop::sample::Index]) -> Vec<&'t [u8]> {
    let mut places: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
    places.extend([0, text.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

#[test]
fn a_cut_at_every_single_byte_changes_nothing() {
    for line_end in ["\n", "\r\n", "\r"] {
        let text = OPENAI.replace('\n', line_end);
        let expected = stripped().replace('\n', line_end);
        let plan = || {
            meter(
                Dialect::OpenAi,
                AnswerShape::Stream,
                UsageChunk::Strip,
                Bounds::NONE,
            )
        };
        let (_, seen) = through(plan(), &[text.as_bytes()]);
        for place in 0..=text.len() {
            let (before, after) = text.as_bytes().split_at(place);
            assert_eq!(
                through(plan(), &[before, after]),
                (expected.clone(), seen.clone()),
                "{place}"
            );
        }
        let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
        assert_eq!(through(plan(), &bytes), (expected, seen));
    }
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_gives_the_same_bytes_and_usage(
        dialect in prop_oneof![Just(Dialect::OpenAi), Just(Dialect::Anthropic)],
        usage_chunk in prop_oneof![Just(UsageChunk::Keep), Just(UsageChunk::Strip)],
        line_end in prop_oneof![Just("\n"), Just("\r\n"), Just("\r")],
        mark in prop_oneof![Just(""), Just("\u{feff}")],
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        let text = match dialect { Dialect::OpenAi => OPENAI, Dialect::Anthropic | Dialect::Bedrock => ANTHROPIC };
        let text = [mark, &text.replace('\n', line_end)].concat();
        let plan = || meter(dialect, AnswerShape::Stream, usage_chunk, Bounds::NONE);
        let at_once = through(plan(), &[text.as_bytes()]);
        prop_assert!(at_once.1.usage.is_some());
        prop_assert_eq!(through(plan(), &cut(text.as_bytes(), &cuts)), at_once);
    }

    #[test]
    fn a_stream_that_ends_anywhere_passes_what_came_but_usage(end in 0..OPENAI.len()) {
        prop_assume!(OPENAI.is_char_boundary(end));
        let (came, _) = OPENAI.split_at(end);
        let (sent, seen) = stream(Dialect::OpenAi, UsageChunk::Keep, came);
        prop_assert_eq!(sent, came);
        let (sent, same) = stream(Dialect::OpenAi, UsageChunk::Strip, came);
        prop_assert_eq!(seen, same);
        let usage = OPENAI.split_inclusive("\n\n").find(|it| it.contains("\"choices\":[]")).unwrap();
        let starts = OPENAI.find(usage).unwrap();
        if end <= starts {
            prop_assert_eq!(sent, came);
        } else if end >= starts + usage.len() {
            prop_assert_eq!(sent, came.replace(usage, ""));
        } else {
            prop_assert!(sent == came || came.split_at(starts).0 == sent);
        }
    }

    #[test]
    fn any_bytes_at_all_pass_and_nothing_panics(
        chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 0..6),
        dialect in prop_oneof![Just(Dialect::OpenAi), Just(Dialect::Anthropic)],
    ) {
        let mut meter = meter(dialect, AnswerShape::Stream, UsageChunk::Strip, Bounds::NONE);
        let mut sent = Vec::new();
        let mut out = |bytes: Bytes| sent.extend_from_slice(&bytes);
        for chunk in &chunks {
            meter.push(&Bytes::copy_from_slice(chunk), &mut out);
        }
        meter.finish(End::Clean, &mut out);
        prop_assert_eq!(sent, chunks.concat());
    }
}
