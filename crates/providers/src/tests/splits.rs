//! Every recorded stream, cut at every byte: the caller gets the same bytes, and the same is read.

use bytes::Bytes;

use super::golden::recorded_streams;
use crate::{
    AnswerShape, Bounds, Dialect, End, MeterPlan, Observed, Operation, Provider, UsageChunk,
};

fn passed(
    provider: &dyn Provider,
    usage_chunk: UsageChunk,
    pieces: &[&[u8]],
) -> (Vec<u8>, Observed) {
    let operation = match provider.describe().dialect {
        Dialect::OpenAi => Operation::ChatCompletions,
        Dialect::Anthropic => Operation::Messages,
        Dialect::Bedrock => Operation::ConverseStream,
    };
    let bounds = Bounds::NONE;
    let plan = MeterPlan {
        usage_chunk,
        bounds,
    };
    let mut meter = provider.meter(operation, AnswerShape::Stream, plan);
    let mut passed = Vec::new();
    let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
    for piece in pieces {
        meter.push(&Bytes::copy_from_slice(piece), &mut out);
    }
    let observed = meter.finish(End::Clean, &mut out);
    (passed, observed)
}

/// The ways of writing the same stream that its standard allows.
fn spellings(stream: &str) -> [String; 5] {
    let plain = stream.replace("\r\n", "\n");
    [
        plain.clone(),
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        format!("\u{feff}{plain}"),
        plain.replace("\n\n", "\n: a comment, \u{20ac}\u{1f980}\n\nretry: 1\n\n"),
    ]
}

#[test]
fn a_recorded_stream_that_is_cut_anywhere_passes_byte_for_byte() {
    let mut streams = 0;
    for (provider, stream) in recorded_streams() {
        for text in spellings(&stream) {
            let bytes = text.as_bytes();
            let (kept, seen) = passed(provider, UsageChunk::Keep, &[bytes]);
            assert_eq!(kept, bytes);
            let (stripped, same) = passed(provider, UsageChunk::Strip, &[bytes]);
            assert_eq!(same, seen);
            for at in 0..=bytes.len() {
                let (before, after) = bytes.split_at(at);
                let cut = passed(provider, UsageChunk::Keep, &[before, after]);
                assert!(cut.0 == kept && cut.1 == seen, "{at} of {text:?}");
                let cut = passed(provider, UsageChunk::Strip, &[before, after]);
                assert!(cut.0 == stripped && cut.1 == seen, "{at} of {text:?}");
            }
            let single: Vec<&[u8]> = bytes.chunks(1).collect();
            assert_eq!(passed(provider, UsageChunk::Keep, &single).0, kept);
            assert_eq!(passed(provider, UsageChunk::Strip, &single).0, stripped);
        }
        streams += 1;
    }
    assert!(streams >= 5, "only {streams} streams are recorded");
}
