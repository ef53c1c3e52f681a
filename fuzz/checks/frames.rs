//! Binary event streams, in any pieces: frames with right and wrong checksums pass as they came, and what is read of them
//! does not depend on the pieces.

use bytes::Bytes;
use crc::{CRC_32_ISO_HDLC, Crc};
use cus_models::CusProviderType;
use tollgate_providers::{
    AnswerShape, Bounds, End, MeterPlan, Observed, Operation, UsageChunk, registry,
};

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The headers by which a frame says what it is: that of its name, and the kind of message.
const EVENT: (&str, &str) = (":event-type", "event");
const EXCEPTION: (&str, &str) = (":exception-type", "exception");

/// The names of events that a stream may have.
const EVENTS: [&str; 6] = [
    "chunk",
    "metadata",
    "messageStart",
    "contentBlockDelta",
    "messageStop",
    "throttlingException",
];

/// The first byte chooses the operation, the second the length of pieces. What follows are parts: a byte for the kind,
/// one for the length, and as many bytes of a payload or of rubbish.
pub(crate) fn check(input: &[u8]) {
    let [choice, length, parts @ ..] = input else {
        return;
    };
    let operation = match choice & 1 {
        0 => Operation::ConverseStream,
        _ => Operation::InvokeStream,
    };
    let stream = stream(parts);
    let provider = registry::find(CusProviderType::Bedrock).expect("it is served");
    let read = |end, pieces: usize| -> (Vec<u8>, Observed) {
        let plan = MeterPlan {
            usage_chunk: UsageChunk::Keep,
            bounds: Bounds::NONE,
        };
        let mut meter = provider.meter(operation, AnswerShape::Frames, plan);
        let mut passed = Vec::new();
        let mut out = |piece: Bytes| passed.extend_from_slice(&piece);
        for piece in stream.chunks(pieces) {
            meter.push(&Bytes::copy_from_slice(piece), &mut out);
        }
        let observed = meter.finish(end, &mut out);
        (passed, observed)
    };
    let some = usize::from(*length).max(1);
    let whole = stream.len().max(1);
    let kept = read(End::Clean, whole);
    assert_eq!(kept.0, stream, "not the same bytes");
    let cut = read(End::Broken, whole);
    assert!(stream.starts_with(&cut.0), "other bytes");
    for pieces in [some, 1] {
        assert_eq!(read(End::Clean, pieces), kept);
        assert_eq!(read(End::Broken, pieces), cut);
    }
}

fn stream(mut parts: &[u8]) -> Vec<u8> {
    let mut stream = Vec::new();
    while let [kind, length, rest @ ..] = parts {
        let (part, rest) = rest.split_at(usize::from(*length).min(rest.len()));
        parts = rest;
        let name = EVENTS.get(usize::from(kind >> 3));
        let of_kind = if kind & 4 == 0 { EVENT } else { EXCEPTION };
        match (kind & 3, name) {
            (0, Some(name)) => stream.extend(frame(of_kind, name, part)),
            (1, Some(name)) => {
                let mut wrong = frame(of_kind, name, part);
                let last = wrong.len() - 1;
                wrong[last] ^= 1;
                stream.extend(wrong);
            }
            (2, _) => stream.extend(framed(part, &[])),
            _ => stream.extend(part),
        }
    }
    stream
}

/// A frame as AWS sends it.
fn frame((kind, message): (&str, &str), name: &str, payload: &[u8]) -> Vec<u8> {
    let headers = [(kind, name), (":message-type", message)];
    let headers = headers.map(|(name, value)| {
        let mut header = vec![u8::try_from(name.len()).expect("it is short")];
        header.extend(name.as_bytes());
        header.push(7);
        header.extend(
            u16::try_from(value.len())
                .expect("it is short")
                .to_be_bytes(),
        );
        header.extend(value.as_bytes());
        header
    });
    framed(&headers.concat(), payload)
}

/// Headers and a payload, with their lengths and checksums.
fn framed(headers: &[u8], payload: &[u8]) -> Vec<u8> {
    let length = |bytes: usize| u32::try_from(bytes).expect("it is short").to_be_bytes();
    let mut frame = Vec::new();
    frame.extend(length(16 + headers.len() + payload.len()));
    frame.extend(length(headers.len()));
    frame.extend(CHECKSUM.checksum(&frame).to_be_bytes());
    frame.extend(headers);
    frame.extend(payload);
    frame.extend(CHECKSUM.checksum(&frame).to_be_bytes());
    frame
}
