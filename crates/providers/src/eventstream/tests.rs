//! Frames cut anywhere are found all the same, and what is no frame passes unread. The oracle for
//! the form of frames is the crate that AWS's own SDK reads them with.

use aws_smithy_eventstream::frame::{read_message_from, write_message_to};
use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use proptest::prelude::*;

use super::*;

/// What was found, as texts, and what was handed on, of a stream in chunks.
fn passed(stream: &[u8], cuts: &[usize]) -> (Vec<String>, Vec<u8>, usize) {
    let mut frames = Frames::default();
    let (mut told, mut out) = (Vec::new(), Vec::new());
    let mut from = 0;
    let ends = cuts.iter().copied().chain([stream.len()]);
    for end in ends {
        let end = end.clamp(from, stream.len());
        let chunk = Bytes::copy_from_slice(&stream[from..end]);
        from = end;
        frames.push(
            &chunk,
            &mut |found| {
                told.push(match found {
                    Found::Frame(frame) => format!(
                        "{} {}",
                        frame.header(":event-type").unwrap_or("-"),
                        String::from_utf8_lossy(frame.payload)
                    ),
                    Found::TooLarge(length) => format!("large {length}"),
                    Found::Lost => "lost".to_owned(),
                });
            },
            &mut |bytes| out.extend_from_slice(&bytes),
        );
    }
    let rest = frames.rest();
    out.extend_from_slice(&rest);
    (told, out, rest.len())
}

fn event(name: &str, payload: &str) -> Vec<u8> {
    let headers = [
        (":event-type", name),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ];
    frame(&headers, payload.as_bytes())
}

#[test]
fn a_frame_is_one_to_the_reader_of_awss_own_sdk() {
    let ours = event("metadata", r#"{"usage":{}}"#);
    let message = read_message_from(&mut ours.as_slice()).unwrap();
    assert_eq!(message.payload().as_ref(), br#"{"usage":{}}"#);
    assert_eq!(message.headers().len(), 3);
    assert_eq!(
        message.headers()[0].value().as_string().unwrap().as_str(),
        "metadata"
    );
}

#[test]
fn a_frame_of_awss_own_sdk_is_read_with_headers_of_every_kind() {
    let header = |name: &'static str, value| Header::new(name, value);
    let message = Message::new_from_parts(
        vec![
            header("true", HeaderValue::Bool(true)),
            header("byte", HeaderValue::Byte(-1)),
            header("short", HeaderValue::Int16(2)),
            header("int", HeaderValue::Int32(3)),
            header("long", HeaderValue::Int64(4)),
            header("bytes", HeaderValue::ByteArray(Bytes::from_static(b"xyz"))),
            header("id", HeaderValue::Uuid(7)),
            header(":event-type", HeaderValue::String("chunk".into())),
        ],
        Bytes::from_static(b"payload"),
    );
    let mut theirs = Vec::new();
    write_message_to(&message, &mut theirs).unwrap();
    let (told, out, held) = passed(&theirs, &[]);
    assert_eq!((told, held), (vec!["chunk payload".to_owned()], 0));
    assert_eq!(out, theirs);
}

#[test]
fn half_a_frame_is_held_back() {
    let whole = event("chunk", "abc");
    let half = [&whole[..], &whole[..whole.len() - 1]].concat();
    let (told, out, held) = passed(&half, &[]);
    assert_eq!(told, ["chunk abc"]);
    assert_eq!((out.len(), held), (half.len(), whole.len() - 1));
}

#[test]
fn a_wrong_checksum_ends_the_reading_and_not_the_passing() {
    let whole = event("chunk", "abc");
    for at in 0..whole.len() {
        let mut wrong = whole.clone();
        wrong[at] ^= 1;
        let stream = [&whole[..], &wrong, &whole].concat();
        let (told, out, _) = passed(&stream, &[5, 40, 90]);
        assert_eq!(told.first().map(String::as_str), Some("chunk abc"), "{at}");
        assert_eq!(told.get(1).map(String::as_str), Some("lost"), "{at}");
        assert_eq!(told.len(), 2, "{at}");
        assert_eq!(out, stream, "{at}");
    }
}

#[test]
fn a_frame_that_is_too_large_passes_unread_and_the_next_is_read() {
    let large = event("chunk", &"x".repeat(FRAME_MAX));
    let stream = [&large[..], &event("metadata", "{}")].concat();
    for cuts in [vec![], vec![3], vec![12, 100_000], vec![large.len() - 1]] {
        let (told, out, _) = passed(&stream, &cuts);
        assert_eq!(
            told,
            [format!("large {}", large.len()), "metadata {}".into()]
        );
        assert!(out == stream);
    }
}

proptest! {
    #[test]
    fn any_cut_finds_the_same_frames_and_hands_on_the_same_bytes(
        payloads in prop::collection::vec("[a-z]{0,40}", 0..6),
        cuts in prop::collection::vec(0_usize..600, 0..12),
        tail in prop::collection::vec(any::<u8>(), 0..20),
    ) {
        let mut stream: Vec<u8> = payloads.iter().flat_map(|it| event("chunk", it)).collect();
        stream.extend_from_slice(&tail);
        let mut cuts = cuts;
        cuts.sort_unstable();
        let (whole, _, _) = passed(&stream, &[]);
        let (told, out, _) = passed(&stream, &cuts);
        prop_assert_eq!(&told, &whole);
        prop_assert_eq!(&told[..payloads.len()], payloads.iter().map(|it| format!("chunk {it}")).collect::<Vec<_>>());
        prop_assert_eq!(out, stream);
    }

    #[test]
    fn any_bytes_pass(bytes in prop::collection::vec(any::<u8>(), 0..200), cut in 0_usize..200) {
        let (_, out, _) = passed(&bytes, &[cut]);
        prop_assert_eq!(out, bytes);
    }
}
