//! Forms of several parts, of any size: written down while they are sent, so that the test keeps none of them.

use aws_lc_rs::digest::{Context, SHA256};
use bytes::Bytes;

const BOUNDARY: &str = "----formdata-test-0123456789abcdef";

/// Bytes of one piece of a file.
const PIECE: usize = 64 << 10;

/// A form.
#[derive(Debug, Clone, Default)]
pub struct Form {
    parts: Vec<Part>,
}

#[derive(Debug, Clone)]
enum Part {
    Text(Vec<u8>),
    /// So many bytes that look like nothing.
    Noise(usize),
}

impl Form {
    /// A form without parts.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The same with one more field.
    #[must_use]
    pub fn field(mut self, (name, value): (&str, &str)) -> Self {
        let text = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n"
        );
        self.parts.push(Part::Text(text.into_bytes()));
        self
    }

    /// The same with one more file in the field `file`.
    #[must_use]
    pub fn file(self, file_name: &str, bytes: usize) -> Self {
        self.file_in("file", file_name, bytes)
    }

    /// The same with one more file.
    #[must_use]
    pub fn file_in(mut self, name: &str, file_name: &str, bytes: usize) -> Self {
        let head = format!(
            "--{BOUNDARY}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{file_name}\"\r\nContent-Type: application/octet-stream\r\n\r\n"
        );
        self.parts.push(Part::Text(head.into_bytes()));
        self.parts.push(Part::Noise(bytes));
        self.parts.push(Part::Text(b"\r\n".to_vec()));
        self
    }

    /// The header `content-type`.
    pub fn content_type(&self) -> String {
        format!("multipart/form-data; boundary={BOUNDARY}")
    }

    /// Bytes of all of it.
    pub fn length(&self) -> usize {
        let parts = self.parts.iter().map(|part| match part {
            Part::Text(text) => text.len(),
            Part::Noise(bytes) => *bytes,
        });
        parts.sum::<usize>() + end().len()
    }

    /// It, piece by piece.
    pub fn pieces(&self) -> impl Iterator<Item = Bytes> + '_ {
        let noise = noise();
        let parts = self.parts.iter().flat_map(move |part| {
            let (text, length) = match part {
                Part::Text(text) => (Bytes::copy_from_slice(text), 0),
                Part::Noise(bytes) => (Bytes::new(), *bytes),
            };
            let noise = noise.clone();
            let pieces = (0..length)
                .step_by(PIECE)
                .map(move |from| noise.slice(..PIECE.min(length - from)));
            std::iter::once(text).chain(pieces)
        });
        parts.chain(std::iter::once(Bytes::from(end())))
    }

    /// All of it, for small ones.
    pub fn whole(&self) -> Vec<u8> {
        self.pieces().flat_map(Vec::from).collect()
    }

    /// Its SHA-256, as hexadecimal digits.
    pub fn sha256(&self) -> String {
        let mut hash = Context::new(&SHA256);
        for piece in self.pieces() {
            hash.update(&piece);
        }
        let digest = hash.finish();
        let hex = |byte: &u8| format!("{byte:02x}");
        digest.as_ref().iter().map(hex).collect()
    }
}

fn end() -> Vec<u8> {
    format!("--{BOUNDARY}--\r\n").into_bytes()
}

/// A piece in which every byte occurs, and line breaks and hyphens often.
fn noise() -> Bytes {
    let mut state = 1_u32;
    let bytes = (0..PIECE).map(|at| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        match at % 97 {
            0 => b'\r',
            1 => b'\n',
            2..=4 => b'-',
            _ => state.to_le_bytes()[3],
        }
    });
    bytes.collect::<Vec<u8>>().into()
}
