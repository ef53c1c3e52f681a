//! A reader of forms that forgives much, as servers do: what it finds is what a gateway must have reckoned with.

use std::collections::BTreeMap;

use super::Digest;

/// The longest field that is kept, in bytes.
const FIELD_MAX: usize = 1 << 20;

/// Reads a form that comes in pieces, and keeps its fields.
#[derive(Debug)]
pub(super) struct Reader {
    delimiter: Vec<u8>,
    /// What came and was not used.
    rest: Vec<u8>,
    place: Place,
    fields: BTreeMap<String, String>,
    files: u64,
    file_bytes: u64,
    file_name: String,
}

#[derive(Debug)]
enum Place {
    /// Before a part's head.
    Head,
    /// In a file.
    File,
    /// In a field of this name.
    Field(String, Vec<u8>),
    /// After the last boundary.
    Over,
}

impl Reader {
    pub(super) fn new(boundary: &str) -> Self {
        Self {
            delimiter: format!("\r\n--{boundary}").into_bytes(),
            // The first boundary has no line break before it.
            rest: b"\r\n".to_vec(),
            place: Place::File,
            fields: BTreeMap::new(),
            files: 0,
            file_bytes: 0,
            file_name: String::new(),
        }
    }

    pub(super) fn push(&mut self, piece: &[u8]) {
        self.rest.extend_from_slice(piece);
        while self.step() {}
    }

    /// Whether the last boundary was seen.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.place, Place::Over)
    }

    pub(super) fn into(self, digest: &mut Digest) {
        digest.fields = self.fields;
        digest.files = self.files;
        digest.file_bytes = self.file_bytes;
        digest.file_name = self.file_name;
    }

    /// Goes on with what came; false when more is needed.
    fn step(&mut self) -> bool {
        match &self.place {
            Place::Over => {
                self.rest.clear();
                false
            }
            Place::Head => self.head(),
            Place::File | Place::Field(..) => self.data(),
        }
    }

    fn head(&mut self) -> bool {
        if self.rest.starts_with(b"--") {
            self.place = Place::Over;
            return true;
        }
        let Some(end) = find(&self.rest, b"\r\n\r\n") else {
            return false;
        };
        let head = String::from_utf8_lossy(self.rest.get(..end).unwrap_or_default()).into_owned();
        self.rest.drain(..end + 4);
        let value = |name: &str| -> Option<String> {
            let (_, after) = head.split_once(&format!("; {name}="))?;
            let quoted = after.strip_prefix('"').and_then(|it| it.split('"').next());
            let plain = after.split([';', '\r']).next();
            quoted.or(plain).map(str::to_owned)
        };
        let name = value("name").unwrap_or_default();
        self.place = match value("filename") {
            Some(file_name) => {
                self.files += 1;
                self.file_name = file_name;
                Place::File
            }
            None => Place::Field(name, Vec::new()),
        };
        true
    }

    fn data(&mut self) -> bool {
        let found = find(&self.rest, &self.delimiter);
        // The end of what came may be the beginning of a boundary.
        let kept = self.rest.len().saturating_sub(self.delimiter.len());
        let data: Vec<u8> = self.rest.drain(..found.unwrap_or(kept)).collect();
        match &mut self.place {
            Place::Field(_, value) => {
                let room = FIELD_MAX.saturating_sub(value.len());
                value.extend(data.into_iter().take(room));
            }
            Place::File if self.files > 0 => {
                self.file_bytes += u64::try_from(data.len()).unwrap_or_default();
            }
            Place::File | Place::Head | Place::Over => {}
        }
        if found.is_none() || self.rest.len() < self.delimiter.len() + 2 {
            return false;
        }
        if let Place::Field(name, value) = std::mem::replace(&mut self.place, Place::Head) {
            // Of several fields of a name the last one counts, as at many servers.
            self.fields
                .insert(name, String::from_utf8_lossy(&value).into_owned());
        }
        self.rest.drain(..self.delimiter.len());
        true
    }
}

fn find(text: &[u8], part: &[u8]) -> Option<usize> {
    // Looked for by its first byte: windows over a file would take longer than the file to come.
    let mut from = 0;
    while let Some(at) = text.get(from..)?.iter().position(|byte| *byte == b'\r') {
        if text.get(from + at..)?.starts_with(part) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_is_read_however_it_is_cut() {
        let form = b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nm\r\n--b\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n\r\n\r\n--\r\nabc\r\n--b\r\nContent-Disposition: form-data; name=n\r\n\r\n2\r\n--b--\r\n";
        for size in 1..=form.len() {
            let mut reader = Reader::new("b");
            for piece in form.chunks(size) {
                reader.push(piece);
            }
            assert!(reader.is_whole(), "{size}");
            let found: Vec<_> = reader
                .fields
                .iter()
                .map(|(name, value)| (&**name, &**value))
                .collect();
            assert_eq!(found, [("model", "m"), ("n", "2")], "{size}");
            assert_eq!(
                (reader.files, reader.file_bytes, &*reader.file_name),
                (1, 9, "a.mp3")
            );
        }
    }
}
