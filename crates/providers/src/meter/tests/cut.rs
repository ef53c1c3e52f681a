//! Answers that end before their end.

use super::*;

#[test]
fn half_an_event_is_kept_back_from_a_stream_that_breaks() {
    let mut meter = meter(
        Dialect::OpenAi,
        AnswerShape::Stream,
        UsageChunk::Strip,
        Bounds::NONE,
    );
    let mut sent = Vec::new();
    let mut out = |bytes: Bytes| sent.extend_from_slice(&bytes);
    meter.push(&Bytes::from_static(b"data: 1\n\ndata: {\"choi"), &mut out);
    assert!(meter.is_stream() && !meter.has_said_all());
    meter.finish(End::Broken, &mut out);
    assert_eq!(sent, b"data: 1\n\n");
}

#[test]
fn a_whole_answer_that_was_cut_is_not_taken_for_whole_though_it_may_look_so() {
    for (text, end, unreadable) in [
        ("{}", End::Clean, false),
        ("{}", End::Broken, true),
        (
            r#"{"usage":{"prompt_tokens":1,"completion_tokens":1,"total_tokens":2}}"#,
            End::Broken,
            false,
        ),
    ] {
        let mut meter = meter(
            Dialect::OpenAi,
            AnswerShape::Whole,
            UsageChunk::Keep,
            Bounds::NONE,
        );
        meter.push(&Bytes::from_static(text.as_bytes()), &mut |_| {});
        let seen = meter.finish(end, &mut |_| {});
        assert_eq!(
            (seen.unreadable, seen.usage.is_none()),
            (unreadable, text == "{}"),
            "{text}"
        );
    }
}
