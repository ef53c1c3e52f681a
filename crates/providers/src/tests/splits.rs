//! Every recorded answer, cut at every byte: the caller gets the same bytes but for the documented edit, and the same is
//! read.

use std::collections::BTreeSet;

use bytes::Bytes;
use serde_json::Value;

use super::golden::{Recorded, recorded_answers};
use crate::{AnswerShape, Bounds, End, MeterPlan, Observed, UsageChunk};

fn passed(recorded: &Recorded, usage_chunk: UsageChunk, pieces: &[&[u8]]) -> (Vec<u8>, Observed) {
    let plan = MeterPlan {
        usage_chunk,
        bounds: Bounds::NONE,
    };
    let (operation, shape) = (recorded.operation, recorded.shape);
    let mut meter = recorded.provider.meter(operation, shape, plan);
    let mut passed = Vec::new();
    let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
    for piece in pieces {
        meter.push(&Bytes::copy_from_slice(piece), &mut out);
    }
    let observed = meter.finish(End::Clean, &mut out);
    (passed, observed)
}

/// The ways of writing the same answer that its standard allows: what is no event stream has but one.
fn spellings(recorded: &Recorded) -> Vec<Vec<u8>> {
    if recorded.shape != AnswerShape::Stream {
        return vec![recorded.answer.clone()];
    }
    let plain = String::from_utf8(recorded.answer.clone()).unwrap();
    let plain = plain.replace("\r\n", "\n");
    let mixed = plain.replacen("\n\n", "\r\n\r", 1);
    let spelled = [
        plain.replace('\n', "\r\n"),
        plain.replace('\n', "\r"),
        mixed.replacen("\n\n", "\r\n\n", 1),
        format!("\u{feff}{plain}"),
        plain.replace("\n\n", "\n: a comment, \u{20ac}\u{1f980}\n\nretry: 1\n\n"),
        plain.replace("Hello", "H\u{e9}\u{20ac}\u{1f980}"),
        plain.replace("data: ", "data:"),
        plain,
    ];
    spelled.into_iter().map(String::into_bytes).collect()
}

/// The events of a stream as its standard has them, each with all of its bytes.
fn events(stream: &[u8]) -> Vec<&[u8]> {
    let (mut events, mut start, mut line) = (Vec::new(), 0, 0);
    let is_end = |byte: &u8| matches!(byte, b'\r' | b'\n');
    while let Some(offset) = stream[line..].iter().position(is_end) {
        let stop = line + offset;
        let is_pair = stream[stop..].starts_with(b"\r\n");
        let is_blank = stop == line;
        line = stop + if is_pair { 2 } else { 1 };
        if is_blank {
            events.push(&stream[start..line]);
            start = line;
        }
    }
    events.push(&stream[start..]);
    events
}

/// Whether an event has usage and nothing else, as OpenAI's dialect writes it.
fn is_usage_only(event: &[u8]) -> bool {
    let lines = event.split(|byte| matches!(byte, b'\r' | b'\n'));
    let data = lines.filter_map(|line| line.strip_prefix(b"data:"));
    let read = data.filter_map(|data| serde_json::from_slice::<Value>(data).ok());
    read.into_iter().any(|data| {
        let choices = data["choices"].as_array();
        data["usage"].is_object() && choices.is_some_and(Vec::is_empty)
    })
}

/// The answer without the host in the address of a batch's results, which every caller gets so.
fn located(recorded: &Recorded, answer: &[u8]) -> Vec<u8> {
    if !recorded.operation.tells_of_results() {
        return answer.to_vec();
    }
    let text = String::from_utf8(answer.to_vec()).unwrap();
    let host = "https://api.anthropic.com";
    text.replace(&format!("\"{host}/v1/"), "\"/v1/")
        .into_bytes()
}

/// The answer as the caller is to get it, said by another reader than the one that is tested.
fn edited(recorded: &Recorded, answer: &[u8]) -> Vec<u8> {
    if recorded.usage_chunk == UsageChunk::Keep || recorded.shape != AnswerShape::Stream {
        return answer.to_vec();
    }
    let kept = events(answer)
        .into_iter()
        .filter(|event| !is_usage_only(event));
    kept.collect::<Vec<_>>().concat()
}

#[test]
fn a_recorded_answer_that_is_cut_anywhere_passes_byte_for_byte() {
    let mut seen = BTreeSet::new();
    let mut edits = 0;
    for recorded in recorded_answers() {
        let dialect = recorded.provider.describe().dialect;
        seen.insert(format!("{dialect:?} {:?}", recorded.shape));
        let case = recorded.case.display();
        for answer in spellings(&recorded) {
            let shown = String::from_utf8_lossy(&answer);
            let located = located(&recorded, &answer);
            let wanted = edited(&recorded, &located);
            edits += usize::from(wanted != answer);
            let (whole, observed) = passed(&recorded, recorded.usage_chunk, &[&answer]);
            assert_eq!(
                String::from_utf8_lossy(&whole),
                String::from_utf8_lossy(&wanted),
                "{case}"
            );
            let (kept, same) = passed(&recorded, UsageChunk::Keep, &[&answer]);
            assert!(kept == located && same == observed, "{case}: {shown:?}");
            for at in 0..=answer.len() {
                let (before, after) = answer.split_at(at);
                let cut = passed(&recorded, recorded.usage_chunk, &[before, after]);
                assert!(
                    cut.0 == wanted && cut.1 == observed,
                    "{case}: {at} of {shown:?}"
                );
            }
            let single: Vec<&[u8]> = answer.chunks(1).collect();
            let single = passed(&recorded, recorded.usage_chunk, &single);
            assert!(
                single.0 == wanted && single.1 == observed,
                "{case}: {shown:?}"
            );
        }
    }
    let shapes = [
        "Anthropic Stream",
        "Anthropic Whole",
        "Bedrock Frames",
        "Bedrock Whole",
        "OpenAi Stream",
        "OpenAi Whole",
    ];
    assert_eq!(Vec::from_iter(&seen), shapes);
    assert!(edits >= 16, "only {edits} answers were edited");
}
