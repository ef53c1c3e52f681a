//! A stream as binary frames: lengths, a checksum of them, headers, a payload, a checksum of all.

/// Frames written one after the other.
#[derive(Debug, Default)]
pub(in crate::simulate) struct Frames {
    pub(in crate::simulate) bytes: Vec<u8>,
    /// The length of each.
    pub(in crate::simulate) lengths: Vec<usize>,
}

impl Frames {
    /// Adds an event.
    pub(in crate::simulate) fn event(&mut self, name: &str, payload: &str) {
        let mut headers = Vec::new();
        for (header, value) in [
            (":event-type", name),
            (":content-type", "application/json"),
            (":message-type", "event"),
        ] {
            headers.extend(u8::try_from(header.len()));
            headers.extend_from_slice(header.as_bytes());
            // The kind of a text.
            headers.push(7);
            headers.extend(u16::try_from(value.len()).unwrap_or_default().to_be_bytes());
            headers.extend_from_slice(value.as_bytes());
        }
        let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
        let length = 16 + headers.len() + payload.len();
        let mut frame = Vec::with_capacity(length);
        frame.extend(number(length));
        frame.extend(number(headers.len()));
        frame.extend(crc32(&frame).to_be_bytes());
        frame.extend(headers);
        frame.extend_from_slice(payload.as_bytes());
        frame.extend(crc32(&frame).to_be_bytes());
        self.lengths.push(frame.len());
        self.bytes.extend(frame);
    }
}

/// The checksum of frames: that of Ethernet and gzip, a bit at a time.
fn crc32(bytes: &[u8]) -> u32 {
    let mut register = u32::MAX;
    for byte in bytes {
        register ^= u32::from(*byte);
        for _ in 0..8 {
            let carry = register & 1;
            register = (register >> 1) ^ (0xedb8_8320 * carry);
        }
    }
    !register
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_the_one_that_the_world_agrees_on() {
        assert_eq!(crc32(b"123456789"), 0xcbf4_3926);
        assert_eq!(crc32(b""), 0);
    }

    #[test]
    fn a_frame_says_its_own_lengths() {
        let mut frames = Frames::default();
        frames.event("metadata", "{}");
        frames.event("chunk", "{}");
        assert_eq!(frames.lengths.iter().sum::<usize>(), frames.bytes.len());
        let first = u32::try_from(frames.lengths[0]).unwrap().to_be_bytes();
        assert_eq!(frames.bytes[..4], first);
    }
}
