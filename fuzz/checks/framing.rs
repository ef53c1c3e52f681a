//! Frames of AWS's event streams, right and wrong, from whatever the fuzzer makes up: it would never guess a checksum.

use crc::{CRC_32_ISO_HDLC, Crc};

const CHECKSUM: Crc<u32> = Crc::<u32>::new(&CRC_32_ISO_HDLC);

/// The headers by which a frame says what it is: that of its name, and the kind of message.
const EVENT: (&str, &str) = (":event-type", "event");
const EXCEPTION: (&str, &str) = (":exception-type", "exception");

/// The names of events that a stream may have.
const EVENTS: [&str; 8] = [
    "chunk",
    "metadata",
    "messageStart",
    "contentBlockDelta",
    "messageStop",
    "throttlingException",
    "contentBlockStart",
    "contentBlockStop",
];

/// A stream of parts: a byte for the kind, one for the length, and as many bytes of a payload or of rubbish.
pub(crate) fn stream(mut parts: &[u8]) -> Vec<u8> {
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
