//! Streams of frames, cut anywhere: the same bytes out and the same usage.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;
use crate::dialect::Dialect;
use crate::eventstream;
use crate::meter::{AnswerShape, End, Meter, MeterPlan, UsageChunk};

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [(":event-type", name), (":message-type", "event")];
    eventstream::frame(&headers, payload.as_bytes())
}

fn chunk(json: &str) -> Vec<u8> {
    let bytes = STANDARD.encode(json);
    event("chunk", &format!(r#"{{"bytes":"{bytes}","p":"ab"}}"#))
}

fn converse_stream() -> Vec<u8> {
    [
        event("messageStart", r#"{"role":"assistant"}"#),
        event(
            "contentBlockDelta",
            r#"{"contentBlockIndex":0,"delta":{"text":"Hello, wörld"}}"#,
        ),
        event("contentBlockStop", r#"{"contentBlockIndex":0}"#),
        event("messageStop", r#"{"stopReason":"end_turn"}"#),
        event(
            "metadata",
            r#"{"usage":{"inputTokens":7,"outputTokens":5,"totalTokens":12}}"#,
        ),
    ]
    .concat()
}

fn invoke_stream() -> Vec<u8> {
    [
        chunk(r#"{"type":"message_start","message":{"model":"m","usage":{"input_tokens":3,"cache_read_input_tokens":4,"output_tokens":1}}}"#),
        chunk(r#"{"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"Hello"}}"#),
        chunk(r#"{"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":5}}"#),
        chunk(r#"{"type":"message_stop","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":5,"cacheReadInputTokenCount":4}}"#),
    ]
    .concat()
}

fn through(operation: Operation, stream: &[u8], cuts: &[usize], end: End) -> (Vec<u8>, Observed) {
    let plan = MeterPlan {
        usage_chunk: UsageChunk::Keep,
        bounds: Bounds::NONE,
    };
    let mut meter = Meter::new(Dialect::Bedrock, operation, AnswerShape::Frames, plan);
    let mut out = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().chain([stream.len()]) {
        let to = to.clamp(from, stream.len());
        let piece = Bytes::copy_from_slice(&stream[from..to]);
        meter.push(&piece, &mut |bytes| out.extend_from_slice(&bytes));
        from = to;
    }
    let seen = meter.finish(end, &mut |bytes| out.extend_from_slice(&bytes));
    (out, seen)
}

#[test]
fn a_makers_own_usage_goes_before_bedrocks_and_a_stream_without_it_has_bedrocks() {
    let (_, seen) = through(Operation::InvokeStream, &invoke_stream(), &[], End::Clean);
    let usage = seen.usage.unwrap();
    assert_eq!((usage.input, usage.cached_input, usage.output), (3, 4, 5));
    assert!(seen.complete && seen.finish_seen);
    let only_metrics = [
        chunk(r#"{"outputText":"Hello"}"#),
        chunk(r#"{"outputText":"","amazon-bedrock-invocationMetrics":{"inputTokenCount":3,"outputTokenCount":2}}"#),
    ]
    .concat();
    let (_, seen) = through(Operation::InvokeStream, &only_metrics, &[], End::Clean);
    assert_eq!(seen.usage, Some(TokenUsage::plain(3, 2)));
    assert!(seen.complete && seen.counted_output >= 3);
}

#[test]
fn a_stream_that_breaks_off_ends_with_a_whole_frame_and_is_counted() {
    let stream = converse_stream();
    let first = event("messageStart", r#"{"role":"assistant"}"#).len();
    for end in 0..stream.len() {
        let (out, seen) = through(Operation::ConverseStream, &stream[..end], &[], End::Broken);
        assert!(stream.starts_with(&out));
        if end > first && end < first + 20 {
            assert_eq!(out.len(), first);
        }
        assert_eq!(seen.usage, None);
        let (out, _) = through(Operation::ConverseStream, &stream[..end], &[], End::Clean);
        assert_eq!(out, &stream[..end]);
    }
}

#[test]
fn an_exception_is_an_error_and_a_wrong_checksum_makes_the_answer_unreadable() {
    let headers = [
        (":exception-type", "throttlingException"),
        (":message-type", "exception"),
    ];
    let stream = eventstream::frame(&headers, br#"{"message":"slow down"}"#);
    let (out, seen) = through(Operation::ConverseStream, &stream, &[], End::Clean);
    assert!(seen.error_seen && out == stream);
    let mut wrong = converse_stream();
    let last = wrong.len() - 1;
    wrong[last] ^= 1;
    let (out, seen) = through(Operation::ConverseStream, &wrong, &[], End::Clean);
    assert!(seen.unreadable && seen.usage.is_none() && out == wrong);
}

proptest! {
    #[test]
    fn any_cut_of_a_stream_of_frames_gives_the_same_bytes_and_usage(
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
    ) {
        for (operation, stream) in [
            (Operation::ConverseStream, converse_stream()),
            (Operation::InvokeStream, invoke_stream()),
        ] {
            let mut places: Vec<_> = cuts.iter().map(|it| it.index(stream.len())).collect();
            places.sort_unstable();
            let at_once = through(operation, &stream, &[], End::Clean);
            prop_assert!(at_once.1.usage.is_some() && at_once.1.complete);
            prop_assert_eq!(&at_once.0, &stream);
            prop_assert_eq!(through(operation, &stream, &places, End::Clean), at_once);
        }
    }
}
